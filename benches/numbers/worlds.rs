//! Worlds whose allowed pairs are known in closed form.
//!
//! Each namespace has `group` pods of each of four applications and five policies (Antrea's controller benchmark has the first three):
//! `default-deny` isolates all ingress; `np-1` lets app-1 into app-0 and `np-2` app-3 into app-2 on 80; `np-3` lets app-0 of the next namespace
//! into app-1 on 80 to 90; `np-4` holds app-3 to the port `http` of app-2 and to an address block outside. In every 1,000th namespace `np-2` is
//! open to everybody.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::sync::Arc;

use portreeve::policy::{
    NamespaceMatch, PeerMatch, Peers, Policy, PolicyPeer, PolicyPort, PolicySet, PortMatch, Ports, Rule,
};
use portreeve::source::{Place, Position};
use portreeve::world::labels::{NAMESPACE_NAME, Selector};
use portreeve::world::{ContainerPort, Labels, Namespace, ObjectName, Phase, Pod, PodId, Protocol, World};

const APPS: usize = 4;

/// A world and what must come out of it.
pub(crate) struct Shape {
    pub namespaces: usize,
    /// Pods of one application in one namespace.
    pub group: usize,
    /// Each pod has a label of its own, so that no two are alike.
    pub unlike: bool,
}

impl Shape {
    pub(crate) fn pods(&self) -> usize {
        self.namespaces * self.group * APPS
    }

    fn open(&self) -> u64 {
        self.namespaces.div_ceil(1000) as u64
    }

    /// Ordered pairs of different pods that are allowed on TCP 80.
    pub(crate) fn allowed_on_80(&self) -> u64 {
        let (n, g, k) = (self.namespaces as u64, self.group as u64, self.open());
        // Three rules of g · g pairs each; an open np-2 admits app-0, 1 and 2 of every namespace but itself, and app-3 of its own only.
        3 * g * g * n - k * g * g + k * g * (3 * g * n - 1 + g)
    }

    /// The same on TCP 85: np-3 alone.
    pub(crate) fn allowed_on_85(&self) -> u64 {
        (self.namespaces * self.group * self.group) as u64
    }

    /// What opening np-1 of one namespace to everybody adds on TCP 80: app-0 gains app-0, 1 and 2 of every namespace but itself, where it had
    /// app-1 of its own.
    pub(crate) fn opened_np_1_adds(&self) -> u64 {
        let (n, g) = (self.namespaces as u64, self.group as u64);
        g * (3 * g * n - 1) - g * g
    }

    /// The first pod of an application in a namespace.
    pub(crate) fn pod(&self, namespace: usize, app: usize) -> PodId {
        PodId(namespace * self.group * APPS + app)
    }

    pub(crate) fn world(&self) -> World {
        let file: Arc<str> = Arc::from("world.yaml");
        let mut world = World::default();
        for n in 0..self.namespaces {
            let labels = labels(&[(NAMESPACE_NAME, &namespace(n)), ("team", &format!("team-{}", n % 100))]);
            world.namespaces.insert(namespace(n), Namespace { labels, place: Some(Place::whole("world.yaml")) });
            for p in 0..self.group * APPS {
                world.pods.push(self.one_pod(n, p, &file));
            }
        }
        world
    }

    fn one_pod(&self, n: usize, p: usize, file: &Arc<str>) -> Pod {
        let mut labels = labels(&[("app", &format!("app-{}", p % APPS))]);
        if self.unlike {
            labels.insert("pod".to_owned(), format!("p-{n}-{p}"));
        }
        let index = u32::try_from(n * self.group * APPS + p).unwrap();
        Pod {
            name: ObjectName::new(namespace(n), format!("p-{p}")),
            workload: None,
            template: false,
            labels,
            images: vec![],
            ports: vec![ContainerPort { name: Some("http".to_owned()), number: 80, protocol: Protocol::Tcp }],
            addresses: vec![Ipv4Addr::from(0x0a00_0001 + index).into()],
            proxies: portreeve::world::Proxies::default(),
            dns: portreeve::world::PodDns::default(),
            host_network: false,
            node: Some(format!("node-{}", n % 500)),
            phase: Phase::Live,
            ready: Some(true),
            ready_since: None,
            leaving: false,
            place: Place { file: Arc::clone(file), position: Position::default() },
        }
    }

