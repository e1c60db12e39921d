//! Every pair of an edge or assertion, asked one by one.
//!
//! A range of addresses is asked at one address of each piece into which the policies' own ranges cut it: between two borders nothing can change.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::addresses::{Addresses, borders};
use crate::judge::Declared;
use crate::matrix::{Expect, Peer, PeerKind};
use crate::policy::{Answer, Direction, End, Engine, Exemption, Family, Holder, PeerMatch, Peers};
use crate::world::{NotCovered, Phase, PodId, Protocol, Service, World};

/// One end with everything it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Side {
    /// Pods, each of them.
    Pods(Vec<PodId>),
    /// Every pod of the pod network, as another pod sees it.
    AnyPod(Vec<PodId>),
    /// A pod by one of its addresses: in that family only.
    At(IpAddr),
    /// Addresses that are judged as one: allowed when all are, denied when none is.
    Range(Addresses),
    /// Not known, and why.
    Unknown(String),
}

/// One pair and what the policies say of it.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) declared: Declared,
    /// Families, or parts of a range, have different verdicts.
    pub(crate) mixed: bool,
    /// Who was asked about.
    pub(crate) ends: Option<(End, End)>,
    /// The answer that decides; `None` when the engine was not asked.
    pub(crate) answer: Option<Answer>,
    note: Option<String>,
}

impl Pair {
    fn unknown(note: impl Into<String>) -> Self {
        Self { declared: Declared::Unknown, mixed: false, ends: None, answer: None, note: Some(note.into()) }
    }

    /// Why, in one sentence.
    pub(crate) fn because(&self) -> String {
        let said = || self.answer.as_ref().map(Answer::sentence).unwrap_or_default();
        self.note.as_ref().map_or_else(said, |note| format!("{}: {note}", self.declared.as_str()))
    }
}

impl Pair {
    /// What decides, in a few words: where all is as intended the rules are enough, else the reason without the verdict's word.
    pub(crate) fn decided(&self, expect: Expect) -> String {
        match (&self.answer, &self.note, self.declared) {
            (Some(answer), None, Declared::Allowed) => admitted(answer),
            (Some(answer), None, Declared::Denied) if expect == Expect::Deny => refused(answer),
            _ => {
                let because = self.because();
                let verdict = format!("{}: ", self.declared.as_str());
                because.strip_prefix(&verdict).map_or(because.clone(), str::to_owned)
            }
        }
    }
}

/// `by matrix/portreeve-mas egress[2]; postgres/matrix-db ingress[0]`.
fn admitted(answer: &Answer) -> String {
    let rules: Vec<String> = [&answer.egress, &answer.ingress]
        .iter()
        .filter_map(|side| side.decided_by.as_ref())
        .map(|rule| format!("{} {}[{}]", rule.policy.name, rule.direction, rule.index))
        .collect();
    if !rules.is_empty() {
        return format!("by {}", rules.join("; "));
    }
    let exempt = [(&answer.egress, &answer.from), (&answer.ingress, &answer.to)];
    let apart = exempt.iter().find_map(|(side, end)| side.exempt.filter(|e| *e != Exemption::NoPod).map(|e| (e, end)));
    match apart {
        Some((exempt, end)) => format!("{end} {}", exempt.as_str()),
        None => "nothing isolates either end".to_owned(),
    }
}

/// `no rule of matrix/portreeve-mas ingress admits it`.
fn refused(answer: &Answer) -> String {
    let sides = [(Direction::Egress, &answer.egress), (Direction::Ingress, &answer.ingress)];
    let denying = sides.iter().find(|(_, side)| side.declared == Declared::Denied);
    let Some((direction, side)) = denying else { return String::new() };
    let policies: Vec<String> = side.isolated_by.iter().take(2).map(|policy| policy.name.to_string()).collect();
    let more = side.isolated_by.len().saturating_sub(policies.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("no {direction} rule of {}{more}", policies.join(", "))
}

/// Asks pairs.
pub(crate) struct Reach<'r> {
    world: &'r World,
    engine: &'r Engine<'r>,
    /// Addresses with rules of their own: a range stands for hosts outside.
    inside: BTreeSet<IpAddr>,
}

impl<'r> Reach<'r> {
    pub(crate) fn new(world: &'r World, engine: &'r Engine<'r>) -> Self {
        let pods = world.pods.iter().flat_map(|pod| &pod.addresses);
        let nodes = world.nodes.values().flat_map(|node| &node.addresses);
        let services = world.services.values().flat_map(Service::virtual_addresses);
        Self { world, engine, inside: pods.chain(nodes).copied().chain(services).collect() }
    }

