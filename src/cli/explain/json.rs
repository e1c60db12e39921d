//! The answer for machines: everything, whatever the text leaves out.

use serde_json::{Value, json};

use super::Asked;
use crate::finding::Finding;
use crate::judge::explain::{Explained, Fix, Group, Open, Through, Way, fits};
use crate::load::Coverage;
use crate::policy::{Considered, ConsideredPolicy, NearestMiss, PolicyRef, PortSet, RuleRef, SideAnswer, Traffic};
use crate::world::Protocol;

pub(super) fn of(asked: &Asked<'_>, explained: &Explained, left_out: &[Finding], coverage: &Coverage) -> Value {
    let mut out = json!({
        "question": asked.title,
        "verdict": explained.verdict.as_str(),
    });
    if let (Some(edge), Value::Object(map)) = (asked.edge, &mut out) {
        map.insert("edge".to_owned(), edge.edge.name.as_str().into());
        map.insert("expect".to_owned(), edge.edge.expect.as_str().into());
        map.insert("fits".to_owned(), fits(edge.edge.expect, explained.verdict).into());
    }
    if let Value::Object(map) = &mut out {
        map.insert("services".to_owned(), explained.services.iter().map(service).collect());
        map.insert("answers".to_owned(), explained.groups.iter().map(group).collect());
        if !explained.open.is_empty() {
            map.insert("admitted".to_owned(), explained.open.iter().map(open).collect());
        }
        map.insert("fixes".to_owned(), explained.fixes.iter().map(fix).collect());
        map.insert("notes".to_owned(), json!(explained.notes));
        map.insert("findings".to_owned(), json!(left_out));
        map.insert("coverage".to_owned(), json!(coverage));
    }
    out
}

fn service(through: &Through) -> Value {
    json!({
        "service": through.service,
        "servicePort": through.service_port,
        "podPorts": through.pod_ports,
        "protocol": through.protocol.as_str(),
    })
}

fn group(group: &Group) -> Value {
    let first = group.first.as_ref();
    let families = first.map(|first| {
        let one = |(family, declared): &(crate::policy::Family, crate::judge::Declared)| {
            (family.to_string(), Value::from(declared.as_str()))
        };
        first.answer.by_family.iter().map(one).collect::<serde_json::Map<_, _>>()
    });
    json!({
        "verdict": group.declared.as_str(),
        "because": group.because,
        "pairs": group.pairs,
        "protocol": first.map(|first| first.answer.protocol.as_str()),
        "byFamily": families,
        "missing": first.and_then(|first| first.answer.missing.as_deref()),
        "egress": first.map(|first| side(&first.answer.egress, &first.egress)),
        "ingress": first.map(|first| side(&first.answer.ingress, &first.ingress)),
    })
}

fn side(side: &SideAnswer, considered: &Considered) -> Value {
    let nearest =
        |miss: &NearestMiss| json!({ "rule": rule(&miss.rule), "why": miss.why, "wouldMatch": considered.would_match });
    json!({
        "verdict": side.declared.as_str(),
        "exempt": side.exempt.map(crate::policy::Exemption::as_str),
        "missing": side.missing,
        "isolatedBy": side.isolated_by.iter().map(policy).collect::<Vec<_>>(),
        "decidedBy": side.decided_by.as_ref().map(rule),
        "tiers": considered.tiers.iter().map(|tier| considered_policy(tier, "matches")).collect::<Vec<_>>(),
        "policies": considered.policies.iter().map(|policy| considered_policy(policy, "admits")).collect::<Vec<_>>(),
        "doNotApply": considered.passed_over.iter().map(|other| {
            json!({ "policy": other.policy.to_string(), "place": other.policy.place, "why": other.why })
        }).collect::<Vec<_>>(),
        "nearest": side.nearest.as_ref().map(nearest),
    })
}

fn policy(policy: &PolicyRef) -> Value {
    json!({ "policy": policy.to_string(), "place": policy.place })
}

fn rule(rule: &RuleRef) -> Value {
    json!({
        "policy": rule.policy.to_string(),
        "direction": rule.direction.to_string(),
        "index": rule.index,
        "place": rule.place,
    })
}

/// A rule of a NetworkPolicy admits, one of a tier matches and then does what its action says.
fn considered_policy(considered: &ConsideredPolicy, verb: &str) -> Value {
    let rules: Vec<Value> = considered
        .rules
        .iter()
        .map(|rule| {
            json!({ "index": rule.rule.index, "place": rule.rule.place, (verb): rule.fits.as_str(), "why": rule.why })
        })
        .collect();
    json!({
        "policy": considered.policy.to_string(),
        "place": considered.policy.place,
        "owner": considered.owner,
        "rules": rules,
    })
}

fn open(open: &Open) -> Value {
    let families: serde_json::Map<_, _> =
        open.by_family.iter().map(|(family, t)| (family.to_string(), traffic(t))).collect();
    json!({
        "pairs": open.pairs.iter().map(|pair| json!({ "from": pair.from, "to": pair.to })).collect::<Vec<_>>(),
        "ports": traffic(&open.traffic),
        "byFamily": families,
        "egressIsolatedBy": open.egress.iter().map(policy).collect::<Vec<_>>(),
        "ingressIsolatedBy": open.ingress.iter().map(policy).collect::<Vec<_>>(),
    })
}

fn traffic(traffic: &Traffic) -> Value {
    json!({ "allowed": ports(&traffic.allowed), "unknown": ports(&traffic.unknown) })
}

/// Protocol → `"80, 443"`; `all ports` where it is all. Protocols without a port are left out.
pub(in crate::cli) fn ports(set: &PortSet) -> Value {
    let found = Protocol::ALL.into_iter().filter(|protocol| !set.get(*protocol).is_empty());
    found.map(|protocol| (protocol.as_str().to_owned(), Value::from(set.get(protocol).to_string()))).collect()
}

fn fix(fix: &Fix) -> Value {
    let (way, policy, place) = match &fix.way {
        Way::AddTo(policy) => ("add", Some(policy.name.to_string()), Some(&policy.place)),
        Way::Apply { .. } => ("apply", None, None),
        Way::TakeOut(rule) => ("takeOut", Some(rule.policy.name.to_string()), Some(&rule.place)),
    };
    json!({
        "way": way,
        "says": fix.says(),
        "direction": fix.direction.to_string(),
        "policy": policy,
        "place": place,
        "yaml": fix.yaml,
    })
}
