//! The answer for people: the verdict in the first line, then why, then what to do.

use std::fmt::Write;

use super::{Asked, expected};
use crate::cli::output::{Style, WIDTH, findings, not_covered, wrap};
use crate::finding::Finding;
use crate::judge::Declared;
use crate::judge::explain::{Explained, Fix, Group, Open, Overall, PairName, Through, Way, fits};
use crate::load::Coverage;
use crate::policy::{Considered, ConsideredPolicy, Direction, Explanation, Fits, SideAnswer};

/// Pairs that are listed of each group; `-o json` has all.
const PAIRS: usize = 8;
/// Rules that are listed at each end.
const RULES: usize = 24;
/// Fixes that are printed.
const FIXES: usize = 4;

pub(super) fn print(
    asked: &Asked<'_>,
    explained: &Explained,
    left_out: &[Finding],
    coverage: &Coverage,
    style: Style,
) -> String {
    let mut out = first_line(asked, explained, style);
    for through in &explained.services {
        line(&mut out, 2, &service(through));
    }
    for note in &explained.notes {
        line(&mut out, 2, &format!("note: {note}"));
    }
    let several = explained.groups.len() > 1;
    for group in &explained.groups {
        out.push_str(&of_group(group, several, asked, style));
    }
    for open in &explained.open {
        out.push_str(&of_open(open));
    }
    for fix in explained.fixes.iter().take(FIXES) {
        out.push_str(&of_fix(fix));
    }
    if let Some(more) = explained.fixes.len().checked_sub(FIXES).filter(|more| *more > 0) {
        line(&mut out, 2, &format!("and {more} more fixes: -o json has all"));
    }
    for missing in not_covered(coverage, left_out) {
        line(&mut out, 2, &format!("not covered: {missing}"));
    }
    if !left_out.is_empty() {
        let _ = write!(out, "\n{}", findings(left_out, style));
    }
    out
}

fn first_line(asked: &Asked<'_>, explained: &Explained, style: Style) -> String {
    let word = match (explained.open.is_empty(), explained.verdict) {
        (true, verdict) => verdict.as_str(),
        (false, Overall::Allowed) => "open",
        (false, Overall::Denied) => "closed",
        (false, verdict) => verdict.as_str(),
    };
    let declared = match explained.verdict {
        Overall::Allowed => Declared::Allowed,
        Overall::Denied => Declared::Denied,
        Overall::Unknown | Overall::Mixed => Declared::Unknown,
    };
    let (as_wanted, note) = match asked.edge {
        Some(edge) => (fits(edge.edge.expect, explained.verdict), format!(" ({})", expected(edge.edge.expect))),
        None => (explained.verdict == Overall::Allowed, String::new()),
    };
    format!("{}  {}{note}\n", style.declared(as_wanted, declared, word), style.bold(&asked.title))
}

fn service(through: &Through) -> String {
    let Through { service, service_port, pod_ports, protocol } = through;
    let ports: Vec<String> = pod_ports.iter().map(ToString::to_string).collect();
    if ports.is_empty() {
        return format!("Service port {service_port}/{protocol} of {service} → no pod port is known");
    }
    format!(
        "Service port {service_port} → pod port {} ({service}, {protocol}); policies see the pod port",
        ports.join(", ")
    )
}

fn of_group(group: &Group, several: bool, asked: &Asked<'_>, style: Style) -> String {
    let mut out = String::new();
    let protocol = group.first.as_ref().map(|first| format!("/{}", first.answer.protocol)).unwrap_or_default();
    let mark = if several { format!("{}  ", style.bold(group.declared.as_str())) } else { String::new() };
    for pair in group.pairs.iter().take(PAIRS) {
        let said = pair_text(pair, &protocol);
        if several || said != asked.title {
            line(&mut out, 2, &format!("{mark}{said}"));
        }
    }
    if let Some(more) = group.pairs.len().checked_sub(PAIRS).filter(|more| *more > 0) {
        line(&mut out, 2, &format!("{mark}and {more} more pairs"));
    }
    let Some(first) = &group.first else {
        line(&mut out, 4, &group.because);
        return out;
    };
    let answer = &first.answer;
    if answer.is_mixed() {
        let families: Vec<String> =
            answer.by_family.iter().map(|(family, declared)| format!("{family} {}", declared.as_str())).collect();
        line(&mut out, 4, &format!("by family: {}", families.join(", ")));
    }
    if group.declared == Declared::Unknown {
        line(&mut out, 4, &format!("missing: {}", answer.missing.as_deref().unwrap_or("a fact")));
    }
    out.push_str(&of_side(first, Direction::Egress));
    out.push_str(&of_side(first, Direction::Ingress));
    out
}

fn pair_text(pair: &PairName, protocol: &str) -> String {
    let PairName { from, to, pod_port } = pair;
    match pod_port {
        0 => format!("{from} → {to}"),
        port => format!("{from} → {to} {port}{protocol}"),
    }
}

fn of_side(explanation: &Explanation, direction: Direction) -> String {
    let answer = &explanation.answer;
    let (end, side, considered) = match direction {
        Direction::Egress => (&answer.from, &answer.egress, &explanation.egress),
        Direction::Ingress => (&answer.to, &answer.ingress, &explanation.ingress),
    };
    let mut out = String::new();
    line(&mut out, 4, &headline(end, direction, side));
    out.push_str(&rules(considered.tiers.iter().chain(&considered.policies), direction));
    if let (Some(miss), Some(would)) = (&side.nearest, &considered.would_match) {
        let rule = &miss.rule;
        line(&mut out, 6, &format!("nearest: {} {direction}[{}] {would}", rule.policy.name, rule.index));
    }
    out.push_str(&passed_over(considered));
    out
}

