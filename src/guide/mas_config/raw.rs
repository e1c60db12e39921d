//! MAS's `config.yaml` as it is spelled (`crates/config/src/sections/`). Sections and keys that no edge depends on are listed so that they are known, and passed over unread: many hold secrets.

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::guide::database::SslModeWord;
use crate::guide::url::PortNumber;
use crate::guide::values::{HostText, MailHostText, RawSmtpMode, RawTransport};
use crate::guide::{DatabaseServer, DatabaseUri, Url};
use crate::source::de::Field;

type Unread = Option<IgnoredAny>;

#[derive(Deserialize)]
#[expect(dead_code, reason = "unread keys are listed to be known")]
pub(super) struct RawConfig {
    pub(super) http: Option<Field<RawHttp>>,
    pub(super) database: Option<Field<RawDatabase>>,
    pub(super) matrix: Option<Field<RawMatrix>>,
    pub(super) email: Option<Field<RawEmail>>,
    pub(super) upstream_oauth2: Option<Field<RawUpstream>>,
    pub(super) telemetry: Option<Field<RawTelemetry>>,
    pub(super) captcha: Option<Field<RawCaptcha>>,
    pub(super) passwords: Option<Field<RawPasswords>>,
    pub(super) account: Option<Field<RawAccount>>,
    clients: Unread,
    secrets: Unread,
    templates: Unread,
    policy: Unread,
    rate_limiting: Unread,
    branding: Unread,
    experimental: Unread,
}

#[derive(Clone, Deserialize)]
#[expect(dead_code, reason = "unread keys are listed to be known")]
pub(super) struct RawHttp {
    pub(super) listeners: Option<Field<Vec<Field<RawListener>>>>,
    pub(super) public_base: Option<Field<Url>>,
    pub(super) issuer: Option<Field<Url>>,
    trusted_proxies: Unread,
}

#[derive(Clone, Deserialize)]
#[expect(dead_code, reason = "unread keys are listed to be known")]
pub(super) struct RawListener {
    pub(super) resources: Option<Field<Vec<Field<RawResource>>>>,
    pub(super) binds: Option<Field<Vec<Field<RawBind>>>>,
    name: Unread,
    prefix: Unread,
    proxy_protocol: Unread,
    tls: Unread,
}

#[derive(Clone, Deserialize)]
#[expect(dead_code, reason = "unread keys are listed to be known")]
pub(super) struct RawResource {
    pub(super) name: Option<Field<String>>,
    path: Unread,
    playground: Unread,
    introspection: Unread,
    undocumented_oauth2_access: Unread,
}

/// One of four shapes; serde tries them in the order host/port, address, socket, fd (`BindConfig`, untagged).
#[derive(Clone, Deserialize)]
#[expect(dead_code, reason = "unread keys are listed to be known")]
pub(super) struct RawBind {
    pub(super) host: Option<Field<HostText>>,
    pub(super) port: Option<Field<PortNumber>>,
    pub(super) address: Option<Field<BindAddress>>,
    pub(super) socket: Option<Field<IgnoredAny>>,
    mode: Unread,
    fd: Unread,
    kind: Unread,
}

/// `host:port`.
#[derive(Clone)]
pub(super) struct BindAddress {
    pub(super) host: String,
    pub(super) port: u16,
}

impl<'de> Deserialize<'de> for BindAddress {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use crate::guide::url::{from_text, host_name, split_port};
        from_text(deserializer, "host:port", |text| match split_port(text)? {
            (_, None) => Err("expected host:port, for example [::]:8080"),
            (host, Some(port)) => Ok(Self { host: host_name(host)?, port }),
        })
    }
}

#[derive(Clone, Deserialize)]
#[expect(dead_code, reason = "unread keys are listed to be known")]
pub(super) struct RawDatabase {
    pub(super) uri: Option<Field<DatabaseUri>>,
    pub(super) host: Option<Field<DatabaseServer>>,
    pub(super) port: Option<Field<PortNumber>>,
    pub(super) socket: Option<Field<IgnoredAny>>,
    pub(super) username: Option<Field<String>>,
    pub(super) password: Option<Field<IgnoredAny>>,
    pub(super) password_file: Option<Field<IgnoredAny>>,
    pub(super) database: Option<Field<String>>,
    pub(super) ssl_mode: Option<Field<SslModeWord>>,
    ssl_ca: Unread,
    ssl_ca_file: Unread,
    ssl_certificate: Unread,
    ssl_certificate_file: Unread,
    ssl_key: Unread,
    ssl_key_file: Unread,
    max_connections: Unread,
    min_connections: Unread,
    connect_timeout: Unread,
    idle_timeout: Unread,
    max_lifetime: Unread,
}

