//! Pods → classes: pods that no policy of this world can tell apart.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::policy::{Family, PolicySet, cidr};
use crate::world::{Labels, Phase, Pod, PodId, Protocol, World};

/// The class of a pod that is left to the engine.
pub(super) const OPEN: u32 = u32::MAX;

/// The families of a class. A pod without an address may get either or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Families(u8);

impl Families {
    pub(super) const NO_ADDRESS: Self = Self(4);

    fn of(addresses: &[IpAddr]) -> Option<Self> {
        let count = |family| addresses.iter().filter(|address| Family::of(**address) == family).count();
        match (count(Family::V4), count(Family::V6)) {
            (0, 0) => Some(Self::NO_ADDRESS),
            (v4 @ 0..=1, v6 @ 0..=1) => Some(Self(u8::from(v4 == 1) | u8::from(v6 == 1) << 1)),
            // The engine knows what several addresses of one family mean.
            _ => None,
        }
    }

    /// The families of two ends as one small number.
    pub(super) fn with(self, other: Self) -> u8 {
        self.0 << 4 | other.0
    }

    fn has(self, family: Family) -> bool {
        self == Self::NO_ADDRESS || self.0 >> (family as u8) & 1 == 1
    }

    /// The families that two ends share, and whether it is certain that they will meet in all of them (as `Engine` has it).
    pub(super) fn shared(self, other: Self) -> (Vec<Family>, bool) {
        let shared: Vec<Family> =
            Family::ALL.into_iter().filter(|family| self.has(*family) && other.has(*family)).collect();
        let certain = shared.len() == 1 || (self != Self::NO_ADDRESS && other != Self::NO_ADDRESS);
        (shared, certain)
    }
}

/// A block as a peer names it: the net, and what is cut out of it.
pub(super) type Block = (IpNet, Vec<IpNet>);

/// Values that are compared often, each with a small id.
#[derive(Debug)]
pub(super) struct Interned<T> {
    ids: HashMap<T, u32>,
    pub(super) values: Vec<T>,
}

impl<T> Default for Interned<T> {
    fn default() -> Self {
        Self { ids: HashMap::new(), values: Vec::new() }
    }
}

impl<T: Hash + Eq + Clone> Interned<T> {
    /// The id of a value, old or new.
    pub(super) fn id(&mut self, value: T) -> u32 {
        if let Some(id) = self.ids.get(&value) {
            return *id;
        }
        let id = u32::try_from(self.values.len()).unwrap_or(u32::MAX);
        self.ids.insert(value.clone(), id);
        self.values.push(value);
        id
    }

    /// The id of a value that is there.
    pub(super) fn get<Q: Hash + Eq + ?Sized>(&self, value: &Q) -> Option<u32>
    where
        T: std::borrow::Borrow<Q>,
    {
        self.ids.get(value).copied()
    }
}

/// What tells two classes apart. Sorted by it, the classes of a namespace stand together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Traits {
    pub(super) namespace: u32,
    pub(super) labels: u32,
    /// Which named container ports it has.
    pub(super) named: u32,
    pub(super) families: Families,
    /// Which blocks hold its addresses.
    held: u32,
}

/// All classes of a world under the blocks that its policies name.
#[derive(Debug, Default)]
pub(super) struct Classes<'w> {
    /// Namespaces that have pods.
    pub(super) namespaces: Interned<&'w str>,
    /// Label sets of pods.
    pub(super) labels: Interned<&'w Labels>,
    /// Named container ports, sorted.
    pub(super) named: Interned<Vec<(Protocol, &'w str, u16)>>,
    /// By class.
    pub(super) traits: Vec<Traits>,
    /// By pod.
    class_of: Vec<u32>,
    /// Pods by class; those of class `c` are `pods[start[c]..start[c + 1]]`.
    pods: Vec<PodId>,
    start: Vec<usize>,
    /// The first class of each namespace, and the end.
    first: Vec<u32>,
    /// Classes by label set.
    pub(super) by_labels: Vec<Vec<u32>>,
    /// Label sets by one of their labels.
    pub(super) carriers: HashMap<(&'w str, &'w str), Vec<u32>>,
    /// Classes of pods with an address, by block.
    pub(super) held_by: Vec<Vec<u32>>,
    /// Classes of pods without an address.
    pub(super) without_address: Vec<u32>,
    /// The different families, a handful.
    kinds: Vec<Families>,
}

/// Blocks by net, to find those that hold an address without asking each.
struct Nets<'b> {
    by_net: HashMap<IpNet, Vec<(u32, &'b [IpNet])>>,
    lengths: [Vec<u8>; 2],
}

impl<'b> Nets<'b> {
    fn new(blocks: &'b [Block]) -> Self {
        let mut nets = Self { by_net: HashMap::new(), lengths: [Vec::new(), Vec::new()] };
        for (id, (net, except)) in (0..).zip(blocks) {
            nets.by_net.entry(*net).or_default().push((id, except));
            nets.lengths[Family::of_net(*net) as usize].push(net.prefix_len());
        }
        for lengths in &mut nets.lengths {
            lengths.sort_unstable();
            lengths.dedup();
        }
        nets
    }

