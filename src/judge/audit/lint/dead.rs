//! Policies and rules that nothing can meet.

use std::collections::HashMap;

use super::super::view::View;
use super::witness::witnesses;
use crate::finding::{Code, Finding};
use crate::judge::audit::addresses::Addresses;
use crate::policy::{Direction, NamespaceMatch, PeerMatch, Peers, Policy, PolicyPeer, PortMatch, Ports, Rule};
use crate::world::{Pod, Uncovered};

/// Policies that select no pod.
pub(super) fn policies(view: &View<'_>) -> Vec<Finding> {
    let mut pods: HashMap<&str, Vec<&Pod>> = HashMap::new();
    for (_, pod) in view.plain_pods() {
        pods.entry(&pod.name.namespace).or_default().push(pod);
    }
    let here = |policy: &Policy| pods.get(policy.name.namespace.as_str()).map_or(&[][..], Vec::as_slice);
    view.policies.policies.iter().filter_map(|policy| dead_policy(view, policy, here(policy))).collect()
}

fn dead_policy(view: &View<'_>, policy: &Policy, here: &[&Pod]) -> Option<Finding> {
    let selector = &policy.pod_selector;
    let (message, fix) = if witnesses(selector).is_empty() {
        (
            "its podSelector contradicts itself: no pod can have these labels".to_owned(),
            "mend the selector, or delete the policy",
        )
    } else {
        // Where no pod is known, or what makes pods was not rendered, nothing can be said.
        let hidden = view.world.not_covered.iter().any(|gap| matches!(gap.subject, Uncovered::Object(_)))
            || view.world.unseen("Pod", &policy.name.namespace).is_some();
        if here.is_empty() || hidden || here.iter().any(|pod| policy.selects(pod)) {
            return None;
        }
        let message = format!("no known pod of {} has the labels {selector}", policy.name.namespace);
        (message, "compare with the labels of the pods, or delete the policy")
    };
    Some(
        Finding::new(Code::DeadPolicy, format!("NetworkPolicy/{}", policy.name), message, fix).at(policy.place.clone()),
    )
}

/// Peers and rules that nothing can match, whatever pods there are.
pub(super) fn rules(view: &View<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for policy in &view.policies.policies {
        for direction in [Direction::Ingress, Direction::Egress] {
            for (index, rule) in policy.rules(direction).unwrap_or_default().iter().enumerate() {
                let dead = |place: &crate::source::Place, why: &str, fix: &str| {
                    let message = format!("{direction}[{index}]: {why}");
                    let object = format!("NetworkPolicy/{}", policy.name);
                    Finding::new(Code::DeadRule, object, message, fix).at(place.clone())
                };
                if direction == Direction::Egress && names_ports_of_addresses(rule) {
                    let why = "it names ports by name and its peers by address, and an address has no named ports";
                    found.push(dead(&rule.place, why, "write the port's number"));
                }
                let Peers::Listed(peers) = &rule.peers else { continue };
                found.extend(peers.iter().filter_map(|peer| {
                    let (why, fix) = contradiction(peer)?;
                    Some(dead(&peer.place, why, fix))
                }));
            }
        }
    }
    found
}

fn names_ports_of_addresses(rule: &Rule) -> bool {
    let (Peers::Listed(peers), Ports::Listed(ports)) = (&rule.peers, &rule.ports) else { return false };
    peers.iter().all(|peer| matches!(peer.matches, PeerMatch::Block { .. }))
        && ports.iter().all(|port| matches!(port.ports, PortMatch::Named(_)))
}

fn contradiction(peer: &PolicyPeer) -> Option<(&'static str, &'static str)> {
    match &peer.matches {
        PeerMatch::Block { net, except } => Addresses::of(&[*net], except)
            .is_empty()
            .then_some(("`except` cuts the whole range out of its own ipBlock", "narrow `except`, or remove the item")),
        PeerMatch::Pods { namespaces: NamespaceMatch::Selected(selector), .. } if witnesses(selector).is_empty() => {
            Some(("its namespaceSelector contradicts itself", "mend the selector, or remove the item"))
        }
        PeerMatch::Pods { pods, .. } => witnesses(pods)
            .is_empty()
            .then_some(("its podSelector contradicts itself", "mend the selector, or remove the item")),
    }
}
