//! MAS's own `config.yaml`, one or several laid over each other as MAS does it.
//!
//! MAS reads `MAS_CONFIG=a:b` and repeated `--config` with figment's `admerge` (`crates/cli/src/commands/mod.rs`): a later value wins, mappings are merged, lists are joined.

mod raw;

use std::net::IpAddr;
use std::sync::Arc;

use self::raw::{RawBind, RawCaptchaService, RawConfig, RawDatabase, RawDiscovery, RawExporterKind, RawProvider};
use super::database::DatabaseFields;
use super::setting::{Layers, Seen, setting};
use super::values::{MailHost, MailTransport, unknown_key};
use super::{Cite, Database, Setting, Url};
use crate::finding::Finding;
use crate::guide::SmtpMode;
use crate::source::de::{self, Field, UnknownKeys};
use crate::source::{Document, InputError, Place, Value};

/// What MAS's config says, as far as edges depend on it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MasConfig {
    /// `http.public_base`.
    pub public_base: Setting<Url>,
    /// `http.issuer`; without it `public_base` is the issuer.
    pub issuer: Option<Url>,
    /// `http.listeners`; absent means MAS's default, `[::]:8080`.
    pub listeners: Setting<Vec<Listener>>,
    /// `database`.
    pub database: Database,
    /// The section `matrix`.
    pub matrix: Option<Cite>,
    /// `matrix.endpoint`.
    pub endpoint: Setting<Url>,
    /// `email`.
    pub email: EmailConfig,
    /// `upstream_oauth2.providers`, in order.
    pub providers: Vec<ProviderConfig>,
    /// `telemetry.tracing`.
    pub tracing: Telemetry,
    /// `telemetry.metrics`.
    pub metrics: Telemetry,
    /// `telemetry.sentry.dsn`, without its key.
    pub sentry: Setting<Url>,
    /// `captcha.service`.
    pub captcha: Setting<CaptchaService>,
    /// `passwords.enabled`.
    pub passwords_enabled: Setting<bool>,
    /// `account.password_recovery_enabled`.
    pub password_recovery: Setting<bool>,
    /// `account.password_registration_enabled`.
    pub password_registration: Setting<bool>,
    /// `account.password_registration_email_required`; MAS's default is true.
    pub registration_email: Setting<bool>,
}

/// One entry of `http.listeners`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// The entry.
    pub cite: Cite,
    /// What it serves; hidden means that it may serve anything.
    pub resources: Setting<Vec<Resource>>,
    /// Where it listens.
    pub binds: Vec<Bind>,
}

/// What a listener serves (`crates/config/src/sections/http.rs`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// `/.well-known/openid-configuration`
    Discovery,
    /// Pages for people.
    Human,
    /// `/oauth2/*`
    OAuth,
    /// Matrix's own login API.
    Compat,
    /// `/metrics`
    Prometheus,
    /// Anything else: health, GraphQL, assets, admin API.
    Other,
}

/// Where a listener listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bind {
    /// On a port that peers can reach.
    Port(u16, Cite),
    /// On a loopback address: no peer can reach it.
    Loopback(u16, Cite),
    /// On a Unix socket: no peer can reach it.
    Unix(Cite),
    /// On an inherited descriptor, or hidden: the port is not known.
    Unknown(Cite),
}

/// `email` of MAS's config.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EmailConfig {
    /// The section, if there is one.
    pub section: Option<Cite>,
    /// `transport`.
    pub transport: Setting<MailTransport>,
    /// `mode`.
    pub mode: Setting<SmtpMode>,
    /// `hostname`.
    pub hostname: Setting<MailHost>,
    /// `port`.
    pub port: Setting<u16>,
    /// Whether MAS logs in there: `username` is given.
    pub logs_in: bool,
}

/// One entry of `upstream_oauth2.providers`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderConfig {
    /// The entry.
    pub cite: Cite,
    /// `id`.
    pub id: Setting<String>,
    /// `enabled`.
    pub enabled: Setting<bool>,
    /// `human_name`.
    pub name: Setting<String>,
    /// `issuer`.
    pub issuer: Setting<Url>,
    /// `discovery_mode`.
    pub discovery: Setting<Discovery>,
    /// `fetch_userinfo`.
    pub fetch_userinfo: Setting<bool>,
    /// `token_endpoint`.
    pub token_endpoint: Setting<Url>,
    /// `jwks_uri`.
    pub jwks_uri: Setting<Url>,
    /// `userinfo_endpoint`.
    pub userinfo_endpoint: Setting<Url>,
}

