//! Assertions: what must be allowed, denied or not known, checked against the policies alone.
//!
//! `any-pod` is every pod that no other assertion names, with another expectation, for the same target and port: "nobody else may".
//! `world` is the public address space, as clusters and their nodes live in private, link-local and CGNAT ranges; of it too, what other assertions name is left out.

pub(in crate::judge) mod ends;
mod read;

use std::collections::HashMap;

use serde::ser::{SerializeStruct, Serializer};
use serde::{Deserialize, Serialize};

pub use read::read;

use self::ends::{Ends, Target};
use super::Declared;
use super::audit::{Addresses, Pair, Reach, Side};
use crate::matrix::{Party, Subject};
use crate::policy::Engine;
use crate::source::Place;
use crate::world::{PodId, PortRef, Protocol, World};

/// One assertion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assertion {
    /// Its name; made of its ends and port where none is given.
    pub name: String,
    /// Who opens the connection.
    pub from: Party,
    /// The same as written.
    pub from_text: String,
    /// Whom it goes to.
    pub to: Party,
    /// The same as written.
    pub to_text: String,
    /// The Service port where `to` is a Service, else the pod port.
    pub port: PortRef,
    /// TCP where none is given.
    pub protocol: Protocol,
    /// What must be the case.
    pub expect: Expectation,
    /// Where it stands.
    pub place: Place,
}

/// What an assertion expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expectation {
    /// Every pair is allowed.
    Allow,
    /// Every pair is denied.
    Deny,
    /// A fact is missing, and that is known.
    Unknown,
}

impl Expectation {
    /// The word used everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Unknown => "unknown",
        }
    }
}

/// What the policies say of all pairs of an assertion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// All are allowed.
    Allow,
    /// All are denied.
    Deny,
    /// For one at least a fact is missing.
    Unknown,
    /// Families, pods or parts of a range differ: holds for no expectation.
    Mixed,
}

impl Verdict {
    /// The word used everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Unknown => "unknown",
            Self::Mixed => "mixed",
        }
    }

    fn satisfies(self, expect: Expectation) -> bool {
        matches!(
            (self, expect),
            (Self::Allow, Expectation::Allow) | (Self::Deny, Expectation::Deny) | (Self::Unknown, Expectation::Unknown)
        )
    }
}

/// One assertion, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The assertion.
    pub assertion: Assertion,
    /// What the policies say.
    pub verdict: Verdict,
    /// Whether that is what is expected.
    pub holds: bool,
    /// Why, in one sentence with file:line.
    pub because: String,
}

impl Serialize for Outcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Assertion { name, from_text, to_text, port, protocol, expect, .. } = &self.assertion;
        let mut out = serializer.serialize_struct("Outcome", 9)?;
        out.serialize_field("name", name)?;
        out.serialize_field("from", from_text)?;
        out.serialize_field("to", to_text)?;
        match port {
            PortRef::Number(number) => out.serialize_field("port", number)?,
            PortRef::Name(name) => out.serialize_field("port", name)?,
        }
        out.serialize_field("protocol", protocol.as_str())?;
        out.serialize_field("expect", expect.as_str())?;
        out.serialize_field("verdict", self.verdict.as_str())?;
        out.serialize_field("holds", &self.holds)?;
        out.serialize_field("because", &self.because)?;
        out.end()
    }
}

/// Checks assertions, in their order. `subject` is who `subject` means; without one such assertions are unknown.
pub fn check(assertions: &[Assertion], world: &World, engine: &Engine<'_>, subject: Option<&Subject>) -> Vec<Outcome> {
    let reach = Reach::new(world, engine);
    let mut ends = Ends::new(world, &reach, subject);
    let named = Named::of(assertions, &reach, &mut ends);
    assertions
        .iter()
        .map(|assertion| {
            let (verdict, because) = verdict(assertion, &reach, &mut ends, &named);
            let holds = verdict.satisfies(assertion.expect);
            Outcome { assertion: assertion.clone(), verdict, holds, because }
        })
        .collect()
}

fn verdict<'a>(
    assertion: &'a Assertion,
    reach: &Reach<'_>,
    ends: &mut Ends<'a, '_>,
    named: &Named<'a>,
) -> (Verdict, String) {
    let (sources, targets) = (ends.sources(assertion), ends.targets(assertion));
    let mut seen = Seen::default();
    for Target { side: target, port } in targets.iter() {
        let target = named.apart(assertion, target, Which::To);
        for source in sources.iter() {
            let source = named.apart(assertion, source, Which::From);
            reach.each(&source, &target, *port, assertion.protocol, &mut |pair| {
                if !named.elsewhere(assertion, reach, &pair, *port) {
                    seen.add(pair);
                }
            });
        }
    }
    seen.verdict()
}

