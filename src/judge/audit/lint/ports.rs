//! Ports that lead nowhere at the destination, and ranges that not every plug-in knows.

use super::super::view::View;
use super::{matches_pod, relevant};
use crate::finding::{Code, Finding};
use crate::policy::{Direction, PeerMatch, Peers, Policy, PolicyPort, PortMatch, Ports, Rule};
use crate::world::Pod;

/// The findings about ports in policies that matter to an edge.
pub(super) fn ports(view: &View<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for policy in relevant(view) {
        for direction in [Direction::Ingress, Direction::Egress] {
            for (index, rule) in policy.rules(direction).unwrap_or_default().iter().enumerate() {
                let Ports::Listed(ports) = &rule.ports else { continue };
                let pods = destinations(view, policy, rule, direction);
                found.extend(ports.iter().filter_map(|port| {
                    let (code, what, fix) = wrong(rule, port, direction, &pods)?;
                    let object = format!("NetworkPolicy/{}", policy.name);
                    let message = format!("{direction}[{index}] {what}");
                    Some(Finding::new(code, object, message, fix).at(port.place.clone()))
                }));
            }
        }
    }
    found
}

/// The known pods whose ports a rule means.
fn destinations<'v>(view: &View<'v>, policy: &Policy, rule: &Rule, direction: Direction) -> Vec<&'v Pod> {
    let pods = view.plain_pods().map(|(_, pod)| pod);
    match direction {
        Direction::Ingress => pods.filter(|pod| policy.selects(pod)).collect(),
        // Others that are not shown may have the port.
        Direction::Egress if view.world.unseen_anywhere("Pod").is_some() => Vec::new(),
        Direction::Egress => pods.filter(|pod| matches_pod(view, policy, rule, pod)).collect(),
    }
}

fn wrong(rule: &Rule, port: &PolicyPort, direction: Direction, pods: &[&Pod]) -> Option<(Code, String, String)> {
    let first = pods.first()?;
    let protocol = port.protocol;
    match &port.ports {
        PortMatch::All => None,
        PortMatch::Named(name) => {
            let named = |pod: &&Pod| pod.ports.iter().any(|own| own.name.as_deref() == Some(name));
            let fits =
                |pod: &&Pod| pod.ports.iter().any(|own| own.protocol == protocol && own.name.as_deref() == Some(name));
            if pods.iter().any(fits) {
                return None;
            }
            let other = if pods.iter().any(named) { " (only with another protocol)" } else { "" };
            let what = format!(
                "names the {protocol} port `{name}`, which no pod at the destination has{other}, for example {}: it admits nothing",
                first.name
            );
            Some((
                Code::NamedPortMissing,
                what,
                "write the number of the pod port, or name it in the pods' containers".to_owned(),
            ))
        }
        PortMatch::Range(from, to) if from < to => {
            let what = format!(
                "admits {protocol} {from}-{to} by endPort: a network plug-in that does not know it admits {from} only"
            );
            Some((
                Code::EndPortUsed,
                what,
                "check that the cluster's plug-in supports endPort (Kubernetes 1.25), or list the ports".to_owned(),
            ))
        }
        PortMatch::Range(number, _) => {
            // A declared port is information, not a gate: only where every pod tells its ports, a number that is none of them stands out.
            let silent = pods.iter().any(|pod| pod.ports.is_empty());
            let declared = |pod: &&Pod| pod.ports.iter().any(|own| own.protocol == protocol && own.number == *number);
            if silent || (direction == Direction::Egress && reaches_addresses(rule)) || pods.iter().any(declared) {
                return None;
            }
            let own: Vec<String> = first.ports.iter().map(|own| format!("{} {}", own.protocol, own.number)).collect();
            let what = format!(
                "admits {protocol} {number}, which no pod at the destination declares; {} declares {}",
                first.name,
                own.join(", ")
            );
            Some((Code::NobodyListens, what, "name the pod port (not the Service port), or remove it".to_owned()))
        }
    }
}

/// Whether the other end may be no pod at all, so that its ports are not known.
fn reaches_addresses(rule: &Rule) -> bool {
    match &rule.peers {
        Peers::Any => true,
        Peers::Listed(peers) => peers.iter().any(|peer| matches!(peer.matches, PeerMatch::Block { .. })),
    }
}
