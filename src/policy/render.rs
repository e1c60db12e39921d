//! Edges → the one NetworkPolicy of the subject, and the proposals for its peers.
//!
//! One object holds both directions and all edges, because any policy that selects a pod isolates it at once: several objects could cut edges between two writes.
//! Only resolved pod ports are written, never a Service port: policies act after Service DNAT.
//! The same edges give the same bytes in whatever order they come.

mod counterpart;
mod rules;
mod text;

use serde_json::{Map, Value, json};

pub use counterpart::Counterpart;

use super::Direction;
use crate::finding::{Code, Finding};
use crate::matrix::traffic_matrix;
use crate::matrix::{Peer, Resolution, ResolvedEdge, Subject};
use crate::source::emit;
use crate::world::{Labels, ObjectName, labels};

/// The label that says who keeps an object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The label that says which matrix an object belongs to.
pub const MATRIX: &str = "portreeve.io/matrix";
/// The annotation that says what the object is.
pub const WHAT: &str = "portreeve.io/what";
/// The annotation that says rule by rule which edges need it, why, and what breaks without them.
pub const EDGES: &str = "portreeve.io/edges";
/// The annotation that holds the command which removes the object.
pub const REMOVE: &str = "portreeve.io/remove";
/// The annotation of a proposal that says what it does to its pods.
pub const WARNING: &str = "portreeve.io/warning";

/// The name of a matrix's policy, `portreeve-<matrix>`; the matrix's own name has at most 63 characters, as it becomes a label's value.
pub fn policy_name(matrix: &ObjectName) -> String {
    format!("portreeve-{}", matrix.name)
}

/// The directions that are enforced. There is no empty set: the API reads empty `policyTypes` as Ingress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Directions {
    /// Connections to the subject.
    Ingress,
    /// Connections from the subject.
    Egress,
    /// Both.
    #[default]
    Both,
}

impl Directions {
    /// Those of a TrafficMatrix, which names at least one.
    pub fn of(named: traffic_matrix::Directions) -> Self {
        match (named.ingress, named.egress) {
            (true, false) => Self::Ingress,
            (false, true) => Self::Egress,
            _ => Self::Both,
        }
    }

    fn has(self, direction: Direction) -> bool {
        matches!(
            (self, direction),
            (Self::Both, _) | (Self::Ingress, Direction::Ingress) | (Self::Egress, Direction::Egress)
        )
    }
}

/// Both directions, in the API's order.
const DIRECTIONS: [Direction; 2] = [Direction::Ingress, Direction::Egress];

/// As `policyTypes` writes it.
fn policy_type(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "Ingress",
        Direction::Egress => "Egress",
    }
}

/// The field of a rule that holds its peers.
fn peers_field(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "from",
        Direction::Egress => "to",
    }
}

/// The policy of a matrix.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// The NetworkPolicy as the API takes it.
    pub policy: Value,
    /// The same as a file, with a comment that says how to check it.
    pub yaml: String,
    /// What the peers' sides need, if they are isolated. Proposals: nobody but a person applies them.
    pub counterparts: Vec<Counterpart>,
    /// What is not in the policy although an edge wants it ([`Code::PeerUnknown`]), sorted.
    pub left_out: Vec<Finding>,
}

/// Renders the policy of a matrix.
///
/// # Errors
/// A finding instead of a policy when the subject is not known for certain or has no selector of its own, or when the name cannot be an object's name.
pub fn network_policy(
    resolution: &Resolution,
    name: &ObjectName,
    directions: Directions,
) -> Result<Rendered, Box<Finding>> {
    let subject = subject_of(resolution, name)?;
    let mut left_out = Vec::new();
    let edges = rules::sorted(&resolution.edges);
    let mut spec = Map::new();
    spec.insert("podSelector".to_owned(), match_labels(&subject.selector));
    let types = DIRECTIONS.into_iter().filter(|d| directions.has(*d));
    spec.insert("policyTypes".to_owned(), types.clone().map(policy_type).collect());
    let mut explained = String::new();
    for direction in types {
        let rules = rules::rules(subject, &edges, direction, &mut left_out);
        text::explain(&mut explained, direction, &rules, &edges);
        // The API server drops empty lists: writing one would be a difference at every later comparison.
        if !rules.is_empty() {
            let rules = rules.iter().map(|rule| rule.to_json(direction, &subject.namespace)).collect();
            spec.insert(direction.to_string(), rules);
        }
    }
    let remove = remove_command(&subject.namespace, &policy_name(name));
    let policy = object(
        &policy_name(name),
        &subject.namespace,
        &[(MANAGED_BY, "portreeve"), (MATRIX, &name.name)],
        &[(WHAT, text::what(name, directions)), (EDGES, text::bounded(explained)), (REMOVE, remove)],
        &spec,
    );
    left_out.sort();
    left_out.dedup();
    let yaml = format!("{}{}", text::header(name, &subject.namespace), emit::to_yaml(&policy));
    let counterparts = counterpart::counterparts(subject, &edges, name, directions);
    Ok(Rendered { policy, yaml, counterparts, left_out })
}