/// The first pair of each verdict: all that the outcome needs.
#[derive(Default)]
struct Seen {
    allowed: Option<Pair>,
    denied: Option<Pair>,
    unknown: Option<Pair>,
    mixed: Option<Pair>,
}

impl Seen {
    fn add(&mut self, pair: Pair) {
        let slot = match pair.declared {
            _ if pair.mixed => &mut self.mixed,
            Declared::Allowed => &mut self.allowed,
            Declared::Denied => &mut self.denied,
            Declared::Unknown => &mut self.unknown,
        };
        slot.get_or_insert(pair);
    }

    fn verdict(self) -> (Verdict, String) {
        let ends = |pair: &Pair| pair.answer.as_ref().map(|a| format!("{} to {}", a.from, a.to)).unwrap_or_default();
        match self {
            Self { mixed: Some(mixed), .. } => (Verdict::Mixed, mixed.because()),
            Self { allowed: Some(yes), denied: Some(no), .. } => {
                (Verdict::Mixed, format!("{} is allowed, {} is {}", ends(&yes), ends(&no), no.because()))
            }
            Self { unknown: Some(unknown), .. } => (Verdict::Unknown, unknown.because()),
            Self { allowed: Some(yes), .. } => (Verdict::Allow, yes.because()),
            Self { denied: Some(no), .. } => (Verdict::Deny, no.because()),
            _ => (Verdict::Unknown, "unknown: there is no pair of two different ends to ask about".to_owned()),
        }
    }
}

/// Which end of an assertion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    From,
    To,
}

/// Addresses at one end, by the other end and the port.
type NamedAddresses<'a> = HashMap<(&'a Party, &'a PortRef, Protocol), Vec<(Expectation, Addresses)>>;

/// What assertions name one by one, with their expectations: `any-pod` and `world` mean the others.
struct Named<'a> {
    pods: HashMap<(PodId, PodId, u16, Protocol), Vec<Expectation>>,
    targets: NamedAddresses<'a>,
    sources: NamedAddresses<'a>,
}

impl<'a> Named<'a> {
    fn of(assertions: &'a [Assertion], reach: &Reach<'_>, ends: &mut Ends<'a, '_>) -> Self {
        let mut named = Self { pods: HashMap::new(), targets: HashMap::new(), sources: HashMap::new() };
        // Only `any-pod` and `world` look here: a long list without them needs none of it.
        if !assertions.iter().any(|a| is_open(&a.from) || is_open(&a.to)) {
            return named;
        }
        for assertion in assertions.iter().filter(|a| !is_open(&a.from) && !is_open(&a.to)) {
            let Assertion { from, to, port, protocol, expect, .. } = assertion;
            let (sources, targets) = (ends.sources(assertion), ends.targets(assertion));
            for Target { side, port: number } in targets.iter() {
                if let Side::Range(range) = side {
                    named.targets.entry((from, port, *protocol)).or_default().push((*expect, range.clone()));
                }
                for source in sources.iter() {
                    let (a, b) = (reach.pods_of(source), reach.pods_of(side));
                    for (a, b) in a.iter().flat_map(|a| b.iter().map(move |b| (*a, *b))) {
                        named.pods.entry((a, b, *number, *protocol)).or_default().push(*expect);
                    }
                }
            }
            for source in sources.iter() {
                if let Side::Range(range) = source {
                    named.sources.entry((to, port, *protocol)).or_default().push((*expect, range.clone()));
                }
            }
        }
        named
    }

    /// A side without the addresses that other assertions name.
    fn apart(&self, assertion: &'a Assertion, side: &Side, end: Which) -> Side {
        let (party, other, list) = match end {
            Which::From => (&assertion.from, &assertion.to, &self.sources),
            Which::To => (&assertion.to, &assertion.from, &self.targets),
        };
        match side {
            Side::Range(range) if *party == Party::World => {
                let named = list.get(&(other, &assertion.port, assertion.protocol));
                let others = named.into_iter().flatten().filter(|(expect, _)| *expect != assertion.expect);
                Side::Range(others.fold(range.clone(), |left, (_, named)| left.minus(named)))
            }
            _ => side.clone(),
        }
    }

    /// Whether a pair of an open assertion is named, with another expectation, by one that is not open.
    fn elsewhere(&self, assertion: &Assertion, reach: &Reach<'_>, pair: &Pair, port: u16) -> bool {
        if !is_open(&assertion.from) && !is_open(&assertion.to) {
            return false;
        }
        let pods = pair.ends.map(|(from, to)| (reach.pod_of(from), reach.pod_of(to)));
        let Some((Some(from), Some(to))) = pods else { return false };
        let named = self.pods.get(&(from, to, port, assertion.protocol));
        named.is_some_and(|expects| expects.iter().any(|expect| *expect != assertion.expect))
    }
}

fn is_open(party: &Party) -> bool {
    matches!(party, Party::AnyPod | Party::World)
}

#[cfg(test)]
mod tests;
