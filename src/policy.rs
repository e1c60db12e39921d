//! What the cluster's policies declare of a connection: `allowed`, `denied` or `unknown`, with the rule or the missing fact.
//!
//! ```text
//! objects ──► lower.rs ──► PolicySet ──┐
//!             (defaults,               ├──► eval.rs ──► Answer (explain.rs, answer.rs)
//!              refusals)       World ──┘ tiers.rs       Admitted (ports.rs)
//! ```
//!
//! NetworkPolicy v1 is evaluated completely and as the upstream end-to-end suite tests it. Where the API's text is open, this is how we decide
//! (docs/semantics.md gives the sources):
//!
//! - **ipBlock matches pod addresses**, as upstream tests it. A pod without an address yet gives `unknown`, unless every address it may get has
//!   the same answer.
//! - **hostNetwork pods**: selectors do not reach them, policies do not apply to them, their traffic is their node's. When the node's address
//!   is not known, an ipBlock that could hold it gives `unknown`.
//! - **A node and the pods on it** always reach each other, both ways ("traffic to and from the node where a Pod is running is always allowed").
//!   Where it is not known whether they share a node, a denial becomes `unknown`. Only addresses that the world shows as a node's count.
//! - **A pod and itself**: always allowed. A workload's template stands for several pods, so the template to itself is one replica to another.
//! - **Families are apart.** A pair is judged in each family that both have, and the worst counts; [`Answer::by_family`] shows each.
//!   Without a shared family the answer is `unknown`.
//! - **A namespace known only by reference** has its name label and nothing else that is known.
//! - **Named ports** are looked up on the destination pod, by name and protocol, and every container port that fits counts. Against an address
//!   they never match. Against a pod reached through an ipBlock the text is open: `unknown`.
//! - **A finished pod** has no connections: `unknown`, and its address is nobody's.
//! - **Union**: one rule that certainly admits wins; then `unknown` wins over a denial.
//! - **A policy that the API server refuses** does not exist in any cluster: it neither isolates nor opens, and each reason is a finding.
//! - **A policy with encrypted, templated or variable parts** does exist: what it might add or isolate is `unknown`.
//! - **Cluster-wide tiers** (ClusterNetworkPolicy, AdminNetworkPolicy, BaselineAdminNetworkPolicy): Admin, then the NetworkPolicies, then
//!   Baseline, per direction. A NetworkPolicy that isolates a pod in a direction takes it out of the Baseline tier there. Policies of equal
//!   priority that lead to different ends give `unknown`.
//! - **Dialects**: for [`Dialect::Cilium`] a CIDR never means a pod or a node.
//! - **Other policy kinds** are named ([`Unmodelled`]) and make each verdict that they can change `unknown`.
//! - Verdicts are about **new connections**; replies are part of them. Other protocols than TCP, UDP and SCTP have no verdict.

mod answer;
mod cidr;
mod declared;
mod dialect;
mod eval;
mod explain;
mod fit;
mod lower;
pub(crate) mod manifest;
mod model;
mod party;
mod ports;
mod raw;
mod reach;
pub mod render;
mod tiers;
mod unmodelled;

#[cfg(test)]
mod tests;

pub use answer::{Admitted, Answer, Exemption, NearestMiss, PolicyKind, PolicyRef, RuleRef, SideAnswer, Traffic};
pub use cidr::Family;
pub use declared::Declared;
pub use dialect::Dialect;
pub use eval::Engine;
pub use explain::{Considered, ConsideredPolicy, ConsideredRule, Explanation, Fits, PassedOver};
pub use lower::PolicyBuilder;
pub use model::{
    Direction, NamespaceMatch, PeerMatch, Peers, Policy, PolicyPeer, PolicyPort, PolicySet, PortMatch, Ports, Rule,
};
pub use party::End;
pub(crate) use party::Holder;
pub use ports::{Intervals, PortSet};
pub use reach::{PairCount, Reachability};
pub use tiers::{Action, Tier, TierPeer, TierPeers, TierPods, TierPolicy, TierPort, TierRule};
#[cfg(test)]
pub(crate) use unmodelled::unmodelled_kinds;
pub use unmodelled::{Effect, Unmodelled};
