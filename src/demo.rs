//! The demo: the whole chain in one process on the loopback, without root, cluster or installs. Linux only.

pub mod net;
pub mod peers;
pub mod world;
