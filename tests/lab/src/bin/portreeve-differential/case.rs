//! A difference as a candidate for tests/corpus: what is in it is what the shrunk world has, and a person writes the sentence that decides.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::cast::{self, NAMESPACES, OWN};
use crate::declared::{Declared, assertion};
use crate::network::{Place, Way};
use crate::stage::Stage;
use crate::world::World;

/// Writes `NAME.yaml` and `NAME.expect.yaml`, and returns the path of the first.
pub fn write(
    folder: &Path,
    name: &str,
    stage: &Stage,
    world: &World,
    (places, way): (&[Place], &Way),
    (declared, observed): (&Declared, &str),
) -> Result<PathBuf> {
    let expect = if observed == "open" { "allow" } else { "deny" };
    let mut text = format!(
        "# A real connection says {observed}, portreeve says {}: {}.\n# Source: write the sentence that decides here.\n",
        declared.verdict, declared.because
    );
    let mut objects: Vec<Value> = Vec::new();
    for (name, labels) in NAMESPACES.iter().zip(&world.namespaces) {
        let metadata = json!({"name": name, "labels": present(labels)});
        objects.push(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}));
    }
    for node in &stage.nodes {
        let addresses = node.status.as_ref().and_then(|status| status.addresses.as_ref());
        let (metadata, status) = (json!({"name": node.name_any()}), json!({"addresses": addresses}));
        objects.push(json!({"apiVersion": "v1", "kind": "Node", "metadata": metadata, "status": status}));
    }
    // A verdict is about the two ends; no other pod can change it.
    let ends: Vec<&Place> = [way.from, way.to].iter().filter_map(|index| places.get(*index)).collect();
    for (pod, labels) in stage.pods.iter().zip(&world.pods) {
        let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
        let Some(end) = ends.iter().find(|end| end.name == format!("{namespace}/{name}")) else { continue };
        objects.push(manifest(pod, labels));
        if end.service.contains(&way.target.address.ip()) {
            let mut service = cast::service(&namespace, &name);
            service["apiVersion"] = json!("v1");
            service["kind"] = json!("Service");
            service["spec"]["clusterIPs"] = json!(end.service);
            objects.push(service);
        }
    }
    for policy in &world.policies {
        objects.push(json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": policy["metadata"], "spec": policy["spec"]}));
    }
    // JSON is YAML; whoever takes the case lays it out.
    let documents: Vec<String> = objects.iter().map(Value::to_string).collect();
    let _ = writeln!(text, "{}", documents.join("\n---\n"));
    let assertion = assertion(places, way, expect).context("an end without an address")?;
    std::fs::create_dir_all(folder)?;
    let path = folder.join(format!("{name}.yaml"));
    std::fs::write(&path, text)?;
    std::fs::write(folder.join(format!("{name}.expect.yaml")), format!("- {assertion}\n"))?;
    Ok(path)
}

fn present(labels: &Value) -> Value {
    labels
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, value)| !value.is_null())
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn manifest(pod: &Pod, labels: &Value) -> Value {
    let ports = |of: Option<&Vec<k8s_openapi::api::core::v1::Container>>| -> Vec<Value> {
        of.into_iter()
            .flatten()
            .map(|one| json!({"name": one.name, "image": "example", "restartPolicy": one.restart_policy, "ports": one.ports}))
            .collect()
    };
    let spec = pod.spec.as_ref();
    let status = pod.status.as_ref();
    let mut all = present(labels);
    all[OWN] = json!(pod.name_any());
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": pod.name_any(), "namespace": pod.namespace(), "labels": all},
        "spec": {
            "nodeName": spec.and_then(|spec| spec.node_name.as_ref()),
            "hostNetwork": spec.and_then(|spec| spec.host_network).unwrap_or_default(),
            "initContainers": ports(spec.and_then(|spec| spec.init_containers.as_ref())),
            "containers": ports(spec.map(|spec| &spec.containers)),
        },
        "status": {"phase": "Running", "podIPs": status.and_then(|status| status.pod_ips.as_ref())},
    })
}
