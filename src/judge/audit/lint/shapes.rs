//! Rules that mean something else than they look like: OR for AND, selectors for addresses, one family for both.

use super::super::view::View;
use super::super::wider::rule_ports;
use super::relevant;
use crate::finding::{Code, Finding};
use crate::matrix::{PeerKind, ResolvedEdge};
use crate::policy::render;
use crate::policy::{Direction, Family, NamespaceMatch, PeerMatch, Peers, Policy, PolicyPeer, PortSet, Rule};
use crate::world::Pod;

/// The findings about the shape of rules in policies that matter to an edge.
pub(super) fn shapes(view: &View<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for policy in relevant(view) {
        for direction in [Direction::Ingress, Direction::Egress] {
            for (index, rule) in policy.rules(direction).unwrap_or_default().iter().enumerate() {
                let name = format!("{direction}[{index}]");
                found.extend(or_instead_of_and(view, policy, rule, &name));
                found.extend(one_family(view, policy, rule, direction, &name));
            }
        }
    }
    found
}

/// `- namespaceSelector: x` and `- podSelector: y` as two items: the second hits nobody at home, and somebody in the first one's namespaces.
fn or_instead_of_and(view: &View<'_>, policy: &Policy, rule: &Rule, name: &str) -> Option<Finding> {
    let Peers::Listed(peers) = &rule.peers else { return None };
    let (_, second) = peers.windows(2).find_map(|pair| {
        let [a, b] = pair else { return None };
        meant_together(view, policy, a, b).or_else(|| meant_together(view, policy, b, a))
    })?;
    let message = format!(
        "{name}: namespaceSelector and podSelector are two items, so either is enough: all pods of those namespaces are meant, and pods of {} that do not exist",
        policy.name.namespace
    );
    let fix = "take the second `-` away, so that both stand in one item";
    let object = format!("NetworkPolicy/{}", policy.name);
    Some(Finding::new(Code::OrInsteadOfAnd, object, message, fix).at(second.place.clone()))
}

fn meant_together<'p>(
    view: &View<'_>,
    policy: &Policy,
    namespaces: &'p PolicyPeer,
    pods: &'p PolicyPeer,
) -> Option<(&'p PolicyPeer, &'p PolicyPeer)> {
    let PeerMatch::Pods { namespaces: there @ NamespaceMatch::Selected(selector), pods: any } = &namespaces.matches
    else {
        return None;
    };
    let PeerMatch::Pods { namespaces: NamespaceMatch::Own, pods: wanted } = &pods.matches else { return None };
    if selector.is_everything() || !any.is_everything() || wanted.is_everything() {
        return None;
    }
    let hits = |at_home: bool| {
        view.plain_pods().map(|(_, pod)| pod).any(|pod: &Pod| {
            let here = if at_home {
                pod.name.namespace == policy.name.namespace
            } else {
                view.selects_namespace(policy, there, &pod.name.namespace)
            };
            here && wanted.matches(&pod.labels)
        })
    };
    (!hits(true) && hits(false)).then_some((namespaces, pods))
}

/// Open to all of IPv4 and to nothing of IPv6 on the same ports, at a pod that has addresses of both.
fn one_family(view: &View<'_>, policy: &Policy, rule: &Rule, direction: Direction, name: &str) -> Option<Finding> {
    let Peers::Listed(peers) = &rule.peers else { return None };
    let open = peers.iter().find(|peer| is_whole(peer, Family::V4))?;
    let both = |pod: &&Pod| Family::ALL.iter().all(|f| pod.addresses.iter().any(|a| Family::of(*a) == *f));
    let pod = view.plain_pods().map(|(_, pod)| pod).filter(|pod| policy.selects(pod)).find(both)?;
    let covered = view
        .policies_of(pod)
        .flat_map(|policy| policy.rules(direction).unwrap_or_default())
        .filter(|rule| match &rule.peers {
            Peers::Any => true,
            Peers::Listed(peers) => peers.iter().any(|peer| is_whole(peer, Family::V6)),
        })
        .fold(PortSet::none(), |all, rule| all.union(&rule_ports(rule, None)));
    let left = rule_ports(rule, None).minus(&covered);
    if left.is_empty() {
        return None;
    }
    let message = format!("{name} admits {left} with all of IPv4 and with nothing of IPv6, and {} has both", pod.name);
    let fix = "add `- ipBlock: {cidr: \"::/0\"}` with the matching `except`, or list the addresses that are needed";
    let object = format!("NetworkPolicy/{}", policy.name);
    Some(Finding::new(Code::Ipv6Forgotten, object, message, fix).at(open.place.clone()))
}

/// The whole family, holes or not.
fn is_whole(peer: &PolicyPeer, family: Family) -> bool {
    matches!(&peer.matches, PeerMatch::Block { net, .. } if net.prefix_len() == 0 && Family::of_net(*net) == family)
}

/// A rule on the edge's port that selects all pods of all namespaces, where the edge's peer is an address: selectors never mean addresses outside.
pub(in crate::judge::audit) fn selector_for_address(
    view: &View<'_>,
    edge: &ResolvedEdge,
    direction: Direction,
    own: &Pod,
    port: u16,
) -> Option<Finding> {
    let others = match direction {
        Direction::Egress => &edge.to,
        Direction::Ingress => &edge.from,
    };
    if !others.iter().all(|peer| matches!(peer.kind, PeerKind::Blocks { .. })) {
        return None;
    }
    let everybody = |peer: &&PolicyPeer| match &peer.matches {
        PeerMatch::Pods { namespaces: NamespaceMatch::Selected(selector), pods } => {
            selector.is_everything() && pods.is_everything()
        }
        _ => false,
    };
    for policy in view.policies_of(own) {
        for (index, rule) in policy.rules(direction).unwrap_or_default().iter().enumerate() {
            let Peers::Listed(peers) = &rule.peers else { continue };
            let Some(peer) = peers.iter().find(everybody) else { continue };
            if !rule_ports(rule, Some(own)).contains(edge.edge.protocol, port) {
                continue;
            }
            let message = format!(
                "{direction}[{index}] selects all pods of all namespaces, but the other end of `{}` is outside the cluster: `namespaceSelector: {{}}` means no address out there",
                edge.edge.name
            );
            let fix = match render::fragment(view.subject, edge, direction) {
                Some(yaml) => format!("write its addresses as ipBlock:\n{yaml}"),
                None => "write its addresses as ipBlock".to_owned(),
            };
            let object = format!("NetworkPolicy/{}", policy.name);
            let finding = Finding::new(Code::SelectorForAddress, object, message, fix);
            return Some(finding.at(peer.place.clone()).on(&edge.edge.name));
        }
    }
    None
}
