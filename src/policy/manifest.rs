//! A policy that we made → the model, by the way that every manifest goes.

use std::sync::Arc;

use serde_json::Value;

use super::{Policy, PolicyBuilder};
use crate::source::{emit, yaml};
use crate::world::objects;

/// A manifest as a policy; `None` when the API server would refuse it. Its places are in a file of the given name.
pub(crate) fn read(manifest: &Value, file: &str) -> Option<Policy> {
    let (documents, error) = yaml::parse(&Arc::from(file), &emit::to_yaml(manifest));
    let mut builder = PolicyBuilder::default();
    for object in documents.into_iter().flat_map(|document| objects(document, &mut Vec::new())) {
        builder.add(&object);
    }
    let (mut made, findings) = builder.finish();
    (error.is_none() && findings.is_empty()).then(|| made.policies.pop()).flatten()
}
