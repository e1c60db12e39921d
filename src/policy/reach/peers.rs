//! Peers of rules → sets of classes, each worked out once however many policies write it.

use std::collections::{BTreeSet, HashMap};

use super::classes::{Block, Classes, Interned};
use super::members::Members;
use crate::policy::cidr::{self, Cover};
use crate::policy::fit::{Fit, namespace_fits};
use crate::policy::model::{NamespaceMatch, PeerMatch, Peers, Policy};
use crate::policy::{Family, PolicySet};
use crate::world::World;
use crate::world::labels::{NAMESPACE_NAME, Selector, Test};

/// The set that holds everybody.
pub(super) const EVERYBODY: u32 = 0;
const OWN: u32 = u32::MAX;

/// The classes that fit for certain, and those of which it is not known. The two may overlap.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) yes: Members,
    pub(super) maybe: Members,
}

/// The classes behind a list of peers.
#[derive(Debug)]
pub(super) enum Set {
    /// By selectors: the same in each family.
    Selected(Part),
    /// By blocks, in each family.
    Held(Box<[Part; 2]>),
}

impl Set {
    pub(super) fn part(&self, family: Family) -> &Part {
        match self {
            Self::Selected(part) => part,
            Self::Held(parts) => &parts[family as usize],
        }
    }

    pub(super) fn is_held(&self) -> bool {
        matches!(self, Self::Held(_))
    }
}

/// Canonical peers: two lists with the same key are the same set.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Everybody,
    /// The namespace that `OWN` means, and pairs of a namespace selector and a pod selector.
    Selected(u32, Vec<(u32, u32)>),
    Held(Vec<u32>),
}

/// Namespaces that a selector selects for certain, and those of which it is not known.
#[derive(Debug)]
struct InNamespaces {
    yes: Members,
    maybe: Vec<u32>,
}

/// Every selector, block and list of peers seen so far.
#[derive(Debug, Default)]
pub(super) struct PeerSets {
    pod_selectors: Interned<Selector>,
    /// Label sets, by pod selector.
    selected: Vec<Members>,
    namespace_selectors: Interned<Selector>,
    in_namespaces: Vec<InNamespaces>,
    pub(super) blocks: Interned<Block>,
    keys: Interned<Key>,
    pub(super) sets: Vec<Set>,
    /// Namespaces that have pods, by one of their labels; only those whose labels are known.
    namespaces_with: HashMap<(String, String), Vec<u32>>,
    /// Namespaces known only by reference.
    vague: Vec<u32>,
}

/// The blocks of a policy, canonical.
pub(super) fn blocks_of(policy: &Policy) -> impl Iterator<Item = Block> + '_ {
    let rules = policy.ingress.iter().chain(&policy.egress).flatten();
    rules
        .flat_map(|rule| match &rule.peers {
            Peers::Any => &[][..],
            Peers::Listed(peers) => peers,
        })
        .filter_map(|peer| match &peer.matches {
            PeerMatch::Block { net, except } => Some(canonical(*net, except)),
            PeerMatch::Pods { .. } => None,
        })
}

fn canonical(net: ipnet::IpNet, except: &[ipnet::IpNet]) -> Block {
    (net, except.iter().copied().collect::<BTreeSet<_>>().into_iter().collect())
}

