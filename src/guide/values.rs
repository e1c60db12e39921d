//! The guide's `mas:` block, wherever it stands: alone, in a chart's values, in a HelmRelease, in a TrafficMatrix.
//!
//! Keys come from the guide (Phase 1), and from charts that fill its gaps: mail and database hosts (facts/mas-edges.md §4.1, "Supplied elsewhere").

mod raw;
pub(super) use self::raw::{HostText, MailHostText, RawSmtpMode, RawTransport};

use std::sync::Arc;

use self::raw::{RawMas, RawProvider};
use super::database::DatabaseFields;
use super::setting::{Layers, Seen, setting, under};
use super::{Cite, Database, Setting, Url};
use crate::finding::{Code, Finding};
use crate::guide::SmtpMode;
use crate::source::de::{self, Field, UnknownKeys};
use crate::source::{Document, InputError, Node, Place, Value};
use crate::world::PortRef;

/// What the `mas:` block says, as far as edges depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuideValues {
    /// The block itself.
    pub block: Cite,
    /// `mas.enabled`.
    pub enabled: Setting<bool>,
    /// `mas.image`, as `registry/repository`, if the repository is named.
    pub image: Setting<String>,
    /// `mas.service.targetPort`: where MAS's pod listens.
    pub target_port: Setting<PortRef>,
    /// `mas.ingress.enabled`.
    pub ingress_enabled: Setting<bool>,
    /// `mas.ingress.host`, lower case.
    pub ingress_host: Setting<String>,
    /// `mas.database`.
    pub database: Database,
    /// `mas.synapse.endpoint`.
    pub synapse_endpoint: Setting<Url>,
    /// `mas.oidc.enabled`.
    pub oidc_enabled: Setting<bool>,
    /// `mas.oidc.providers`, in order.
    pub providers: Vec<ProviderValues>,
    /// `mas.features`.
    pub features: Features,
    /// `mas.email`.
    pub email: EmailValues,
}

/// One entry of `mas.oidc.providers`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderValues {
    /// The entry.
    pub cite: Cite,
    /// `enabled`; the guide has no such key, charts do.
    pub enabled: Setting<bool>,
    /// `id`.
    pub id: Setting<String>,
    /// `name`.
    pub name: Setting<String>,
    /// `issuer`.
    pub issuer: Setting<Url>,
}

/// The switches of `mas.features` that need mail.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Features {
    /// `emailVerification`.
    pub email_verification: Setting<bool>,
    /// `passwordReset`.
    pub password_reset: Setting<bool>,
}

/// `mas.email`; all but `enabled` is what charts add.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EmailValues {
    /// The section, if there is one.
    pub section: Option<Cite>,
    /// `enabled`.
    pub enabled: Setting<bool>,
    /// `transport`.
    pub transport: Setting<MailTransport>,
    /// `mode`.
    pub mode: Setting<SmtpMode>,
    /// `hostname`; empty text means that the chart writes no mail section.
    pub hostname: Setting<MailHost>,
    /// `port`.
    pub port: Setting<u16>,
    /// Whether MAS logs in there: `username` is given.
    pub logs_in: bool,
}

/// `transport` of a mail section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailTransport {
    /// Mails are thrown away.
    Blackhole,
    /// To a relay.
    Smtp,
    /// By a local program: no connection of MAS's own.
    Sendmail,
}

/// `hostname` of a mail section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MailHost {
    /// Empty text.
    Empty,
    /// A host name or address.
    Host(String),
}

/// Reads the `mas:` block of a document.
///
/// # Errors
///
/// There is no such block, or a value has the wrong type. Unknown keys and hidden values are findings.
pub fn read(document: &Document) -> Result<(GuideValues, Vec<Finding>), InputError> {
    let (prefix, node) = block(document)?;
    read_block(document, prefix, node)
}