/// `discovery_mode` of a provider, as far as connections depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discovery {
    /// `oidc` or `insecure`: the issuer is asked.
    Asked,
    /// `disabled`: only the endpoints given are used.
    Disabled,
}

/// `telemetry.tracing` or `telemetry.metrics`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Telemetry {
    /// `exporter`.
    pub exporter: Setting<Exporter>,
    /// `endpoint`; MAS's default is `https://localhost:4318`.
    pub endpoint: Setting<Url>,
}

/// `exporter` of a telemetry section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exporter {
    /// Nothing leaves the pod.
    Local,
    /// Sent to a collector.
    Otlp,
    /// Fetched by Prometheus.
    Prometheus,
}

/// `captcha.service`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaptchaService {
    /// `recaptcha_v2`
    RecaptchaV2,
    /// `cloudflare_turnstile`
    CloudflareTurnstile,
    /// `hcaptcha`
    Hcaptcha,
}

impl CaptchaService {
    /// The host that MAS asks to verify an answer (`crates/handlers/src/captcha.rs`).
    pub fn host(self) -> &'static str {
        match self {
            Self::RecaptchaV2 => "www.recaptcha.net",
            Self::CloudflareTurnstile => "challenges.cloudflare.com",
            Self::Hcaptcha => "api.hcaptcha.com",
        }
    }
}

/// Reads MAS's config out of its documents, in the order in which MAS would load them.
///
/// # Errors
///
/// A document is no mapping, a value has the wrong type, or `database` names its server in both ways.
pub fn read(documents: &[Document]) -> Result<(MasConfig, Vec<Finding>), InputError> {
    let mut layers = Vec::new();
    let mut warnings = Vec::new();
    for document in documents {
        let root = &document.root;
        if !matches!(root.value, Value::Map(_)) {
            return Err(InputError::new(document.place(root), "MAS's config is a mapping; this is none"));
        }
        if root.get("apiVersion").is_some() && root.get("kind").is_some() {
            let message = "this is a Kubernetes object, not MAS's config: give the config.yaml that it carries";
            return Err(InputError::new(document.place(root), message));
        }
        let raw: RawConfig = de::read(document, root, UnknownKeys::Warn, &mut warnings)?;
        layers.push((Arc::clone(&document.file), raw));
    }
    let mut reader = Reader(Layers::new(layers));
    let config = reader.config()?;
    let mut findings: Vec<Finding> = warnings.into_iter().map(|warning| unknown_key("MAS's config", warning)).collect();
    findings.append(&mut reader.0.findings);
    Ok((config, findings))
}

struct Reader(Layers<RawConfig>);

/// An entry of a list, with its file and its key.
type Entry<T> = (Arc<str>, String, Field<T>);

