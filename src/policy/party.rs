//! The two ends of a connection: what they are, which addresses they have, on which node they are.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;

use super::Family;
use crate::world::{Phase, Pod, PodId, World};

/// One end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    /// A pod, or a workload's template.
    Pod(PodId),
    /// An address outside the cluster or of a node. The address of a live pod means that pod, in this family only.
    Address(IpAddr),
}

/// An end with all that a policy can ask about it.
#[derive(Debug, Clone)]
pub(super) struct Party<'w> {
    pub(super) kind: Kind<'w>,
    /// Its addresses; empty while it has none.
    pub(super) addresses: Cow<'w, [IpAddr]>,
    /// It was asked for as one address, so that this address's family is meant.
    pub(super) by_address: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Kind<'w> {
    /// In the pod network: the only kind that policies apply to and selectors reach.
    Pod(PodId, &'w Pod),
    /// In a node's network: a hostNetwork pod, or the node. The node may not be known by name.
    Host(Option<&'w str>, Option<&'w Pod>),
    /// An address that is neither a pod's nor a node's, as far as is known.
    Outside,
}

impl<'w> Party<'w> {
    /// The pod that policies see, if it is one.
    pub(super) fn pod(&self) -> Option<&'w Pod> {
        match self.kind {
            Kind::Pod(_, pod) => Some(pod),
            _ => None,
        }
    }

    pub(super) fn in_family(&self, family: Family) -> impl Iterator<Item = IpAddr> + '_ {
        self.addresses.iter().copied().filter(move |address| Family::of(*address) == family)
    }

    /// The families it can talk in; both while it has no address.
    pub(super) fn families(&self) -> [bool; 2] {
        Family::ALL.map(|family| self.addresses.is_empty() || self.in_family(family).next().is_some())
    }

    /// Whether it is an address and no pod, as far as is known.
    pub(super) fn is_bare(&self) -> bool {
        matches!(self.kind, Kind::Outside | Kind::Host(_, None))
    }

    /// Whether it is on the node of a pod; `None` when that is not known.
    pub(super) fn is_node_of(&self, pod: &Pod) -> Option<bool> {
        match self.kind {
            Kind::Host(Some(node), _) => pod.node.as_deref().map(|own| own == node),
            Kind::Host(None, _) => None,
            _ => Some(false),
        }
    }
}

impl fmt::Display for Party<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, self.addresses.first()) {
            (Kind::Pod(_, pod) | Kind::Host(_, Some(pod)), _) => write!(f, "{}", pod.name),
            (Kind::Host(Some(node), None), Some(address)) => write!(f, "node/{node} ({address})"),
            (_, Some(address)) => write!(f, "{address}"),
            (_, None) => f.write_str("an unknown end"),
        }
    }
}

/// Which pod an address means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holder {
    /// This live pod.
    Pod(PodId),
    /// Two live pods have it, so neither.
    Several,
    /// None: a node's, or outside.
    Nobody,
}

/// Who has an address.
#[derive(Debug, Clone, Copy)]
enum Owner<'w> {
    Pod(PodId),
    Node(&'w str),
    /// Two live pods: one of the two records is out of date.
    Several,
}

/// All known addresses.
#[derive(Debug)]
pub(super) struct Parties<'w> {
    world: &'w World,
    owners: HashMap<IpAddr, Owner<'w>>,
}

/// Why an end cannot be judged at all.
#[derive(Debug, Clone)]
pub(super) enum NoParty<'w> {
    Finished(&'w Pod),
    Shared(IpAddr),
}

impl<'w> Parties<'w> {
    /// Finished pods are left out: their addresses are given to others (kubernetes#92697).
    pub(super) fn new(world: &'w World) -> Self {
        let mut owners: HashMap<IpAddr, Owner<'w>> = HashMap::with_capacity(world.pods.len());
        let live = || world.pods().filter(|(_, pod)| pod.phase == Phase::Live);
        for (id, pod) in live().filter(|(_, pod)| !pod.host_network) {
            for address in &pod.addresses {
                owners
                    .entry(address.to_canonical())
                    .and_modify(|owner| *owner = Owner::Several)
                    .or_insert(Owner::Pod(id));
            }
        }
        for (name, node) in &world.nodes {
            for address in &node.addresses {
                owners.insert(address.to_canonical(), Owner::Node(name));
            }
        }
        for (_, pod) in live().filter(|(_, pod)| pod.host_network) {
            let Some(node) = &pod.node else { continue };
            for address in &pod.addresses {
                owners.entry(address.to_canonical()).or_insert(Owner::Node(node));
            }
        }
        Self { world, owners }
    }

    pub(super) fn holder(&self, address: IpAddr) -> Holder {
        match self.owners.get(&address.to_canonical()) {
            Some(Owner::Pod(id)) => Holder::Pod(*id),
            Some(Owner::Several) => Holder::Several,
            Some(Owner::Node(_)) | None => Holder::Nobody,
        }
    }

    /// Looks an end up.
    pub(super) fn resolve(&self, end: End) -> Result<Party<'w>, NoParty<'w>> {
        match end {
            End::Pod(id) => self.pod(id),
            End::Address(address) => {
                let address = address.to_canonical();
                let kind = match self.owners.get(&address) {
                    Some(Owner::Pod(id)) => Kind::Pod(*id, self.world.pod(*id)),
                    Some(Owner::Node(node)) => Kind::Host(Some(node), None),
                    Some(Owner::Several) => return Err(NoParty::Shared(address)),
                    None => Kind::Outside,
                };
                Ok(Party { kind, addresses: Cow::Owned(vec![address]), by_address: true })
            }
        }
    }

    fn pod(&self, id: PodId) -> Result<Party<'w>, NoParty<'w>> {
        let pod = self.world.pod(id);
        if pod.phase == Phase::Finished {
            return Err(NoParty::Finished(pod));
        }
        if !pod.host_network {
            return Ok(Party { kind: Kind::Pod(id, pod), addresses: Cow::Borrowed(&pod.addresses), by_address: false });
        }
        // Its traffic carries an address of its node; which one, when the node has several, is the node's choice.
        let node = pod.node.as_deref();
        let of_node = node.and_then(|node| self.world.nodes.get(node)).map_or(&[][..], |node| &node.addresses);
        let mut addresses = of_node.to_vec();
        addresses.extend(pod.addresses.iter().filter(|address| !of_node.contains(address)));
        Ok(Party { kind: Kind::Host(node, Some(pod)), addresses: Cow::Owned(addresses), by_address: false })
    }
}
