//! The whole cluster at once: what every pod may reach, without asking for every pair.
//!
//! ```text
//! pods ──► classes.rs ──┐   (namespace, labels, named ports, families, blocks that hold it)
//!                       ├──► peers.rs   a list of peers → a set of classes, worked out once
//! policies ─────────────┘        │
//!                          atoms per class ──► admitted (one pair) · count.rs (all pairs) · each.rs (every pair of classes)
//! ```
//!
//! It says what [`Engine`] says. Where classes cannot speak for a pod (its node's network, a finished pod, several addresses of one family, a
//! namespace touched by a policy of another kind, any pod while there are tiers) a single pair is handed to the engine, and a count calls the pair *left open*.

mod classes;
mod count;
mod each;
mod members;
mod peers;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

pub use count::PairCount;

use self::classes::{Classes, Interned};
use self::peers::{PeerSets, Set, blocks_of, policies};
use super::answer::Traffic;
use super::model::{Direction, Policy, PolicySet, PortMatch, Ports, Rule};
use super::party::{End, Parties};
use super::{Engine, Family, Intervals, PortSet};
use crate::world::{ObjectName, PodId, Protocol, World};

/// The list of a class that no policy isolates.
const FREE: u32 = u32::MAX;

/// All connections between the pods of a world under its policies.
#[derive(Debug)]
pub struct Reachability<'w> {
    world: &'w World,
    set: &'w PolicySet,
    /// The policies of namespaces in which one was replaced, in source order.
    changed: HashMap<String, Vec<Policy>>,
    parties: OnceLock<Arc<Parties<'w>>>,
    classes: Classes<'w>,
    peers: PeerSets,
    ports: Interned<RulePorts>,
    lists: Interned<Vec<Atom>>,
    /// By namespace, in source order.
    compiled: Vec<Vec<Compiled>>,
    /// By direction and class: its list, or [`FREE`].
    lists_of: [Vec<u32>; 2],
}

/// The ports of a rule: numbers, and names that the destination resolves.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct RulePorts {
    numbers: PortSet,
    names: Vec<(Protocol, String)>,
}

/// One set of peers and the ports they may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Atom {
    peers: u32,
    ports: u32,
}

#[derive(Debug)]
struct Compiled {
    /// Its pod selector.
    selector: u32,
    /// By direction; `None` where it does not isolate.
    atoms: [Option<Box<[Atom]>>; 2],
}

const DIRECTIONS: [Direction; 2] = [Direction::Ingress, Direction::Egress];

impl<'w> Reachability<'w> {
    /// Evaluates everything. Costs about the size of the world and of its policies, not its pairs of pods.
    pub fn compute(world: &'w World, set: &'w PolicySet) -> Self {
        Self::draw(world, set, HashMap::new(), OnceLock::new())
    }

    fn draw(
        world: &'w World,
        set: &'w PolicySet,
        changed: HashMap<String, Vec<Policy>>,
        parties: OnceLock<Arc<Parties<'w>>>,
    ) -> Self {
        let untouched = set.policies.iter().filter(|policy| !changed.contains_key(&policy.name.namespace));
        let mut peers = PeerSets::with_blocks(untouched.chain(changed.values().flatten()));
        let classes = Classes::new(world, set, &peers.blocks.values);
        peers.learn_namespaces(world, &classes);
        let mut drawn = Self {
            world,
            set,
            changed,
            parties,
            lists_of: [vec![FREE; classes.len()], vec![FREE; classes.len()]],
            compiled: Vec::with_capacity(classes.namespaces.values.len()),
            classes,
            peers,
            ports: Interned::default(),
            lists: Interned::default(),
        };
        let changed = std::mem::take(&mut drawn.changed);
        for (name, id) in drawn.classes.namespaces.values.clone().into_iter().zip(0..) {
            let compiled = policies(set, &changed, name).map(|policy| drawn.compile(id, policy)).collect();
            drawn.compiled.push(compiled);
            drawn.classes.in_namespace(id).for_each(|class| drawn.assign(class));
        }
        drawn.changed = changed;
        drawn
    }

    /// Everything that the policies admit from one pod to another: what [`Engine::admitted`] says of the pair.
    pub fn admitted(&self, from: PodId, to: PodId) -> Traffic {
        let (Some(a), Some(b)) = (self.classes.class_of(from), self.classes.class_of(to)) else {
            return self.ask_engine(from, to);
        };
        if from == to && !self.world.pod(from).template {
            return everything();
        }
        self.between(a, b)
    }