    pub(crate) fn policies(&self) -> PolicySet {
        let place = Place::whole("world.yaml");
        let all = (0..self.namespaces).flat_map(|n| {
            let from = |app: usize| pods(NamespaceMatch::Own, app);
            let to_port =
                |ports| Ports::Listed(vec![PolicyPort { place: place.clone(), protocol: Protocol::Tcp, ports }]);
            let rule = |peers: Vec<PeerMatch>, ports| Rule {
                place: place.clone(),
                peers: if peers.is_empty() {
                    Peers::Any
                } else {
                    Peers::Listed(
                        peers.into_iter().map(|matches| PolicyPeer { place: place.clone(), matches }).collect(),
                    )
                },
                ports: to_port(ports),
            };
            let policy = |name: &str, subject, ingress, egress| Policy {
                name: ObjectName::new(namespace(n), name),
                place: place.clone(),
                labels: Labels::new(),
                annotations: Labels::new(),
                pod_selector: subject,
                ingress,
                egress,
            };
            let next = Selector::namespace(&namespace((n + 1) % self.namespaces));
            let port_80 = PortMatch::Range(80, 80);
            let np_2 = if n.is_multiple_of(1000) { vec![] } else { vec![from(3)] };
            let outside = PeerMatch::Block { net: "203.0.113.0/24".parse().unwrap(), except: vec![] };
            [
                policy("default-deny", Selector::default(), Some(vec![]), None),
                policy("np-1", app(0), Some(vec![rule(vec![from(1)], port_80.clone())]), None),
                policy("np-2", app(2), Some(vec![rule(np_2, port_80.clone())]), None),
                policy(
                    "np-3",
                    app(1),
                    Some(vec![rule(vec![pods(NamespaceMatch::Selected(next), 0)], PortMatch::Range(80, 90))]),
                    None,
                ),
                policy(
                    "np-4",
                    app(3),
                    None,
                    Some(vec![
                        rule(vec![from(2)], PortMatch::Named("http".to_owned())),
                        rule(vec![outside], PortMatch::All),
                    ]),
                ),
            ]
        });
        PolicySet::new(all.collect(), vec![])
    }
}

impl Shape {
    /// The same world for the matcher of cyclonus (`tests/rivals/cyclonus -bench`), asked on these ports.
    pub(crate) fn json(&self, ports: &[u16]) -> serde_json::Value {
        use serde_json::json;
        let world = self.world();
        let pods: Vec<_> = world
            .pods
            .iter()
            .map(|pod| json!({"namespace": pod.name.namespace, "name": pod.name.name, "labels": pod.labels, "ip": pod.addresses[0]}))
            .collect();
        let namespaces: Vec<_> = world
            .namespaces
            .iter()
            .map(|(name, namespace)| json!({"name": name, "labels": namespace.labels}))
            .collect();
        // It resolves no names: whoever asks says what the port is called.
        let ports: Vec<_> = ports
            .iter()
            .map(|port| json!({"port": port, "protocol": "TCP", "name": if *port == 80 { "http" } else { "" }}))
            .collect();
        let policies: Vec<_> = (0..self.namespaces).flat_map(|n| self.json_policies(n)).collect();
        json!({"namespaces": namespaces, "pods": pods, "ports": ports, "policies": policies})
    }

    fn json_policies(&self, n: usize) -> [serde_json::Value; 5] {
        use serde_json::json;
        let app = |app: usize| json!({"matchLabels": {"app": format!("app-{app}")}});
        let own = |of: usize| json!([{"podSelector": app(of)}]);
        let next = json!({"matchLabels": {NAMESPACE_NAME: namespace((n + 1) % self.namespaces)}});
        let policy = |name: &str, subject, direction: &str, rules| {
            json!({
                "metadata": {"name": name, "namespace": namespace(n)},
                "spec": {"podSelector": subject, "policyTypes": [direction], (direction.to_lowercase()): rules},
            })
        };
        let tcp_80 = json!([{"protocol": "TCP", "port": 80}]);
        let np_2 = if n.is_multiple_of(1000) {
            json!([{"ports": tcp_80}])
        } else {
            json!([{"from": own(3), "ports": tcp_80}])
        };
        [
            policy("default-deny", json!({}), "Ingress", json!([])),
            policy("np-1", app(0), "Ingress", json!([{"from": own(1), "ports": tcp_80}])),
            policy("np-2", app(2), "Ingress", np_2),
            policy(
                "np-3",
                app(1),
                "Ingress",
                json!([{
                    "from": [{"namespaceSelector": next, "podSelector": app(0)}],
                    "ports": [{"protocol": "TCP", "port": 80, "endPort": 90}],
                }]),
            ),
            policy(
                "np-4",
                app(3),
                "Egress",
                json!([
                    {"to": own(2), "ports": [{"protocol": "TCP", "port": "http"}]},
                    {"to": [{"ipBlock": {"cidr": "203.0.113.0/24"}}], "ports": [{"protocol": "TCP"}]},
                ]),
            ),
        ]
    }
}

