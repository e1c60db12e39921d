//! The endpoint grammar of product.md §3: one for TrafficMatrix, assertions and commands.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::Party;
use crate::source::de::closest;
use crate::world::{ObjectName, WorkloadKind, is_label};

/// Reads `ns/pod`, `ns/deploy/name`, `ns/svc/name`, an address, a CIDR, `node/name`, `subject`, `any-pod` or `world`.
pub fn parse_endpoint(text: &str) -> Result<Party, String> {
    match text {
        "subject" => return Ok(Party::Subject),
        "any-pod" => return Ok(Party::AnyPod),
        "world" => return Ok(Party::World),
        _ => {}
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(Party::Address(address));
    }
    let parts: Vec<&str> = text.split('/').collect();
    match parts[..] {
        [address, _] if address.parse::<IpAddr>().is_ok() => parse_block(text).map(Party::Block),
        ["node", name] => Ok(Party::Node(subdomain("a node's name", name)?)),
        [namespace, pod] => Ok(Party::Pod(object(namespace, "a pod's name", pod)?)),
        [namespace, kind, name] => three_parts(namespace, kind, name),
        [word] => Err(one_word(word)),
        _ => Err(format!("`{text}` has more than three parts: write namespace/kind/name")),
    }
}

fn one_word(word: &str) -> String {
    let near = closest(word, &["subject", "any-pod", "world"]);
    match near {
        _ if word.is_empty() => format!("an endpoint is empty: {FORMS}"),
        Some(near) => format!("`{word}` is no endpoint: did you mean `{near}`?"),
        None => format!("`{word}` is no endpoint: {FORMS}"),
    }
}

const FORMS: &str =
    "write ns/pod, ns/deploy/name, ns/svc/name, an address, a CIDR, node/name, subject, any-pod or world";

const KINDS: [&str; 8] = ["svc", "deploy", "sts", "ds", "job", "cronjob", "rs", "pod"];

fn three_parts(namespace: &str, kind: &str, name: &str) -> Result<Party, String> {
    match kind {
        "svc" | "service" => return Ok(Party::Service(object(namespace, "a Service's name", name)?)),
        "pod" => return Ok(Party::Pod(object(namespace, "a pod's name", name)?)),
        _ => {}
    }
    if let Some(workload) = WorkloadKind::from_short(kind) {
        return Ok(Party::Workload(workload, object(namespace, "a workload's name", name)?));
    }
    Err(match closest(kind, &KINDS) {
        Some(near) => format!("`{kind}` is no kind here: did you mean `{near}`?"),
        None => format!("`{kind}` is no kind here: known are {}", KINDS.join(", ")),
    })
}

fn object(namespace: &str, what: &str, name: &str) -> Result<ObjectName, String> {
    let namespace_ok = namespace.len() <= 63 && is_label(namespace);
    if !namespace_ok {
        return Err(format!("`{namespace}` is no namespace's name: lower-case letters, digits and `-`, at most 63"));
    }
    Ok(ObjectName::new(namespace, subdomain(what, name)?))
}

/// RFC 1123 as apimachinery has it (`IsDNS1123Subdomain`).
fn subdomain(what: &str, name: &str) -> Result<String, String> {
    if name.len() <= 253 && name.split('.').all(is_label) {
        Ok(name.to_owned())
    } else {
        Err(format!("`{name}` is not {what}: lower-case letters, digits, `-` and `.`, at most 253"))
    }
}

/// Reads a CIDR. Host bits are refused: newer API servers refuse them, and older ones mask them silently.
pub fn parse_block(text: &str) -> Result<IpNet, String> {
    let net: IpNet = text.parse().map_err(|_| format!("`{text}` is no CIDR: write for example 192.0.2.0/24"))?;
    if net.trunc() == net { Ok(net) } else { Err(format!("`{text}` has host bits set: write {}", net.trunc())) }
}

/// A party in the words of the grammar; what the grammar cannot say is named in plain words.
impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subject => f.write_str("subject"),
            Self::Service(name) => write!(f, "{}/svc/{}", name.namespace, name.name),
            Self::Workload(kind, name) => write!(f, "{}/{}/{}", name.namespace, kind.short(), name.name),
            // In a namespace called `node` the short form would be a node.
            Self::Pod(name) if name.namespace == "node" => write!(f, "{}/pod/{}", name.namespace, name.name),
            Self::Pod(name) => write!(f, "{name}"),
            Self::Selector { namespace, labels } => {
                let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
                write!(f, "pods {} in {}", labels.join(","), namespace.as_deref().unwrap_or("the subject's namespace"))
            }
            Self::Host { host, .. } => f.write_str(host),
            Self::Address(address) => write!(f, "{address}"),
            Self::Block(net) => write!(f, "{net}"),
            Self::Node(name) => write!(f, "node/{name}"),
            Self::AnyPod => f.write_str("any-pod"),
            Self::World => f.write_str("world"),
            Self::ClusterDns => f.write_str("the cluster's DNS"),
            Self::IngressController(Some(host)) => write!(f, "the ingress controller of {host}"),
            Self::IngressController(None) => f.write_str("the ingress controller"),
            Self::Stranger => f.write_str("the stranger"),
            Self::Unknown { peer } => write!(f, "unknown (peers.{peer})"),
        }
    }
}

#[cfg(test)]
mod tests;
