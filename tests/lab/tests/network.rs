//! Real connections between pods on one node, under every style and every part of a policy.
//!
//! Needs iproute2, nftables and util-linux, and root or user namespaces.
#![cfg(target_os = "linux")]
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests are tests"
)]

mod node;

use std::process::Command;
use std::time::{Duration, Instant};

use node::{FAMILIES, Family, Node, inside};
use portreeve_lab::arrivals::Young;
use portreeve_lab::cluster::{Cluster, Protocol};
use portreeve_lab::connect::Target;
use portreeve_lab::style::Style;
use portreeve_lab::{nft, table};

use Protocol::{Tcp, Udp};

const TABLE: &str = "portreeve-lab-test";

fn enforce(cluster: &Cluster, style: Style) {
    table::apply(&nft::ruleset(TABLE, cluster, style, &Young::default())).unwrap();
}

/// `friend` may reach `server` on TCP 80 and UDP 53.
const FRIEND: &str = "
metadata: {name: p, namespace: ns}
spec:
  podSelector: {matchLabels: {app: server}}
  ingress:
    - from: [{podSelector: {matchLabels: {app: friend}}}]
      ports: [{port: 80}, {port: 53, protocol: UDP}]
";
const DENY_ALL: &str = "
metadata: {name: p, namespace: ns}
spec: {podSelector: {}, policyTypes: [Ingress, Egress]}
";

#[test]
fn every_style_refuses_in_its_way() {
    inside("every_style_refuses_in_its_way", || {
        let node = Node::new(&["server", "friend", "stranger"]);
        let cluster = node.cluster("", FRIEND);
        let late = Style::Late(Duration::from_secs(5));
        for style in [Style::Drop, Style::Reject, Style::AdminProhibited, Style::TcpReset, Style::Off, late] {
            enforce(&cluster, style);
            let to = |tcp, udp| {
                FAMILIES
                    .map(|family| [node.target("server", Tcp, tcp, family), node.target("server", Udp, udp, family)])
            };
            let refused = |whom| FAMILIES.map(|family| refusal(style, family, &node.towards(whom, family).to_string()));
            let open = node.connect(Some("friend"), to(80, 53).as_flattened());
            assert!(open.iter().all(|outcome| outcome == "open"), "{style}: {open:?}");
            let to_stranger = node.connect(Some("stranger"), to(80, 53).as_flattened());
            assert_eq!(to_stranger, refused("stranger").as_flattened(), "{style}");
            // The friend's other ports.
            let beside = node.connect(Some("friend"), to(81, 80).as_flattened());
            assert_eq!(beside, refused("friend").as_flattened(), "{style}");
        }
    });
}

/// What a client sees of a refused TCP and a refused UDP packet.
fn refusal(style: Style, family: Family, node: &str) -> [String; 2] {
    let icmp = |v4: &str, v6: &str| format!("icmp {} from {node}", if family == Family::V4 { v4 } else { v6 });
    match style {
        Style::Drop | Style::Late(_) => ["timeout".to_owned(), "timeout".to_owned()],
        // RFC 792 and RFC 1812 §5.2.7.1; RFC 4443 §3.1.
        Style::Reject => [icmp("3/3", "1/4"), icmp("3/3", "1/4")],
        Style::AdminProhibited => [icmp("3/13", "1/1"), icmp("3/13", "1/1")],
        Style::TcpReset => ["reset".to_owned(), icmp("3/10", "1/1")],
        Style::Off => ["open".to_owned(), "open".to_owned()],
    }
}

#[test]
fn a_late_plugin_leaves_young_pods_open() {
    inside("a_late_plugin_leaves_young_pods_open", || {
        let node = Node::new(&["server", "stranger"]);
        let cluster = node.cluster("", DENY_ALL);
        let target = [node.target("server", Tcp, 80, Family::V4)];
        let style = Style::Late(Duration::from_secs(5));
        let young = |uids: &[&str]| Young { uids: uids.iter().map(|uid| (*uid).to_owned()).collect(), next: None };
        for (young, outcome) in [
            (young(&["uid-server", "uid-stranger"]), "open"),
            (young(&["uid-server"]), "timeout"),
            (young(&["uid-stranger"]), "timeout"),
        ] {
            table::apply(&nft::ruleset(TABLE, &cluster, style, &young)).unwrap();
            assert_eq!(node.connect(Some("stranger"), &target), [outcome], "{young:?}");
        }
    });
}

#[test]
fn the_node_and_the_pod_itself_are_never_refused() {
    inside("the_node_and_the_pod_itself_are_never_refused", || {
        let node = Node::new(&["server", "stranger"]);
        enforce(&node.cluster("", DENY_ALL), Style::Drop);
        let targets =
            FAMILIES.map(|family| [node.target("server", Tcp, 80, family), node.target("server", Udp, 53, family)]);
        for (from, outcome) in [(None, "open"), (Some("server"), "open"), (Some("stranger"), "timeout")] {
            assert_eq!(node.connect(from, targets.as_flattened()), [outcome; 4], "from {from:?}");
        }
    });
}

