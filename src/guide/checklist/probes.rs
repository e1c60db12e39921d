//! The kubelet's probes of MAS: they come from the node, so a listener on localhost never hears them.

use super::mas::{Listener, Mas};
use crate::finding::{Code, Finding};
use crate::source::{Node, Place, Value};
use crate::world::Object;

/// One probe of MAS's container.
#[derive(Debug)]
pub(super) struct Probe {
    object: String,
    place: Place,
    kind: &'static str,
    port: u16,
    /// It asks `/health` and not only for a connection.
    health: bool,
}

/// What MAS listens on when its config has no `http.listeners` (`crates/config/src/sections/http.rs`).
const DEFAULT: [Listener; 2] = [
    Listener { port: Some(8080), loopback: false, health: false },
    Listener { port: Some(8081), loopback: true, health: true },
];

/// The probes of what runs MAS by its usual image. What another object made is told by that object.
pub(super) fn of(object: &Object) -> Vec<Probe> {
    let root = &object.document.root;
    if root.at_path("/metadata/ownerReferences").is_some_and(|owners| !owners.items().is_empty()) {
        return Vec::new();
    }
    let path = if object.kind == "Pod" { "/spec/containers" } else { "/spec/template/spec/containers" };
    let containers = root.at_path(path).map_or(&[][..], Node::items).iter();
    let is_mas = |container: &&Node| {
        container.get("image").and_then(Node::text).is_some_and(|image| image.contains("matrix-authentication-service"))
    };
    let probes = containers.filter(is_mas).flat_map(|container| {
        ["startupProbe", "readinessProbe", "livenessProbe"].into_iter().filter_map(|kind| {
            let probe = container.get(kind)?;
            let http = probe.get("httpGet");
            let target = http.or_else(|| probe.get("tcpSocket"))?;
            // A probe of another host says nothing about MAS.
            if target.get("host").is_some() {
                return None;
            }
            let port_node = target.get("port")?;
            let path = http.and_then(|http| http.get("path")).and_then(Node::text);
            Some(Probe {
                object: object.label(),
                place: object.document.place(port_node),
                kind,
                port: port(port_node, container)?,
                health: path.is_some_and(|path| path.trim_end_matches('/').ends_with("/health")),
            })
        })
    });
    probes.collect()
}

/// A number, or the container port of that name.
fn port(node: &Node, container: &Node) -> Option<u16> {
    let number = |node: &Node| match node.value {
        Value::Int(number) => u16::try_from(number).ok(),
        _ => None,
    };
    number(node).or_else(|| {
        let name = node.text()?;
        let ports = container.get("ports").map_or(&[][..], Node::items);
        let own = ports.iter().find(|port| port.get("name").and_then(Node::text) == Some(name))?;
        own.get("containerPort").and_then(number)
    })
}

impl Probe {
    /// Only where a config is known and shows all its listeners.
    pub(super) fn check(&self, mas: &[Mas]) -> Option<Finding> {
        if mas.is_empty() || mas.iter().any(|mas| mas.hides_listeners) {
            return None;
        }
        let mut listeners: Vec<Listener> = mas.iter().flat_map(|mas| mas.listeners.iter().flatten()).copied().collect();
        if mas.iter().all(|mas| mas.listeners.is_none()) {
            listeners.extend(DEFAULT);
        }
        let here: Vec<&Listener> = listeners.iter().filter(|listener| listener.port == Some(self.port)).collect();
        let open: Vec<&&Listener> = here.iter().filter(|listener| !listener.loopback).collect();
        let why = if here.is_empty() {
            "where MAS does not listen"
        } else if open.is_empty() {
            "where MAS listens on localhost only, which the kubelet does not reach"
        } else if self.health && !open.iter().any(|listener| listener.health) {
            "where MAS does not serve `health`: the answer is 404"
        } else {
            return None;
        };
        let message = format!("the {} of MAS asks port {}, {why}", self.kind, self.port);
        let fix = format!(
            "add a listener `{{name: internal, resources: [{{name: health}}], binds: [{{address: \"[::]:{}\"}}]}}` to `http.listeners`, or change the probe",
            if open.is_empty() { self.port } else { 8081 }
        );
        Some(Finding::new(Code::ProbeUnreachable, self.object.clone(), message, fix).at(self.place.clone()))
    }
}