    /// The set after this policy was applied (`Some`) or deleted (`None`). Only the classes that the old or the new one selects are evaluated
    /// anew, unless the new one names a block that holds pods and was never named before: then the classes themselves change.
    ///
    /// The name is that of the policy. Sets that no policy uses any more are kept until the next [`Reachability::compute`].
    pub fn replace_policy(&mut self, name: &ObjectName, policy: Option<Policy>) {
        let mut list = self.changed.remove(&name.namespace);
        let list = list.get_or_insert_with(|| self.set.in_namespace(&name.namespace).cloned().collect());
        let at = list.iter().position(|other| other.name == *name);
        let unseen = policy.iter().flat_map(blocks_of).filter(|block| self.peers.blocks.get(block).is_none());
        let splits = unseen.into_iter().any(|block| self.classes.may_split(self.world, &block));
        let namespace = self.classes.namespaces.get(name.namespace.as_str()).filter(|_| !splits);
        let compiled = match (namespace, &policy) {
            (Some(namespace), Some(policy)) => Some(self.compile(namespace, policy)),
            _ => None,
        };
        match (at, policy) {
            (Some(at), Some(policy)) => list[at] = policy,
            (Some(at), None) => drop(list.remove(at)),
            (None, policy) => list.extend(policy),
        }
        self.changed.insert(name.namespace.clone(), std::mem::take(list));
        if splits {
            *self =
                Self::draw(self.world, self.set, std::mem::take(&mut self.changed), std::mem::take(&mut self.parties));
        } else if let Some(namespace) = namespace {
            self.recompile(namespace, at, compiled);
        }
    }

    /// How many classes stand for the pods, and how many pods they stand for.
    pub fn classes(&self) -> (usize, usize) {
        (self.classes.len(), self.classes.covered())
    }

    fn recompile(&mut self, namespace: u32, at: Option<usize>, compiled: Option<Compiled>) {
        let selectors: Vec<u32> = compiled.iter().map(|policy| policy.selector).collect();
        let here = &mut self.compiled[namespace as usize];
        let before = match (at, compiled) {
            (Some(at), Some(compiled)) => Some(std::mem::replace(&mut here[at], compiled)),
            (Some(at), None) => Some(here.remove(at)),
            (None, compiled) => {
                here.extend(compiled);
                None
            }
        };
        let selectors: Vec<u32> = selectors.into_iter().chain(before.map(|policy| policy.selector)).collect();
        for class in self.classes.in_namespace(namespace) {
            let labels = self.classes.traits(class).labels;
            if selectors.iter().any(|selector| self.peers.selected(*selector).contains(labels)) {
                self.assign(class);
            }
        }
    }

    fn compile(&mut self, namespace: u32, policy: &Policy) -> Compiled {
        let selector = self.peers.pod_selector(&self.classes, &policy.pod_selector);
        let atoms = DIRECTIONS.map(|direction| {
            let rules = policy.rules(direction)?;
            let mut atoms = Vec::new();
            for rule in rules {
                let ports = self.rule_ports(rule);
                let peers = self.peers.of_rule(self.world, &self.classes, namespace, &rule.peers);
                atoms.extend(peers.into_iter().flatten().map(|peers| Atom { peers, ports }));
            }
            Some(atoms.into_boxed_slice())
        });
        Compiled { selector, atoms }
    }

    fn rule_ports(&mut self, rule: &Rule) -> u32 {
        let mut ports = RulePorts { numbers: PortSet::none(), names: Vec::new() };
        match &rule.ports {
            Ports::All => ports.numbers = PortSet::all(),
            Ports::Listed(items) => {
                for item in items {
                    let numbers = match &item.ports {
                        PortMatch::All => Intervals::all(),
                        PortMatch::Range(from, to) => Intervals::range(*from, *to),
                        PortMatch::Named(name) => {
                            ports.names.push((item.protocol, name.clone()));
                            continue;
                        }
                    };
                    ports.numbers = ports.numbers.union(&PortSet::of(item.protocol, numbers));
                }
            }
        }
        ports.names.sort_unstable();
        ports.names.dedup();
        self.ports.id(ports)
    }