impl Reader {
    fn get<T: Clone>(&mut self, key: &str, get: impl for<'a> Fn(&'a RawConfig) -> Seen<'a, T>) -> Setting<T> {
        self.0.last(key, get)
    }

    fn config(&mut self) -> Result<MasConfig, InputError> {
        let account = |reader: &mut Self, key: &str, get: fn(&raw::RawAccount) -> &Option<Field<bool>>| {
            reader.get(key, |c| Seen::of(c.account.as_ref()).get(get))
        };
        Ok(MasConfig {
            public_base: self.get("http.public_base", |c| Seen::of(c.http.as_ref()).get(|h| &h.public_base)),
            issuer: self.0.aside(|c| Seen::of(c.http.as_ref()).get(|h| &h.issuer)),
            listeners: self.listeners(),
            database: self.database()?,
            matrix: self.0.section("matrix", |c| &c.matrix),
            endpoint: self.get("matrix.endpoint", |c| Seen::of(c.matrix.as_ref()).get(|m| &m.endpoint)),
            email: self.email(),
            providers: self.providers(),
            tracing: self.telemetry("telemetry.tracing", |t| &t.tracing),
            metrics: self.telemetry("telemetry.metrics", |t| &t.metrics),
            sentry: self
                .get("telemetry.sentry.dsn", |c| Seen::of(c.telemetry.as_ref()).get(|t| &t.sentry).get(|s| &s.dsn)),
            captcha: self.get("captcha.service", |c| Seen::of(c.captcha.as_ref()).get(|c| &c.service)).map(captcha),
            passwords_enabled: self.get("passwords.enabled", |c| Seen::of(c.passwords.as_ref()).get(|p| &p.enabled)),
            password_recovery: account(self, "account.password_recovery_enabled", |a| &a.password_recovery_enabled),
            password_registration: account(self, "account.password_registration_enabled", |a| {
                &a.password_registration_enabled
            }),
            registration_email: account(self, "account.password_registration_email_required", |a| {
                &a.password_registration_email_required
            }),
        })
    }

    fn telemetry(
        &mut self,
        key: &str,
        get: impl for<'a> Fn(&'a raw::RawTelemetry) -> &'a Option<Field<raw::RawExporter>>,
    ) -> Telemetry {
        let exporter = self
            .get(&format!("{key}.exporter"), |c| Seen::of(c.telemetry.as_ref()).get(|t| get(t)).get(|e| &e.exporter));
        let endpoint = self
            .get(&format!("{key}.endpoint"), |c| Seen::of(c.telemetry.as_ref()).get(|t| get(t)).get(|e| &e.endpoint));
        let exporter = exporter.map(|kind| match kind {
            RawExporterKind::None | RawExporterKind::Stdout => Exporter::Local,
            RawExporterKind::Otlp => Exporter::Otlp,
            RawExporterKind::Prometheus => Exporter::Prometheus,
        });
        Telemetry { exporter, endpoint }
    }

    fn email(&mut self) -> EmailConfig {
        EmailConfig {
            section: self.0.section("email", |c| &c.email),
            transport: self
                .get("email.transport", |c| Seen::of(c.email.as_ref()).get(|e| &e.transport))
                .map(MailTransport::from),
            mode: self.get("email.mode", |c| Seen::of(c.email.as_ref()).get(|e| &e.mode)).map(SmtpMode::from),
            hostname: self
                .get("email.hostname", |c| Seen::of(c.email.as_ref()).get(|e| &e.hostname))
                .map(|host| host.0),
            port: self.get("email.port", |c| Seen::of(c.email.as_ref()).get(|e| &e.port)).map(|port| port.0),
            logs_in: self.0.has(|c| Seen::of(c.email.as_ref()).get(|e| &e.username)),
        }
    }

    fn database(&mut self) -> Result<Database, InputError> {
        let uri = self.get("database.uri", |c| Seen::of(c.database.as_ref()).get(|d| &d.uri));
        let socket = self.get("database.socket", |c| Seen::of(c.database.as_ref()).get(|d| &d.socket)).map(|_| ());
        let host = self.get("database.host", |c| Seen::of(c.database.as_ref()).get(|d| &d.host));
        let port = self.get("database.port", |c| Seen::of(c.database.as_ref()).get(|d| &d.port)).map(|port| port.0);
        if let Some(cite) = uri.cite()
            && let Some(split) = self.split_field()
        {
            let message = format!("`database.uri` and `{}` are both given: MAS refuses that, keep one", split.key);
            return Err(InputError::new(cite.place.clone(), message));
        }
        let ssl_mode =
            self.get("database.ssl_mode", |c| Seen::of(c.database.as_ref()).get(|d| &d.ssl_mode)).map(|word| word.0);
        let user = self.0.aside(|c| Seen::of(c.database.as_ref()).get(|d| &d.username));
        let name = self.0.aside(|c| Seen::of(c.database.as_ref()).get(|d| &d.database));
        let fields = DatabaseFields { uri, socket, host, port, ssl_mode, user, name };
        Ok(fields.assemble(self.0.section("database", |c| &c.database)))
    }

    /// A field that MAS does not accept beside `database.uri` (`DatabaseConfig::validate`).
    fn split_field(&self) -> Option<Cite> {
        let find = |key: &str, given: fn(&RawDatabase) -> bool| {
            self.0.layers.iter().find_map(|(file, config)| {
                let section = config.database.as_ref()?;
                given(section.known()?)
                    .then(|| Cite { key: format!("database.{key}"), place: Place::new(file, section.at) })
            })
        };
        find("host", |d| d.host.is_some())
            .or_else(|| find("port", |d| d.port.is_some()))
            .or_else(|| find("socket", |d| d.socket.is_some()))
            .or_else(|| find("username", |d| d.username.is_some()))
            .or_else(|| find("password", |d| d.password.is_some()))
            .or_else(|| find("password_file", |d| d.password_file.is_some()))
            .or_else(|| find("database", |d| d.database.is_some()))
    }

    /// The entries of a list of all layers, joined. `Err` when a layer hides its whole list.
    fn joined<T: Clone>(
        &mut self,
        key: &str,
        get: impl for<'a> Fn(&'a RawConfig) -> Seen<'a, Vec<Field<T>>>,
    ) -> (Vec<Entry<T>>, Setting<()>) {
        let whole = self.get(key, &get).map(|_| ());
        let mut entries = Vec::new();
        for (file, layer) in &self.0.layers {
            if let Seen::Known(items, _) = get(layer) {
                for item in items {
                    entries.push((Arc::clone(file), format!("{key}[{}]", entries.len()), item.clone()));
                }
            }
        }
        (entries, whole)
    }

    fn providers(&mut self) -> Vec<ProviderConfig> {
        let (entries, _) =
            self.joined("upstream_oauth2.providers", |c| Seen::of(c.upstream_oauth2.as_ref()).get(|u| &u.providers));
        let findings = &mut self.0.findings;
        let mut providers = Vec::new();
        for (file, key, entry) in entries {
            match setting(findings, &file, key.clone(), Some(&entry)) {
                Setting::Known(raw, cite) => providers.push(provider(findings, &file, &key, cite, &raw)),
                Setting::Hidden(cite) => providers.push(ProviderConfig {
                    issuer: Setting::Hidden(cite.clone()),
                    cite,
                    id: Setting::Absent,
                    enabled: Setting::Absent,
                    name: Setting::Absent,
                    discovery: Setting::Absent,
                    fetch_userinfo: Setting::Absent,
                    token_endpoint: Setting::Absent,
                    jwks_uri: Setting::Absent,
                    userinfo_endpoint: Setting::Absent,
                }),
                Setting::Absent => {}
            }
        }
        providers
    }

    fn listeners(&mut self) -> Setting<Vec<Listener>> {
        let (entries, whole) = self.joined("http.listeners", |c| Seen::of(c.http.as_ref()).get(|h| &h.listeners));
        let cite = match whole {
            Setting::Absent => return Setting::Absent,
            Setting::Hidden(cite) => return Setting::Hidden(cite),
            Setting::Known((), cite) => cite,
        };
        let findings = &mut self.0.findings;
        let mut listeners = Vec::new();
        for (file, key, entry) in entries {
            listeners.push(match setting(findings, &file, key.clone(), Some(&entry)) {
                Setting::Known(raw, cite) => listener(findings, &file, &key, cite, &raw),
                Setting::Hidden(cite) => Listener {
                    resources: Setting::Hidden(cite.clone()),
                    binds: vec![Bind::Unknown(cite.clone())],
                    cite,
                },
                Setting::Absent => continue,
            });
        }
        Setting::Known(listeners, cite)
    }
}

