//! API objects → what the doctor needs of them: configs in ConfigMaps and Secrets, secrets as [`Presence`], pods' probes, Ingress paths, SQL.
//!
//! Every object is reduced as it passes by; no text and no tree of a Secret is kept.

mod authelia;
mod mas;
mod objects;
mod sql;
mod synapse;

use std::hash::RandomState;
use std::sync::Arc;

pub use authelia::{AutheliaClient, AutheliaFacts};
pub use mas::{ListenerFacts, MasFacts, ProviderFacts};
pub use objects::{IngressPath, MasPod, Pooler, ProbeFacts};
pub use sql::SqlFacts;
pub use synapse::SynapseFacts;

use super::Presence;
use super::presence::{Flaw, base64};
use super::tree::Layers;
pub use super::tree::{Given, Said};
use crate::finding::Finding;
use crate::guide::configs::{self, ConfigOf, MAX_TEXT};
use crate::guide::{MasConfig, mas_config};
use crate::source::{Document, InputError, Node, Place, Value};
use crate::world::Object;

/// What one secret of the guide is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// MAS's encryption key.
    Encryption,
    /// What Synapse and MAS share.
    Shared,
    /// The database's password.
    Database,
    /// The client secret at the identity provider.
    Client,
    /// A key that signs tokens.
    Signing,
}

impl Role {
    /// The key in the guide's Secret.
    pub fn key(self) -> &'static str {
        match self {
            Self::Encryption => "encryption-secret",
            Self::Shared => "synapse-shared-secret",
            Self::Database => "database-password",
            Self::Client => "oidc-client-secret",
            Self::Signing => "signing-key",
        }
    }

    /// By the key of a Secret: the guide's, and those of the charts in use (facts/mas-edges.md §5).
    pub fn of_key(key: &str) -> Option<Self> {
        let key = key.to_ascii_lowercase().replace(['_', '.'], "-");
        Some(match key.as_str() {
            "encryption-secret" | "encryption-key" | "mas-encryption-secret" => Self::Encryption,
            "synapse-shared-secret" | "mas-synapse-shared-secret" => Self::Shared,
            "database-password" | "postgres-matrix-authentication-service-password" => Self::Database,
            "oidc-client-secret" | "upstream-authelia-client-secret" => Self::Client,
            "signing-key" | "signing-key-rsa" | "mas-rsa-private-key" => Self::Signing,
            _ => return None,
        })
    }
}

/// One entry of a Secret that the guide asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// What it is for.
    pub role: Role,
    /// `Secret/namespace/name`.
    pub object: String,
    /// The key.
    pub key: String,
    /// What is left of the value; `None` when it is encrypted or templated.
    pub presence: Option<Presence>,
    /// Where.
    pub place: Place,
}

/// A Secret of type `kubernetes.io/tls`, or one that should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSecret {
    /// Its namespace, if it states one.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: String,
    /// `tls.crt` and `tls.key` are both there and not empty.
    pub whole: bool,
    /// Where.
    pub place: Place,
}

/// A MAS config found in an object, typed and reduced.
#[derive(Debug)]
pub struct FoundMas {
    /// `ConfigMap/namespace/name`.
    pub object: String,
    /// What edges depend on, or why it cannot be read.
    pub config: Result<(MasConfig, Vec<Finding>), InputError>,
    /// What only the doctor asks for.
    pub facts: MasFacts,
}

/// Everything found in the objects.
#[derive(Debug, Default)]
pub struct Found {
    /// MAS configs.
    pub mas: Vec<FoundMas>,
    /// Synapse configs, one entry a file.
    pub synapse: Vec<SynapseFacts>,
    /// Authelia configs.
    pub authelia: Vec<AutheliaFacts>,
    /// The guide's secrets.
    pub kept: Vec<Kept>,
    /// Secrets seen, of any kind.
    pub secrets: usize,
    /// TLS Secrets, and whatever is named by an Ingress as one.
    pub tls: Vec<TlsSecret>,
    /// SQL that creates MAS's database, and operators' objects that do.
    pub sql: Vec<SqlFacts>,
    /// Connection poolers.
    pub poolers: Vec<Pooler>,
    /// Pods and templates that run MAS.
    pub pods: Vec<MasPod>,
    /// Paths of Ingresses and routes.
    pub paths: Vec<IngressPath>,
}

/// Takes objects as they pass by.
#[derive(Debug)]
pub struct Collector {
    /// The key under which secrets are compared: random, and gone with the process.
    seal: RandomState,
    found: Found,
}

