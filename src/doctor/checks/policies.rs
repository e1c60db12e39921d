//! The guide's "NetworkPolicy Considerations": one item a line, evaluated at both ends.

use super::{Answer, fail, no_manifests, pass, unknown};
use crate::doctor::facts::Facts;
use crate::finding::Code;
use crate::judge::{Declared, EdgeReport};
use crate::matrix::{Exchange, Expect, Party, ResolvedEdge};

/// The worst of the edges that a test picks.
fn judged(facts: &Facts, what: &str, pick: impl Fn(&ResolvedEdge) -> bool) -> Answer {
    if facts.world.is_none() {
        return no_manifests();
    }
    let names: Vec<&str> =
        facts.resolution.edges.iter().filter(|edge| pick(edge)).map(|edge| edge.edge.name.as_str()).collect();
    let rows: Vec<&EdgeReport> = names.iter().filter_map(|name| facts.edge(name)).collect();
    let worst = rows.iter().max_by_key(|row| match row.declared {
        Some(Declared::Allowed) => 0,
        Some(Declared::Unknown) | None => 1,
        Some(Declared::Denied) => 2,
    });
    let Some(row) = worst else {
        return unknown(
            format!("no source makes a connection {what}"),
            "name its target in the guide's values, MAS's config or a TrafficMatrix",
        );
    };
    let said = format!("{}: {}", row.name, row.because);
    match row.declared {
        Some(Declared::Allowed) => pass(said),
        Some(Declared::Denied) => fail(
            said,
            "portreeve render gives the one policy for MAS; `portreeve audit` names the policy in the way and the smallest change",
        ),
        Some(Declared::Unknown) | None => {
            let todo = "see `portreeve audit`: it names the fact that is missing";
            Answer { decisive: row.tier == 0, ..unknown(said, todo) }
        }
    }
}

pub(in crate::doctor) fn from_ingress(facts: &Facts) -> Answer {
    judged(facts, "from the ingress controller to MAS", |edge| {
        edge.edge.from.iter().any(|party| matches!(party, Party::IngressController(_)))
            && edge.edge.to.iter().any(|to| to.party == Party::Subject)
    })
}

pub(in crate::doctor) fn from_synapse(facts: &Facts) -> Answer {
    judged(facts, "from Synapse to MAS", |edge| edge.edge.exchange == Exchange::Whoami)
}

pub(in crate::doctor) fn to_postgres(facts: &Facts) -> Answer {
    judged(facts, "to PostgreSQL", |edge| matches!(edge.edge.exchange, Exchange::Postgres { .. }))
}

pub(in crate::doctor) fn to_synapse(facts: &Facts) -> Answer {
    judged(facts, "to Synapse", |edge| matches!(edge.edge.exchange, Exchange::Synapse { .. }))
}

pub(in crate::doctor) fn to_provider(facts: &Facts) -> Answer {
    judged(facts, "to an identity provider", |edge| matches!(edge.edge.exchange, Exchange::Oidc { .. }))
}

pub(in crate::doctor) fn to_dns(facts: &Facts) -> Answer {
    judged(facts, "to DNS", |edge| matches!(edge.edge.exchange, Exchange::DnsUdp | Exchange::DnsTcp))
}

pub(in crate::doctor) fn to_smtp(facts: &Facts) -> Answer {
    judged(facts, "to a mail relay", |edge| matches!(edge.edge.exchange, Exchange::Smtp { .. }))
}

/// Nothing beyond the edges: the point of having a policy at all.
pub(in crate::doctor) fn nothing_else(facts: &Facts) -> Answer {
    let Some(world) = &facts.world else { return no_manifests() };
    // A policy that is not known may isolate MAS, and may open it: that nothing more is seen proves nothing.
    let gap = world.unseen("NetworkPolicy", &facts.namespace);
    let unsure = |row: &&EdgeReport| row.expect == Expect::Deny && row.declared == Some(Declared::Unknown);
    let wide = |code| matches!(code, Code::WiderThanIntended | Code::ForbiddenOpen | Code::ClosedByLuck);
    match facts.findings.iter().find(|finding| wide(finding.code)) {
        Some(finding) => fail(format!("{}: {}", finding.object, finding.message), finding.fix.clone()),
        None if facts.resolution.subject.is_none() => unknown("MAS's pods were not found", "see mas-workload"),
        None if let Some(gap) = gap => unknown(gap.sentence(), gap.fix.clone()),
        None if let Some(row) = facts.edges.iter().find(unsure) => unknown(
            format!("{}: {}", row.name, row.because),
            "see `portreeve audit`: it names the fact that is missing",
        ),
        None => pass("the policies admit nothing else at MAS"),
    }
}
