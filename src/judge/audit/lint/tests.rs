//! The proofs of the lints: what is called superfluous can go, what is called dead can match nothing.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use proptest::prelude::*;

use super::redundant::superfluous;
use super::witness::witnesses;
use crate::judge::audit::fixture::{guide_files, load};
use crate::policy::{
    Dialect, Direction, End, Engine, NamespaceMatch, PeerMatch, Peers, Policy, PolicyPeer, PolicyPort, PolicySet,
    PortMatch, Ports, Rule,
};
use crate::source::Place;
use crate::world::labels::{NAMESPACE_NAME, Requirement, Selector, Test};
use crate::world::{Labels, ObjectName, PodId, Protocol, World};

static WORLD: LazyLock<World> = LazyLock::new(|| load(&guide_files()).0);

const COMPONENT: &str = "app.kubernetes.io/component";

fn place() -> Place {
    Place::whole("policies")
}

fn some_selector() -> impl Strategy<Value = Selector> {
    let key = prop::sample::select(vec![COMPONENT, "app.kubernetes.io/name", "k8s-app"]);
    let value = prop::sample::select(vec!["mas", "synapse", "matrix-synapse", "kube-dns", "other"]);
    let values = prop::collection::btree_set(value.clone().prop_map(str::to_owned), 1..3);
    let test = prop_oneof![
        values.clone().prop_map(Test::In),
        values.prop_map(Test::NotIn),
        Just(Test::Exists),
        Just(Test::DoesNotExist),
    ];
    let requirement = (key.clone(), test).prop_map(|(key, test)| Requirement { key: key.to_owned(), test });
    let plain = prop::collection::btree_map(key.prop_map(str::to_owned), value.prop_map(str::to_owned), 0..2);
    (plain, prop::collection::vec(requirement, 0..2))
        .prop_map(|(match_labels, expressions)| Selector { match_labels, expressions })
}

fn some_peer() -> impl Strategy<Value = PeerMatch> {
    let namespaces = prop_oneof![
        2 => Just(NamespaceMatch::Own),
        1 => Just(NamespaceMatch::Selected(Selector::default())),
        2 => prop::sample::select(vec!["matrix", "traefik", "kube-system", "nowhere"])
            .prop_map(|name| NamespaceMatch::Selected(Selector::namespace(name))),
    ];
    // Pod, node and outside addresses, so that ranges cut through each other.
    let net = prop::sample::select(vec![
        "0.0.0.0/0",
        "0.0.0.0/1",
        "128.0.0.0/1",
        "10.42.0.0/16",
        "10.42.0.20/32",
        "10.42.0.0/24",
        "::/0",
        "203.0.113.0/24",
    ]);
    let block = (net.clone(), prop::option::of(net)).prop_map(|(net, hole)| PeerMatch::Block {
        net: net.parse().unwrap(),
        except: hole.into_iter().map(|hole| hole.parse().unwrap()).collect(),
    });
    prop_oneof![
        3 => (namespaces, some_selector()).prop_map(|(namespaces, pods)| PeerMatch::Pods { namespaces, pods }),
        2 => block,
    ]
}

fn some_rule() -> impl Strategy<Value = Rule> {
    let peers = prop_oneof![
        1 => Just(Peers::Any),
        4 => prop::collection::vec(some_peer(), 1..3).prop_map(|peers| {
            Peers::Listed(peers.into_iter().map(|matches| PolicyPeer { place: place(), matches }).collect())
        }),
    ];
    let port = prop_oneof![
        1 => Just(PortMatch::All),
        3 => (prop::sample::select(vec![8080_u16, 8008, 53]), 0..2_u16).prop_map(|(from, more)| PortMatch::Range(from, from + more)),
        1 => prop::sample::select(vec!["http", "metrics"]).prop_map(|name| PortMatch::Named(name.to_owned())),
    ];
    let port = (port, prop::sample::select(vec![Protocol::Tcp, Protocol::Udp]))
        .prop_map(|(ports, protocol)| PolicyPort { place: place(), protocol, ports });
    let ports = prop_oneof![1 => Just(Ports::All), 3 => prop::collection::vec(port, 1..3).prop_map(Ports::Listed)];
    (peers, ports).prop_map(|(peers, ports)| Rule { place: place(), peers, ports })
}

fn some_policy() -> impl Strategy<Value = Policy> {
    let rules = || prop::option::weighted(0.7, prop::collection::vec(some_rule(), 0..4));
    (prop::sample::select(vec!["matrix", "matrix", "traefik"]), some_selector(), rules(), rules()).prop_map(
        |(namespace, pod_selector, ingress, egress)| Policy {
            name: ObjectName::new(namespace, ""),
            place: place(),
            labels: Labels::new(),
            annotations: Labels::new(),
            pod_selector,
            ingress,
            egress,
        },
    )
}