impl PeerSets {
    /// All blocks of these policies; the classes are drawn by them.
    pub(super) fn with_blocks<'p>(policies: impl Iterator<Item = &'p Policy>) -> Self {
        let mut sets = Self::default();
        for block in policies.flat_map(blocks_of) {
            sets.blocks.id(block);
        }
        sets
    }

    /// Makes the namespaces known, once the classes are drawn.
    pub(super) fn learn_namespaces(&mut self, world: &World, classes: &Classes<'_>) {
        for (name, id) in classes.namespaces.values.iter().zip(0..) {
            match world.namespaces.get(*name).filter(|namespace| namespace.place.is_some()) {
                None => self.vague.push(id),
                Some(namespace) => {
                    for (key, value) in namespace.labels.iter().filter(|(key, _)| *key != NAMESPACE_NAME) {
                        self.namespaces_with.entry((key.clone(), value.clone())).or_default().push(id);
                    }
                }
            }
        }
        self.keys.id(Key::Everybody);
        self.sets.push(Set::Selected(Part { yes: Members::All, maybe: Members::none() }));
    }

    /// The label sets that a pod selector selects.
    pub(super) fn pod_selector(&mut self, classes: &Classes<'_>, selector: &Selector) -> u32 {
        if let Some(id) = self.pod_selectors.get(selector) {
            return id;
        }
        let total = classes.labels.values.len();
        let matching = if selector.is_everything() {
            Members::All
        } else {
            let mut candidates = candidates(selector, |key, value| classes.carriers.get(&(key, value)))
                .unwrap_or_else(|| (0..u32::try_from(total).unwrap_or(u32::MAX)).collect());
            candidates.retain(|id| selector.matches(classes.labels.values[*id as usize]));
            Members::of(candidates, total)
        };
        self.selected.push(matching);
        self.pod_selectors.id(selector.clone())
    }

    pub(super) fn selected(&self, pod_selector: u32) -> &Members {
        &self.selected[pod_selector as usize]
    }

    fn namespace_selector(&mut self, world: &World, classes: &Classes<'_>, selector: &Selector) -> u32 {
        if let Some(id) = self.namespace_selectors.get(selector) {
            return id;
        }
        let total = classes.namespaces.values.len();
        let (mut yes, mut maybe) = (Vec::new(), Vec::new());
        if !selector.is_everything() {
            for id in self.namespace_candidates(classes, selector) {
                match namespace_fits(world, selector, classes.namespaces.values[id as usize]) {
                    Fit::Yes => yes.push(id),
                    Fit::Unknown(_) => maybe.push(id),
                    Fit::No => {}
                }
            }
        }
        let yes = if selector.is_everything() { Members::All } else { Members::of(yes, total) };
        self.in_namespaces.push(InNamespaces { yes, maybe });
        self.namespace_selectors.id(selector.clone())
    }

    fn namespace_candidates(&self, classes: &Classes<'_>, selector: &Selector) -> Vec<u32> {
        // Every namespace has its name as a label, so a selector that pins it leaves nobody else.
        let pinned = selector.match_labels.get(NAMESPACE_NAME).map(|name| vec![name]).or_else(|| {
            selector.expressions.iter().find_map(|requirement| match &requirement.test {
                Test::In(names) if requirement.key == NAMESPACE_NAME => Some(names.iter().collect()),
                _ => None,
            })
        });
        if let Some(names) = pinned {
            return names.into_iter().filter_map(|name| classes.namespaces.get(name.as_str())).collect();
        }
        let with = |key: &str, value: &str| self.namespaces_with.get(&(key.to_owned(), value.to_owned()));
        match candidates(selector, with) {
            Some(mut known) => {
                known.extend(&self.vague);
                known
            }
            None => (0..u32::try_from(classes.namespaces.values.len()).unwrap_or(u32::MAX)).collect(),
        }
    }

    /// The sets of a rule's peers: by selectors, and by blocks. A rule without either is not there.
    pub(super) fn of_rule(
        &mut self,
        world: &World,
        classes: &Classes<'_>,
        own: u32,
        peers: &Peers,
    ) -> [Option<u32>; 2] {
        let Peers::Listed(peers) = peers else { return [Some(EVERYBODY), None] };
        let (mut pairs, mut blocks) = (Vec::new(), Vec::new());
        for peer in peers {
            match &peer.matches {
                PeerMatch::Block { net, except } => blocks.push(self.blocks.id(canonical(*net, except))),
                PeerMatch::Pods { namespaces, pods } => {
                    let namespaces = match namespaces {
                        NamespaceMatch::Own => OWN,
                        NamespaceMatch::Selected(selector) => self.namespace_selector(world, classes, selector),
                    };
                    pairs.push((namespaces, self.pod_selector(classes, pods)));
                }
            }
        }
        pairs.sort_unstable();
        pairs.dedup();
        blocks.sort_unstable();
        blocks.dedup();
        let own = if pairs.iter().any(|(namespaces, _)| *namespaces == OWN) { own } else { OWN };
        let selected = (!pairs.is_empty()).then(|| self.set(classes, Key::Selected(own, pairs)));
        let held = (!blocks.is_empty()).then(|| self.set(classes, Key::Held(blocks)));
        [selected, held]
    }

    fn set(&mut self, classes: &Classes<'_>, key: Key) -> u32 {
        if let Some(id) = self.keys.get(&key) {
            return id;
        }
        let set = match &key {
            Key::Everybody => Set::Selected(Part { yes: Members::All, maybe: Members::none() }),
            Key::Selected(own, pairs) => Set::Selected(self.select(classes, *own, pairs)),
            Key::Held(blocks) => Set::Held(Box::new(Family::ALL.map(|family| self.hold(classes, blocks, family)))),
        };
        self.sets.push(set);
        self.keys.id(key)
    }

    fn select(&self, classes: &Classes<'_>, own: u32, pairs: &[(u32, u32)]) -> Part {
        let (mut yes, mut maybe) = (Vec::new(), Vec::new());
        for (namespaces, pods) in pairs {
            let pods = self.selected(*pods);
            let within = |namespace: u32, found: &mut Vec<u32>| {
                found.extend(
                    classes.in_namespace(namespace).filter(|class| pods.contains(classes.traits(*class).labels)),
                );
            };
            if *namespaces == OWN {
                within(own, &mut yes);
                continue;
            }
            let InNamespaces { yes: certain, maybe: perhaps } = &self.in_namespaces[*namespaces as usize];
            match (certain, pods) {
                (Members::All, Members::All) => return Part { yes: Members::All, maybe: Members::none() },
                (Members::All, pods) => {
                    pods.each(classes.by_labels.len(), |labels| yes.extend(&classes.by_labels[labels as usize]));
                }
                (certain, _) => certain.each(classes.namespaces.values.len(), |namespace| within(namespace, &mut yes)),
            }
            for namespace in perhaps {
                within(*namespace, &mut maybe);
            }
        }
        Part { yes: Members::of(yes, classes.len()), maybe: Members::of(maybe, classes.len()) }
    }

    fn hold(&self, classes: &Classes<'_>, blocks: &[u32], family: Family) -> Part {
        let (mut yes, mut maybe) = (Vec::new(), Vec::new());
        for id in blocks {
            let (net, except) = &self.blocks.values[*id as usize];
            if Family::of_net(*net) != family {
                continue;
            }
            // A block that came later holds no pod, or the classes were drawn anew.
            yes.extend(classes.held_by.get(*id as usize).into_iter().flatten());
            match cidr::cover(*net, except, family) {
                Cover::All => yes.extend(&classes.without_address),
                Cover::Some => maybe.extend(&classes.without_address),
                Cover::Nothing => {}
            }
        }
        Part { yes: Members::of(yes, classes.len()), maybe: Members::of(maybe, classes.len()) }
    }
}

/// The ids that can match a selector at all, by its rarest positive requirement; `None` when it has none.
fn candidates<'i>(
    selector: &'i Selector,
    carrying: impl Fn(&'i str, &'i str) -> Option<&'i Vec<u32>>,
) -> Option<Vec<u32>> {
    let plain = selector.match_labels.iter().map(|(key, value)| carrying(key, value).cloned().unwrap_or_default());
    let listed = selector.expressions.iter().filter_map(|requirement| match &requirement.test {
        Test::In(values) => {
            Some(values.iter().filter_map(|value| carrying(&requirement.key, value)).flatten().copied().collect())
        }
        _ => None,
    });
    plain.chain(listed).min_by_key(Vec::len)
}

/// All policies of a set, with those of changed namespaces in their place.
pub(super) fn policies<'p>(
    set: &'p PolicySet,
    changed: &'p HashMap<String, Vec<Policy>>,
    namespace: &str,
) -> impl Iterator<Item = &'p Policy> {
    let now = changed.get(namespace);
    let before = if now.is_none() { Some(set.in_namespace(namespace)) } else { None };
    now.into_iter().flatten().chain(before.into_iter().flatten())
}
