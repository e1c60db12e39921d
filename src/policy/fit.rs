//! Three-valued matching: whether a peer fits, does not, or which fact is missing to say.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::cidr::{self, Cover};
use super::party::{Kind, Party};
use super::tiers::TierPolicy;
use super::{Direction, Family, Unmodelled};
use crate::world::labels::{NAMESPACE_NAME, Selector};
use crate::world::{Labels, Pod, Protocol, World};

/// Whether something fits.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fit<'w> {
    Yes,
    No,
    Unknown(Missing<'w>),
}

impl Fit<'_> {
    pub(super) fn of(fits: bool) -> Self {
        if fits { Self::Yes } else { Self::No }
    }

    #[must_use]
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Unknown(why), _) | (_, Self::Unknown(why)) => Self::Unknown(why),
            (Self::Yes, Self::Yes) => Self::Yes,
        }
    }

    #[must_use]
    pub(super) fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Yes, _) | (_, Self::Yes) => Self::Yes,
            (Self::Unknown(why), _) | (_, Self::Unknown(why)) => Self::Unknown(why),
            (Self::No, Self::No) => Self::No,
        }
    }

    pub(super) fn is_yes(self) -> bool {
        matches!(self, Self::Yes)
    }
}

/// A fact without which there is no verdict.
#[derive(Debug, Clone, Copy)]
pub(super) enum Missing<'w> {
    NamespaceLabels(&'w str),
    PodAddress(&'w Pod),
    HostAddress(&'w Pod),
    HostAddresses,
    NamedPortInBlock,
    SameNode(&'w Pod),
    Unmodelled(&'w Unmodelled),
    EqualPriority(&'w TierPolicy, &'w TierPolicy),
    OwnNodeDenied(&'w TierPolicy),
    FailClosedPorts,
    NameTwice(&'w Pod),
    DomainNames,
    NodeLabels,
}

impl fmt::Display for Missing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NamespaceLabels(name) => {
                write!(f, "the labels of namespace {name} are not known: include its Namespace object")
            }
            Self::PodAddress(pod) => write!(f, "pod {} has no address yet, and an ipBlock decides", pod.name),
            Self::HostAddress(pod) => {
                write!(f, "the address of the node of pod {} is not known: include its Node object", pod.name)
            }
            Self::HostAddresses => {
                f.write_str("the node has several addresses, and an ipBlock holds some of them only")
            }
            Self::NamedPortInBlock => {
                f.write_str("whether a named port reaches a pod through an ipBlock is not defined: write its number")
            }
            Self::SameNode(pod) => write!(
                f,
                "whether pod {} runs on the node at the other end is not known, and its own node always reaches it",
                pod.name
            ),
            Self::Unmodelled(other) => write!(f, "{} ({}) {}", other.object, other.place, other.why),
            Self::EqualPriority(a, b) => write!(
                f,
                "{} ({}) and {} ({}) both match and differ, and nothing says which comes first: give them different priorities",
                a.object(),
                a.place,
                b.object(),
                b.place
            ),
            Self::OwnNodeDenied(policy) => write!(
                f,
                "{} ({}) may deny it, and whether that holds between a pod and its own node is not defined",
                policy.object(),
                policy.place
            ),
            Self::FailClosedPorts => {
                f.write_str("a rule has a peer of an unknown kind, and whether it then denies more than its own ports is not defined")
            }
            Self::NameTwice(pod) => {
                write!(f, "pod {} has several ports of the name that a rule uses, and which one it means is not defined", pod.name)
            }
            Self::DomainNames => f.write_str("a rule names DNS names, and which addresses they have is not known"),
            Self::NodeLabels => {
                f.write_str("a rule selects nodes by labels, and those of the node are not known: include its Node object")
            }
        }
    }
}

/// One end under its policies: whose policies, who is at the other end, which way, in which family.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a, 'w> {
    pub(super) own: &'a Party<'w>,
    pub(super) peer: &'a Party<'w>,
    pub(super) direction: Direction,
    pub(super) family: Family,
}

impl<'a, 'w> Scene<'a, 'w> {
    /// Ports are the destination's.
    pub(super) fn destination(&self) -> &'a Party<'w> {
        match self.direction {
            Direction::Ingress => self.own,
            Direction::Egress => self.peer,
        }
    }
}

/// Whether the other end has its addresses in a block.
pub(super) fn block_fits<'w>(net: IpNet, except: &[IpNet], scene: &Scene<'_, 'w>) -> Fit<'w> {
    let peer = scene.peer;
    if peer.addresses.is_empty() {
        return match (cidr::cover(net, except, scene.family), peer.kind) {
            (Cover::All, _) => Fit::Yes,
            (Cover::Nothing, _) => Fit::No,
            (Cover::Some, Kind::Pod(_, pod)) => Fit::Unknown(Missing::PodAddress(pod)),
            (Cover::Some, Kind::Host(_, Some(pod))) => Fit::Unknown(Missing::HostAddress(pod)),
            (Cover::Some, Kind::Host(_, None) | Kind::Outside) => Fit::No,
        };
    }
    let inside = |address: IpAddr| cidr::contains(net, except, address);
    let (mut any, mut all) = (false, true);
    for address in peer.in_family(scene.family) {
        any |= inside(address);
        all &= inside(address);
    }
    match (any, all) {
        (false, _) => Fit::No,
        (true, true) => Fit::Yes,
        (true, false) => Fit::Unknown(Missing::HostAddresses),
    }
}

/// Ports of this name on the destination, whatever their protocol.
pub(super) fn all_named<'w>(scene: &Scene<'_, 'w>, name: &'w str) -> impl Iterator<Item = (Protocol, u16)> {
    let ports = scene.destination().pod().map_or(&[][..], |pod| &pod.ports);
    ports.iter().filter(move |port| port.name.as_deref() == Some(name)).map(|port| (port.protocol, port.number))
}

/// The numbers behind a port name on the destination: every container port of that name and protocol (the text is silent on duplicates).
pub(super) fn named<'w>(scene: &Scene<'_, 'w>, name: &'w str, protocol: Protocol) -> impl Iterator<Item = u16> {
    let ports = scene.destination().pod().map_or(&[][..], |pod| &pod.ports);
    ports.iter().filter(move |p| p.protocol == protocol && p.name.as_deref() == Some(name)).map(|p| p.number)
}

/// Labels of a namespace as far as they are known; `None` when only its name is.
pub(super) fn namespace_labels<'w>(world: &'w World, name: &str) -> Option<&'w Labels> {
    world.namespaces.get(name).filter(|namespace| namespace.place.is_some()).map(|namespace| &namespace.labels)
}

/// `kubernetes.io/metadata.name` is on every namespace, whatever its manifest says; other labels are known only from the manifest.
pub(super) fn namespace_fits<'w>(world: &'w World, selector: &Selector, name: &'w str) -> Fit<'w> {
    let labels = namespace_labels(world, name);
    let one = |key: &str, holds: &dyn Fn(Option<&str>) -> bool| {
        if key == NAMESPACE_NAME {
            return Fit::of(holds(Some(name)));
        }
        match labels {
            Some(labels) => Fit::of(holds(labels.get(key).map(String::as_str))),
            None => Fit::Unknown(Missing::NamespaceLabels(name)),
        }
    };
    let plain = selector.match_labels.iter().map(|(key, want)| one(key, &|value| value == Some(want.as_str())));
    let expressions = selector.expressions.iter().map(|r| one(&r.key, &|value| r.test.holds(value)));
    plain.chain(expressions).fold(Fit::Yes, Fit::and)
}
