//! MAS's own config: its secrets, its database URI, its providers' ids, where it listens.

use super::{Config, placeholder};
use crate::finding::{Code, Finding};
use crate::guide::url::split_port;
use crate::guide::{DatabaseUri, Url, is_loopback};
use crate::source::{Node, Value};

/// What to do about a variable.
pub(super) const NO_VARIABLES: &str =
    "use the `*_file` keys or a second config file from a Secret, unless something renders this file first";

/// What comparisons need of one config. Nothing of it is secret.
#[derive(Debug, Default)]
pub(super) struct Mas {
    /// `http.public_base` without a slash at the end.
    pub(super) public_base: Option<String>,
    /// `id` and `client_id` of each provider.
    pub(super) providers: Vec<(Option<String>, Option<String>)>,
    /// `None` when the config does not say, or hides it.
    pub(super) listeners: Option<Vec<Listener>>,
    /// It hides its listeners, or some of them.
    pub(super) hides_listeners: bool,
}

/// One address on which MAS listens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listener {
    /// `None` for a socket or an inherited descriptor.
    pub(super) port: Option<u16>,
    pub(super) loopback: bool,
    /// It serves the resource `health`.
    pub(super) health: bool,
}

/// Looks at one config, given as its layers.
pub(super) fn look(layers: &[Config<'_>], findings: &mut Vec<Finding>) -> Mas {
    let mut mas = Mas::default();
    for config in layers {
        let root = &config.document.root;
        secrets(config, findings);
        variables(config, findings);
        database(config, findings);
        if let Some(Ok(url)) = root.at_path("/http/public_base").and_then(Node::text).map(Url::parse) {
            mas.public_base = Some(url.as_str().trim_end_matches('/').to_owned());
        }
        let providers = root.at_path("/upstream_oauth2/providers").map_or(&[][..], Node::items);
        for (index, node) in providers.iter().enumerate() {
            let text = |key: &str| node.get(key).and_then(Node::text).map(str::to_owned);
            mas.providers.push((text("id").filter(|id| is_ulid(id)), text("client_id")));
            if let Some(id) = node.get("id").filter(|id| id.text().is_some_and(|id| !is_ulid(id))) {
                let path = format!("upstream_oauth2.providers[{index}].id");
                let what = "is no ULID: MAS refuses the whole config";
                let fix = "write a ULID (26 characters) and keep it for ever: it is part of the redirect address";
                findings.push(config.finding(Code::ProviderIdInvalid, &path, id, what, fix));
            }
        }
        match root.at_path("/http/listeners") {
            Some(Node { value: Value::Seq(items), .. }) => {
                let found = items.iter().flat_map(|item| listeners(item, &mut mas.hides_listeners)).collect::<Vec<_>>();
                mas.listeners.get_or_insert_default().extend(found);
            }
            Some(Node { value: Value::Null, .. }) | None => {
                mas.hides_listeners |= root.get("http").is_some_and(|http| matches!(http.value, Value::Opaque(_)));
            }
            Some(_) => mas.hides_listeners = true,
        }
    }
    signing_key(layers, findings);
    mas
}

/// `secrets` without a key in any layer. A config without the section may have it in a file that was not given.
fn signing_key(layers: &[Config<'_>], findings: &mut Vec<Finding>) {
    let mut sections = layers.iter().filter_map(|config| Some((config, config.document.root.get("secrets")?)));
    let Some((config, node)) = sections.clone().find(|(_, node)| matches!(node.value, Value::Map(_))) else { return };
    let there = |node: &Node| match &node.value {
        Value::Null => false,
        Value::Seq(items) => !items.is_empty(),
        _ => true,
    };
    let has_key = |section: &Node| {
        // A hidden section may hold anything.
        matches!(section.value, Value::Opaque(_))
            || ["keys", "keys_dir"].iter().any(|key| section.get(key).is_some_and(there))
    };
    if !sections.any(|(_, section)| has_key(section)) {
        let what = "has neither `keys` nor `keys_dir`: MAS has nothing to sign tokens with";
        let fix = "make a key with `mas-cli config generate` and give it as `secrets.keys` or `secrets.keys_dir`";
        findings.push(config.finding(Code::SigningKeyMissing, "secrets", node, what, fix));
    }
}

fn secrets(config: &Config<'_>, findings: &mut Vec<Finding>) {
    for path in ["secrets/encryption", "matrix/secret", "database/password", "email/password"] {
        placeholder(config, path, findings);
    }
    let lists = [("upstream_oauth2/providers", "client_secret"), ("clients", "client_secret"), ("secrets/keys", "key")];
    for (list, key) in lists {
        let count = config.document.root.at_path(list).map_or(0, |node| node.items().len());
        for index in 0..count {
            placeholder(config, &format!("{list}/{index}/{key}"), findings);
        }
    }
}

/// MAS reads `${VAR}` as it stands (figment has no interpolation).
fn variables(config: &Config<'_>, findings: &mut Vec<Finding>) {
    let mut found: Vec<(String, &Node)> = Vec::new();
    gather(&config.document.root, String::new(), &mut found);
    let Some((path, node)) = found.first() else { return };
    let more = if found.len() > 1 { format!(", and {} more keys do too", found.len() - 1) } else { String::new() };
    let what = format!("holds a variable, which MAS does not expand{more}");
    findings.push(config.finding(Code::VariableNotExpanded, path, node, &what, NO_VARIABLES));
}

fn gather<'n>(node: &'n Node, path: String, found: &mut Vec<(String, &'n Node)>) {
    match &node.value {
        Value::Opaque(why) if why.contains("VARIABLE") => found.push((path, node)),
        Value::Seq(items) => {
            for (index, item) in items.iter().enumerate() {
                gather(item, format!("{path}[{index}]"), found);
            }
        }
        Value::Map(entries) => {
            for (key, item) in entries {
                let joint = if path.is_empty() { "" } else { "." };
                gather(item, format!("{path}{joint}{}", key.text), found);
            }
        }
        _ => {}
    }
}

fn database(config: &Config<'_>, findings: &mut Vec<Finding>) {
    let Some(node) = config.document.root.at_path("/database/uri") else { return };
    let Some(text) = node.text() else { return };
    let what = match DatabaseUri::parse(text) {
        Err(why) => why,
        Ok(_) if !is_encoded(text) => {
            "a percent sign in the user or password is not followed by two hexadecimal digits"
        }
        Ok(_) => return,
    };
    let what = format!("cannot be read: {what}");
    let fix = "percent-encode the password, or use `host`, `username` and `password_file` instead of `uri`";
    findings.push(config.finding(Code::DatabaseUriBroken, "database.uri", node, &what, fix));
}

/// Whether every percent sign before the host begins an encoded byte.
fn is_encoded(uri: &str) -> bool {
    let authority =
        uri.split_once("://").map_or("", |(_, rest)| rest).split(['/', '?', '#']).next().unwrap_or_default();
    let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
    user.split('%').skip(1).all(|rest| rest.len() >= 2 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit()))
}

/// The addresses of one entry of `http.listeners`.
fn listeners(node: &Node, hides: &mut bool) -> Vec<Listener> {
    let resources = node.get("resources").map_or(&[][..], Node::items);
    let health = resources.iter().any(|r| r.get("name").is_none_or(|name| name.text().is_none_or(|n| n == "health")));
    let binds = node.get("binds").map_or(&[][..], Node::items);
    binds
        .iter()
        .map(|bind| {
            let number = bind.get("port").and_then(|port| match port.value {
                Value::Int(number) => u16::try_from(number).ok(),
                _ => None,
            });
            let host = bind.get("host").and_then(Node::text);
            let address = bind.get("address").and_then(Node::text).and_then(|text| split_port(text).ok());
            let (host, port) = match (number, address) {
                (Some(port), _) => (host.unwrap_or_default(), Some(port)),
                (None, Some((host, port))) => (host, port),
                (None, None) => {
                    *hides |= bind.get("socket").is_none();
                    ("", None)
                }
            };
            Listener { port, loopback: is_loopback(host.trim_start_matches('[').trim_end_matches(']')), health }
        })
        .collect()
}

/// 26 characters of Crockford's base32, at most 128 bits (github.com/ulid/spec).
fn is_ulid(text: &str) -> bool {
    let alphabet = |byte: u8| byte.is_ascii_alphanumeric() && !b"ILOU".contains(&byte.to_ascii_uppercase());
    text.len() == 26 && text.bytes().all(alphabet) && text.as_bytes().first().is_some_and(|first| *first <= b'7')
}
