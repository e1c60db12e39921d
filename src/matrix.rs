//! What the guide intends: the edges of a MAS deployment, and the pods and ports they mean.
//!
//! [`derive`](mod@derive) turns the guide's values, MAS's own config and a TrafficMatrix into [`Edge`]s; [`resolve`](mod@resolve) finds the pods, pod ports and addresses behind them in a [`World`](crate::world::World).
//! Pure.

mod edge;
mod endpoint;
pub mod resolve;
mod resolved;

pub use edge::{Edge, Exchange, Expect, Intent, Party, Port, Provenance, SmtpMode, SslMode, SubjectRule, Target};
pub use endpoint::parse_endpoint;
pub use resolve::resolve;
pub use resolved::{Peer, PeerKind, Resolution, ResolvedEdge, Subject};