fn captcha(raw: RawCaptchaService) -> CaptchaService {
    match raw {
        RawCaptchaService::RecaptchaV2 => CaptchaService::RecaptchaV2,
        RawCaptchaService::CloudflareTurnstile => CaptchaService::CloudflareTurnstile,
        RawCaptchaService::Hcaptcha => CaptchaService::Hcaptcha,
    }
}

fn provider(findings: &mut Vec<Finding>, file: &Arc<str>, key: &str, cite: Cite, raw: &RawProvider) -> ProviderConfig {
    let mut url = |name: &str, field: Option<&Field<Url>>| setting(findings, file, format!("{key}.{name}"), field);
    let issuer = url("issuer", raw.issuer.as_ref());
    let token_endpoint = url("token_endpoint", raw.token_endpoint.as_ref());
    let jwks_uri = url("jwks_uri", raw.jwks_uri.as_ref());
    let userinfo_endpoint = url("userinfo_endpoint", raw.userinfo_endpoint.as_ref());
    let discovery = setting(findings, file, format!("{key}.discovery_mode"), raw.discovery_mode.as_ref());
    ProviderConfig {
        cite,
        id: setting(findings, file, format!("{key}.id"), raw.id.as_ref()),
        enabled: setting(findings, file, format!("{key}.enabled"), raw.enabled.as_ref()),
        name: setting(findings, file, format!("{key}.human_name"), raw.human_name.as_ref()),
        issuer,
        discovery: discovery.map(|mode| match mode {
            RawDiscovery::Oidc | RawDiscovery::Insecure => Discovery::Asked,
            RawDiscovery::Disabled => Discovery::Disabled,
        }),
        fetch_userinfo: setting(findings, file, format!("{key}.fetch_userinfo"), raw.fetch_userinfo.as_ref()),
        token_endpoint,
        jwks_uri,
        userinfo_endpoint,
    }
}