fn some_policies() -> impl Strategy<Value = Vec<Policy>> {
    prop::collection::vec(some_policy(), 1..5).prop_map(|mut policies| {
        for (index, policy) in policies.iter_mut().enumerate() {
            policy.name.name = format!("p{index}");
        }
        policies
    })
}

/// What is called superfluous, as `(policy, direction, index)`.
fn found(dialect: Dialect, set: &PolicySet) -> Vec<(ObjectName, Direction, usize)> {
    let mut all = Vec::new();
    for namespace in ["matrix", "traefik"] {
        let policies: Vec<&Policy> = set.in_namespace(namespace).collect();
        let rules = superfluous(&WORLD, dialect, set, &policies, &BTreeSet::new(), &mut usize::MAX.clone());
        all.extend(rules.into_iter().map(|(id, cover)| {
            assert!(!cover.is_empty(), "nothing makes this rule superfluous");
            (id.policy.name.clone(), id.direction, id.index)
        }));
    }
    all
}

/// The set after all of them were removed; no policy loses a direction by it.
fn without(set: &PolicySet, gone: &[(ObjectName, Direction, usize)]) -> PolicySet {
    let keep = |policy: &Policy, direction: Direction| {
        let rules = policy.rules(direction)?.iter().enumerate();
        let kept = rules.filter(|(index, _)| !gone.contains(&(policy.name.clone(), direction, *index)));
        Some(kept.map(|(_, rule)| rule.clone()).collect::<Vec<_>>())
    };
    let policies = set.policies.iter().map(|policy| Policy {
        ingress: keep(policy, Direction::Ingress),
        egress: keep(policy, Direction::Egress),
        ..policy.clone()
    });
    PolicySet::new(policies.collect(), Vec::new())
}

/// Every pod, the edges of every range, a node, and addresses nobody has.
fn ends() -> Vec<End> {
    let addresses = [
        "10.42.0.20",
        "10.42.0.77",
        "10.42.255.255",
        "10.43.0.1",
        "127.255.255.255",
        "128.0.0.0",
        "203.0.113.10",
        "192.0.2.1",
        "2001:db8::1",
        "0.0.0.0",
    ];
    let nodes = WORLD.nodes.values().flat_map(|node| node.addresses.iter().copied());
    let addresses = addresses.iter().map(|text| text.parse().unwrap()).chain(nodes).map(End::Address);
    WORLD.pods().map(|(id, _)| End::Pod(id)).chain(addresses).collect()
}

