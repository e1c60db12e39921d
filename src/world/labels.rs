//! Labels and label selectors, as apimachinery defines them.

use std::collections::BTreeMap;

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// The label that every namespace carries, set by the API server and immutable.
pub const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// Whether labels carry everything a `matchLabels` (or Service selector) asks for. An empty selector matches all.
pub fn matches_all(selector: &Labels, labels: &Labels) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}
