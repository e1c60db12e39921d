//! What is done about it: one write at a time, chosen and justified before anything is written.

pub mod plan;