/// A Service's port is not the pod's, and a pod reaches itself by a Service too.
#[test]
fn policies_see_the_pods_port_after_translation() {
    inside("policies_see_the_pods_port_after_translation", || {
        let node = Node::new(&["server", "friend", "stranger"]);
        // As kube-proxy does it, with its masquerade for a connection that returns to where it came from.
        let services = format!(
            "table inet services {{
               chain prerouting {{ type nat hook prerouting priority dstnat;
                 ip daddr 10.96.0.1 tcp dport 443 dnat ip to {v4}:80
                 ip6 daddr fd96::1 tcp dport 443 dnat ip6 to [{v6}]:80
               }}
               chain postrouting {{ type nat hook postrouting priority srcnat;
                 ip saddr {v4} ip daddr {v4} masquerade
                 ip6 saddr {v6} ip6 daddr {v6} masquerade
               }}
             }}",
            v4 = node.of("server", Family::V4),
            v6 = node.of("server", Family::V6),
        );
        table::apply(&services).unwrap();
        enforce(&node.cluster("", FRIEND), Style::Drop);
        let services = ["10.96.0.1:443", "[fd96::1]:443"];
        let targets = services.map(|service| Target { protocol: Tcp, address: service.parse().unwrap() });
        for (from, outcome) in [("friend", "open"), ("stranger", "timeout"), ("server", "open")] {
            assert_eq!(node.connect(Some(from), &targets), [outcome; 2], "from {from}");
        }
    });
}

#[test]
fn open_connections_survive_new_policies() {
    inside("open_connections_survive_new_policies", || {
        let mut node = Node::new(&["server", "friend"]);
        enforce(&node.cluster("", ""), Style::Drop);
        let mut held = FAMILIES.map(|family| node.hold("friend", node.of("server", family), 80));
        for style in [Style::Drop, Style::Reject, Style::TcpReset] {
            enforce(&node.cluster("", DENY_ALL), style);
            node.add(&format!("other-{style}"));
            enforce(&node.cluster("", DENY_ALL), style);
            assert!(held.iter_mut().all(node::Held::is_alive), "{style}");
            let target = [node.target("server", Tcp, 80, Family::V4)];
            assert_ne!(node.connect(Some("friend"), &target), ["open"], "{style}");
        }
    });
}

/// One policy, and which of these reach which: `a`, `b` and `c` in one namespace, over both families unless said.
struct Case {
    policy: &'static str,
    open: &'static [(&'static str, &'static str, Protocol, u16)],
    closed: &'static [(&'static str, &'static str, Protocol, u16)],
}

/// `http` is TCP 8080, `dns` UDP 53 on every pod.
const NAMED: &str = "{name: http, containerPort: 8080}, {name: dns, containerPort: 53, protocol: UDP}";

