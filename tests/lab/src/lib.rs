//! An enforcer of NetworkPolicies for the tests: what a network plugin does on one node, with nftables, in every way in which plugins refuse.
//!
//! Written from the text of the API (`k8s.io/api/networking/v1/types.go`, quoted as API) and apart from the product's evaluator, of which it uses nothing: the two judge each other.
//!
//! ```text
//! watch ──► cluster ──► rules ──► nft ──► table
//!           objects     what each   text    the kernel
//!                       pod admits
//! ```
//!
//! `cluster`, `selector`, `rules` and `nft` are pure. The whole table is computed anew at each change and replaced in one transaction, so there is never a moment with half of it.

pub mod arrivals;
pub mod cluster;
pub mod connect;
pub mod listen;
pub mod nft;
pub mod rules;
pub mod selector;
pub mod state;
pub mod style;
pub mod table;
pub mod watch;
