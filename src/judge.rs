//! Three facts about an edge → its state and who is at fault. Pure and total.

mod attempt;
pub mod audit;
pub mod diff;
pub mod explain;
mod join;
mod reason;
mod report;
mod verdict;
pub mod verify;

pub use crate::policy::Declared;
pub use attempt::{Attempt, Phases, TlsFacts};
pub use join::{Observation, join};
pub use reason::{Class, Evidence, Reason};
pub use report::{Board, Change, EdgeReport};
pub use verdict::{Judgement, Mode, State, judge};