impl Collector {
    /// A collector that has seen nothing. The key must be new in each run.
    pub fn new(seal: RandomState) -> Self {
        Self { seal, found: Found::default() }
    }

    /// Looks at one object.
    pub fn add(&mut self, object: &Object) {
        match (object.group(), object.kind.as_str()) {
            ("", "ConfigMap") => self.config_map(object),
            ("", "Secret") => self.secret(object),
            _ => objects::add(&mut self.found, object),
        }
    }

    /// Reduces MAS's config given as files.
    pub fn mas_config(&self, documents: &[Document]) -> MasFacts {
        MasFacts::of(&Layers::new(documents), &self.seal)
    }

    /// What was found.
    pub fn finish(self) -> Found {
        self.found
    }

    fn config_map(&mut self, object: &Object) {
        let texts = entries(object, "data").filter_map(|(key, node)| Some((key.to_owned(), node.text()?.to_owned())));
        let texts: Vec<_> = texts.collect();
        self.texts(object, &texts);
    }

    fn secret(&mut self, object: &Object) {
        self.found.secrets += 1;
        let mut texts = Vec::new();
        let mut filled = Vec::new();
        for (section, encoded) in [("data", true), ("stringData", false)] {
            for (key, node) in entries(object, section) {
                let value = value(node, encoded);
                if matches!(&value, Ok(Some(text)) if !text.trim().is_empty()) || matches!(&value, Ok(None)) {
                    filled.push(key.to_owned());
                }
                self.keep(object, key, node, &value);
                if let Ok(Some(text)) = value {
                    texts.push((key.to_owned(), text));
                }
            }
        }
        let root = &object.document.root;
        let kind = root.get("type").and_then(Node::text).unwrap_or("Opaque").to_owned();
        let whole = ["tls.crt", "tls.key"].iter().all(|key| filled.iter().any(|filled| filled == key));
        let (namespace, name) = (object.namespace.clone(), object.name.clone());
        self.found.tls.push(TlsSecret { namespace, name, kind, whole, place: object.place() });
        self.texts(object, &texts);
    }

    fn keep(&mut self, object: &Object, key: &str, node: &Node, value: &Result<Option<String>, Flaw>) {
        let Some(role) = Role::of_key(key) else { return };
        let presence = match value {
            Ok(Some(text)) => Some(Presence::of(text, &self.seal)),
            Ok(None) => None,
            Err(flaw) => Some(Presence::broken(*flaw)),
        };
        let (object, place) = (object.label(), object.document.place(node));
        self.found.kept.push(Kept { role, object, key: key.to_owned(), presence, place });
    }

    /// Looks into the texts of one object. They end here.
    fn texts(&mut self, object: &Object, texts: &[(String, String)]) {
        let label = object.label();
        let mut mas = Vec::new();
        for (key, text) in texts {
            let name: Arc<str> = Arc::from(format!("{label}/{key}"));
            if text.len() <= MAX_TEXT {
                self.found.sql.extend(sql::of_text(&name, text));
            }
            for (of, document) in configs::in_text(&name, text) {
                let layers = Layers::new(std::slice::from_ref(&document));
                match of {
                    ConfigOf::Mas => mas.push(document),
                    ConfigOf::Synapse => self.found.synapse.push(SynapseFacts::of(&layers, &name, &self.seal)),
                    ConfigOf::Authelia => self.found.authelia.push(AutheliaFacts::of(&layers, &name, &self.seal)),
                }
            }
        }
        if !mas.is_empty() {
            let facts = MasFacts::of(&Layers::new(&mas), &self.seal);
            self.found.mas.push(FoundMas { object: label, config: mas_config::read(&mas), facts });
        }
    }
}

/// The entries of a mapping of an object.
fn entries<'a>(object: &'a Object, section: &str) -> impl Iterator<Item = (&'a str, &'a Node)> {
    let section = object.document.root.get(section);
    section.map(Node::entries).unwrap_or_default().iter().map(|(key, node)| (&*key.text, node))
}

/// The text of an entry of a Secret; `Ok(None)` when it is encrypted or templated.
fn value(node: &Node, encoded: bool) -> Result<Option<String>, Flaw> {
    let text = match &node.value {
        Value::Text(text) => text.to_string(),
        Value::Opaque(_) => return Ok(None),
        Value::Null => String::new(),
        Value::Int(number) if !encoded => number.to_string(),
        _ => return Err(Flaw::NotText),
    };
    if !encoded {
        return Ok(Some(text));
    }
    let bytes = base64(&text).ok_or(Flaw::NotBase64)?;
    String::from_utf8(bytes).map(Some).map_err(|_| Flaw::NotText)
}
