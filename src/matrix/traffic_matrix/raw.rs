//! `spec` as it is spelled.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, IgnoredAny};

use super::{DeletionPolicy, Mode, Owner, Strategy};
use crate::source::de::Field;
use crate::world::parse_port;
use crate::world::{PortRef, Protocol};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawSpec {
    #[serde(default)]
    pub(super) guide: RawGuide,
    #[serde(default)]
    pub(super) mas_config_from: Vec<Field<RawConfigFrom>>,
    pub(super) subject: Option<Field<String>>,
    #[serde(default)]
    pub(super) peers: BTreeMap<String, Field<RawPeer>>,
    #[serde(default)]
    pub(super) edges: Vec<Field<RawEdge>>,
    pub(super) forbid: Option<Vec<Field<RawEdge>>>,
    pub(super) mode: Option<Field<Mode>>,
    pub(super) directions: Option<Field<Vec<RawDirection>>>,
    #[serde(default)]
    pub(super) policies: RawPolicies,
    #[serde(default)]
    pub(super) rollout: RawRollout,
    pub(super) deletion_policy: Option<Field<DeletionPolicy>>,
    #[serde(default)]
    pub(super) probe: RawProbe,
    #[serde(default)]
    pub(super) names: RawNames,
    #[serde(default)]
    pub(super) adopt: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "the guide's values have a reader of their own")]
pub(super) struct RawGuide {
    values: Option<IgnoredAny>,
    #[serde(default)]
    pub(super) values_from: Vec<Field<RawValuesFrom>>,
}

#[derive(Clone, Deserialize)]
pub(super) struct RawValuesFrom {
    pub(super) kind: String,
    pub(super) name: String,
    #[serde(default)]
    pub(super) path: String,
}

#[derive(Clone, Deserialize)]
pub(super) struct RawConfigFrom {
    pub(super) kind: Option<String>,
    pub(super) name: String,
    pub(super) key: Option<String>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawPeer {
    pub(super) service: Option<Field<String>>,
    pub(super) selector: Option<Field<RawSelector>>,
    pub(super) host: Option<Field<String>>,
    pub(super) cidrs: Option<Field<Vec<Field<String>>>>,
    pub(super) port: Option<Field<RawPort>>,
    pub(super) allow_private: Option<Field<Vec<Field<String>>>>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawSelector {
    pub(super) namespace: Option<Field<String>>,
    pub(super) pod_selector: RawLabelSelector,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawLabelSelector {
    #[serde(default)]
    pub(super) match_labels: BTreeMap<String, String>,
}

#[derive(Clone, Deserialize)]
pub(super) struct RawEdge {
    pub(super) name: String,
    pub(super) from: Field<String>,
    pub(super) to: Field<String>,
    pub(super) port: Field<RawPort>,
    pub(super) protocol: Option<Field<String>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum RawDirection {
    Ingress,
    Egress,
}

#[derive(Default, Deserialize)]
pub(super) struct RawPolicies {
    pub(super) owner: Option<Field<Owner>>,
}

#[derive(Default, Deserialize)]
pub(super) struct RawRollout {
    pub(super) strategy: Option<Field<Strategy>>,
    pub(super) window: Option<Field<String>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawProbe {
    pub(super) interval: Option<Field<String>>,
    pub(super) deep_interval: Option<Field<String>>,
    pub(super) ca_config_map: Option<Field<String>>,
}

#[derive(Default, Deserialize)]
pub(super) struct RawNames {
    pub(super) grace: Option<Field<String>>,
    pub(super) max: Option<Field<u32>>,
}

/// `5432`, `"5432/tcp"` or a name.
#[derive(Clone)]
pub(super) struct RawPort {
    pub(super) port: PortRef,
    pub(super) protocol: Option<Protocol>,
}

impl<'de> Deserialize<'de> for RawPort {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PortVisitor;
        impl de::Visitor<'_> for PortVisitor {
            type Value = RawPort;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a port: a number from 1 to 65535, a number with /tcp or /udp, or a name")
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<RawPort, E> {
                let port = u16::try_from(number).ok().filter(|port| *port != 0);
                port.map(|port| RawPort { port: PortRef::Number(port), protocol: None })
                    .ok_or_else(|| E::custom("expected a port from 1 to 65535"))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<RawPort, E> {
                parse_port(text).map(|p| RawPort { port: p.port, protocol: p.protocol }).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(PortVisitor)
    }
}