fn namespace(n: usize) -> String {
    format!("ns-{n:05}")
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn app(app: usize) -> Selector {
    Selector::labels(labels(&[("app", &format!("app-{app}"))]))
}

fn pods(namespaces: NamespaceMatch, of: usize) -> PeerMatch {
    PeerMatch::Pods { namespaces, pods: app(of) }
}

/// Three policies a namespace in block style with a chart's usual labels: about 730 bytes each.
pub(crate) fn yaml(namespaces: usize) -> String {
    let mut text = String::new();
    for n in 0..namespaces {
        let namespace = namespace(n);
        for (name, subject, rules) in [
            ("default-deny", "{}", "  policyTypes:\n  - Ingress\n"),
            (
                "np-1",
                "\n    matchLabels:\n      app: app-0",
                "  ingress:\n  - from:\n    - podSelector:\n        matchLabels:\n          app: app-1\n    ports:\n    - protocol: TCP\n      port: 80\n",
            ),
            (
                "np-2",
                "\n    matchExpressions:\n    - key: app\n      operator: In\n      values:\n      - app-2",
                "  ingress:\n  - from:\n    - namespaceSelector:\n        matchLabels:\n          kubernetes.io/metadata.name: monitoring\n      podSelector:\n        matchLabels:\n          app: app-3\n    - ipBlock:\n        cidr: 10.0.0.0/8\n        except:\n        - 10.1.0.0/16\n    ports:\n    - protocol: TCP\n      port: 8000\n      endPort: 8010\n",
            ),
        ] {
            let _ = write!(
                text,
                "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: {name}\n  namespace: {namespace}\n  \
                 labels:\n    app.kubernetes.io/name: scale-test\n    app.kubernetes.io/instance: scale-test-{n}\n    \
                 app.kubernetes.io/managed-by: Helm\n    helm.sh/chart: scale-test-1.2.3\n  annotations:\n    \
                 meta.helm.sh/release-name: scale-test-{n}\n    meta.helm.sh/release-namespace: {namespace}\n    \
                 example.org/description: \"what this policy is for, who asked for it, and which ticket it came from, in one line\"\n\
                 spec:\n  podSelector: {subject}\n{rules}---\n"
            );
        }
    }
    text
}

/// `kubectl get pods -A -o json`: one document, `kind` after `items`.
pub(crate) fn json_list(pods: usize) -> String {
    let mut text = String::from("{\n    \"apiVersion\": \"v1\",\n    \"items\": [\n");
    for p in 0..pods {
        let comma = if p + 1 == pods { "" } else { "," };
        let address = Ipv4Addr::from(0x0a00_0001 + u32::try_from(p).unwrap());
        let _ = writeln!(
            text,
            "        {{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {{\"name\": \"p-{p}\", \"namespace\": \"ns-{:05}\", \
             \"labels\": {{\"app\": \"app-{}\", \"pod-template-hash\": \"5d4f8c7b9\"}}, \"ownerReferences\": [{{\"apiVersion\": \
             \"apps/v1\", \"kind\": \"ReplicaSet\", \"name\": \"app-{}-5d4f8c7b9\", \"controller\": true}}]}}, \"spec\": {{\"nodeName\": \
             \"node-{}\", \"containers\": [{{\"name\": \"c\", \"image\": \"example.org/app:1\", \"ports\": [{{\"name\": \"http\", \
             \"containerPort\": 80, \"protocol\": \"TCP\"}}]}}]}}, \"status\": {{\"phase\": \"Running\", \"podIP\": \"{address}\", \
             \"podIPs\": [{{\"ip\": \"{address}\"}}], \"conditions\": [{{\"type\": \"Ready\", \"status\": \"True\"}}]}}}}{comma}",
            p / APPS,
            p % APPS,
            p % APPS,
            p % 500,
        );
    }
    text.push_str("    ],\n    \"kind\": \"List\"\n}\n");
    text
}
