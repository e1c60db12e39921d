//! The guide's own mistakes, as far as files show them (facts: Synapse's upgrade notes, MAS's configuration reference and docs/setup).
//!
//! Configs are taken from `--mas-config` and out of ConfigMaps, never from Secrets. Each is looked at as it passes, and only
//! what a comparison needs is kept: addresses, ids, ports. No secret's value is kept or printed.

mod authelia;
mod mas;
mod probes;

use std::sync::Arc;

use self::authelia::Client;
use self::mas::Mas;
use self::probes::Probe;
use super::configs::{self, ConfigOf};
use crate::finding::{Code, Finding};
use crate::source::{Document, Node, Place, Value};
use crate::world::Object;

/// Takes configs and objects as they are read.
#[derive(Debug, Default)]
pub struct Collector {
    mas: Vec<Mas>,
    clients: Vec<Client>,
    probes: Vec<Probe>,
    findings: Vec<Finding>,
}

impl Collector {
    /// MAS's config out of its own files, in MAS's order.
    pub fn mas_config(&mut self, documents: &[Document]) {
        let configs: Vec<Config<'_>> = documents.iter().map(|document| Config { document, held: None }).collect();
        self.mas.push(mas::look(&configs, &mut self.findings));
    }

    /// One object: a ConfigMap that carries a config, or what runs MAS. All others are passed over.
    pub fn add(&mut self, object: &Object) {
        match (object.group(), object.kind.as_str()) {
            ("", "ConfigMap") => self.config_map(object),
            ("", "Pod") | ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet") => {
                self.probes.extend(probes::of(object));
            }
            _ => {}
        }
    }

    /// What is wrong. `public_host` is the guide's `mas.ingress.host`, for when no config tells MAS's address.
    pub fn finish(mut self, public_host: Option<&str>) -> Vec<Finding> {
        let told: Vec<String> = self.mas.iter().filter_map(|mas| mas.public_base.clone()).collect();
        let fallback = public_host.filter(|_| told.is_empty()).map(|host| format!("https://{host}"));
        let bases: Vec<String> = told.into_iter().chain(fallback).collect();
        self.findings.extend(self.clients.iter().filter_map(|client| client.check(&self.mas, &bases)));
        self.findings.extend(self.probes.iter().filter_map(|probe| probe.check(&self.mas)));
        self.findings.sort();
        self.findings.dedup();
        self.findings
    }

    fn config_map(&mut self, object: &Object) {
        let Some(data) = object.document.root.get("data") else { return };
        for (key, node) in data.entries() {
            if matches!(&node.value, Value::Opaque(why) if why.contains("VARIABLE"))
                && is_of_mas(&object.name, &key.text)
            {
                // A text with a variable in it is not kept, so all that can be told is whose it is.
                let message =
                    format!("`{}` holds a variable, which MAS does not expand; the rest of it was not read", key.text);
                let place = object.document.place(node);
                let finding = Finding::new(Code::VariableNotExpanded, object.label(), message, mas::NO_VARIABLES);
                self.findings.push(finding.at(place));
                continue;
            }
            let Some(text) = node.text() else { continue };
            let held = Held { object: object.label(), key: key.text.to_string(), place: object.document.place(node) };
            for (of, document) in &configs::in_text(&Arc::from(&*key.text), text) {
                self.config(*of, &Config { document, held: Some(&held) });
            }
        }
    }

    fn config(&mut self, of: ConfigOf, config: &Config<'_>) {
        match of {
            ConfigOf::Mas => self.mas.push(mas::look(std::slice::from_ref(config), &mut self.findings)),
            ConfigOf::Synapse => synapse(config, &mut self.findings),
            ConfigOf::Authelia => self.clients.extend(authelia::clients(config)),
        }
    }
}

