//! Namespace and Node: what is not in a namespace.

use std::net::IpAddr;

use serde::Deserialize;

use super::super::{Labels, Namespace, Node, Object};
use super::meta::{RawMeta, fields};
use super::{Lowered, WorldBuilder, named};

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawNamespace {
    metadata: RawMeta,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawNode {
    metadata: RawMeta,
    status: RawStatus,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawStatus {
    addresses: Vec<RawAddress>,
}

#[derive(Deserialize)]
struct RawAddress {
    r#type: String,
    address: String,
}

impl WorldBuilder {
    pub(super) fn namespace(&mut self, object: &Object) -> Lowered {
        let raw: RawNamespace = fields(object)?;
        let labels: Labels = named(raw.metadata.labels, &object.name);
        let namespace = Namespace { labels, place: Some(object.place()) };
        let earlier = self.world.namespaces.insert(object.name.clone(), namespace);
        self.replaced(object, earlier.and_then(|namespace| namespace.place));
        Ok(())
    }

    pub(super) fn node(&mut self, object: &Object) -> Lowered {
        let raw: RawNode = fields(object)?;
        let internal = raw.status.addresses.iter().filter(|address| address.r#type == "InternalIP");
        let addresses: Vec<IpAddr> = internal.filter_map(|address| address.address.parse().ok()).collect();
        let earlier = self
            .world
            .nodes
            .insert(object.name.clone(), Node { labels: raw.metadata.labels, addresses, place: object.place() });
        self.replaced(object, earlier.map(|node| node.place));
        Ok(())
    }
}
