//! What only the doctor asks MAS's config: secrets, keys, ids, listeners with all their resources.
//!
//! Keys: `docs/reference/configuration.md` and `crates/config/src/sections/` of MAS.

use std::hash::BuildHasher;

use super::super::Presence;
use super::super::tree::{Given, Layers, Said};
use crate::guide::{DatabaseUri, is_loopback};
use crate::source::{Node, Place, Value};

/// MAS's config, reduced.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MasFacts {
    /// `http.public_base`.
    pub public_base: Said,
    /// `http.issuer`; absent means `public_base`.
    pub issuer: Said,
    /// `http.trusted_proxies`; `None` when absent.
    pub trusted_proxies: Option<Vec<String>>,
    /// `http.listeners`; `None` means MAS's defaults.
    pub listeners: Option<Vec<ListenerFacts>>,
    /// Why `database.uri` cannot be read, if it is there and cannot.
    pub uri_problem: Option<(&'static str, Place)>,
    /// The database's password: in `uri`, `password` or `password_file`.
    pub database_password: Given,
    /// `database` is there at all.
    pub database: bool,
    /// `matrix.homeserver`.
    pub homeserver: Said,
    /// `matrix.kind`.
    pub kind: Said,
    /// `matrix.secret`.
    pub shared: Given,
    /// `secrets.encryption`.
    pub encryption: Given,
    /// Entries of `secrets.keys`, by what is known of them.
    pub keys: Vec<Given>,
    /// `secrets.keys_dir` is there.
    pub keys_dir: bool,
    /// `upstream_oauth2.providers`, in order.
    pub providers: Vec<ProviderFacts>,
    /// Keys whose value has a `${VARIABLE}`, which MAS does not fill in.
    pub variables: Vec<(String, Place)>,
    /// `email.transport`.
    pub mail_transport: Said,
    /// `email.hostname`.
    pub mail_host: Said,
    /// `email.mode`.
    pub mail_mode: Said,
    /// `passwords.enabled`.
    pub passwords: Option<bool>,
    /// `account.password_recovery_enabled`.
    pub recovery: Option<bool>,
    /// `account.password_registration_enabled`.
    pub registration: Option<bool>,
}

/// One entry of `http.listeners`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerFacts {
    /// Names of its resources.
    pub resources: Vec<String>,
    /// Ports that peers reach.
    pub open: Vec<u16>,
    /// Ports on loopback.
    pub loopback: Vec<u16>,
    /// `prefix`.
    pub prefix: Said,
    /// Where.
    pub place: Place,
}

/// One entry of `upstream_oauth2.providers`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderFacts {
    /// `enabled`; absent means true.
    pub enabled: bool,
    /// `id`.
    pub id: Said,
    /// `issuer`.
    pub issuer: Said,
    /// `client_id`.
    pub client_id: Said,
    /// `client_secret`.
    pub client_secret: Given,
    /// `token_endpoint_auth_method`.
    pub auth_method: Said,
    /// `scope`.
    pub scope: Said,
    /// `fetch_userinfo`.
    pub fetch_userinfo: bool,
    /// Where.
    pub place: Place,
}

impl MasFacts {
    pub(in crate::doctor) fn of(layers: &Layers<'_>, seal: &impl BuildHasher) -> Self {
        let (uri_problem, database_password) = database(layers, seal);
        let mut variables = Vec::new();
        for (document, root) in &layers.0 {
            walk(root, &mut String::new(), &mut |path, node| {
                if node.value == Value::Opaque(VARIABLE) {
                    variables.push((path.to_owned(), document.place(node)));
                }
            });
        }
        let proxies = |layers: &Layers<'_>| {
            layers.texts("http/trusted_proxies").iter().filter_map(|said| said.text().map(str::to_owned)).collect()
        };
        Self {
            public_base: layers.url("http/public_base"),
            issuer: layers.url("http/issuer"),
            trusted_proxies: layers.has("http/trusted_proxies").then(|| proxies(layers)),
            listeners: layers
                .has("http/listeners")
                .then(|| layers.items("http/listeners").iter().filter_map(listener).collect()),
            uri_problem,
            database_password,
            database: layers.has("database"),
            homeserver: layers.said("matrix/homeserver"),
            kind: layers.said("matrix/kind"),
            shared: layers.given("matrix/secret", "matrix/secret_file", seal),
            encryption: layers.given("secrets/encryption", "secrets/encryption_file", seal),
            keys: layers.items("secrets/keys").iter().map(|key| key.given("key", "key_file", seal)).collect(),
            keys_dir: layers.has("secrets/keys_dir"),
            providers: layers
                .items("upstream_oauth2/providers")
                .iter()
                .filter_map(|provider| provider_facts(provider, seal))
                .collect(),
            variables,
            mail_transport: layers.said("email/transport"),
            mail_host: layers.said("email/hostname"),
            mail_mode: layers.said("email/mode"),
            passwords: layers.flag("passwords/enabled"),
            recovery: layers.flag("account/password_recovery_enabled"),
            registration: layers.flag("account/password_registration_enabled"),
        }
    }
}