/// Whether the names of a ConfigMap and its key say that it is MAS's config, which is YAML.
fn is_of_mas(name: &str, key: &str) -> bool {
    let names_mas =
        |text: &str| text.contains("matrix-authentication") || text.split(['-', '.', '_']).any(|w| w == "mas");
    matches!(key.rsplit('.').next(), Some("yaml" | "yml")) && (names_mas(name) || names_mas(key))
}

/// One config and where it stands.
struct Config<'c> {
    document: &'c Document,
    /// The ConfigMap that holds it; `None` for a file of its own.
    held: Option<&'c Held>,
}

/// A value of a ConfigMap.
struct Held {
    object: String,
    key: String,
    place: Place,
}

impl Config<'_> {
    /// The object for a finding: the ConfigMap, or the key in MAS's own file.
    fn object(&self, path: &str) -> String {
        self.held.map_or_else(|| path.to_owned(), |held| held.object.clone())
    }

    /// Where a node stands. Inside a ConfigMap lines are counted within its value, so the message has to say them.
    fn place(&self, node: &Node) -> Place {
        self.held.map_or_else(|| self.document.place(node), |held| held.place.clone())
    }

    /// A key's name with its line, where the place cannot say it.
    fn name(&self, path: &str, node: &Node) -> String {
        match self.held {
            Some(held) => format!("`{path}` (line {} of {})", node.at.line, held.key),
            None => format!("`{path}`"),
        }
    }

    fn finding(&self, code: Code, path: &str, node: &Node, what: &str, fix: &str) -> Finding {
        let message = format!("{} {what}", self.name(path, node));
        Finding::new(code, self.object(path), message, fix).at(self.place(node))
    }
}

/// Synapse's `homeserver.yaml`.
fn synapse(config: &Config<'_>, findings: &mut Vec<Finding>) {
    let root = &config.document.root;
    let old = root.at_path("/experimental_features/msc3861");
    if let Some(node) = old.filter(|node| !matches!(&node.value, Value::Null) && !is_empty_map(node)) {
        // Synapse docs/upgrade.md, "Upgrading to v1.157.0".
        let what = "is the old way to delegate to MAS: Synapse 1.157.0 and later refuse to start with it";
        let fix = "remove it, and write `matrix_authentication_service: {enabled: true, endpoint: \"http://<MAS's Service>:8080/\", secret_path: <file>}`";
        findings.push(config.finding(Code::Msc3861Used, "experimental_features.msc3861", node, what, fix));
    }
    for path in ["matrix_authentication_service/secret", "experimental_features/msc3861/client_secret"] {
        placeholder(config, path, findings);
    }
}

fn is_empty_map(node: &Node) -> bool {
    matches!(&node.value, Value::Map(entries) if entries.is_empty())
}

/// Reports a secret that is none. The value is looked at and never kept.
fn placeholder(config: &Config<'_>, path: &str, findings: &mut Vec<Finding>) {
    let Some(node) = config.document.root.at_path(path) else { return };
    let what = match &node.value {
        Value::Null => "is empty",
        Value::Text(text) if text.trim().is_empty() => "is empty",
        Value::Text(text) if is_placeholder(text) => "is still a placeholder",
        _ => return,
    };
    let name = path.replace('/', ".");
    let fix = "fill it in from a Secret; where there is a `_file` or `_path` key for it, use that";
    findings.push(config.finding(Code::PlaceholderSecret, &name, node, what, fix));
}

/// Words that stand where a secret should: the guide's `<secret1>`, and what charts ship.
fn is_placeholder(text: &str) -> bool {
    let word: String = text.trim().to_ascii_lowercase().chars().filter(|c| !matches!(c, '-' | '_' | ' ')).collect();
    let bracketed = word.starts_with('<') && word.ends_with('>');
    let within = ["changeme", "replaceme", "yoursecret", "placeholder"];
    let whole = ["secret", "password", "todo", "tbd", "xxx", "xxxx", "example", "test"];
    bracketed || within.iter().any(|part| word.contains(part)) || whole.contains(&word.as_str())
}

#[cfg(test)]
mod tests;
