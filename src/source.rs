//! Text in, located values out: how every file reaches the product.
//!
//! ```text
//! files.rs ──► yaml.rs ──┬─► Document ──► de.rs ──► typed values
//! (paths)      (text)    │   (Nodes)       (serde)
//!              json.rs ──┘
//!              (answers of the API server)
//! ```
//!
//! Every [`Node`] knows its line and column, or its path in a live object, so every finding can name a place.
//! Messages are our own words plus that place; no message ever quotes the source, because the neighbouring line may be a password.

pub mod de;
pub mod emit;
pub mod files;
pub mod json;
mod place;
mod scalar;
pub mod yaml;

pub use place::{Place, Position};
pub use yaml::{Document, Key, Node, Value};

/// What is wrong with one input, and where.
///
/// The text never contains a value from the input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct InputError {
    /// Where it is wrong.
    pub place: Place,
    /// What is wrong and what to do about it.
    pub message: String,
}

impl InputError {
    /// An error at a place.
    pub fn new(place: Place, message: impl Into<String>) -> Self {
        Self { place, message: message.into() }
    }
}