fn headline(end: &str, direction: Direction, side: &SideAnswer) -> String {
    if let Some(exempt) = side.exempt {
        return format!("{direction} of {end}: {end} {}", exempt.as_str());
    }
    let isolated: Vec<String> = side.isolated_by.iter().map(|p| format!("{} ({})", p.name, p.place)).collect();
    let by = isolated.join(", ");
    match (side.declared, &side.decided_by) {
        (Declared::Allowed, Some(rule)) => {
            format!("{direction} of {end}: allowed by {} {direction}[{}] ({})", rule.policy, rule.index, rule.place)
        }
        (Declared::Allowed, None) => format!("{direction} of {end}: allowed, no policy isolates it"),
        // A denial has a rule only when a tier decides.
        (Declared::Denied, Some(rule)) => {
            format!("{direction} of {end}: denied by {} {direction}[{}] ({})", rule.policy, rule.index, rule.place)
        }
        (Declared::Denied, None) => format!("{direction} of {end}: denied, isolated by {by}"),
        (Declared::Unknown, _) if by.is_empty() => {
            format!("{direction} of {end}: unknown, no known policy isolates it")
        }
        (Declared::Unknown, _) => format!("{direction} of {end}: unknown, isolated by {by}"),
    }
}

fn rules<'a>(policies: impl Iterator<Item = &'a ConsideredPolicy>, direction: Direction) -> String {
    let mut rows = Vec::new();
    for policy in policies {
        let name = &policy.policy;
        if policy.rules.is_empty() {
            rows.push(format!("no   {name} ({})  has no {direction} rule: it only isolates", policy.policy.place));
        }
        for rule in &policy.rules {
            let word = match rule.fits {
                Fits::Yes => "yes ",
                Fits::No => "no  ",
                Fits::Unknown => "?   ",
            };
            rows.push(format!("{word} {name} {direction}[{}] ({})  {}", rule.rule.index, rule.rule.place, rule.why));
        }
    }
    let more = rows.len().saturating_sub(RULES);
    let mut out = String::new();
    for row in rows.iter().take(RULES) {
        line(&mut out, 6, row);
    }
    if more > 0 {
        line(&mut out, 6, &format!("and {more} more rules: -o json has all"));
    }
    out
}

fn passed_over(considered: &Considered) -> String {
    let names: Vec<String> = considered.passed_over.iter().take(3).map(|other| other.policy.to_string()).collect();
    let mut out = String::new();
    match considered.passed_over.len() {
        0 => {}
        1 => line(&mut out, 6, &format!("{} {}", names[0], considered.passed_over[0].why)),
        count => {
            let more = if count > names.len() { ", ..." } else { "" };
            line(&mut out, 6, &format!("{count} policies there do not apply to it: {}{more}", names.join(", ")));
        }
    }
    out
}

fn of_open(open: &Open) -> String {
    let mut out = String::new();
    for pair in open.pairs.iter().take(PAIRS) {
        line(&mut out, 2, &pair_text(pair, ""));
    }
    if let Some(more) = open.pairs.len().checked_sub(PAIRS).filter(|more| *more > 0) {
        line(&mut out, 2, &format!("and {more} more pairs"));
    }
    let same = open.by_family.iter().all(|(_, traffic)| *traffic == open.traffic);
    if same {
        let families: Vec<String> = open.by_family.iter().map(|(family, _)| family.to_string()).collect();
        line(&mut out, 4, &format!("{}: {}", families.join(" and "), Open::describe(&open.traffic)));
    } else {
        for (family, traffic) in &open.by_family {
            line(&mut out, 4, &format!("{family}: {}", Open::describe(traffic)));
        }
    }
    for (word, policies) in [("egress of the source", &open.egress), ("ingress of the destination", &open.ingress)] {
        let names: Vec<String> = policies.iter().map(|policy| format!("{} ({})", policy.name, policy.place)).collect();
        let said =
            if names.is_empty() { "not isolated".to_owned() } else { format!("isolated by {}", names.join(", ")) };
        line(&mut out, 4, &format!("{word}: {said}"));
    }
    out
}

fn of_fix(fix: &Fix) -> String {
    let mut out = String::new();
    let colon = if matches!(fix.way, Way::TakeOut(_)) { "" } else { ":" };
    line(&mut out, 2, &format!("smallest fix: {}{colon}", fix.says()));
    for row in fix.yaml.lines() {
        let _ = writeln!(out, "{}", format!("    {row}").trim_end());
    }
    out
}

/// One wrapped line; what does not fit goes below it, indented further.
fn line(out: &mut String, indent: usize, text: &str) {
    const HANG: usize = 5;
    // The first line may be longer than those that hang below it by as much as they hang.
    for (index, row) in wrap(text, WIDTH - indent - HANG).iter().enumerate() {
        let margin = if index == 0 { indent } else { indent + HANG };
        let _ = writeln!(out, "{}", format!("{:margin$}{row}", "").trim_end());
    }
}