    /// The addresses of pods, nodes and Services.
    pub(crate) fn inside(&self) -> impl Iterator<Item = IpAddr> {
        self.inside.iter().copied()
    }

    /// Live pods of the pod network: what `any-pod` means.
    pub(crate) fn any_pod(&self) -> Vec<PodId> {
        let live = self.world.pods().filter(|(_, pod)| pod.phase == Phase::Live && !pod.host_network);
        live.map(|(id, _)| id).collect()
    }

    /// `any-pod` with those of its pods that are not shown: of them nothing is known.
    pub(crate) fn every_pod(&self) -> Vec<Side> {
        let unseen = self.world.unseen_anywhere("Pod").map(|gap| Side::Unknown(gap.sentence()));
        std::iter::once(Side::AnyPod(self.any_pod())).chain(unseen).collect()
    }

    /// What a resolved peer stands for.
    pub(crate) fn sides(&self, peer: &Peer) -> Vec<Side> {
        match &peer.kind {
            PeerKind::AnyPod => self.every_pod(),
            PeerKind::Unresolved => vec![Side::Unknown("no source says who this is".to_owned())],
            PeerKind::Pods { namespace, pods, .. } => {
                let live: Vec<PodId> =
                    pods.iter().copied().filter(|id| self.world.pod(*id).phase == Phase::Live).collect();
                if live.is_empty() {
                    let why = match self.world.unseen("Pod", namespace) {
                        Some(gap) => gap.sentence(),
                        None => format!("the sources show none of its pods in {namespace}"),
                    };
                    return vec![Side::Unknown(why)];
                }
                vec![Side::Pods(live)]
            }
            PeerKind::Blocks { nets, except, host } => match self.unseen_route(host.as_deref(), peer) {
                Some(gap) => vec![Side::Unknown(format!("where the name leads is not known: {}", gap.sentence()))],
                None => blocks(nets, except, peer.by_default),
            },
        }
    }

    /// Why a public name that stands for every public address may as well lead back into the cluster.
    fn unseen_route(&self, host: Option<&str>, peer: &Peer) -> Option<&NotCovered> {
        let web = peer.ports.iter().any(|port| matches!(port, 80 | 443));
        (host.is_some() && peer.by_default && web).then(|| self.world.unseen_anywhere("Ingress")).flatten()
    }

    /// The pod that an end means, in whatever family.
    pub(crate) fn pod_of(&self, end: End) -> Option<PodId> {
        match end {
            End::Pod(id) => Some(id),
            End::Address(address) => match self.engine.holder(address) {
                Holder::Pod(id) => Some(id),
                Holder::Several | Holder::Nobody => None,
            },
        }
    }

    /// The pods of a side.
    pub(crate) fn pods_of(&self, side: &Side) -> Vec<PodId> {
        ends(side).into_iter().filter_map(|end| self.pod_of(end)).collect()
    }

    /// One address: a pod's in its own family only, any other as a range of one.
    pub(crate) fn at(&self, address: IpAddr) -> Side {
        match self.engine.holder(address) {
            Holder::Pod(_) | Holder::Several => Side::At(address),
            Holder::Nobody => Side::Range(Addresses::single([address])),
        }
    }

    /// Asks every pair of two sides on one pod port.
    ///
    /// A pod always reaches itself. Among several pairs that one says nothing of the others and is passed over, and of `any-pod` it is none.
    pub(crate) fn each(&self, from: &Side, to: &Side, port: u16, protocol: Protocol, visit: &mut dyn FnMut(Pair)) {
        let ask = |from: End, to: End| {
            let answer = self.engine.verdict(from, to, port, protocol);
            Pair {
                declared: answer.declared,
                mixed: answer.is_mixed(),
                ends: Some((from, to)),
                answer: Some(answer),
                note: None,
            }
        };
        match (from, to) {
            (Side::Unknown(why), _) | (_, Side::Unknown(why)) => visit(Pair::unknown(why)),
            (Side::Range(_), Side::Range(_)) => visit(Pair::unknown("no policy stands between two addresses")),
            (pods, Side::Range(range)) => {
                for from in ends(pods) {
                    let samples = self.samples(from, range, Direction::Egress);
                    visit(together(samples.into_iter().map(|to| ask(from, End::Address(to)))));
                }
            }
            (Side::Range(range), pods) => {
                for to in ends(pods) {
                    let samples = self.samples(to, range, Direction::Ingress);
                    visit(together(samples.into_iter().map(|from| ask(End::Address(from), to))));
                }
            }
            (a, b) => {
                let (sources, targets) = (ends(a), ends(b));
                let open = matches!(a, Side::AnyPod(_)) || matches!(b, Side::AnyPod(_));
                let only = !open && sources.len() == 1 && targets.len() == 1;
                for from in sources {
                    for to in targets.iter().filter(|to| only || !self.is_itself(from, **to)) {
                        visit(ask(from, *to));
                    }
                }
            }
        }
    }

