//! The sentences of the API, one by one.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde::de::DeserializeOwned;

use super::*;

/// Pods `a` and `b` in namespace `x`, `c` in `y`, each with its name as the label `app`; and what must never count: `done` has finished, `host` is on its node's network, `new` has no address yet.
const PODS: &str = "
metadata: {name: a, namespace: x, labels: {app: a, tier: web}}
spec: {containers: [{name: c, ports: [{name: http, containerPort: 80}, {name: dns, containerPort: 53, protocol: UDP}]}]}
status: {podIPs: [{ip: 10.0.0.1}]}
---
metadata: {name: b, namespace: x, labels: {app: b}}
spec:
  containers: [{name: c, ports: [{name: http, containerPort: 8080}]}]
  initContainers:
    - {name: sidecar, restartPolicy: Always, ports: [{name: metrics, containerPort: 9090}, {name: http, containerPort: 8081}]}
    - {name: once, ports: [{name: dns, containerPort: 5353, protocol: UDP}]}
status: {podIPs: [{ip: 10.0.0.2}]}
---
metadata: {name: c, namespace: y, labels: {app: c, tier: ''}}
spec: {containers: [{name: c}]}
status: {podIPs: [{ip: 10.0.0.3}, {ip: 'fd00::3'}]}
---
metadata: {name: done, namespace: x, labels: {app: b}}
spec: {containers: [{name: c}]}
status: {phase: Succeeded, podIPs: [{ip: 10.0.0.9}]}
---
metadata: {name: failed, namespace: y, labels: {app: c}}
spec: {containers: [{name: c}]}
status: {phase: Failed, podIPs: [{ip: 10.0.0.1}]}
---
metadata: {name: host, namespace: x, labels: {app: b}}
spec: {hostNetwork: true, containers: [{name: c}]}
status: {phase: Running, podIPs: [{ip: 192.168.0.1}]}
---
metadata: {name: new, namespace: x, labels: {app: b}}
spec: {containers: [{name: c}]}
status: {phase: Pending}
";

const NAMESPACES: &str = "
metadata: {name: x, labels: {kubernetes.io/metadata.name: x, team: red}}
---
metadata: {name: y, labels: {kubernetes.io/metadata.name: y}}
";

fn objects<K: DeserializeOwned>(text: &str) -> Vec<Arc<K>> {
    text.split("\n---\n").map(|one| Arc::new(serde_saphyr::from_str(one).unwrap())).collect()
}

/// What pod `x/a` admits under policies of namespace `x` with these specs: an admission a line, none if it is not isolated.
#[track_caller]
fn check(specs: &[&str], ingress: Option<&[&str]>, egress: Option<&[&str]>) {
    let policies = specs.iter().map(|spec| format!("metadata: {{name: p, namespace: x}}\nspec: {spec}"));
    let cluster = Cluster {
        namespaces: objects::<Namespace>(NAMESPACES),
        pods: objects::<Pod>(PODS),
        policies: policies.flat_map(|text| objects::<NetworkPolicy>(&text)).collect(),
    };
    let members = cluster.members();
    let rules = rules(&cluster, &members);
    let isolation = &rules.isolations[0];
    let texts = |places: &Option<Vec<usize>>| {
        places.as_ref().map(|places| places.iter().map(|place| text(&rules.admissions[*place])).collect::<Vec<_>>())
    };
    let expected = |texts: Option<&[&str]>| texts.map(|texts| texts.iter().map(|text| (*text).to_owned()).collect());
    assert_eq!(
        (texts(&isolation.ingress), texts(&isolation.egress)),
        (expected(ingress), expected(egress)),
        "{specs:#?}"
    );
}

/// `10.0.0.1 10.0.0.2: tcp/80 udp/1-2`
fn text(admission: &Admission) -> String {
    let peer = match &admission.peer {
        Peer::Anyone => "anyone".to_owned(),
        Peer::Pods(addresses) => addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        Peer::Block(net, except) => format!("{net} but {except:?}"),
    };
    let traffic = match &admission.traffic {
        Traffic::Any => vec!["any".to_owned()],
        Traffic::Ports(ports) => {
            let each = ports.iter().flat_map(|(protocol, ranges)| ranges.iter().map(move |range| (protocol, range)));
            each.map(|(protocol, (first, last))| format!("{}/{first}-{last}", protocol.as_str())).collect()
        }
    };
    format!("{peer}: {}", traffic.join(" "))
}

/// What the rules of ingress of one policy for `app: a` admit.
#[track_caller]
fn check_ingress(rules: &str, admitted: &[&str]) {
    check(&[&format!("{{podSelector: {{matchLabels: {{app: a}}}}, ingress: {rules}}}")], Some(admitted), None);
}

#[track_caller]
fn check_from(peer: &str, admitted: &[&str]) {
    check_ingress(&format!("[{{from: [{peer}]}}]"), admitted);
}

#[track_caller]
fn check_egress(rules: &str, admitted: &[&str]) {
    check(&[&format!("{{podSelector: {{}}, policyTypes: [Egress], egress: {rules}}}")], None, Some(admitted));
}

const ANYONE: &str = "anyone: any";

#[test]
fn policy_types_default_to_the_rules_that_are_there() {
    check(&[], None, None);
    check(&["{}"], Some(&[]), None);
    check(&["{egress: []}"], Some(&[]), None);
    check(&["{policyTypes: [], egress: [{}]}"], Some(&[]), Some(&[ANYONE]));
    check(&["{policyTypes: [Ingress], egress: [{}]}"], Some(&[]), None);
    check(&["{policyTypes: [Egress], ingress: [{}]}"], None, Some(&[]));
    check(&["{policyTypes: [Ingress, Egress]}"], Some(&[]), Some(&[]));
}