    /// Gives a class the atoms of all policies that select it.
    fn assign(&mut self, class: u32) {
        let traits = self.classes.traits(class);
        let selecting = self.compiled[traits.namespace as usize]
            .iter()
            .filter(|policy| self.peers.selected(policy.selector).contains(traits.labels));
        let mut found: [Option<Vec<Atom>>; 2] = [None, None];
        for policy in selecting {
            for (found, atoms) in found.iter_mut().zip(&policy.atoms) {
                if let Some(atoms) = atoms {
                    found.get_or_insert_default().extend(atoms);
                }
            }
        }
        for (lists, found) in self.lists_of.iter_mut().zip(found) {
            lists[class as usize] = found.map_or(FREE, |mut atoms| {
                atoms.sort_unstable();
                atoms.dedup();
                self.lists.id(atoms)
            });
        }
    }

    /// The atoms of a class; `None` when no policy isolates it.
    fn atoms(&self, direction: Direction, class: u32) -> Option<&[Atom]> {
        let list = self.lists_of[direction as usize][class as usize];
        self.lists.values.get(list as usize).map(Vec::as_slice)
    }

    fn set(&self, atom: Atom) -> &Set {
        &self.peers.sets[atom.peers as usize]
    }

    /// One class to another, by the rules of `Engine::admitted`.
    fn between(&self, from: u32, to: u32) -> Traffic {
        let (families, certain) = self.classes.traits(from).families.shared(self.classes.traits(to).families);
        let join = if certain { Traffic::and } else { Traffic::either };
        let of_family = |family: &Family| {
            let egress = self.side(Direction::Egress, from, to, *family);
            egress.and(&self.side(Direction::Ingress, from, to, *family))
        };
        let all = families.iter().map(of_family).reduce(|a, b| join(&a, &b));
        all.unwrap_or_else(|| Traffic { allowed: PortSet::none(), unknown: PortSet::all() })
    }

    fn side(&self, direction: Direction, from: u32, to: u32, family: Family) -> Traffic {
        let (own, peer) = match direction {
            Direction::Ingress => (to, from),
            Direction::Egress => (from, to),
        };
        let Some(atoms) = self.atoms(direction, own) else { return everything() };
        let mut traffic = Traffic::default();
        for atom in atoms {
            let set = self.set(*atom);
            let part = set.part(family);
            let yes = part.yes.contains(peer);
            if !yes && !part.maybe.contains(peer) {
                continue;
            }
            let ports = &self.ports.values[atom.ports as usize];
            let named = self.named(ports, to);
            // Whether a named port reaches a pod through an ipBlock is open.
            let named_for_certain = yes && !set.is_held();
            let add = |certain: bool, traffic: &mut Traffic, ports: &PortSet| {
                let part = if certain { &mut traffic.allowed } else { &mut traffic.unknown };
                *part = part.union(ports);
            };
            add(yes, &mut traffic, &ports.numbers);
            add(named_for_certain, &mut traffic, &named);
        }
        traffic.unknown = traffic.unknown.minus(&traffic.allowed);
        traffic
    }

    /// The numbers behind the names, on the destination.
    fn named(&self, ports: &RulePorts, destination: u32) -> PortSet {
        let there = &self.classes.named.values[self.classes.traits(destination).named as usize];
        let fitting = there
            .iter()
            .filter(|(protocol, name, _)| ports.names.iter().any(|(wanted, text)| wanted == protocol && text == name));
        fitting.fold(PortSet::none(), |set, (protocol, _, number)| {
            set.union(&PortSet::of(*protocol, Intervals::range(*number, *number)))
        })
    }

    fn ask_engine(&self, from: PodId, to: PodId) -> Traffic {
        let parties = Arc::clone(self.parties.get_or_init(|| Arc::new(Parties::new(self.world))));
        let names = [from, to].map(|id| self.world.pod(id).name.namespace.as_str());
        let ask = |set: &PolicySet, parties: Arc<Parties<'_>>| {
            Engine::with_parties(self.world, set, parties).admitted(End::Pod(from), End::Pod(to)).traffic
        };
        if names.iter().all(|name| !self.changed.contains_key(*name)) {
            return ask(self.set, parties);
        }
        let both = if names[0] == names[1] { &names[..1] } else { &names[..] };
        let policies = both.iter().flat_map(|name| policies(self.set, &self.changed, name)).cloned().collect();
        ask(&PolicySet::new(policies, self.set.unmodelled.clone()).with_tiers(self.set.tiers.clone()), parties)
    }
}

fn everything() -> Traffic {
    Traffic { allowed: PortSet::all(), unknown: PortSet::none() }
}