fn same_verdicts(dialect: Dialect, before: &PolicySet, after: &PolicySet) -> Result<(), TestCaseError> {
    let engine = |set| Engine::new(&WORLD, set).with_dialect(dialect);
    let (old, new) = (engine(before), engine(after));
    for from in ends() {
        for to in ends() {
            prop_assert_eq!(old.admitted(from, to), new.admitted(from, to), "{:?} to {:?}", from, to);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Soundness: all rules that are called superfluous go at once, and no verdict about any pair changes.
    #[test]
    fn superfluous_rules_can_go(policies in some_policies(), dialect in prop::sample::select(&Dialect::ALL[..])) {
        let set = PolicySet::new(policies, Vec::new());
        let gone = found(dialect, &set);
        same_verdicts(dialect, &set, &without(&set, &gone))?;
    }

    /// Completeness where it is plain: a rule that stands twice is found, and only one of the two.
    #[test]
    fn a_rule_that_stands_twice_is_found(rule in some_rule(), policies in some_policies()) {
        let twin = |name: &str| Policy {
            name: ObjectName::new("matrix", name),
            pod_selector: Selector::labels(Labels::from([(COMPONENT.to_owned(), "mas".to_owned())])),
            ingress: Some(vec![rule.clone()]),
            egress: None,
            ..policies[0].clone()
        };
        let alone = PolicySet::new(vec![twin("a")], Vec::new());
        prop_assert_eq!(found(Dialect::Upstream, &alone), Vec::new());
        let both = PolicySet::new(vec![twin("a"), twin("b")], Vec::new());
        let mas = both.in_namespace("matrix").next().unwrap();
        let engine = Engine::new(&WORLD, &both);
        let says_something = (0..WORLD.pods.len()).map(|at| End::Pod(PodId(at))).chain(ends()).any(|end| {
            let own = WORLD.pods().find(|(_, pod)| mas.selects(pod)).unwrap().0;
            let said = engine.rule_traffic(mas, &mas.ingress.as_ref().unwrap()[0], Direction::Ingress, End::Pod(own), end);
            said.iter().any(|(_, sure, perhaps)| !sure.union(perhaps).is_empty())
        });
        if says_something {
            prop_assert_eq!(found(Dialect::Upstream, &both), vec![(ObjectName::new("matrix", "b"), Direction::Ingress, 0)]);
        }
    }

    /// A selector without a witness selects nothing that is known; each witness is selected.
    #[test]
    fn witnesses_are_selected(selector in some_selector()) {
        let found = witnesses(&selector);
        prop_assert!(found.iter().all(|labels| selector.matches(labels)));
        if found.is_empty() {
            prop_assert!(WORLD.pods().all(|(_, pod)| !selector.matches(&pod.labels)));
        }
    }
}

fn requirement(key: &str, test: Test) -> Requirement {
    Requirement { key: key.to_owned(), test }
}

fn set(values: &[&str]) -> BTreeSet<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

#[test]
fn contradictions_have_no_witness() {
    #[track_caller]
    fn check(labels: &[(&str, &str)], expressions: Vec<Requirement>, expect: usize) {
        let match_labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        assert_eq!(witnesses(&Selector { match_labels, expressions }).len(), expect);
    }
    check(&[], vec![], 1);
    check(&[("a", "1")], vec![requirement("a", Test::In(set(&["1", "2"])))], 1);
    check(&[("a", "1")], vec![requirement("a", Test::In(set(&["2"])))], 0);
    check(&[("a", "1")], vec![requirement("a", Test::DoesNotExist)], 0);
    check(&[], vec![requirement("a", Test::Exists), requirement("a", Test::DoesNotExist)], 0);
    check(&[], vec![requirement("a", Test::Exists), requirement("a", Test::NotIn(set(&["x0", "x1"])))], 1);
    check(&[], vec![requirement("a", Test::In(set(&["1", "2"]))), requirement("a", Test::NotIn(set(&["1"])))], 1);
    check(&[], vec![requirement("a", Test::In(set(&["1", "2"]))), requirement("b", Test::In(set(&["1", "2"])))], 4);
}

#[track_caller]
fn check_superfluous(rules: Vec<Rule>, expect: &[usize]) {
    let mas = Selector::labels(Labels::from([(COMPONENT.to_owned(), "mas".to_owned())]));
    let policy = Policy {
        name: ObjectName::new("matrix", "p"),
        place: place(),
        labels: Labels::new(),
        annotations: Labels::new(),
        pod_selector: mas,
        ingress: Some(rules),
        egress: None,
    };
    let indexes: Vec<usize> = found(Dialect::Upstream, &PolicySet::new(vec![policy], Vec::new()))
        .into_iter()
        .map(|(.., index)| index)
        .collect();
    assert_eq!(indexes, expect);
}

/// Nested selectors: the narrow rule is covered by the wide one, never the other way round, also when today's pods are the same.
#[test]
fn only_the_narrower_of_two_falls() {
    let rule = |selector: Selector, port: PortMatch| Rule {
        place: place(),
        peers: Peers::Listed(vec![PolicyPeer {
            place: place(),
            matches: PeerMatch::Pods { namespaces: NamespaceMatch::Own, pods: selector },
        }]),
        ports: Ports::Listed(vec![PolicyPort { place: place(), protocol: Protocol::Tcp, ports: port }]),
    };
    let component = |value: &str| Selector::labels(Labels::from([(COMPONENT.to_owned(), value.to_owned())]));
    let narrow = Selector {
        match_labels: component("synapse").match_labels,
        expressions: vec![requirement("app.kubernetes.io/name", Test::Exists)],
    };
    let eighty = || PortMatch::Range(8080, 8080);
    check_superfluous(vec![rule(narrow.clone(), eighty()), rule(component("synapse"), eighty())], &[0]);
    check_superfluous(vec![rule(component("synapse"), eighty()), rule(narrow.clone(), eighty())], &[1]);
    // Ports count too, and two rules together may cover a third.
    check_superfluous(vec![rule(component("synapse"), eighty()), rule(narrow, PortMatch::Range(8080, 8081))], &[]);
    check_superfluous(
        vec![
            rule(component("synapse"), eighty()),
            rule(component("synapse"), PortMatch::Range(8081, 8082)),
            rule(component("synapse"), PortMatch::Range(8080, 8082)),
        ],
        &[2],
    );
    // `http` is 8080 today; it may be another port tomorrow.
    check_superfluous(
        vec![rule(component("synapse"), eighty()), rule(component("synapse"), PortMatch::Named("http".to_owned()))],
        &[],
    );
    // `NotIn` covers only those that have not that label: a pod that has it may come.
    let not = Selector {
        match_labels: component("synapse").match_labels,
        expressions: vec![requirement("canary", Test::DoesNotExist)],
    };
    check_superfluous(vec![rule(not.clone(), eighty()), rule(component("synapse"), eighty())], &[0]);
    // By its automatic label the own namespace is the own namespace.
    let own = Rule {
        peers: Peers::Listed(vec![PolicyPeer {
            place: place(),
            matches: PeerMatch::Pods {
                namespaces: NamespaceMatch::Selected(Selector::labels(Labels::from([(
                    NAMESPACE_NAME.to_owned(),
                    "matrix".to_owned(),
                )]))),
                pods: component("synapse"),
            },
        }]),
        ..rule(not, eighty())
    };
    check_superfluous(vec![rule(component("synapse"), eighty()), own], &[1]);
}