fn listener(findings: &mut Vec<Finding>, file: &Arc<str>, key: &str, cite: Cite, raw: &raw::RawListener) -> Listener {
    let resources = setting(findings, file, format!("{key}.resources"), raw.resources.as_ref());
    let resources = match resources {
        Setting::Known(list, cite) => resources_of(findings, file, key, &list, cite),
        Setting::Hidden(cite) => Setting::Hidden(cite),
        Setting::Absent => Setting::Absent,
    };
    let binds = match setting(findings, file, format!("{key}.binds"), raw.binds.as_ref()) {
        Setting::Known(list, _) => list
            .iter()
            .enumerate()
            .map(|(at, field)| bind(findings, file, &format!("{key}.binds[{at}]"), field))
            .collect(),
        Setting::Hidden(cite) => vec![Bind::Unknown(cite)],
        Setting::Absent => Vec::new(),
    };
    Listener { cite, resources, binds }
}

/// One hidden name makes the whole list hidden: it may be any of them.
fn resources_of(
    findings: &mut Vec<Finding>,
    file: &Arc<str>,
    key: &str,
    list: &[Field<raw::RawResource>],
    cite: Cite,
) -> Setting<Vec<Resource>> {
    let mut resources = Vec::new();
    for (index, field) in list.iter().enumerate() {
        let key = format!("{key}.resources[{index}]");
        let name = match setting(findings, file, key.clone(), Some(field)) {
            Setting::Known(raw, _) => setting(findings, file, format!("{key}.name"), raw.name.as_ref()),
            Setting::Hidden(cite) => Setting::Hidden(cite),
            Setting::Absent => Setting::Absent,
        };
        match name {
            Setting::Known(name, _) => resources.push(resource(&name)),
            Setting::Hidden(cite) => return Setting::Hidden(cite),
            Setting::Absent => {}
        }
    }
    Setting::Known(resources, cite)
}

fn resource(name: &str) -> Resource {
    match name {
        "discovery" => Resource::Discovery,
        "human" => Resource::Human,
        "oauth" => Resource::OAuth,
        "compat" => Resource::Compat,
        "prometheus" => Resource::Prometheus,
        _ => Resource::Other,
    }
}

/// serde tries the shapes in this order (`BindConfig` is untagged).
fn bind(findings: &mut Vec<Finding>, file: &Arc<str>, key: &str, field: &Field<RawBind>) -> Bind {
    let (raw, cite) = match setting(findings, file, key.to_owned(), Some(field)) {
        Setting::Known(raw, cite) => (raw, cite),
        Setting::Hidden(cite) => return Bind::Unknown(cite),
        Setting::Absent => return Bind::Unknown(Cite { key: key.to_owned(), place: Place::new(file, field.at) }),
    };
    let port = setting(findings, file, format!("{key}.port"), raw.port.as_ref());
    let address = setting(findings, file, format!("{key}.address"), raw.address.as_ref());
    let (host, port, cite) = match (port, address) {
        (Setting::Known(port, cite), _) => {
            // A hidden host may be a loopback address, but then nothing would work and its finding tells why.
            let host = setting(findings, file, format!("{key}.host"), raw.host.as_ref()).known().cloned();
            (host.map(|host| host.0).unwrap_or_default(), port.0, cite)
        }
        (Setting::Hidden(cite), _) | (Setting::Absent, Setting::Hidden(cite)) => return Bind::Unknown(cite),
        (Setting::Absent, Setting::Known(address, cite)) => (address.host, address.port, cite),
        (Setting::Absent, Setting::Absent) if raw.socket.is_some() => return Bind::Unix(cite),
        (Setting::Absent, Setting::Absent) => return Bind::Unknown(cite),
    };
    if is_loopback(&host) { Bind::Loopback(port, cite) } else { Bind::Port(port, cite) }
}

/// Whether a connection to this host stays inside the pod.
pub fn is_loopback(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests;