/// Finds the block.
fn block(document: &Document) -> Result<(&'static str, &Node), InputError> {
    let fail = |message: &str| Err(InputError::new(document.place(&document.root), message));
    if !matches!(document.root.value, Value::Map(_)) {
        return fail("the guide's values are a mapping with the key `mas`; this is none");
    }
    let kind = document.root.get("kind").and_then(Node::text);
    let (prefix, path) = match kind {
        Some("HelmRelease") => ("spec.values.", "/spec/values/mas"),
        Some("TrafficMatrix") => ("spec.guide.values.", "/spec/guide/values/mas"),
        _ => ("", "/mas"),
    };
    match document.root.at_path(path) {
        Some(node) => Ok((prefix, node)),
        None => fail(match kind {
            Some("HelmRelease") => "this HelmRelease has no spec.values.mas: give the values file that it refers to",
            Some("TrafficMatrix") => "this TrafficMatrix has no spec.guide.values.mas: give it with --matrix",
            Some(_) => "this is a Kubernetes object without a `mas:` block: give the chart's values",
            None => "no `mas:` block here: the guide's values have `mas` as a top-level key",
        }),
    }
}

/// Reads a block that was found. `prefix` stands before `mas` in the names of keys.
pub(crate) fn read_block(
    document: &Document,
    prefix: &str,
    node: &Node,
) -> Result<(GuideValues, Vec<Finding>), InputError> {
    let place = document.place(node);
    match node.value {
        Value::Null => {
            return Err(InputError::new(place, "the `mas:` block is empty: paste the guide's values below it"));
        }
        Value::Opaque(why) => {
            let message = format!("the whole `mas:` block is {why}: give a file that holds its values");
            return Err(InputError::new(place, message));
        }
        _ => {}
    }
    let mut warnings = Vec::new();
    let key = format!("{prefix}mas");
    let raw: RawMas = de::read(document, node, UnknownKeys::Warn, &mut warnings).map_err(|error| under(&key, error))?;
    let mut reader = Reader { file: &document.file, key, layers: Layers::new(vec![(Arc::clone(&document.file), raw)]) };
    let values = reader.values(place);
    let mut findings: Vec<Finding> =
        warnings.into_iter().map(|warning| unknown_key(&reader.key, under(&reader.key, warning))).collect();
    findings.append(&mut reader.layers.findings);
    Ok((values, findings))
}

/// The finding about a key that the format does not have.
pub(super) fn unknown_key(object: &str, warning: InputError) -> Finding {
    let fix = "correct its spelling, or remove it if nothing reads it";
    Finding::new(Code::UnknownKey, object, warning.message, fix).at(warning.place)
}

struct Reader<'d> {
    file: &'d Arc<str>,
    key: String,
    layers: Layers<RawMas>,
}

