//! portreeve keeps the gates of a Matrix Authentication Service deployment on Kubernetes.
//!
//! *What the guide intends, what the policies declare, what the network shows, how the three are judged, and what is done about it:*
//!
//! ```text
//!  guide/ ──► matrix/ ──┬──────────────► judge/ ──┬─► act/    what to write
//!  (intended)           │                 ▲  ▲    └─► serve/  metrics, JSON, page
//!  world/ ──► policy/ ──┴── (declared) ───┘  │
//!  (objects)                                 │
//!  observe/ (probes) ──────── (observed) ────┘
//! ```
//!
//! `source/` and `load` bring every file in; `guide/`, `matrix/`, `world/`, `policy/`, `judge/` and `act/` are pure: no clock, no sockets, no file system.

pub mod act;
pub mod agent;
pub mod cli;
#[cfg(target_os = "linux")]
pub mod demo;
pub mod doctor;
pub mod finding;
pub mod guide;
pub mod judge;
pub mod load;
pub mod matrix;
#[cfg(target_os = "linux")]
pub mod observe;
pub mod policy;
pub mod serve;
pub mod source;
pub mod world;
