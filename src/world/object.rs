//! Documents → API objects: what every object has, before anybody looks at its kind.

use crate::source::{Document, InputError, Node, Place, Value};

/// An API object, not yet lowered.
#[derive(Debug, Clone)]
pub struct Object {
    /// `group/version`, or `v1`.
    pub api_version: String,
    /// The kind.
    pub kind: String,
    /// Its namespace as written.
    pub namespace: Option<String>,
    /// Its name; `generateName` with a `*` when it has none yet.
    pub name: String,
    /// The object.
    pub document: Document,
}

impl Object {
    /// The API group; empty for the core group.
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// Where it begins.
    pub fn place(&self) -> Place {
        self.document.place(&self.document.root)
    }

    /// `kind/namespace/name`, for messages.
    pub fn label(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{}/{namespace}/{}", self.kind, self.name),
            None => format!("{}/{}", self.kind, self.name),
        }
    }

    /// The place of a path such as `/spec/ingress/0`, or of the object.
    pub fn place_of(&self, path: &str) -> Place {
        self.document.place(self.document.root.at_path(path).unwrap_or(&self.document.root))
    }
}

/// The API objects of a document; `List` kinds are opened. What is no API object is reported.
pub fn objects(document: Document, problems: &mut Vec<InputError>) -> Vec<Object> {
    let mut found = Vec::new();
    let mut open = vec![document];
    while let Some(document) = open.pop() {
        let text = |key: &str| document.root.get(key).and_then(Node::text).map(str::to_owned);
        let (Some(api_version), Some(kind)) = (text("apiVersion"), text("kind")) else {
            let message = "not a Kubernetes object: `apiVersion` and `kind` are needed; it was skipped";
            problems.push(InputError::new(document.place(&document.root), message));
            continue;
        };
        let is_list = kind.ends_with("List")
            && matches!(document.root.get("items"), Some(Node { value: Value::Seq(_) | Value::Null, .. }));
        if is_list {
            let file = document.file;
            let Value::Map(entries) = document.root.value else {
                continue;
            };
            let items = entries.into_iter().find(|(key, _)| &*key.text == "items").map(|(_, node)| node.value);
            if let Some(Value::Seq(items)) = items {
                open.extend(items.into_iter().rev().map(|root| Document { file: file.clone(), root }));
            }
            continue;
        }
        let meta = |key: &str| {
            document.root.at_path("/metadata").and_then(|m| m.get(key)).and_then(Node::text).map(str::to_owned)
        };
        let Some(name) = meta("name").or_else(|| meta("generateName").map(|prefix| format!("{prefix}*"))) else {
            let message = format!("this {kind} has no metadata.name that can be read; it was skipped");
            problems.push(InputError::new(document.place(&document.root), message));
            continue;
        };
        found.push(Object { api_version, kind, namespace: meta("namespace"), name, document });
    }
    found
}