impl Reader<'_> {
    fn section<T>(&self, key: &str, get: impl Fn(&RawMas) -> &Option<Field<T>>) -> Option<Cite> {
        self.layers.section(&format!("{}.{key}", self.key), get)
    }

    fn get<T: Clone>(&mut self, key: &str, get: impl for<'a> Fn(&'a RawMas) -> Seen<'a, T>) -> Setting<T> {
        let key = format!("{}.{key}", self.key);
        self.layers.last(&key, get)
    }

    fn values(&mut self, place: Place) -> GuideValues {
        let providers = self.providers();
        GuideValues {
            block: Cite { key: self.key.clone(), place },
            enabled: self.get("enabled", |m| Seen::of(m.enabled.as_ref())),
            image: self.image(),
            target_port: self
                .get("service.targetPort", |m| Seen::of(m.service.as_ref()).get(|s| &s.target_port))
                .map(|port| port.0),
            ingress_enabled: self.get("ingress.enabled", |m| Seen::of(m.ingress.as_ref()).get(|i| &i.enabled)),
            ingress_host: self.ingress_host(),
            database: self.database(),
            synapse_endpoint: self.get("synapse.endpoint", |m| Seen::of(m.synapse.as_ref()).get(|s| &s.endpoint)),
            oidc_enabled: self.get("oidc.enabled", |m| Seen::of(m.oidc.as_ref()).get(|o| &o.enabled)),
            providers,
            features: Features {
                email_verification: self.get("features.emailVerification", |m| {
                    Seen::of(m.features.as_ref()).get(|f| &f.email_verification)
                }),
                password_reset: self
                    .get("features.passwordReset", |m| Seen::of(m.features.as_ref()).get(|f| &f.password_reset)),
            },
            email: self.email(),
        }
    }

    fn image(&mut self) -> Setting<String> {
        let registry = self.get("image.registry", |m| Seen::of(m.image.as_ref()).get(|i| &i.registry));
        let repository = self.get("image.repository", |m| Seen::of(m.image.as_ref()).get(|i| &i.repository));
        match registry.known() {
            Some(registry) if !registry.is_empty() => repository.map(|repository| format!("{registry}/{repository}")),
            _ => repository,
        }
    }

    /// An empty host is the same as none.
    fn ingress_host(&mut self) -> Setting<String> {
        match self.get("ingress.host", |m| Seen::of(m.ingress.as_ref()).get(|i| &i.host)) {
            Setting::Known(host, _) if host.0.is_empty() => Setting::Absent,
            host => host.map(|host| host.0),
        }
    }

    fn database(&mut self) -> Database {
        let section = self.section("database", |m| &m.database);
        let uri = self.get("database.uri", |m| Seen::of(m.database.as_ref()).get(|d| &d.uri));
        let socket = self.get("database.socket", |m| Seen::of(m.database.as_ref()).get(|d| &d.socket));
        let host = self.get("database.host", |m| Seen::of(m.database.as_ref()).get(|d| &d.host));
        let port = self.get("database.port", |m| Seen::of(m.database.as_ref()).get(|d| &d.port));
        let ssl_mode =
            self.get("database.sslMode", |m| Seen::of(m.database.as_ref()).get(|d| &d.ssl_mode)).map(|word| word.0);
        let layers = &self.layers;
        let user = layers.aside(|m| Seen::of(m.database.as_ref()).get(|d| &d.user));
        let user = user.or_else(|| layers.aside(|m| Seen::of(m.database.as_ref()).get(|d| &d.username)));
        let name = layers.aside(|m| Seen::of(m.database.as_ref()).get(|d| &d.name));
        let name = name.or_else(|| layers.aside(|m| Seen::of(m.database.as_ref()).get(|d| &d.database)));
        let (socket, port) = (socket.map(|_| ()), port.map(|port| port.0));
        DatabaseFields { uri, socket, host, port, ssl_mode, user, name }.assemble(section)
    }

    fn providers(&mut self) -> Vec<ProviderValues> {
        let list = self.get("oidc.providers", |m| Seen::of(m.oidc.as_ref()).get(|o| &o.providers));
        let Setting::Known(list, _) = list else {
            return Vec::new();
        };
        let mut providers = Vec::new();
        for (index, entry) in list.iter().enumerate() {
            let key = format!("{}.oidc.providers[{index}]", self.key);
            let whole = setting(&mut self.layers.findings, self.file, key.clone(), Some(entry));
            // A hidden entry still is a provider; its values are as hidden as it is.
            let hidden = |cite: &Cite| ProviderValues {
                cite: cite.clone(),
                enabled: Setting::Absent,
                id: Setting::Absent,
                name: Setting::Absent,
                issuer: Setting::Hidden(cite.clone()),
            };
            providers.push(match whole {
                Setting::Known(raw, cite) => self.provider(&key, cite, &raw),
                Setting::Hidden(cite) => hidden(&cite),
                Setting::Absent => continue,
            });
        }
        providers
    }

    fn provider(&mut self, key: &str, cite: Cite, raw: &RawProvider) -> ProviderValues {
        let findings = &mut self.layers.findings;
        ProviderValues {
            cite,
            enabled: setting(findings, self.file, format!("{key}.enabled"), raw.enabled.as_ref()),
            id: setting(findings, self.file, format!("{key}.id"), raw.id.as_ref()),
            name: setting(findings, self.file, format!("{key}.name"), raw.name.as_ref()),
            issuer: setting(findings, self.file, format!("{key}.issuer"), raw.issuer.as_ref()),
        }
    }

    fn email(&mut self) -> EmailValues {
        EmailValues {
            section: self.section("email", |m| &m.email),
            enabled: self.get("email.enabled", |m| Seen::of(m.email.as_ref()).get(|e| &e.enabled)),
            transport: self
                .get("email.transport", |m| Seen::of(m.email.as_ref()).get(|e| &e.transport))
                .map(MailTransport::from),
            mode: self.get("email.mode", |m| Seen::of(m.email.as_ref()).get(|e| &e.mode)).map(SmtpMode::from),
            hostname: self
                .get("email.hostname", |m| Seen::of(m.email.as_ref()).get(|e| &e.hostname))
                .map(|host| host.0),
            port: self.get("email.port", |m| Seen::of(m.email.as_ref()).get(|e| &e.port)).map(|port| port.0),
            logs_in: self.layers.has(|m| Seen::of(m.email.as_ref()).get(|e| &e.username)),
        }
    }
}

#[cfg(test)]
mod tests;
