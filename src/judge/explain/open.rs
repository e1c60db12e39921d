//! Asked without a port: everything that is admitted, in each family.

use std::collections::BTreeSet;

use super::names::{Name, Rows, Wholes};
use super::{Explained, Overall, PairName, Question, Sources, Through, TooMany, aliases, assertion, bounded, cut};
use crate::judge::Declared;
use crate::judge::audit::{Reach, Side};
use crate::judge::verify::Assertion;
use crate::judge::verify::ends::Ends;
use crate::matrix::Party;
use crate::policy::{Direction, End, Family, PolicyKind, PolicyRef, Traffic};
use crate::world::{PortRef, Protocol, Service, World};

/// Pairs between which the same is admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// The pairs; their pod port is 0, as none was asked for.
    pub pairs: Vec<PairName>,
    /// Allowed and unknown over all shared families.
    pub traffic: Traffic,
    /// The same in each family; empty when there is none to judge in.
    pub by_family: Vec<(Family, Traffic)>,
    /// Policies that isolate the source for egress, in source order.
    pub egress: Vec<PolicyRef>,
    /// Policies that isolate the destination for ingress, in source order.
    pub ingress: Vec<PolicyRef>,
}

/// The admitted ports of every pair.
pub(super) fn ports(
    question: &Question,
    service: Option<&Service>,
    reach: &Reach<'_>,
    sources: Sources<'_>,
) -> Result<Explained, TooMany> {
    let world = sources.world();
    let to = service.map_or_else(|| question.to.clone(), |service| Party::Service(service.name.clone()));
    let assertions = asked(question, &to, service);
    let mut ends = Ends::new(world, reach, sources.subject());
    // The destination as a source: its pods, whatever the port.
    let (from, to) = (ends.sources(&assertions[0]), ends.sources(&assertions[1]));
    bounded(&from, to.iter(), world)?;
    let mut wholes = Wholes::default();
    wholes.add(&question.from, from.iter());
    wholes.add(&question.to, to.iter());
    let mut open: Vec<(Open, Rows)> = Vec::new();
    let mut notes = aliases(question, world);
    for (from, to) in from.iter().flat_map(|from| to.iter().map(move |to| (from, to))) {
        for (from, to) in cut(from, to, reach) {
            match (ends_of(&from, reach), ends_of(&to, reach)) {
                (Err(why), _) | (_, Err(why)) => notes.push(why),
                (Ok(sides_from), Ok(sides_to)) => {
                    for (a, b) in sides_from.iter().flat_map(|a| sides_to.iter().map(move |b| (*a, *b))) {
                        // A pod reaches itself always; a template stands for several pods.
                        if a != b || matches!(a, End::Pod(id) if world.pod(id).template) {
                            add(&mut open, (a, &from), (b, &to), sources);
                        }
                    }
                }
            }
        }
    }
    notes.dedup();
    let services = assertions[2..].iter().filter_map(|assertion| through(service?, assertion, &mut ends)).collect();
    let open: Vec<Open> = open.into_iter().map(|(open, rows)| Open { pairs: rows.named(&wholes), ..open }).collect();
    let verdict = Overall::over(open.iter().map(|open| {
        let all = &open.traffic;
        match (all.allowed.is_empty(), all.unknown.is_empty()) {
            (false, _) => Declared::Allowed,
            (true, false) => Declared::Unknown,
            (true, true) => Declared::Denied,
        }
    }));
    Ok(Explained { verdict, services, groups: Vec::new(), open, fixes: Vec::new(), notes })
}

/// The question, the same with the destination as source, and one for each port of a Service.
fn asked(question: &Question, to: &Party, service: Option<&Service>) -> Vec<Assertion> {
    let any = || PortRef::Number(1);
    let forward = assertion(question, to, any(), Protocol::Tcp);
    let turned = Question { from: to.clone(), ..question.clone() };
    let mut all = vec![forward, assertion(&turned, to, any(), Protocol::Tcp)];
    for port in service.into_iter().flat_map(|service| &service.ports) {
        all.push(assertion(question, to, PortRef::Number(port.port), port.protocol));
    }
    all
}

fn through<'a>(service: &Service, assertion: &'a Assertion, ends: &mut Ends<'a, '_>) -> Option<Through> {
    let PortRef::Number(service_port) = assertion.port else { return None };
    let pod_ports: BTreeSet<u16> = ends.targets(assertion).iter().map(|to| to.port).filter(|port| *port != 0).collect();
    Some(Through { service: service.name.to_string(), service_port, pod_ports, protocol: assertion.protocol })
}

/// The ends of a side: pods, or the address that stands for a piece of a range.
fn ends_of(side: &Side, reach: &Reach<'_>) -> Result<Vec<End>, String> {
    match side {
        Side::Pods(pods) | Side::AnyPod(pods) => Ok(pods.iter().map(|pod| End::Pod(*pod)).collect()),
        Side::At(address) => Ok(vec![End::Address(*address)]),
        Side::Range(range) => Ok(reach.sample(range).map(End::Address).into_iter().collect()),
        Side::Unknown(why) => Err(why.clone()),
    }
}

fn add(open: &mut Vec<(Open, Rows)>, from: (End, &Side), to: (End, &Side), sources: Sources<'_>) {
    let world = sources.world();
    let name = |(end, side): (End, &Side)| match end {
        End::Pod(id) => Name::Text(world.pod(id).name.to_string()),
        End::Address(address) => Name::of(side, address.to_string()),
    };
    let admitted = sources.engine.admitted(from.0, to.0);
    let isolators = |end: End, direction: Direction| match end {
        End::Pod(id) => isolators(world, id, direction, sources),
        End::Address(_) => Vec::new(),
    };
    let new = Open {
        pairs: Vec::new(),
        traffic: admitted.traffic,
        by_family: admitted.by_family,
        egress: isolators(from.0, Direction::Egress),
        ingress: isolators(to.0, Direction::Ingress),
    };
    let same = |(other, _): &&mut (Open, Rows)| {
        (&other.traffic, &other.by_family, &other.egress, &other.ingress)
            == (&new.traffic, &new.by_family, &new.egress, &new.ingress)
    };
    let (from, to) = (name(from), name(to));
    if let Some((_, rows)) = open.iter_mut().find(same) {
        return rows.add(from, to, 0);
    }
    let mut rows = Rows::default();
    rows.add(from, to, 0);
    open.push((new, rows));
}

fn isolators(world: &World, id: crate::world::PodId, direction: Direction, sources: Sources<'_>) -> Vec<PolicyRef> {
    let pod = world.pod(id);
    let here = sources.engine.policies().in_namespace(&pod.name.namespace);
    let isolating = here.filter(|policy| policy.selects(pod) && policy.rules(direction).is_some());
    isolating
        .map(|policy| PolicyRef {
            kind: PolicyKind::NetworkPolicy,
            name: policy.name.clone(),
            place: policy.place.clone(),
        })
        .collect()
}

impl Open {
    /// The traffic for people: what is allowed, and what is not known.
    pub fn describe(traffic: &Traffic) -> String {
        let known = if traffic.allowed.is_empty() {
            "nothing allowed".to_owned()
        } else {
            format!("allowed {}", traffic.allowed)
        };
        if traffic.unknown.is_empty() { known } else { format!("{known}; not known {}", traffic.unknown) }
    }
}