    /// Whether two ends are one pod. A template stands for several.
    fn is_itself(&self, from: End, to: End) -> bool {
        let pod = self.pod_of(from);
        pod == self.pod_of(to) && pod.is_some_and(|id| !self.world.pod(id).template)
    }

    /// The addresses at which a range must be asked for one end. A pod of one family has no way to the other.
    fn samples(&self, end: End, range: &Addresses, direction: Direction) -> Vec<IpAddr> {
        self.pieces(end, range, direction).into_iter().map(|(_, sample)| sample).collect()
    }

    /// One address that stands for a range that no policy cuts.
    pub(crate) fn sample(&self, range: &Addresses) -> Option<IpAddr> {
        range.pieces(&BTreeSet::new(), &self.inside).first().map(|(_, sample)| *sample)
    }

    /// The pieces into which the policies of one end cut a range, each with the address that stands for it.
    pub(crate) fn pieces(&self, end: End, range: &Addresses, direction: Direction) -> Vec<(Addresses, IpAddr)> {
        let pod = self.pod_of(end).map(|id| self.world.pod(id));
        let policies = pod.into_iter().flat_map(|pod| {
            self.engine.policies().in_namespace(&pod.name.namespace).filter(move |policy| policy.selects(pod))
        });
        let rules = policies.flat_map(|policy| policy.rules(direction).unwrap_or_default());
        let nets = rules.flat_map(|rule| match &rule.peers {
            Peers::Any => &[],
            Peers::Listed(peers) => peers.as_slice(),
        });
        let nets = nets.flat_map(|peer| match &peer.matches {
            PeerMatch::Block { net, except } => std::iter::once(net).chain(except).collect::<Vec<_>>(),
            PeerMatch::Pods { .. } => Vec::new(),
        });
        let mut pieces = range.pieces(&borders(nets), &self.inside);
        let own: BTreeSet<Family> = match (end, pod) {
            (End::Address(address), _) => BTreeSet::from([Family::of(address)]),
            (End::Pod(_), Some(pod)) => pod.addresses.iter().map(|address| Family::of(*address)).collect(),
            (End::Pod(_), None) => BTreeSet::new(),
        };
        pieces.retain(|(_, address)| own.is_empty() || own.contains(&Family::of(*address)));
        pieces
    }
}

/// What the engine is asked for; ranges are sampled instead.
fn ends(side: &Side) -> Vec<End> {
    match side {
        Side::Pods(pods) | Side::AnyPod(pods) => pods.iter().copied().map(End::Pod).collect(),
        Side::At(address) => vec![End::Address(*address)],
        Side::Range(_) | Side::Unknown(_) => Vec::new(),
    }
}

/// Several pieces of one range as one pair.
fn together(pairs: impl Iterator<Item = Pair>) -> Pair {
    let (mut allowed, mut denied, mut unknown) = (None, None, None);
    for pair in pairs {
        let slot = match pair.declared {
            Declared::Allowed => &mut allowed,
            Declared::Denied => &mut denied,
            Declared::Unknown => &mut unknown,
        };
        slot.get_or_insert(pair);
    }
    match (allowed, denied, unknown) {
        (Some(yes), Some(no), _) => {
            let peer = |pair: &Pair| pair.answer.as_ref().map(|answer| format!("{} to {}", answer.from, answer.to));
            let (yes, no) = (peer(&yes).unwrap_or_default(), peer(&no).unwrap_or_default());
            Pair {
                mixed: true,
                ..Pair::unknown(format!("only a part of the range is admitted: {yes} is, {no} is not"))
            }
        }
        (_, _, Some(unknown)) => unknown,
        (Some(one), None, None) | (None, Some(one), None) => one,
        (None, None, None) => Pair::unknown("the pod has no address in a family of this range"),
    }
}

/// Single addresses are pairs of their own (a host has so many); wide ranges, and whatever comes from a default, are one.
fn blocks(nets: &[IpNet], except: &[IpNet], by_default: bool) -> Vec<Side> {
    let (single, wide): (Vec<IpNet>, Vec<IpNet>) =
        nets.iter().partition(|net| !by_default && net.prefix_len() == net.max_prefix_len());
    let mut sides: Vec<Side> = single.iter().map(|net| Side::Range(Addresses::of(&[*net], except))).collect();
    sides.push(Side::Range(Addresses::of(&wide, except)));
    sides.retain(|side| *side != Side::Range(Addresses::default()));
    if sides.is_empty() {
        sides.push(Side::Unknown("no address is known for it".to_owned()));
    }
    sides
}
