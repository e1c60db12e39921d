//! The block as charts spell it. Keys that no edge depends on are listed so that they are known, and passed over unread: many hold secrets.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, IgnoredAny};

use super::{MailHost, MailTransport};
use crate::guide::SmtpMode;
use crate::guide::database::SslModeWord;
use crate::guide::url::{PortNumber, from_text, host_name};
use crate::guide::{DatabaseServer, DatabaseUri, Url};
use crate::source::de::Field;
use crate::world::PortRef;

type Unread = Option<IgnoredAny>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "unread keys are listed to be known")]
pub(super) struct RawMas {
    pub(super) enabled: Option<Field<bool>>,
    pub(super) image: Option<Field<RawImage>>,
    pub(super) service: Option<Field<RawService>>,
    pub(super) ingress: Option<Field<RawIngress>>,
    pub(super) database: Option<Field<RawDatabase>>,
    pub(super) synapse: Option<Field<RawSynapse>>,
    pub(super) oidc: Option<Field<RawOidc>>,
    pub(super) features: Option<Field<RawFeatures>>,
    pub(super) email: Option<Field<RawEmail>>,
    replica_count: Unread,
    secrets: Unread,
    resources: Unread,
    // What every chart has beside them.
    affinity: Unread,
    annotations: Unread,
    config: Unread,
    existing_secret: Unread,
    extra_env: Unread,
    extra_volume_mounts: Unread,
    extra_volumes: Unread,
    init_containers: Unread,
    labels: Unread,
    liveness_probe: Unread,
    network_policy: Unread,
    node_selector: Unread,
    pod_annotations: Unread,
    pod_labels: Unread,
    pod_security_context: Unread,
    priority_class_name: Unread,
    readiness_probe: Unread,
    security_context: Unread,
    service_account: Unread,
    service_monitor: Unread,
    startup_probe: Unread,
    strategy: Unread,
    tolerations: Unread,
    topology_spread_constraints: Unread,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "unread keys are listed to be known")]
pub(super) struct RawImage {
    pub(super) registry: Option<Field<String>>,
    pub(super) repository: Option<Field<String>>,
    tag: Unread,
    digest: Unread,
    pull_policy: Unread,
    pull_secrets: Unread,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "unread keys are listed to be known")]
pub(super) struct RawService {
    pub(super) target_port: Option<Field<PortValue>>,
    /// Read for its type only: policies see the pod port.
    port: Option<Field<PortValue>>,
    r#type: Unread,
    annotations: Unread,
    labels: Unread,
    node_port: Unread,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "unread keys are listed to be known")]
pub(super) struct RawIngress {
    pub(super) enabled: Option<Field<bool>>,
    pub(super) host: Option<Field<HostText>>,
    class_name: Unread,
    ingress_class_name: Unread,
    annotations: Unread,
    path: Unread,
    path_type: Unread,
    tls: Unread,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "unread keys are listed to be known")]
pub(super) struct RawDatabase {
    pub(super) uri: Option<Field<DatabaseUri>>,
    #[serde(alias = "hostname")]
    pub(super) host: Option<Field<DatabaseServer>>,
    pub(super) port: Option<Field<PortNumber>>,
    pub(super) socket: Option<Field<IgnoredAny>>,
    #[serde(alias = "sslmode", alias = "ssl_mode")]
    pub(super) ssl_mode: Option<Field<SslModeWord>>,
    pub(super) name: Option<Field<String>>,
    pub(super) database: Option<Field<String>>,
    pub(super) user: Option<Field<String>>,
    pub(super) username: Option<Field<String>>,
    password: Unread,
    existing_secret: Unread,
    mode: Unread,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "unread keys are listed to be known")]
pub(super) struct RawSynapse {
    pub(super) endpoint: Option<Field<Url>>,
    shared_secret: Unread,
    server_name: Unread,
}

#[derive(Clone, Deserialize)]
pub(super) struct RawOidc {
    pub(super) enabled: Option<Field<bool>>,
    pub(super) providers: Option<Field<Vec<Field<RawProvider>>>>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "unread keys are listed to be known")]
