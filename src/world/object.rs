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
    let mut open = vec![(document, None)];
    while let Some((document, listed)) = open.pop() {
        let text = |key: &str| document.root.get(key).and_then(Node::text).map(str::to_owned);
        let listed: Option<(String, String)> = listed;
        let (Some(api_version), Some(kind)) = (
            text("apiVersion").or_else(|| listed.as_ref().map(|(api_version, _)| api_version.clone())),
            text("kind").or_else(|| listed.as_ref().map(|(_, kind)| kind.clone())),
        ) else {
            let message = "not a Kubernetes object: `apiVersion` and `kind` are needed; it was skipped";
            problems.push(InputError::new(document.place(&document.root), message));
            continue;
        };
        if is_list(&kind, &document.root) {
            open.extend(items(api_version, &kind, document));
            continue;
        }
        let meta = |key: &str| {
            document.root.at_path("/metadata").and_then(|m| m.get(key)).and_then(Node::text).map(str::to_owned)
        };
        let name = meta("name").or_else(|| meta("generateName").map(|prefix| format!("{prefix}*")));
        // A policy counts by what it selects: it is there under whatever name stands for `${NAME}`.
        let name =
            name.or_else(|| (kind.ends_with("Policy") && has_hidden_name(&document.root)).then(|| "*".to_owned()));
        // A kustomization is a build file; it needs no name.
        let name = name.or_else(|| api_version.starts_with(KUSTOMIZE).then(|| "kustomization".to_owned()));
        let Some(name) = name else {
            let message = format!("this {kind} has no metadata.name that can be read; it was skipped");
            problems.push(InputError::new(document.place(&document.root), message));
            continue;
        };
        found.push(Object { api_version, kind, namespace: meta("namespace"), name, document });
    }
    found
}

const KUSTOMIZE: &str = "kustomize.config.k8s.io/";

fn has_hidden_name(root: &Node) -> bool {
    matches!(root.at_path("/metadata/name"), Some(Node { value: Value::Opaque(_), .. }))
}

fn is_list(kind: &str, root: &Node) -> bool {
    kind.ends_with("List") && matches!(root.get("items"), Some(Node { value: Value::Seq(_) | Value::Null, .. }))
}

/// The items of a list, last first, each with the `apiVersion` and `kind` it has when it states none:
/// the API server leaves them out of the items of a `PodList`, and only there they follow from the list.
fn items(api_version: String, kind: &str, list: Document) -> Vec<(Document, Option<(String, String)>)> {
    let item_kind = kind.strip_suffix("List").filter(|kind| !kind.is_empty());
    let listed = item_kind.map(|kind| (api_version, kind.to_owned()));
    let (Value::Map(entries), file) = (list.root.value, list.file) else {
        return Vec::new();
    };
    let items = entries.into_iter().find(|(key, _)| &*key.text == "items").map(|(_, node)| node.value);
    let Some(Value::Seq(items)) = items else {
        return Vec::new();
    };
    items.into_iter().rev().map(|root| (Document { file: file.clone(), root }, listed.clone())).collect()
}
