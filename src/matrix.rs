//! What the guide intends: the edges of a MAS deployment, and the pods and ports they mean.
//!
//! [`derive()`] turns the guide's values, MAS's own config and a TrafficMatrix into [`Edge`]s; [`resolve`](resolve::resolve) finds the pods, pod ports and addresses behind them in a [`World`](crate::world::World).
//! Pure.

pub mod derive;
mod edge;
mod endpoint;
mod lookups;
pub mod resolve;
mod resolved;
pub mod traffic_matrix;

pub use crate::guide::{Login, SmtpMode, SslMode, SslNegotiation};
pub use derive::{Sources, derive};
pub use edge::{Edge, Exchange, Expect, Intent, Party, Port, Provenance, SubjectRule, Target};
pub use endpoint::{parse_block, parse_endpoint};
pub use lookups::{Lookup, SearchList, lookups};
pub use resolved::{Peer, PeerKind, Resolution, ResolvedEdge, Subject};
pub use traffic_matrix::TrafficMatrix;