pub(super) struct RawProvider {
    pub(super) enabled: Option<Field<bool>>,
    pub(super) id: Option<Field<String>>,
    pub(super) name: Option<Field<String>>,
    pub(super) issuer: Option<Field<Url>>,
    client_id: Unread,
    client_secret: Unread,
    scopes: Unread,
    claims_imports: Unread,
    token_endpoint_auth_method: Unread,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "unread keys are listed to be known")]
pub(super) struct RawFeatures {
    pub(super) email_verification: Option<Field<bool>>,
    pub(super) password_reset: Option<Field<bool>>,
    registration: Option<Field<bool>>,
    password_change: Option<Field<bool>>,
    display_name_change: Option<Field<bool>>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "unread keys are listed to be known")]
pub(super) struct RawEmail {
    pub(super) enabled: Option<Field<bool>>,
    pub(super) transport: Option<Field<RawTransport>>,
    pub(super) mode: Option<Field<RawSmtpMode>>,
    #[serde(alias = "host")]
    pub(super) hostname: Option<Field<MailHostText>>,
    pub(super) port: Option<Field<PortNumber>>,
    /// That there is one is all that matters.
    pub(super) username: Option<Field<IgnoredAny>>,
    password: Unread,
    existing_secret: Unread,
    from: Unread,
    reply_to: Unread,
    templates: Unread,
}

/// MAS's words (`crates/config/src/sections/email.rs`).
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::guide) enum RawTransport {
    Blackhole,
    Smtp,
    Sendmail,
}

impl From<RawTransport> for MailTransport {
    fn from(raw: RawTransport) -> Self {
        match raw {
            RawTransport::Blackhole => Self::Blackhole,
            RawTransport::Smtp => Self::Smtp,
            RawTransport::Sendmail => Self::Sendmail,
        }
    }
}

/// MAS's words (`crates/config/src/sections/email.rs`).
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::guide) enum RawSmtpMode {
    Plain,
    StartTls,
    Tls,
}

impl From<RawSmtpMode> for SmtpMode {
    fn from(raw: RawSmtpMode) -> Self {
        match raw {
            RawSmtpMode::Plain => Self::Plain,
            RawSmtpMode::StartTls => Self::StartTls,
            RawSmtpMode::Tls => Self::Tls,
        }
    }
}

/// A host, or the empty text that charts have as a default.
#[derive(Clone)]
pub(in crate::guide) struct HostText(pub(in crate::guide) String);

impl<'de> Deserialize<'de> for HostText {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer, "a host name", |text| {
            if text.is_empty() { Ok(Self(String::new())) } else { host_name(text).map(Self) }
        })
    }
}

#[derive(Clone)]
pub(in crate::guide) struct MailHostText(pub(in crate::guide) MailHost);

impl<'de> Deserialize<'de> for MailHostText {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let host = HostText::deserialize(deserializer)?.0;
        Ok(Self(if host.is_empty() { MailHost::Empty } else { MailHost::Host(host) }))
    }
}

/// A port by number or name, as Kubernetes' `targetPort`.
#[derive(Clone)]
pub(super) struct PortValue(pub(super) PortRef);

impl<'de> Deserialize<'de> for PortValue {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const EXPECTED: &str = "a number from 1 to 65535 or a port's name";
        struct PortVisitor;
        impl de::Visitor<'_> for PortVisitor {
            type Value = PortValue;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTED)
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<PortValue, E> {
                let port = u16::try_from(number).ok().filter(|port| *port != 0);
                port.map(|port| PortValue(PortRef::Number(port)))
                    .ok_or_else(|| E::custom(format_args!("expected {EXPECTED}")))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<PortValue, E> {
                match crate::world::parse_port(text) {
                    Ok(port) if port.protocol.is_none() => Ok(PortValue(port.port)),
                    _ => Err(E::custom(format_args!("expected {EXPECTED}"))),
                }
            }
        }
        deserializer.deserialize_any(PortVisitor)
    }
}
