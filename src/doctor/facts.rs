//! Everything the checks may look at.

use std::net::IpAddr;

use super::found::{Found, MasFacts};
use crate::finding::Finding;
use crate::guide::{GuideValues, MasConfig, Url};
use crate::judge::{Attempt, EdgeReport, Reason};
use crate::matrix::Resolution;
use crate::source::{InputError, Place};
use crate::world::labels::matches_all;
use crate::world::{Service, World};

/// What was gathered. Whatever is missing makes items unknown, never wrong.
#[derive(Debug, Default)]
pub struct Facts {
    /// The guide's values.
    pub values: Option<GuideValues>,
    /// MAS's config, if there is one.
    pub mas: Option<MasConfigRead>,
    /// What was found in objects.
    pub found: Found,
    /// The edges in the world.
    pub resolution: Resolution,
    /// The world, if manifests were given.
    pub world: Option<World>,
    /// Short names of Services are looked up here.
    pub namespace: String,
    /// One row an edge, with its declared fact when there is a world.
    pub edges: Vec<EdgeReport>,
    /// Findings of the sources, the resolution and the audit.
    pub findings: Vec<Finding>,
    /// What the network showed, if it was asked.
    pub network: Option<Network>,
}

/// MAS's config, as it was read.
#[derive(Debug)]
pub struct MasConfigRead {
    /// Where it comes from.
    pub source: String,
    /// What edges depend on, or why it cannot be read.
    pub config: Result<MasConfig, InputError>,
    /// What only the doctor asks for.
    pub facts: MasFacts,
}

/// What the network showed from where the doctor ran.
#[derive(Debug, Clone)]
pub struct Network {
    /// Rows of the edges that were probed, judged.
    pub edges: Vec<EdgeReport>,
    /// All attempts of these edges.
    pub attempts: Vec<Attempt>,
    /// The auth host; `None` when no source names one.
    pub auth: Option<AuthHost>,
    /// Now, in seconds since 1970.
    pub now: i64,
}

/// What was seen of MAS's public name.
#[derive(Debug, Clone)]
pub struct AuthHost {
    /// Its addresses, or why there are none.
    pub addresses: Result<Vec<IpAddr>, (Reason, String)>,
    /// MAS's discovery document, asked at each address over its public URL.
    pub attempts: Vec<Attempt>,
}

impl Facts {
    /// What only the doctor asks MAS's config, if there is one.
    pub(super) fn mas_facts(&self) -> Option<&MasFacts> {
        self.mas.as_ref().map(|mas| &mas.facts)
    }

    /// `http.public_base` as a URL.
    pub(super) fn public_base(&self) -> Option<Url> {
        Url::parse(self.mas_facts()?.public_base.text()?).ok()
    }

    /// MAS's public host and who says so: its own config first, then the guide's values.
    pub fn auth_host(&self) -> Option<(String, String)> {
        if let Some(base) = self.public_base() {
            return Some((base.host, "http.public_base".to_owned()));
        }
        let values = self.values.as_ref()?;
        Some((values.ingress_host.known()?.clone(), "mas.ingress.host".to_owned()))
    }

    /// The Services that lead to MAS's pods.
    pub(super) fn mas_services(&self) -> Vec<&Service> {
        let (Some(world), Some(subject)) = (&self.world, &self.resolution.subject) else { return Vec::new() };
        let leads = |service: &&Service| {
            service.name.namespace == subject.namespace
                && service.selector.as_ref().is_some_and(|selector| {
                    !selector.is_empty()
                        && subject.pods.iter().any(|pod| matches_all(selector, &world.pod(*pod).labels))
                })
        };
        world.services.values().filter(leads).collect()
    }

    /// The Service that a client inside the cluster means by a host.
    pub(super) fn service(&self, host: &str) -> Option<&Service> {
        let mut labels = host.split('.');
        let name = labels.next()?;
        let namespace = labels.next().unwrap_or(&self.namespace);
        if labels.next().is_some_and(|third| third != "svc") {
            return None;
        }
        self.world.as_ref()?.services.values().find(|s| s.name.name == name && s.name.namespace == namespace)
    }

    /// The row of an edge.
    pub(super) fn edge(&self, name: &str) -> Option<&EdgeReport> {
        self.edges.iter().find(|edge| edge.name == name)
    }

    /// What the network showed of an edge.
    pub(super) fn observed(&self, name: &str) -> Option<(&EdgeReport, Vec<&Attempt>)> {
        let network = self.network.as_ref()?;
        let row = network.edges.iter().find(|edge| edge.name == name)?;
        Some((row, network.attempts.iter().filter(|attempt| attempt.edge == name).collect()))
    }
}

/// A place for a sentence.
pub(super) fn at(place: &Place) -> String {
    format!("{place}: ")
}
