//! Other processes: started, awaited, measured, and ended with the value that stands for them.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a process may take to be ready.
const PATIENCE: Duration = Duration::from_mins(2);

/// A process that ends with this value.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).spawn();
        Self(child.unwrap_or_else(|error| panic!("{command:?} does not start: {error}")))
    }

    /// A part of this program; ready when it has written a line.
    pub(crate) fn of_our_own(task: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let mut process = Self::start(command.args(["--child", task]).stdout(Stdio::piped()));
        let mut line = String::new();
        BufReader::new(process.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "{task} did not start");
        process
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Waits until this path answers 200.
    pub(crate) fn await_ready(&mut self, address: SocketAddr, path: &str) {
        let end = Instant::now() + PATIENCE;
        while !try_get(address, path).is_some_and(|answer| answer.starts_with("HTTP/1.1 200")) {
            assert_eq!(self.0.try_wait().unwrap(), None, "it ended instead of answering {path} on {address}");
            assert!(Instant::now() < end, "nothing answers {path} on {address}");
            sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The text of one HTTP answer, head included.
pub(crate) fn get(address: SocketAddr, path: &str) -> String {
    try_get(address, path).unwrap_or_else(|| panic!("{address} does not answer {path}"))
}

fn try_get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// User and system time of a process, all threads, in seconds: the same sum as in `stat`, but not in ticks.
pub(crate) fn cpu(pid: u32) -> f64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let nanos = threads.map(|thread| {
        let text = fs::read_to_string(thread.unwrap().path().join("schedstat")).unwrap();
        text.split(' ').next().unwrap().parse::<u64>().unwrap()
    });
    nanos.sum::<u64>() as f64 / 1e9
}

/// Resident memory, in MB.
pub(crate) fn rss(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB"));
    kilobytes.unwrap().trim().parse::<f64>().unwrap() * 1024.0 / 1e6
}

/// The value below which this share of them lies.
pub(crate) fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (values.len() as f64 * share) as usize;
    values[at.min(values.len() - 1)]
}