    fn holding(&self, address: IpAddr, found: &mut Vec<u32>) {
        for length in &self.lengths[Family::of(address) as usize] {
            let Ok(net) = IpNet::new(address, *length) else { continue };
            let net = net.trunc();
            let here = self.by_net.get(&net).into_iter().flatten();
            found.extend(here.filter(|(_, except)| cidr::contains(net, except, address)).map(|(id, _)| *id));
        }
    }
}

/// Whether classes can speak for a pod. Node networks, finished pods and other kinds of policy are left to the engine.
fn is_plain(pod: &Pod) -> bool {
    pod.phase == Phase::Live && !pod.host_network
}

impl<'w> Classes<'w> {
    pub(super) fn new(world: &'w World, set: &PolicySet, blocks: &[Block]) -> Self {
        let mut classes = Self { held_by: vec![Vec::new(); blocks.len()], ..Self::default() };
        let nets = Nets::new(blocks);
        let mut held: Interned<Vec<u32>> = Interned::default();
        let mut modelled: Vec<bool> = Vec::new();
        let mut drawn: Vec<(Traits, PodId)> = Vec::with_capacity(world.pods.len());
        for (id, pod) in world.pods().filter(|(_, pod)| is_plain(pod)) {
            let namespace = classes.namespaces.id(&pod.name.namespace);
            if namespace as usize == modelled.len() {
                // Tiers decide by their own order: pairs that they may touch are the engine's to judge.
                modelled.push(set.tiers.is_empty() && set.unmodelled_in(&pod.name.namespace).next().is_none());
            }
            let Some(families) = Families::of(&pod.addresses).filter(|_| modelled[namespace as usize]) else {
                continue;
            };
            let mut holding = Vec::new();
            pod.addresses.iter().for_each(|address| nets.holding(*address, &mut holding));
            holding.sort_unstable();
            let mut named: Vec<(Protocol, &str, u16)> =
                pod.ports.iter().filter_map(|port| Some((port.protocol, port.name.as_deref()?, port.number))).collect();
            named.sort_unstable();
            named.dedup();
            let (labels, named) = (classes.labels.id(&pod.labels), classes.named.id(named));
            drawn.push((Traits { namespace, labels, named, families, held: held.id(holding) }, id));
        }
        drawn.sort_unstable();
        classes.fill(world, &drawn, &held.values);
        classes
    }

    fn fill(&mut self, world: &World, drawn: &[(Traits, PodId)], held: &[Vec<u32>]) {
        self.class_of = vec![OPEN; world.pods.len()];
        self.by_labels = vec![Vec::new(); self.labels.values.len()];
        for (labels, id) in self.labels.values.iter().zip(0..) {
            for (key, value) in *labels {
                self.carriers.entry((key, value)).or_default().push(id);
            }
        }
        for (traits, pod) in drawn {
            if self.traits.last() != Some(traits) {
                let class = self.len_u32();
                self.traits.push(*traits);
                self.start.push(self.pods.len());
                self.by_labels[traits.labels as usize].push(class);
                for block in &held[traits.held as usize] {
                    self.held_by[*block as usize].push(class);
                }
                if traits.families == Families::NO_ADDRESS {
                    self.without_address.push(class);
                }
            }
            self.class_of[pod.0] = self.len_u32() - 1;
            self.pods.push(*pod);
        }
        self.start.push(self.pods.len());
        self.kinds = self.traits.iter().map(|traits| traits.families).collect();
        self.kinds.sort_unstable();
        self.kinds.dedup();
        let namespaces = 0..=u32::try_from(self.namespaces.values.len()).unwrap_or(u32::MAX);
        let first = |namespace| self.traits.partition_point(|traits| traits.namespace < namespace);
        self.first = namespaces.map(|namespace| u32::try_from(first(namespace)).unwrap_or(u32::MAX)).collect();
    }

    pub(super) fn len(&self) -> usize {
        self.traits.len()
    }

    fn len_u32(&self) -> u32 {
        u32::try_from(self.traits.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn class_of(&self, pod: PodId) -> Option<u32> {
        self.class_of.get(pod.0).copied().filter(|class| *class != OPEN)
    }

    pub(super) fn pods(&self, class: u32) -> &[PodId] {
        let class = class as usize;
        &self.pods[self.start[class]..self.start[class + 1]]
    }

    /// The different families that classes have.
    pub(super) fn kinds_of_families(&self) -> &[Families] {
        &self.kinds
    }

    /// Pods that have a class.
    pub(super) fn covered(&self) -> usize {
        self.pods.len()
    }

    /// The classes of a namespace.
    pub(super) fn in_namespace(&self, namespace: u32) -> std::ops::Range<u32> {
        let namespace = namespace as usize;
        self.first[namespace]..self.first[namespace + 1]
    }

    pub(super) fn traits(&self, class: u32) -> &Traits {
        &self.traits[class as usize]
    }

    /// Whether a block that was not there when the classes were drawn holds a pod, so that it may split a class.
    pub(super) fn may_split(&self, world: &World, (net, except): &Block) -> bool {
        let addresses = self.pods.iter().flat_map(|pod| &world.pod(*pod).addresses);
        addresses.into_iter().any(|address| cidr::contains(*net, except, *address))
    }
}
