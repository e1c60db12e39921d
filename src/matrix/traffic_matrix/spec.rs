//! A TrafficMatrix with everything defaulted: what the rest of the product works with.

use std::time::Duration;

use crate::guide::{Cite, GuideValues};
use crate::matrix::Party;
use crate::source::Place;
use crate::world::{ObjectName, PortRef, Protocol};

/// A TrafficMatrix with everything defaulted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrafficMatrix {
    /// Its name.
    pub name: ObjectName,
    /// Where it stands.
    pub place: Place,
    /// `spec.guide.values.mas`.
    pub guide: Option<GuideValues>,
    /// `spec.guide.valuesFrom`.
    pub values_from: Vec<ValuesFrom>,
    /// `spec.masConfigFrom`.
    pub mas_config_from: Vec<ConfigMapKey>,
    /// `spec.subject`.
    pub subject: Option<(Party, Place)>,
    /// `spec.peers`, by key.
    pub peers: Vec<PeerSpec>,
    /// `spec.edges`.
    pub edges: Vec<EdgeSpec>,
    /// `spec.forbid`; `None` means the default, `stranger-to-mas`.
    pub forbid: Option<Vec<EdgeSpec>>,
    /// `spec.mode`.
    pub mode: Mode,
    /// `spec.directions`.
    pub directions: Directions,
    /// `spec.policies.owner`.
    pub owner: Owner,
    /// `spec.rollout`.
    pub rollout: Rollout,
    /// `spec.deletionPolicy`.
    pub deletion_policy: DeletionPolicy,
    /// `spec.probe`.
    pub probe: ProbeSpec,
    /// `spec.names`.
    pub names: NamesSpec,
    /// `spec.adopt`: names of policies that may be taken over.
    pub adopt: Vec<String>,
}

/// One entry of `spec.guide.valuesFrom`. Only the controller follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValuesFrom {
    /// What it points to.
    pub kind: ValuesKind,
    /// The object's name, in the matrix's namespace.
    pub name: String,
    /// Where the values stand in it: a ConfigMap's key, or a path in a HelmRelease's values.
    pub path: String,
}

/// Kinds that can carry the guide's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValuesKind {
    /// A ConfigMap.
    ConfigMap,
    /// A Flux HelmRelease.
    HelmRelease,
}

/// One entry of `spec.masConfigFrom`. Only the controller follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigMapKey {
    /// The ConfigMap's name, in the matrix's namespace.
    pub name: String,
    /// The key; `config.yaml` by default.
    pub key: String,
}

/// One entry of `spec.peers`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerSpec {
    /// Its key, for example `postgres`.
    pub key: String,
    /// Where it stands.
    pub cite: Cite,
    /// Who it is; empty when the value is hidden. Several for `cidrs`.
    pub parties: Vec<Party>,
    /// Its port, if given.
    pub port: Option<PortRef>,
}

/// One entry of `spec.edges` or `spec.forbid`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EdgeSpec {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub cite: Cite,
    /// Who opens it.
    pub from: Party,
    /// Whom it goes to.
    pub to: Party,
    /// The port, as `to` has it.
    pub port: PortRef,
    /// Its protocol.
    pub protocol: Protocol,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
        #[cfg_attr(test, derive(schemars::JsonSchema))]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }
    };
}

words! {
    /// `spec.mode`.
    Mode {
        /// Ours is removed.
        Off,
        /// Nothing is written.
        #[default]
        Audit,
        /// The policy is written.
        Enforce,
    }
}

words! {
    /// `spec.policies.owner`.
    Owner {
        /// portreeve writes the policy.
        #[default]
        Controller,
        /// Git does; portreeve reports what is missing there.
        Git,
    }
}

words! {
    /// `spec.deletionPolicy`.
    DeletionPolicy {
        /// Deleting the matrix leaves the policy.
        #[default]
        Keep,
        /// It is garbage-collected.
        Remove,
    }
}

words! {
    /// `spec.rollout.strategy`.
    Strategy {
        /// A write is rolled back unless agents confirm it.
        #[default]
        Confirm,
        /// A write stands.
        Immediate,
    }
}

/// `spec.directions`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Directions {
    /// Ingress is isolated.
    pub ingress: bool,
    /// Egress is isolated.
    pub egress: bool,
}

/// `spec.rollout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rollout {
    /// How a write becomes final.
    pub strategy: Strategy,
    /// How long agents have to confirm.
    pub window: Duration,
}

/// `spec.probe`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeSpec {
    /// Between cheap probes.
    pub interval: Duration,
    /// Between whole conversations.
    pub deep_interval: Duration,
    /// A ConfigMap with further roots; `None` for none.
    pub ca_config_map: Option<String>,
}

/// `spec.names`: addresses of outside names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamesSpec {
    /// How long an address that no longer is among the answers stays allowed.
    pub grace: Duration,
    /// Most addresses per name.
    pub max: u32,
}
