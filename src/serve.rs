//! What people and machines look at: `/metrics`, `/healthz`, `/readyz`, the JSON API and the page.
//!
//! Everything shown comes from one [`Board`]: the joined view is swapped whole, and every reader sees one moment.
//!
//! ```text
//! judge ──► Board ──► Shared ──┬──► metrics.rs   Prometheus text, read from the board at each scrape
//! probes ──► Metrics ──────────┤    api.rs       JSON, with the headline in words
//!                              └──► http.rs      sockets, limits, who may ask what
//! ```

mod api;
mod http;
mod metrics;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use serde::{Deserialize, Serialize};

pub use api::{Headline, headline};
pub use http::serve;
pub use metrics::{Metrics, Reload, Role};

use crate::judge::Board;

/// What the writers (probes, controller) and the readers (sockets) have in common.
#[derive(Debug)]
pub struct Shared {
    board: RwLock<Arc<Board>>,
    ready: AtomicBool,
    /// Counters, and the way to their text form.
    pub metrics: Metrics,
}

impl Shared {
    /// An empty board, not ready.
    pub fn new(role: Role) -> Self {
        Self { board: RwLock::default(), ready: AtomicBool::new(false), metrics: Metrics::new(role) }
    }

    /// The board as it was last published.
    pub fn board(&self) -> Arc<Board> {
        Arc::clone(&self.board.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the board as a whole; readers that hold the old one keep it.
    pub fn publish(&self, board: Board) {
        *self.board.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(board);
    }

    /// What `/readyz` answers from now on. Turns false first when the process is told to end.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }

    /// Whether `/readyz` answers 200.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }
}

/// Which paths a listener answers.
#[derive(Clone)]
pub enum Surface {
    /// `/metrics`, `/healthz`, `/readyz`: port 9690, open to the network.
    Metrics,
    /// These, and `/v1/report`: what the agent behind it saw.
    Agent(Arc<dyn Reports>),
    /// The first three, the page and the JSON API, with what its visitor may do: port 9692, for loopback only, because an open "who may talk to whom" is a map for an attacker.
    Page(Option<Arc<dyn Actions>>),
}

/// The one who knows what an agent saw.
pub trait Reports: Send + Sync {
    /// The report of this moment, as JSON.
    fn report(&self) -> Vec<u8>;
}

/// Something a visitor of the demo's page may do.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "action", rename_all = "lowercase", deny_unknown_fields)]
pub enum Action {
    /// Break an edge.
    Break {
        /// Its name.
        edge: String,
        /// In which way.
        how: How,
    },
    /// Undo what was broken at an edge.
    Mend {
        /// Its name.
        edge: String,
    },
    /// Switch the repair of drifted policies on or off.
    Repair {
        /// On.
        on: bool,
    },
}

/// The ways to break an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// Stop the peer's process.
    Peer,
    /// Take the rule that allows it out of the policy.
    Policy,
    /// Open what must be closed.
    Open,
}

/// What stands at the page's controls.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Controls {
    /// Drifted policies are repaired.
    pub repair: bool,
    /// The edges that are broken on purpose, and how.
    pub broken: Vec<(String, How)>,
}

/// The one who carries out what the page's visitor asks for. Only the demo has one.
pub trait Actions: Send + Sync {
    /// Does it, and says in one sentence what was done or why not. May block: it is called off the async threads.
    fn act(&self, action: Action) -> Result<String, String>;

    /// What the controls show.
    fn controls(&self) -> Controls;
}
