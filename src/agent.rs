//! The agent: MAS's own network identity as the vantage point.
//!
//! ```text
//!  agent.json ──► settings ──► patrol (observe) ──► notebook ──┬──► /v1/report   facts, for whoever judges
//!                                                              └──► /metrics     what an agent may export
//! ```
//!
//! It runs beside MAS, so it must never hold MAS up: no file is needed, no file ends it, and `/readyz`, which its startupProbe asks, says yes
//! after 15 s at the latest. It has no API access; what it says can open nothing.

pub mod ask;
pub mod assignment;
mod notebook;
pub mod observed;
pub mod report;
#[cfg(target_os = "linux")]
mod run;
#[cfg(target_os = "linux")]
mod settings;

#[cfg(target_os = "linux")]
pub use run::{Options, run};
