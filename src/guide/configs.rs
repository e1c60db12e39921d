//! Which texts in objects are configs of MAS, Synapse or the identity provider: told by their content, whatever the names of object and key.

use std::sync::Arc;

use crate::source::{Document, Node, Value, yaml};

/// Largest text that is looked into: the API server takes 1 MiB for a whole ConfigMap or Secret.
pub const MAX_TEXT: usize = 1 << 20;

/// Whose config it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigOf {
    /// MAS's `config.yaml`.
    Mas,
    /// Synapse's `homeserver.yaml`.
    Synapse,
    /// Authelia's `configuration.yml`.
    Authelia,
}

/// Words of which every such config has one, so that not every dashboard of a cluster is parsed.
const WORDS: [&str; 7] = [
    "matrix",
    "public_base",
    "upstream_oauth2",
    "server_name",
    "experimental_features",
    "password_config",
    "identity_providers",
];

/// Keys at the root by which a file of Synapse's config is told; `server_name` stands in the first of several.
const OF_SYNAPSE: [&str; 3] = ["matrix_authentication_service", "experimental_features", "password_config"];

/// The configs in one value of an object. What is no YAML is somebody else's text, or a template of one.
pub fn in_text(name: &Arc<str>, text: &str) -> Vec<(ConfigOf, Document)> {
    if text.len() > MAX_TEXT || !WORDS.iter().any(|word| text.contains(word)) {
        return Vec::new();
    }
    let (documents, None) = yaml::parse(name, text) else { return Vec::new() };
    documents.into_iter().filter_map(|document| Some((config_of(&document.root)?, document))).collect()
}

fn config_of(root: &Node) -> Option<ConfigOf> {
    let has = |path: &str| root.at_path(path).is_some_and(|node| node.value != Value::Null);
    let filled = |key: &&str| match root.get(key).map(|node| &node.value) {
        Some(Value::Map(entries)) => !entries.is_empty(),
        Some(Value::Seq(items)) => !items.is_empty(),
        Some(Value::Null | Value::Bool(false)) | None => false,
        Some(_) => true,
    };
    if has("apiVersion") && has("kind") {
        return None;
    }
    // MAS's section `matrix` beside one that Synapse's config does not have.
    let matrix = ["homeserver", "endpoint", "secret", "secret_file"].iter().any(|key| has(&format!("matrix/{key}")));
    let of_mas = matrix || has("upstream_oauth2/providers") || has("http/public_base");
    if of_mas && ["http", "secrets", "upstream_oauth2"].iter().any(|key| has(key)) {
        Some(ConfigOf::Mas)
    } else if has("server_name") || OF_SYNAPSE.iter().any(filled) {
        Some(ConfigOf::Synapse)
    } else {
        has("identity_providers/oidc").then_some(ConfigOf::Authelia)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &[ConfigOf]) {
        let found: Vec<ConfigOf> = in_text(&"f".into(), text).into_iter().map(|(of, _)| of).collect();
        assert_eq!(found, expect, "{text}");
    }

    #[test]
    fn configs_are_told_by_their_keys() {
        check("http: {public_base: https://a}\n", &[ConfigOf::Mas]);
        check("matrix: {endpoint: http://s}\nsecrets: {}\n", &[ConfigOf::Mas]);
        check("upstream_oauth2: {providers: []}\n", &[ConfigOf::Mas]);
        check("server_name: example.org\n", &[ConfigOf::Synapse]);
        check("matrix_authentication_service: {enabled: true}\n", &[ConfigOf::Synapse]);
        check("experimental_features: {}\n", &[]);
        check("identity_providers: {oidc: {clients: []}}\n", &[ConfigOf::Authelia]);
        check("server_name: a\n---\nhttp: {public_base: b}\n", &[ConfigOf::Synapse, ConfigOf::Mas]);
        // Other programs have such keys too.
        check("http: {port: 80}\ndatabase: {uri: x}\nnote: matrix\n", &[]);
        check("matrix: {os: [linux]}\nhttp: {}\n", &[]);
        check("apiVersion: v1\nkind: ConfigMap\nserver_name: x\n", &[]);
        check("server_name: [\n", &[]);
        check(&format!("server_name: x\nnote: {}\n", "x".repeat(MAX_TEXT)), &[]);
    }
}