/// The word that `source::scalar` has for it.
const VARIABLE: &str = "a ${VARIABLE}";

fn walk(node: &Node, path: &mut String, each: &mut impl FnMut(&str, &Node)) {
    each(path, node);
    let length = path.len();
    for (key, value) in node.entries() {
        if length > 0 {
            path.push('.');
        }
        path.push_str(&key.text);
        walk(value, path, each);
        path.truncate(length);
    }
    for (index, item) in node.items().iter().enumerate() {
        path.push('[');
        path.push_str(&index.to_string());
        path.push(']');
        walk(item, path, each);
        path.truncate(length);
    }
}

/// `database.uri`: whether it can be read, and the password in it, percent-decoded as sqlx does.
fn database(layers: &Layers<'_>, seal: &impl BuildHasher) -> (Option<(&'static str, Place)>, Given) {
    let Some((document, node)) = layers.find("database/uri") else {
        return (None, layers.given("database/password", "database/password_file", seal));
    };
    let place = document.place(node);
    let Some(uri) = node.text() else {
        return (None, Given::Hidden(node.kind(), place));
    };
    if let Err(why) = DatabaseUri::parse(uri) {
        return (Some((why, place.clone())), Given::Hidden("not readable", place));
    }
    let authority =
        uri.split_once("://").map_or("", |(_, rest)| rest).split(['/', '?', '#']).next().unwrap_or_default();
    let password = authority.rsplit_once('@').and_then(|(user, _)| user.split_once(':')).map(|(_, password)| password);
    let given = match password {
        Some(password) => Given::Here(Presence::of(&percent_decoded(password), seal), place),
        None => Given::No,
    };
    (None, given)
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digit = |at: usize| after.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        if let (b'%', Some(high), Some(low)) = (first, digit(0), digit(1)) {
            bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
            rest = &after[2..];
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn listener(listener: &Layers<'_>) -> Option<ListenerFacts> {
    let (document, node) = listener.0.first()?;
    let resources =
        listener.items("resources").iter().filter_map(|r| r.said("name").text().map(str::to_owned)).collect();
    let (mut open, mut loopback) = (Vec::new(), Vec::new());
    for bind in listener.items("binds") {
        let address = bind.said("address");
        let (host, port) = if let Some((host, port)) = address.text().and_then(|address| address.rsplit_once(':')) {
            (host.trim_matches(['[', ']']).to_owned(), port.parse().ok())
        } else {
            let host = bind.said("host").text().map(str::to_owned).unwrap_or_default();
            (host, bind.said("port").text().and_then(|port| port.parse().ok()))
        };
        if let Some(port) = port {
            if is_loopback(&host) { loopback.push(port) } else { open.push(port) }
        }
    }
    Some(ListenerFacts { resources, open, loopback, prefix: listener.said("prefix"), place: document.place(node) })
}

fn provider_facts(provider: &Layers<'_>, seal: &impl BuildHasher) -> Option<ProviderFacts> {
    let (document, node) = provider.0.first()?;
    Some(ProviderFacts {
        enabled: provider.flag("enabled") != Some(false),
        id: provider.said("id"),
        issuer: provider.url("issuer"),
        client_id: provider.said("client_id"),
        client_secret: provider.given("client_secret", "client_secret_file", seal),
        auth_method: provider.said("token_endpoint_auth_method"),
        scope: provider.said("scope"),
        fetch_userinfo: provider.flag("fetch_userinfo") == Some(true),
        place: document.place(node),
    })
}
