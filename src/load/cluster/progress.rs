//! Says on standard error how far a long reading is. It never ends one: how long an API server may take is for whoever waits.

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::pin::pin;
use std::time::{Duration, Instant};

/// Work that takes no longer is done in silence.
const FIRST: Duration = Duration::from_secs(2);
/// Longest time without a word.
const LONGEST: Duration = Duration::from_secs(30);

/// What is being read.
#[derive(Debug, Default)]
pub(super) struct Progress {
    what: RefCell<String>,
    read: Cell<usize>,
    remaining: Cell<Option<u64>>,
}

impl Progress {
    /// Another list begins.
    pub(super) fn begin(&self, what: String) {
        *self.what.borrow_mut() = what;
        self.page(0, None);
    }

    /// A page of it was read.
    pub(super) fn page(&self, read: usize, remaining: Option<u64>) {
        self.read.set(read);
        self.remaining.set(remaining);
    }

    /// Does some work, and tells from time to time how far it is.
    pub(super) async fn accompany<F: Future>(&self, work: F) -> F::Output {
        let began = Instant::now();
        let mut pause = FIRST;
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = tokio::time::sleep(pause) => {
                    self.say(began.elapsed());
                    pause = (pause * 2).min(LONGEST);
                }
            }
        }
    }

    fn say(&self, elapsed: Duration) {
        let read = self.read.get();
        let of = self.remaining.get().map_or_else(String::new, |more| format!(" of about {}", read as u64 + more));
        let line =
            format!("portreeve: reading the cluster: {}, {read}{of} ({} s)\n", self.what.borrow(), elapsed.as_secs());
        // Who closed standard error does not want to know.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}
