//! `spec` as it is spelled. The CustomResourceDefinition is generated from these types: their words are what `kubectl explain` says.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, IgnoredAny};

use super::{DeletionPolicy, Mode, Owner, Strategy};
use crate::source::de::Field;
use crate::world::parse_port;
use crate::world::{PortRef, Protocol};

/// What is intended. One of `guide`, `masConfigFrom`, `peers` and `edges` at least says what MAS needs.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct RawSpec {
    /// The integration guide's values.
    #[serde(default)]
    pub(super) guide: RawGuide,
    /// ConfigMaps of this namespace with MAS's own config, merged as MAS merges its files. Secrets are never read.
    #[serde(default)]
    pub(super) mas_config_from: Vec<Field<RawConfigFrom>>,
    /// MAS's workload, for example `matrix/deploy/mas`. By default it is found by its image.
    pub(super) subject: Option<Field<String>>,
    /// What discovery cannot know: who a peer is. The key is the peer's name: postgres, synapse, authelia, dns, smtp, traefik.
    #[serde(default)]
    pub(super) peers: BTreeMap<String, Field<RawPeer>>,
    /// Further connections that must work.
    #[serde(default)]
    pub(super) edges: Vec<Field<RawEdge>>,
    /// Connections that must not work; by default `stranger-to-mas`, from any other pod to MAS.
    pub(super) forbid: Option<Vec<Field<RawEdge>>>,
    /// Whether the policy is written: Enforce writes it, Audit writes nothing, Off removes it. Quote "Off": YAML reads it as false.
    pub(super) mode: Option<Field<Mode>>,
    /// The directions that are isolated; by default both.
    pub(super) directions: Option<Field<Vec<RawDirection>>>,
    /// The NetworkPolicy.
    #[serde(default)]
    pub(super) policies: RawPolicies,
    /// How a write becomes final.
    #[serde(default)]
    pub(super) rollout: RawRollout,
    /// What becomes of the policy when this object is deleted: Keep leaves it, Remove has it garbage-collected.
    pub(super) deletion_policy: Option<Field<DeletionPolicy>>,
    /// How often the agents probe, and what they trust.
    #[serde(default)]
    pub(super) probe: RawProbe,
    /// The addresses of names outside the cluster.
    #[serde(default)]
    pub(super) names: RawNames,
    /// Names of NetworkPolicies that somebody else wrote and that may be taken over.
    #[serde(default)]
    pub(super) adopt: Vec<String>,
}

/// The integration guide's values.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[expect(dead_code, reason = "the guide's values have a reader of their own")]
pub(super) struct RawGuide {
    /// The guide's block, under the key `mas`. Leave secrets empty: they are never needed.
    #[cfg_attr(test, schemars(with = "Option<BTreeMap<String, serde_json::Value>>"))]
    values: Option<IgnoredAny>,
    /// Objects of this namespace that hold the values.
    #[serde(default)]
    pub(super) values_from: Vec<Field<RawValuesFrom>>,
}

/// An object that holds the guide's values.
#[derive(Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct RawValuesFrom {
    /// ConfigMap or HelmRelease.
    pub(super) kind: String,
    /// Its name.
    pub(super) name: String,
    /// Where the values stand in it: a ConfigMap's key, or a path in a HelmRelease's values.
    #[serde(default)]
    pub(super) path: String,
}

/// A ConfigMap with MAS's config.
#[derive(Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct RawConfigFrom {
    /// ConfigMap.
    pub(super) kind: Option<String>,
    /// Its name.
    pub(super) name: String,
    /// The key that holds the config; `config.yaml` by default.
    pub(super) key: Option<String>,
}

/// Who a peer is: exactly one of service, selector, host and cidrs.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct RawPeer {
    /// A Service, for example `postgres/matrix-db-rw`. It is resolved to its pods and their ports.
    pub(super) service: Option<Field<String>>,
    /// Pods by their labels.
    pub(super) selector: Option<Field<RawSelector>>,
    /// A host's name or address, without scheme and port.
    pub(super) host: Option<Field<String>>,
    /// Ranges of addresses.
    pub(super) cidrs: Option<Field<Vec<Field<String>>>>,
    /// The port, as clients dial it: a number, or a name of a pod's or Service's port.
    pub(super) port: Option<Field<RawPort>>,
    /// Private ranges in which the host's addresses may lie.
    pub(super) allow_private: Option<Field<Vec<Field<String>>>>,
}

/// Pods by their labels.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct RawSelector {
    /// The pods' namespace; by default this object's.
    pub(super) namespace: Option<Field<String>>,
    /// Their labels.
    pub(super) pod_selector: RawLabelSelector,
}

/// Labels, all of which a pod must have.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct RawLabelSelector {
    /// Labels, all of which a pod must have; one at least.
    #[serde(default)]
    pub(super) match_labels: BTreeMap<String, String>,
}

/// A connection. Its ends are pods, workloads, Services, addresses, ranges or nodes: `ns/deploy/name`, `ns/svc/name`, `10.0.0.0/8`, `node/name`, `subject`, `any-pod`, `world`.
#[derive(Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct RawEdge {
    /// Its name, unique in this object.
    pub(super) name: String,
    /// Who opens it.
    pub(super) from: Field<String>,
    /// Whom it goes to.
    pub(super) to: Field<String>,
    /// The port as clients dial it: `5432`, `53/udp`, or a name.
    pub(super) port: Field<RawPort>,
    /// TCP, UDP or SCTP; TCP by default.
    pub(super) protocol: Option<Field<String>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) enum RawDirection {
    Ingress,
    Egress,
}

/// The NetworkPolicy.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct RawPolicies {
    /// Who writes it: Controller, or Git, and then what is missing there is reported.
    pub(super) owner: Option<Field<Owner>>,
}

/// How a write becomes final.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct RawRollout {
    /// Confirm takes a write back unless agents confirm it in the window; Immediate lets it stand.
    pub(super) strategy: Option<Field<Strategy>>,
    /// How long the agents have.
    pub(super) window: Option<Field<String>>,
}

/// How often the agents probe, and what they trust.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct RawProbe {
    /// From one probe of a connection to the next.
    pub(super) interval: Option<Field<String>>,
    /// From one deeper conversation to the next.
    pub(super) deep_interval: Option<Field<String>>,
    /// A ConfigMap of this namespace with further certificate authorities.
    pub(super) ca_config_map: Option<Field<String>>,
}

/// The addresses of names outside the cluster.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct RawNames {
    /// How long an address stays allowed after it left the answers.
    pub(super) grace: Option<Field<String>>,
    /// Most addresses of one name.
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

#[cfg(test)]
impl schemars::JsonSchema for RawPort {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Port".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        // The one form in which a structural schema may leave the type open.
        schemars::json_schema!({ "x-kubernetes-int-or-string": true })
    }
}