const CASES: [Case; 9] = [
    Case {
        policy: "{podSelector: {matchLabels: {app: a}}, ingress: [{ports: [{port: http}, {port: dns, protocol: UDP}]}]}",
        open: &[("b", "a", Tcp, 8080), ("c", "a", Udp, 53), ("a", "b", Tcp, 80)],
        closed: &[("b", "a", Tcp, 80), ("b", "a", Udp, 8080), ("b", "a", Tcp, 53)],
    },
    Case {
        policy: "{podSelector: {matchLabels: {app: a}}, policyTypes: [Egress], egress: [{ports: [{port: http}], to: [{podSelector: {matchLabels: {app: b}}}]}, {ports: [{port: 9000, endPort: 9004}]}]}",
        open: &[("a", "b", Tcp, 8080), ("a", "c", Tcp, 9000), ("b", "a", Tcp, 80)],
        closed: &[("a", "c", Tcp, 8080), ("a", "b", Tcp, 9005), ("a", "b", Udp, 9000)],
    },
    Case {
        policy: "{podSelector: {matchLabels: {app: a}}, ingress: [{ports: [{protocol: UDP}]}]}",
        open: &[("b", "a", Udp, 53), ("c", "a", Udp, 9005)],
        closed: &[("b", "a", Tcp, 80)],
    },
    Case {
        policy: "{podSelector: {matchLabels: {app: a}}, ingress: [{from: [{ipBlock: {cidr: 10.78.0.0/16, except: [10.78.2.0/24, 10.78.2.2/32]}}, {ipBlock: {cidr: 'fd78::/16', except: ['fd78:2::/64']}}]}]}",
        open: &[("b", "a", Tcp, 80), ("b", "a", Udp, 53)],
        closed: &[("c", "a", Tcp, 80), ("c", "a", Udp, 53)],
    },
    Case {
        policy: "{podSelector: {matchLabels: {app: a}}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.78.2.0/24]}}, {ipBlock: {cidr: '::/0', except: ['fd78:2::/64']}}]}]}",
        open: &[("a", "b", Tcp, 80), ("a", "b", Udp, 53)],
        closed: &[("a", "c", Tcp, 80)],
    },
    Case {
        policy: "{podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [b, c]}]}, ingress: [{from: [{namespaceSelector: {}, podSelector: {matchExpressions: [{key: app, operator: In, values: [b]}]}}]}]}",
        open: &[("b", "a", Tcp, 80), ("c", "b", Tcp, 80)],
        closed: &[("c", "a", Tcp, 80)],
    },
    Case {
        policy: "{podSelector: {matchLabels: {app: a}}, ingress: [{ports: [{port: 80}, {port: 70, endPort: 81}, {port: 79, endPort: 90}, {port: 53, protocol: SCTP}]}]}",
        open: &[("b", "a", Tcp, 80), ("b", "a", Tcp, 81)],
        closed: &[("b", "a", Tcp, 53), ("b", "a", Tcp, 9000)],
    },
    Case {
        policy: "{podSelector: {matchLabels: {app: a}}, ingress: [{ports: [{protocol: SCTP}]}]}",
        open: &[("a", "b", Tcp, 80)],
        closed: &[("b", "a", Tcp, 80), ("b", "a", Udp, 53)],
    },
    // Both ends must allow the same port.
    Case {
        policy: "{podSelector: {}, policyTypes: [Ingress, Egress], ingress: [{ports: [{port: 80}, {port: 81}]}], egress: [{ports: [{port: 81}, {port: 8080}]}]}",
        open: &[("a", "b", Tcp, 81), ("c", "a", Tcp, 81)],
        closed: &[("a", "b", Tcp, 80), ("a", "b", Tcp, 8080)],
    },
];

#[test]
fn every_part_of_a_policy_is_enforced() {
    inside("every_part_of_a_policy_is_enforced", || {
        let node = Node::new(&["a", "b", "c"]);
        for case in CASES {
            let policy = format!("metadata: {{name: p, namespace: ns}}\nspec: {}", case.policy);
            enforce(&node.cluster(NAMED, &policy), Style::Reject);
            for (expected, ways) in [(true, case.open), (false, case.closed)] {
                for &(from, to, protocol, port) in ways {
                    for family in FAMILIES {
                        let target = node.target(to, protocol, port, family);
                        let outcome = node.connect(Some(from), &[target]).remove(0);
                        assert_eq!(outcome == "open", expected, "{}: {from} to {target}: {outcome}", case.policy);
                    }
                }
            }
        }
        assert!(listing().contains("ns/p ingress[0]"));
        table::apply(&nft::removal(TABLE)).unwrap();
        assert_eq!(listing(), "");
    });
}

fn listing() -> String {
    let outcome = Command::new("nft").args(["list", "ruleset"]).output().unwrap();
    String::from_utf8(outcome.stdout).unwrap()
}

/// Prints how long a table for a busy node takes; what counts is that it is taken.
#[test]
fn a_busy_node_fits() {
    inside("a_busy_node_fits", || {
        let mut cluster = Node::new(&[]).cluster("", FRIEND);
        let template = Node::new(&["server"]).cluster(NAMED, "").pods.remove(0);
        for number in 0u16..400 {
            let mut pod = (*template).clone();
            let [high, low] = number.to_be_bytes();
            pod.metadata.name = Some(format!("pod-{number}"));
            pod.metadata.uid.clone_from(&pod.metadata.name);
            let role = if number % 2 == 0 { "friend" } else { "server" };
            pod.metadata.labels.get_or_insert_default().insert("app".to_owned(), role.to_owned());
            let addresses = pod.status.get_or_insert_default().pod_ips.get_or_insert_default();
            addresses[0].ip = format!("10.79.{high}.{low}");
            addresses[1].ip = format!("fd79::{number:x}");
            cluster.pods.push(pod.into());
        }
        let policy = cluster.policies.remove(0);
        for number in 0..200 {
            let mut policy = (*policy).clone();
            policy.metadata.name = Some(format!("policy-{number}"));
            cluster.policies.push(policy.into());
        }
        let start = Instant::now();
        let text = nft::ruleset(TABLE, &cluster, Style::Drop, &Young::default());
        let made = start.elapsed();
        table::apply(&text).unwrap();
        println!(
            "400 pods, 200 policies: text of {} KiB in {made:?}, in the kernel after {:?}",
            text.len() >> 10,
            start.elapsed()
        );
        assert!(listing().contains("10.79.1.143"));
    });
}
