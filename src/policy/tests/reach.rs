//! The whole-cluster evaluation against the engine, pair by pair, on random small clusters.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::clusters::{NUMBERS, some_world, spec};
use super::oracle::Spec;
use super::{cases, cluster, policies, read};
use crate::policy::Declared;
use crate::policy::{End, Engine, PairCount, PolicySet, Reachability, Traffic};
use crate::world::{ObjectName, Phase, PodId, Protocol, World};

fn set_of(specs: &[Spec]) -> PolicySet {
    let items: Vec<Value> = specs.iter().enumerate().map(|(index, spec)| spec.json(index)).collect();
    read(&json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()).0
}

fn engine_says(engine: &Engine<'_>, from: PodId, to: PodId) -> Traffic {
    engine.admitted(End::Pod(from), End::Pod(to)).traffic
}

/// One pair at a time, all pairs of classes, and the counts: all say what the engine says.
fn agrees(reach: &Reachability<'_>, world: &World, set: &PolicySet) -> Result<(), TestCaseError> {
    let engine = Engine::new(world, set);
    let ids = || (0..world.pods.len()).map(PodId);
    let mut visited: BTreeMap<(PodId, PodId), Traffic> = BTreeMap::new();
    let mut twice = 0;
    reach.each(|from, to, traffic| {
        for from in from {
            for to in to.iter().filter(|to| *to != from) {
                twice += usize::from(visited.insert((*from, *to), traffic.clone()).is_some());
            }
        }
    });
    prop_assert_eq!(twice, 0, "a pair was handed over twice");
    let plain = |id: PodId| !world.pod(id).host_network && world.pod(id).phase == Phase::Live;
    for (from, to) in ids().flat_map(|from| ids().map(move |to| (from, to))) {
        let expect = engine_says(&engine, from, to);
        prop_assert_eq!(&reach.admitted(from, to), &expect, "{:?} to {:?}", from, to);
        if from != to && plain(from) && plain(to) {
            prop_assert_eq!(&visited.remove(&(from, to)).unwrap_or_default(), &expect, "{:?} to {:?}", from, to);
        }
    }
    prop_assert!(visited.is_empty());
    for protocol in Protocol::ALL {
        for port in NUMBERS {
            let mut count = PairCount::default();
            for (from, to) in ids().flat_map(|from| ids().map(move |to| (from, to))).filter(|(from, to)| from != to) {
                count.pairs += 1;
                match engine_says(&engine, from, to).declared(protocol, port) {
                    _ if !plain(from) || !plain(to) => count.left_open += 1,
                    Declared::Allowed => count.allowed += 1,
                    Declared::Unknown => count.unknown += 1,
                    Declared::Denied => {}
                }
            }
            prop_assert_eq!(reach.allowed_pairs(protocol, port), count, "{} {}", protocol, port);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(120), max_local_rejects: u32::MAX, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_says_what_the_engine_says(
        world in some_world(),
        specs in prop::collection::vec(spec(), 0..8),
        twins in any::<bool>(),
    ) {
        let mut world = world;
        if twins {
            // Two pods that share a class.
            let mut twin = world.pods[0].clone();
            twin.name.name.push_str("-twin");
            // An address of one octet more in the same small net: most blocks hold both or none.
            for address in &mut twin.addresses {
                if let std::net::IpAddr::V4(v4) = address {
                    *v4 = (u32::from(*v4) ^ 0x40).into();
                }
            }
            world.pods.push(twin);
        }
        let set = set_of(&specs);
        agrees(&Reachability::compute(&world, &set), &world, &set)?;
    }

    #[test]
    fn a_change_says_what_a_new_start_says(
        world in some_world(),
        before in prop::collection::vec(spec(), 0..6),
        changes in prop::collection::vec((0..6_usize, prop::option::of(spec())), 1..5),
    ) {
        let start = set_of(&before);
        let mut set = start.clone();
        let mut reach = Reachability::compute(&world, &start);
        for (index, change) in changes {
            let (name, policy) = match change {
                Some(spec) => {
                    let mut policy = set_of(&[spec]).policies.remove(0);
                    policy.name.name = format!("p{index}");
                    (policy.name.clone(), Some(policy))
                }
                None => match set.policies.get(index) {
                    Some(policy) => (policy.name.clone(), None),
                    None => (ObjectName::new("n0", "nobody"), None),
                },
            };
            set = match &policy {
                Some(policy) => set.with(policy.clone()),
                None => set.without(&name),
            };
            reach.replace_policy(&name, policy);
            agrees(&reach, &world, &set)?;
        }
    }
}

/// What is not evaluated is never counted as known.
#[test]
fn another_kind_of_policy_leaves_its_namespace_open() {
    let world = cluster();
    let calico =
        "---\napiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: x, namespace: b}\nspec: {}\n";
    let (set, _) = read(&format!("{}{calico}", policies(&["{podSelector: {}}"])));
    let reach = Reachability::compute(&world, &set);
    let engine = Engine::new(&world, &set);
    let open = world.pods.iter().filter(|p| p.name.namespace == "b" || p.host_network || p.phase == Phase::Finished);
    let (all, covered) = (world.pods.len() as u64, (world.pods.len() - open.count()) as u64);
    let count = reach.allowed_pairs(Protocol::Tcp, 80);
    assert_eq!(count.left_open, all * (all - 1) - covered * (covered - 1));
    assert_eq!(reach.classes().1 as u64, covered);
    for (from, to) in [(0, 3), (3, 0), (8, 3), (7, 0), (4, 3)] {
        let (from, to) = (PodId(from), PodId(to));
        assert_eq!(reach.admitted(from, to), engine_says(&engine, from, to));
    }
}

/// Tiers may touch any pod, so every pair is the engine's to judge: a Deny of the Admin tier is never lost.
#[test]
fn tiers_leave_every_pair_to_the_engine() {
    let world = cluster();
    let deny = "---\napiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {name: deny}\n\
        spec:\n  tier: Admin\n  priority: 1\n  subject: {namespaces: {}}\n  ingress:\n  - {action: Deny, from: [{namespaces: {}}]}\n";
    let (set, findings) = read(&format!("{}{deny}", policies(&["{podSelector: {}, ingress: [{}]}"])));
    assert_eq!((set.tiers.len(), findings.len()), (1, 0), "{findings:?}");
    let reach = Reachability::compute(&world, &set);
    let engine = Engine::new(&world, &set);
    let pods = world.pods.len();
    assert_eq!(reach.allowed_pairs(Protocol::Tcp, 80).left_open, (pods * (pods - 1)) as u64);
    for (from, to) in (0..pods).flat_map(|from| (0..pods).map(move |to| (PodId(from), PodId(to)))) {
        assert_eq!(reach.admitted(from, to), engine_says(&engine, from, to));
    }
    let denied = (0..pods).filter(|from| reach.admitted(PodId(*from), PodId(0)).allowed.is_empty()).count();
    assert!(denied > 1, "the Deny decides nothing in this world");
}
