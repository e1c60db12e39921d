//! What is enforced, for a test that waits until its own writes are.

use std::path::Path;

use anyhow::{Context, Result};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Map, Value, json};

use crate::cluster::Cluster;
use crate::style::Style;

/// Replaces the file: `{"style": …, "objects": {"Pod x/a": "<resourceVersion>", …}}`.
pub fn write(path: &Path, cluster: &Cluster, style: Style) -> Result<()> {
    let pods = cluster.pods.iter().map(|one| entry("Pod", &one.metadata));
    let namespaces = cluster.namespaces.iter().map(|one| entry("Namespace", &one.metadata));
    let policies = cluster.policies.iter().map(|one| entry("NetworkPolicy", &one.metadata));
    let objects: Map<String, Value> = pods.chain(namespaces).chain(policies).collect();
    let text = json!({"style": style.to_string(), "objects": objects}).to_string();
    // Whoever reads sees the old file or the new one.
    let new = path.with_extension("new");
    std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, path)).with_context(|| path.display().to_string())
}

fn entry(kind: &str, metadata: &ObjectMeta) -> (String, Value) {
    let name = metadata.name.as_deref().unwrap_or_default();
    let name = metadata.namespace.as_ref().map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}"));
    (format!("{kind} {name}"), metadata.resource_version.clone().into())
}