#[derive(Clone, Deserialize)]
#[expect(dead_code, reason = "unread keys are listed to be known")]
pub(super) struct RawMatrix {
    pub(super) endpoint: Option<Field<Url>>,
    kind: Unread,
    homeserver: Unread,
    secret: Unread,
    secret_file: Unread,
}

#[derive(Clone, Deserialize)]
#[expect(dead_code, reason = "unread keys are listed to be known")]
pub(super) struct RawEmail {
    pub(super) transport: Option<Field<RawTransport>>,
    pub(super) mode: Option<Field<RawSmtpMode>>,
    pub(super) hostname: Option<Field<MailHostText>>,
    pub(super) port: Option<Field<PortNumber>>,
    from: Unread,
    reply_to: Unread,
    /// That there is one is all that matters.
    pub(super) username: Option<Field<IgnoredAny>>,
    password: Unread,
    password_file: Unread,
    command: Unread,
}

#[derive(Clone, Deserialize)]
pub(super) struct RawUpstream {
    pub(super) providers: Option<Field<Vec<Field<RawProvider>>>>,
}

#[derive(Clone, Deserialize)]
#[expect(dead_code, reason = "unread keys are listed to be known")]
pub(super) struct RawProvider {
    pub(super) id: Option<Field<String>>,
    pub(super) enabled: Option<Field<bool>>,
    pub(super) issuer: Option<Field<Url>>,
    pub(super) human_name: Option<Field<String>>,
    pub(super) discovery_mode: Option<Field<RawDiscovery>>,
    pub(super) fetch_userinfo: Option<Field<bool>>,
    pub(super) token_endpoint: Option<Field<Url>>,
    pub(super) userinfo_endpoint: Option<Field<Url>>,
    pub(super) jwks_uri: Option<Field<Url>>,
    /// Opened by the browser, never by MAS.
    authorization_endpoint: Unread,
    synced_at_startup: Unread,
    brand_name: Unread,
    client_id: Unread,
    client_secret: Unread,
    client_secret_file: Unread,
    token_endpoint_auth_method: Unread,
    token_endpoint_auth_signing_alg: Unread,
    sign_in_with_apple: Unread,
    id_token_signed_response_alg: Unread,
    userinfo_signed_response_alg: Unread,
    scope: Unread,
    pkce_method: Unread,
    response_mode: Unread,
    claims_imports: Unread,
    additional_authorization_parameters: Unread,
    forward_login_hint: Unread,
    on_backchannel_logout: Unread,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawDiscovery {
    Oidc,
    Insecure,
    Disabled,
}

#[derive(Clone, Deserialize)]
pub(super) struct RawTelemetry {
    pub(super) tracing: Option<Field<RawExporter>>,
    pub(super) metrics: Option<Field<RawExporter>>,
    pub(super) sentry: Option<Field<RawSentry>>,
}

#[derive(Clone, Deserialize)]
#[expect(dead_code, reason = "unread keys are listed to be known")]
pub(super) struct RawExporter {
    pub(super) exporter: Option<Field<RawExporterKind>>,
    pub(super) endpoint: Option<Field<Url>>,
    propagators: Unread,
    sample_rate: Unread,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawExporterKind {
    None,
    Stdout,
    Otlp,
    Prometheus,
}

#[derive(Clone, Deserialize)]
#[expect(dead_code, reason = "unread keys are listed to be known")]
pub(super) struct RawSentry {
    pub(super) dsn: Option<Field<Url>>,
    environment: Unread,
    sample_rate: Unread,
    traces_sample_rate: Unread,
}

#[derive(Clone, Deserialize)]
#[expect(dead_code, reason = "unread keys are listed to be known")]
pub(super) struct RawCaptcha {
    pub(super) service: Option<Field<RawCaptchaService>>,
    site_key: Unread,
    secret_key: Unread,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawCaptchaService {
    #[serde(rename = "recaptcha_v2")]
    RecaptchaV2,
    CloudflareTurnstile,
    #[serde(rename = "hcaptcha")]
    Hcaptcha,
}

#[derive(Clone, Deserialize)]
#[expect(dead_code, reason = "unread keys are listed to be known")]
pub(super) struct RawPasswords {
    pub(super) enabled: Option<Field<bool>>,
    schemes: Unread,
    minimum_complexity: Unread,
}

#[derive(Clone, Deserialize)]
#[expect(dead_code, reason = "unread keys are listed to be known")]
pub(super) struct RawAccount {
    pub(super) password_recovery_enabled: Option<Field<bool>>,
    pub(super) password_registration_enabled: Option<Field<bool>>,
    pub(super) password_registration_email_required: Option<Field<bool>>,
    email_change_allowed: Unread,
    displayname_change_allowed: Unread,
    password_change_allowed: Unread,
    account_deactivation_allowed: Unread,
    login_with_email_allowed: Unread,
    registration_token_required: Unread,
}
