//! What every API object has, and how one is read.

use serde::Deserialize;
use serde::de::{self, DeserializeOwned, Deserializer, Visitor};

use super::super::{Labels, Object, ObjectName, PortRef, Protocol};
use super::Lowered;
use crate::finding::{Code, Finding};
use crate::source::de::{UnknownKeys, read};
use crate::source::{Node, Value};

/// `metadata`, as far as it matters.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct RawMeta {
    pub(super) labels: Labels,
    pub(super) owner_references: Vec<RawOwner>,
    pub(super) deletion_timestamp: Option<String>,
}

/// An entry of `metadata.ownerReferences`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct RawOwner {
    pub(super) kind: String,
    pub(super) name: String,
    #[serde(default)]
    controller: bool,
}

impl RawMeta {
    /// The owner that manages the object: the one marked as controller (at most one may be), or the only one.
    pub(super) fn owner(&mut self) -> Option<RawOwner> {
        let at = self.owner_references.iter().position(|owner| owner.controller);
        let at = at.or((self.owner_references.len() == 1).then_some(0))?;
        Some(self.owner_references.swap_remove(at))
    }
}

/// Where labels stand in the kinds that we read. A Service's `spec.selector` is a label map itself.
const LABELS: &[&str] = &[
    "/metadata/labels",
    "/spec/selector/matchLabels",
    "/spec/template/metadata/labels",
    "/spec/jobTemplate/spec/template/metadata/labels",
];

/// Reads an object's fields.
pub(super) fn fields<T: DeserializeOwned>(object: &Object) -> Lowered<T> {
    let root = &object.document.root;
    read(&object.document, root, UnknownKeys::Ignore, &mut Vec::new()).map_err(|error| {
        let selector = (object.kind == "Service").then_some("/spec/selector");
        let not_text = LABELS.iter().copied().chain(selector).find_map(|path| {
            let labels = root.at_path(path)?;
            labels.entries().iter().find(|(_, value)| !matches!(value.value, Value::Text(_)))
        });
        match not_text {
            Some((key, value)) => Box::new(label_not_text(object, &key.text, value)),
            None => Box::new(broken(object, error.message).at(error.place)),
        }
    })
}

fn label_not_text(object: &Object, key: &str, value: &Node) -> Finding {
    let message = format!("the label `{key}` is {}, not text, so the object was left out", value.kind());
    let fix = match value.value {
        Value::Opaque(_) => "give the rendered object",
        _ => "put the value in quotes",
    };
    Finding::new(Code::LabelNotText, object.label(), message, fix).at(object.document.place(value))
}

/// Leaves an object out.
pub(super) fn refuse<T>(object: &Object, message: &str) -> Lowered<T> {
    Err(Box::new(broken(object, message)))
}

fn broken(object: &Object, message: impl Into<String>) -> Finding {
    let fix = "correct the object; until then nothing is known of it";
    Finding::new(Code::BrokenObject, object.label(), message, fix).at(object.place())
}

/// Namespace and name of a namespaced object. No namespace means `default`, as for `kubectl apply` without `-n`.
pub(super) fn name_of(object: &Object) -> Lowered<ObjectName> {
    let namespace = match (&object.namespace, object.document.root.at_path("/metadata/namespace")) {
        (Some(namespace), _) if !namespace.is_empty() => namespace.clone(),
        (Some(_), _) | (None, None | Some(Node { value: Value::Null, .. })) => "default".to_owned(),
        // A variable or a number: guessing `default` would put the object where it is not.
        (None, Some(node)) => {
            let message = format!("metadata.namespace is {}, so it is not known where the object lives", node.kind());
            return Err(Box::new(broken(object, message).at(object.document.place(node))));
        }
    };
    Ok(ObjectName { namespace, name: object.name.clone() })
}

/// A protocol, TCP when left out.
pub(super) fn protocol(object: &Object, text: Option<&str>) -> Lowered<Protocol> {
    match text {
        None | Some("") => Ok(Protocol::Tcp),
        Some(text) => {
            let protocol = Protocol::parse(text);
            protocol.map_or_else(|| refuse(object, "a port's protocol is none of TCP, UDP and SCTP"), Ok)
        }
    }
}

/// `IntOrString`: a port by number or name. A name needs a letter (API validation), so digits in quotes are refused.
#[derive(Debug, Clone)]
pub(super) struct RawPortRef(pub(super) PortRef);

impl<'de> Deserialize<'de> for RawPortRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PortVisitor;
        impl Visitor<'_> for PortVisitor {
            type Value = RawPortRef;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a port number from 1 to 65535 or a port name")
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<RawPortRef, E> {
                match u16::try_from(number) {
                    Ok(number) if number > 0 => Ok(RawPortRef(PortRef::Number(number))),
                    _ => Err(E::invalid_value(de::Unexpected::Signed(number), &self)),
                }
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<RawPortRef, E> {
                if name.contains(|c: char| c.is_ascii_alphabetic()) {
                    Ok(RawPortRef(PortRef::Name(name.to_owned())))
                } else {
                    Err(E::custom("a port number stands in quotes here: remove them"))
                }
            }
        }
        deserializer.deserialize_any(PortVisitor)
    }
}