#[test]
fn an_absent_pod_selector_is_an_empty_one() {
    check(&["{podSelector: null, ingress: [{}]}"], Some(&[ANYONE]), None);
    check(&["{podSelector: {matchLabels: {app: b}}}"], None, None);
}

#[test]
fn policies_add_up() {
    check(&["{}", "{ingress: [{ports: [{port: 1}]}]}", "{ingress: [{}]}"], Some(&["anyone: tcp/1-1", ANYONE]), None);
}

#[test]
fn empty_lists_of_peers_and_ports_restrict_nothing() {
    check_ingress("[]", &[]);
    check_ingress("[{}]", &[ANYONE]);
    check_ingress("[{from: [], ports: []}]", &[ANYONE]);
}

#[test]
fn peers() {
    check_from("{podSelector: {}}", &["10.0.0.1 10.0.0.2: any"]);
    check_from("{namespaceSelector: {}}", &["10.0.0.1 10.0.0.2 10.0.0.3 fd00::3: any"]);
    check_from("{namespaceSelector: {matchLabels: {team: red}}}", &["10.0.0.1 10.0.0.2: any"]);
    check_from("{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: y}}}", &["10.0.0.3 fd00::3: any"]);
    check_from("{namespaceSelector: {}, podSelector: {matchLabels: {app: c}}}", &["10.0.0.3 fd00::3: any"]);
    // The policy's own namespace.
    check_from("{podSelector: {matchLabels: {app: c}}}", &[]);
    check_from(
        "{podSelector: {matchLabels: {app: b}}}, {namespaceSelector: {matchLabels: {team: red}}}",
        &["10.0.0.2: any", "10.0.0.1 10.0.0.2: any"],
    );
    // What no API server admits.
    check_from("{}", &[]);
    check_from("{ipBlock: {cidr: 10.0.0.0/8}, podSelector: {}}", &[]);
}

#[test]
fn operators() {
    for (expression, admitted) in [
        ("{key: tier, operator: In, values: [web, '']}", &["10.0.0.1 10.0.0.3 fd00::3: any"][..]),
        ("{key: tier, operator: NotIn, values: [web]}", &["10.0.0.2 10.0.0.3 fd00::3: any"]),
        ("{key: tier, operator: Exists}", &["10.0.0.1 10.0.0.3 fd00::3: any"]),
        ("{key: tier, operator: DoesNotExist}", &["10.0.0.2: any"]),
        ("{key: tier, operator: Gt, values: ['1']}", &[]),
        ("{key: tier, operator: Exists}, {key: app, operator: NotIn, values: [c]}", &["10.0.0.1: any"]),
    ] {
        let selector = format!("{{namespaceSelector: {{}}, podSelector: {{matchExpressions: [{expression}]}}}}");
        check_from(&selector, admitted);
    }
    // A value that is empty is a value.
    check_from("{namespaceSelector: {}, podSelector: {matchLabels: {tier: ''}}}", &["10.0.0.3 fd00::3: any"]);
}

#[test]
fn blocks() {
    check_from(
        "{ipBlock: {cidr: 10.1.2.3/8, except: [10.1.1.1/16, 10.1.0.0/24]}}",
        &["10.0.0.0/8 but [10.1.0.0/16, 10.1.0.0/24]: any"],
    );
    check_from("{ipBlock: {cidr: '::/0'}}", &["::/0 but []: any"]);
    check_from("{ipBlock: {cidr: everything}}", &[]);
}

#[test]
fn ports() {
    for (ports, admitted) in [
        ("{port: 80}", &["anyone: tcp/80-80"][..]),
        ("{port: 80, endPort: 90, protocol: SCTP}", &["anyone: sctp/80-90"]),
        ("{protocol: UDP}", &["anyone: udp/0-65535"]),
        ("{}", &["anyone: tcp/0-65535"]),
        ("{port: 80}, {protocol: UDP, port: 53}, {port: 80}", &["anyone: tcp/80-80 udp/53-53"]),
        // The subject's own names, of the same protocol.
        ("{port: http}, {port: dns, protocol: UDP}", &["anyone: tcp/80-80 udp/53-53"]),
        ("{port: dns}", &[]),
        ("{port: metrics}", &[]),
        // What no API server admits.
        ("{endPort: 90}", &[]),
        ("{port: http, endPort: 90}", &[]),
        ("{port: 90, endPort: 80}", &[]),
        ("{port: 70000}", &[]),
        ("{port: 80, protocol: ICMP}", &[]),
    ] {
        check_ingress(&format!("[{{ports: [{ports}]}}]"), admitted);
    }
}

#[test]
fn names_of_ports_are_the_destinations() {
    check_egress("[{ports: [{port: http}]}]", &["10.0.0.1: tcp/80-80", "10.0.0.2: tcp/8080-8080 tcp/8081-8081"]);
    check_egress("[{ports: [{port: metrics}], to: [{podSelector: {}}]}]", &["10.0.0.2: tcp/9090-9090"]);
    // An init container that ends is no sidecar.
    check_egress("[{ports: [{port: dns, protocol: UDP}]}]", &["10.0.0.1: udp/53-53"]);
    check_egress(
        "[{ports: [{port: http}, {port: 1}], to: [{podSelector: {matchLabels: {app: b}}}]}]",
        &["10.0.0.2: tcp/8080-8080 tcp/8081-8081", "10.0.0.2: tcp/1-1"],
    );
    check_egress("[{ports: [{port: http}], to: [{ipBlock: {cidr: 10.0.0.0/8}}]}]", &[]);
}
