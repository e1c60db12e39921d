//! Objects that are no configs: pods with their probes, paths of Ingresses, poolers, operators' databases.

use super::super::tree::Layers;
use super::{Found, SqlFacts};
use crate::source::{Node, Place};
use crate::world::{Object, PortRef};

/// The last part of the path of MAS's image.
const IMAGE: &str = "matrix-authentication-service";

/// A pod, or a template of one, that runs MAS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasPod {
    /// `Deployment/namespace/name`.
    pub object: String,
    /// The tag of MAS's image.
    pub tag: Option<String>,
    /// The kubelet's HTTP probes of MAS's container.
    pub probes: Vec<ProbeFacts>,
    /// Ports of MAS's container by name.
    pub ports: Vec<(String, u16)>,
    /// An init container runs another image than MAS's: it may fill in the config.
    pub foreign_init: bool,
    /// Where.
    pub place: Place,
}

/// An HTTP probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeFacts {
    /// `livenessProbe` and the like.
    pub kind: &'static str,
    /// Its path.
    pub path: String,
    /// Its port.
    pub port: PortRef,
}

/// A path of an Ingress, or the rule of a Traefik route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngressPath {
    /// The host; empty for all. A Traefik rule stands in `path` as a whole.
    pub host: String,
    /// The path, or the rule.
    pub path: String,
    /// The Service behind it.
    pub service: String,
}

/// A connection pooler that an operator runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pooler {
    /// The Service it makes.
    pub service: String,
    /// It pools by transaction; `None` when its operator's default decides and is not known.
    pub by_transaction: Option<bool>,
    /// Where.
    pub place: Place,
}

pub(super) fn add(found: &mut Found, object: &Object) {
    let document = &object.document;
    let layers = Layers(vec![(document, &document.root)]);
    match (object.group(), object.kind.as_str()) {
        ("", "Pod") => pod(found, object, "/spec"),
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet") => pod(found, object, "/spec/template/spec"),
        ("networking.k8s.io" | "extensions", "Ingress") => ingress(found, &layers),
        ("traefik.io" | "traefik.containo.us", "IngressRoute") => {
            for route in layers.items("spec/routes") {
                let path = route.said("match").text().unwrap_or_default().to_owned();
                for service in route.items("services") {
                    let service = service.said("name").text().unwrap_or_default().to_owned();
                    found.paths.push(IngressPath { host: String::new(), path: path.clone(), service });
                }
            }
        }
        ("postgresql.cnpg.io", "Pooler") => found.poolers.push(Pooler {
            service: object.name.clone(),
            // CloudNativePG's default is session.
            by_transaction: Some(layers.said("spec/pgbouncer/poolMode").text() == Some("transaction")),
            place: object.place(),
        }),
        ("acid.zalan.do", "postgresql") if layers.flag("spec/enableConnectionPooler") == Some(true) => {
            let mode = layers.said("spec/connectionPooler/mode");
            let service = format!("{}-pooler", object.name);
            // Zalando's default is transaction (`connection_pooler_mode`).
            let by_transaction = Some(mode.text().unwrap_or("transaction") == "transaction");
            found.poolers.push(Pooler { service, by_transaction, place: object.place() });
        }
        ("postgresql.cnpg.io", "Database") if layers.said("spec/name").text() == Some("mas") => {
            found.sql.push(SqlFacts::by_operator(layers.said("spec/owner").text().is_some(), object.place()));
        }
        ("postgresql.cnpg.io", "Cluster") if layers.said("spec/bootstrap/initdb/database").text() == Some("mas") => {
            found.sql.push(SqlFacts::by_operator(true, object.place()));
        }
        _ => {}
    }
}

fn ingress(found: &mut Found, layers: &Layers<'_>) {
    for rule in layers.items("spec/rules") {
        let host = rule.said("host").text().unwrap_or_default().to_ascii_lowercase();
        for path in rule.items("http/paths") {
            found.paths.push(IngressPath {
                host: host.clone(),
                path: path.said("path").text().unwrap_or("/").to_owned(),
                service: path.said("backend/service/name").text().unwrap_or_default().to_owned(),
            });
        }
    }
}

fn image(container: &Node) -> Option<(&str, Option<&str>)> {
    let image = container.get("image")?.text()?;
    let last = image.rsplit('/').next().unwrap_or(image);
    let last = last.split('@').next().unwrap_or(last);
    Some(last.split_once(':').map_or((last, None), |(name, tag)| (name, Some(tag))))
}

fn pod(found: &mut Found, object: &Object, spec: &str) {
    let Some(spec) = object.document.root.at_path(spec) else { return };
    let containers = |key: &str| spec.get(key).map(Node::items).unwrap_or_default();
    let Some((mas, tag)) = containers("containers").iter().find_map(|container| {
        let (name, tag) = image(container)?;
        (name == IMAGE).then_some((container, tag))
    }) else {
        return;
    };
    let probes = ["startupProbe", "readinessProbe", "livenessProbe"].iter().filter_map(|kind| {
        let get = mas.get(kind)?.get("httpGet")?;
        let port = port(get.get("port")?)?;
        Some(ProbeFacts { kind, path: get.get("path").and_then(Node::text).unwrap_or("/").to_owned(), port })
    });
    let ports = mas.get("ports").map(Node::items).unwrap_or_default().iter().filter_map(|entry| {
        let PortRef::Number(number) = port(entry.get("containerPort")?)? else { return None };
        Some((entry.get("name")?.text()?.to_owned(), number))
    });
    let foreign = |container: &Node| image(container).is_none_or(|(name, _)| name != IMAGE);
    found.pods.push(MasPod {
        object: object.label(),
        tag: tag.map(str::to_owned),
        probes: probes.collect(),
        ports: ports.collect(),
        foreign_init: containers("initContainers").iter().any(foreign),
        place: object.place(),
    });
}

fn port(node: &Node) -> Option<PortRef> {
    match &node.value {
        crate::source::Value::Int(number) => u16::try_from(*number).ok().map(PortRef::Number),
        crate::source::Value::Text(name) => Some(PortRef::Name(name.to_string())),
        _ => None,
    }
}