/// The rules that one edge needs at the subject, as a piece of YAML to paste under `spec`; `None` when nothing is known to write.
pub fn fragment(subject: &Subject, edge: &ResolvedEdge, direction: Direction) -> Option<String> {
    let rules = rules_of(subject, edge, direction);
    (!rules.is_empty()).then(|| emit::to_yaml(&json!({ direction.to_string(): rules })))
}

/// The same as values: items of `ingress` or `egress`.
pub(crate) fn rules_of(subject: &Subject, edge: &ResolvedEdge, direction: Direction) -> Vec<Value> {
    let rules = rules::rules(subject, &[edge], direction, &mut Vec::new());
    rules.iter().map(|rule| rule.to_json(direction, &subject.namespace)).collect()
}

/// What the peers of one edge need at their own side, in the order of the peers.
pub fn proposals(subject: &Subject, edge: &ResolvedEdge, name: &ObjectName) -> Vec<Counterpart> {
    counterpart::counterparts(subject, &[edge], name, Directions::Both)
}

/// The peers that one edge needs at the subject in a direction, each with the ports at the destination; what cannot be written is left out.
pub(crate) fn needs<'e>(subject: &Subject, edge: &'e ResolvedEdge, direction: Direction) -> Vec<(&'e Peer, Vec<u16>)> {
    rules::needs(subject, edge, direction, &mut Vec::new())
}

/// Whether a peer has the subject's pods in it.
pub(crate) fn covers(peer: &Peer, subject: &Subject) -> bool {
    rules::covers(peer, subject)
}

fn subject_of<'r>(resolution: &'r Resolution, name: &ObjectName) -> Result<&'r Subject, Box<Finding>> {
    let object = format!("NetworkPolicy/{}/{}", name.namespace, policy_name(name));
    let refuse = |code, message: &str, fix: &str| Err(Box::new(Finding::new(code, object.as_str(), message, fix)));
    if labels::check_value(&name.name).is_err() || !is_object_name(&name.name) {
        return refuse(
            Code::InvalidPolicy,
            "the matrix's name cannot be part of an object's name and a label's value",
            "use at most 63 lower-case letters, digits and `-`, beginning and ending with a letter or digit",
        );
    }
    let Some(subject) = &resolution.subject else {
        return refuse(
            Code::SubjectUnclear,
            "MAS's pods are not known, so there is nothing a policy could select",
            "give the manifests with MAS's workload (--manifests, --cluster), or name it as `subject:` in the TrafficMatrix",
        );
    };
    if subject.selector.is_empty() {
        return refuse(
            Code::SubjectUnclear,
            "no label tells MAS's pods from others, and an empty podSelector would isolate the whole namespace",
            "give MAS's pods a label of their own and name them as `subject:` in the TrafficMatrix",
        );
    }
    if !are_labels(&subject.selector) {
        return refuse(
            Code::InvalidPolicy,
            "a label that selects MAS's pods is no label the API server would take",
            "correct the labels of MAS's workload",
        );
    }
    Ok(subject)
}

/// The command that removes a policy.
pub fn remove_command(namespace: &str, policy: &str) -> String {
    format!("kubectl -n {namespace} delete networkpolicy {policy}")
}

fn match_labels(labels: &Labels) -> Value {
    if labels.is_empty() { json!({}) } else { json!({ "matchLabels": labels }) }
}

/// A NetworkPolicy; annotations that are empty are left out.
fn object(
    name: &str,
    namespace: &str,
    labels: &[(&str, &str)],
    annotations: &[(&str, String)],
    spec: &Map<String, Value>,
) -> Value {
    let labels: Map<String, Value> = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())).collect();
    let annotations: Map<String, Value> = annotations
        .iter()
        .filter(|(_, text)| !text.is_empty())
        .map(|(key, text)| ((*key).to_owned(), Value::from(text.as_str())))
        .collect();
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": labels,
            "annotations": annotations,
        },
        "spec": spec,
    })
}

/// An RFC 1123 subdomain short enough for what we put around it (the API takes 253 characters).
fn is_object_name(name: &str) -> bool {
    name.len() <= 200 && labels::is_dns_subdomain(name)
}

fn are_labels(labels: &Labels) -> bool {
    labels.iter().all(|(key, value)| labels::check_key(key).is_ok() && labels::check_value(value).is_ok())
}

#[cfg(test)]
mod tests;
