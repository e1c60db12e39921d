//! NetworkPolicies: what they are, what they say, how ours is written.

pub mod render;
