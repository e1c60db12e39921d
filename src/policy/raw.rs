//! `spec` of a policy as written. `null` and absent are one, a `null` item is an empty object, as Go's JSON reader has it.

pub(super) mod tiers;

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Visitor};

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spec {
    #[serde(default)]
    pub(super) pod_selector: Selector,
    pub(super) ingress: Option<Vec<IngressRule>>,
    pub(super) egress: Option<Vec<EgressRule>>,
    pub(super) policy_types: Option<Vec<Option<String>>>,
}

/// A rule of either direction: its peers and its ports.
pub(super) type Rule = (Option<Vec<Peer>>, Option<Vec<Port>>);

#[derive(Debug, Deserialize)]
pub(super) struct IngressRule {
    pub(super) from: Option<Vec<Peer>>,
    pub(super) ports: Option<Vec<Port>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct EgressRule {
    pub(super) to: Option<Vec<Peer>>,
    pub(super) ports: Option<Vec<Port>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Peer {
    pub(super) pod_selector: Option<Selector>,
    pub(super) namespace_selector: Option<Selector>,
    pub(super) ip_block: Option<Block>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Block {
    #[serde(default)]
    pub(super) cidr: String,
    pub(super) except: Option<Vec<Option<String>>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Port {
    pub(super) protocol: Option<String>,
    pub(super) port: Option<NumberOrName>,
    pub(super) end_port: Option<i32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Selector {
    pub(super) match_labels: Option<BTreeMap<String, Option<String>>>,
    pub(super) match_expressions: Option<Vec<Requirement>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Requirement {
    #[serde(default)]
    pub(super) key: String,
    #[serde(default)]
    pub(super) operator: String,
    pub(super) values: Option<Vec<Option<String>>>,
}

/// The API's `IntOrString`: a number in quotes is a name.
#[derive(Debug)]
pub(super) enum NumberOrName {
    Number(i64),
    Name(String),
}

impl<'de> Deserialize<'de> for NumberOrName {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = NumberOrName;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a port number or a port name")
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<NumberOrName, E> {
                Ok(NumberOrName::Number(number))
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<NumberOrName, E> {
                Ok(NumberOrName::Name(name.to_owned()))
            }
        }
        deserializer.deserialize_any(Either)
    }
}
