use std::fmt::Write;
use std::sync::Arc;

use super::*;
use crate::source::yaml;
use crate::world::{Phase, objects};

/// Lowers a text; problems of the documents themselves fail the test.
fn lower(text: &str) -> (World, Vec<Finding>) {
    let (documents, error) = yaml::parse(&Arc::from("w.yaml"), text);
    assert_eq!(error, None);
    let mut problems = Vec::new();
    let mut builder = WorldBuilder::default();
    for object in documents.into_iter().flat_map(|document| objects(document, &mut problems)) {
        builder.add(&object);
    }
    assert_eq!(problems, []);
    builder.finish()
}

/// Each pod on a line: name, owner, what is special, labels, images, ports, addresses.
fn pods(world: &World) -> Vec<String> {
    world
        .pods
        .iter()
        .map(|pod| {
            let mut line = pod.name.to_string();
            if let Some(workload) = &pod.workload {
                write!(line, " of {}/{}", workload.kind.short(), workload.name).unwrap();
                write!(line, "{:?}", workload.selector).unwrap();
            }
            for (is, word) in [
                (pod.template, " template"),
                (pod.host_network, " hostNetwork"),
                (pod.phase == Phase::Finished, " finished"),
            ] {
                line.push_str(if is { word } else { "" });
            }
            if let Some(ready) = pod.ready {
                line.push_str(if ready { " ready" } else { " waiting" });
            }
            for port in &pod.ports {
                write!(line, " {}:{}/{}", port.name.as_deref().unwrap_or("-"), port.number, port.protocol).unwrap();
            }
            for address in &pod.addresses {
                write!(line, " {address}").unwrap();
            }
            line
        })
        .collect()
}

#[track_caller]
fn check_pods(text: &str, expect: &[&str]) {
    let (world, findings) = lower(text);
    assert_eq!(findings, []);
    assert_eq!(pods(&world), expect, "{text}");
}

#[track_caller]
fn check_finding(text: &str, expect: &[&str]) {
    let (_, findings) = lower(text);
    let got: Vec<_> = findings
        .iter()
        .map(|f| {
            let place = f.place.as_ref().map(ToString::to_string).unwrap_or_default();
            format!("{} {} {place}: {}", f.code, f.object, f.message)
        })
        .collect();
    assert_eq!(got, expect, "{text}");
}

#[test]
fn pods_are_read_with_every_default_filled_in() {
    check_pods("{apiVersion: v1, kind: Pod, metadata: {name: p}}", &["default/p"]);
    check_pods(
        "
apiVersion: v1
kind: Pod
metadata: {name: p, namespace: ns}
spec:
  hostNetwork: true
  initContainers:
  - {name: once, ports: [{containerPort: 1}]}
  - {name: sidecar, restartPolicy: Always, ports: [{containerPort: 2, name: s, protocol: UDP}]}
  containers:
  - {name: c, image: \"x:${TAG}\", ports: [{containerPort: 3}]}
status:
  phase: Running
  podIP: 10.0.0.1
  podIPs: [{ip: 10.0.0.1}, {ip: \"fd00::1\"}]
  conditions: [{type: Ready, status: \"False\"}]
",
        &["ns/p hostNetwork waiting -:3/TCP s:2/UDP 10.0.0.1 fd00::1"],
    );
    check_pods(
        "{apiVersion: v1, kind: Pod, metadata: {name: p}, status: {phase: Succeeded, podIP: 10.0.0.1}}",
        &["default/p finished 10.0.0.1"],
    );
}

const DEPLOYMENT: &str = "
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: d, namespace: ns}
spec:
  selector: {matchLabels: {app: d}}
  template: {metadata: {labels: {app: d}}, spec: {containers: [{name: c}]}}
";
const REPLICA_SET: &str = "
---
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: d-5c, namespace: ns, ownerReferences: [{kind: Deployment, name: d, controller: true}]}
spec:
  selector: {matchLabels: {app: d, pod-template-hash: 5c}}
  template: {metadata: {labels: {app: d}}, spec: {containers: [{name: c}]}}
";
const POD: &str = "
---
apiVersion: v1
kind: Pod
metadata:
  name: d-5c-x
  namespace: ns
  labels: {app: d, pod-template-hash: 5c}
  ownerReferences: [{kind: ReplicaSet, name: d-5c, controller: true}]
";

#[test]
fn a_workload_stands_for_its_pods_only_while_it_has_none() {
    check_pods(DEPLOYMENT, &["ns/d of deploy/d{\"app\": \"d\"} template"]);
    check_pods(&[DEPLOYMENT, REPLICA_SET].concat(), &["ns/d of deploy/d{\"app\": \"d\"} template"]);
    check_pods(&[POD, REPLICA_SET, DEPLOYMENT].concat(), &["ns/d-5c-x of deploy/d{\"app\": \"d\"}"]);
    // Without the ReplicaSet the name and the hash say whose pod it is.
    check_pods(&[DEPLOYMENT, POD].concat(), &["ns/d-5c-x of deploy/d{\"app\": \"d\"}"]);
    check_pods(POD, &["ns/d-5c-x of deploy/d{}"]);
    // A finished pod does not come back; the template does.
    let finished = format!("{POD}status: {{phase: Failed}}\n");
    check_pods(
        &[DEPLOYMENT, &finished].concat(),
        &["ns/d-5c-x of deploy/d{\"app\": \"d\"} finished", "ns/d of deploy/d{\"app\": \"d\"} template"],
    );
    // An old revision without replicas says nothing about pods to come.
    check_pods(&REPLICA_SET.replace("spec:\n", "spec:\n  replicas: 0\n"), &[]);
    check_pods(
        "
apiVersion: batch/v1
kind: CronJob
metadata: {name: c}
spec: {jobTemplate: {spec: {template: {metadata: {labels: {a: b}}, spec: {containers: [{ports: [{containerPort: 80}]}]}}}}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: c-1, ownerReferences: [{kind: CronJob, name: c}]}
spec: {template: {spec: {containers: []}}}
",
        &["default/c of cronjob/c{} template -:80/TCP"],
    );
}

#[test]
fn what_cannot_be_read_is_a_finding_and_left_out() {
    check_finding(
        "{apiVersion: v1, kind: Pod, metadata: {name: p, labels: {version: 1.2}}}",
        &[
            "PR032 LabelNotText Pod/p w.yaml:1:67: the label `version` is a number, not text, so the object was left out",
        ],
    );
    check_finding(
        "{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {selector: {on: true}}}",
        &[
            "PR032 LabelNotText Service/s w.yaml:1:76: the label `on` is a boolean, not text, so the object was left out",
        ],
    );
    check_finding(
        &DEPLOYMENT.replace("labels: {app: d}", "labels: {app: 7}"),
        &[
            "PR032 LabelNotText Deployment/ns/d w.yaml:8:39: the label `app` is a number, not text, so the object was left out",
        ],
    );
    check_finding(
        "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: [{ports: [{containerPort: http}]}]}}",
        &[
            "PR037 BrokenObject Pod/p w.yaml:1:95: spec.containers[0].ports[0].containerPort: expected a whole number, found text",
        ],
    );
    check_finding(
        "{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: \"${NS}\"}}",
        &[
            "PR037 BrokenObject Pod/p w.yaml:1:60: metadata.namespace is a ${VARIABLE}, so it is not known where the object lives",
        ],
    );
    check_finding(
        "{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {ports: [{port: 80, targetPort: \"8080\"}]}}",
        &[
            "PR037 BrokenObject Service/s w.yaml:1:92: spec.ports[0].targetPort: a port number stands in quotes here: remove them",
        ],
    );
    check_finding(
        "{apiVersion: v1, kind: Pod, metadata: {name: p}}\n---\n{apiVersion: v1, kind: Pod, metadata: {name: p}}",
        &["PR037 BrokenObject Pod/p w.yaml:1:1: this object stands again at w.yaml:3:1; the later one counts"],
    );
}

#[test]
fn what_is_not_rendered_is_said_unless_its_pods_are_here() {
    let release = "{apiVersion: helm.toolkit.fluxcd.io/v2, kind: HelmRelease, metadata: {name: r, namespace: flux}, spec: {targetNamespace: ns}}";
    check_finding(release, &["PR033 NotCovered HelmRelease/flux/r w.yaml:1:1: not rendered, its pods are unknown"]);
    check_finding(&format!("{release}\n{POD}"), &[]);
    // A template is no dump of a cluster.
    check_finding(
        &format!("{release}\n{DEPLOYMENT}"),
        &["PR033 NotCovered HelmRelease/flux/r w.yaml:1:1: not rendered, its pods are unknown"],
    );
    let cluster = "{apiVersion: postgresql.cnpg.io/v1, kind: Cluster, metadata: {name: db, namespace: ns}}\n---\n";
    let made = "its pods are made by an operator and are not among the inputs";
    check_finding(cluster, &[&format!("PR033 NotCovered Cluster/ns/db w.yaml:1:1: {made}")]);
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: db-1, namespace: ns, ownerReferences: [{kind: Cluster, name: db}]}}";
    check_finding(&[cluster, pod].concat(), &[]);
    check_finding(
        "{apiVersion: apps.kruise.io/v1, kind: CloneSet, metadata: {name: c}, spec: {template: {spec: {containers: []}}}}",
        &[&format!("PR033 NotCovered CloneSet/c w.yaml:1:1: {made}")],
    );
    check_finding(
        "{apiVersion: kustomize.config.k8s.io/v1beta1, kind: Kustomization, resources: [a]}",
        &["PR033 NotCovered Kustomization/kustomization w.yaml:1:1: not built: give the output of `kustomize build`"],
    );
    for harmless in
        ["v1, kind: ConfigMap", "v1, kind: Secret", "networking.k8s.io/v1, kind: NetworkPolicy", "x.io/v1, kind: Thing"]
    {
        check_finding(&format!("{{apiVersion: {harmless}, metadata: {{name: x}}}}"), &[]);
    }
}

#[test]
fn namespaces_carry_their_name_also_when_only_referred_to() {
    let (world, _) = lower(&format!(
        "{{apiVersion: v1, kind: Namespace, metadata: {{name: a, labels: {{team: x}}}}}}\n{POD}---\n{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: x}}}}"
    ));
    let got: Vec<_> =
        world.namespaces.iter().map(|(name, ns)| format!("{name} {:?} {}", ns.labels, ns.place.is_some())).collect();
    assert_eq!(
        got,
        [
            "a {\"kubernetes.io/metadata.name\": \"a\", \"team\": \"x\"} true",
            "default {\"kubernetes.io/metadata.name\": \"default\"} false",
            "ns {\"kubernetes.io/metadata.name\": \"ns\"} false",
        ]
    );
}

#[track_caller]
fn check_service(spec: &str, expect: &str) {
    let (world, findings) = lower(&format!("{{apiVersion: v1, kind: Service, metadata: {{name: s}}, {spec}}}"));
    assert_eq!(findings, []);
    let service = world.services.values().next().unwrap();
    let ports: Vec<_> = service.ports.iter().map(|p| format!("{}→{}/{}", p.port, p.target, p.protocol)).collect();
    let balancers: Vec<_> =
        service.load_balancer.iter().map(|b| format!("{:?} {:?} {}", b.ip, b.hostname, b.proxy)).collect();
    assert_eq!(
        format!("{:?} {:?} {ports:?} {:?} {balancers:?}", service.kind, service.selector, service.cluster_ips),
        expect
    );
}

#[test]
fn services_are_read_with_every_default_filled_in() {
    check_service("spec: {ports: [{port: 80}]}", "Virtual None [\"80→80/TCP\"] [] []");
    check_service(
        "spec: {selector: {}, clusterIP: None, ports: [{port: 53, targetPort: dns, protocol: UDP}]}",
        "Headless None [\"53→dns/UDP\"] [] []",
    );
    check_service(
        "spec: {selector: {a: b}, clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1, 'fd00::1'], externalIPs: [192.0.2.1]}, status: {loadBalancer: {ingress: [{ip: 192.0.2.2, ipMode: Proxy}, {hostname: x.example}]}}",
        "Virtual Some({\"a\": \"b\"}) [] [10.0.0.1, fd00::1] [\"Some(192.0.2.1) None false\", \"Some(192.0.2.2) None true\", \"None Some(\\\"x.example\\\") false\"]",
    );
    check_service(
        "spec: {type: ExternalName, externalName: DB.example.org.}",
        "ExternalName(\"db.example.org\") None [] [] []",
    );
}

#[test]
fn endpoints_count_only_without_slices() {
    let endpoints = "{apiVersion: v1, kind: Endpoints, metadata: {name: s, namespace: ns}, subsets: [{addresses: [{ip: 10.0.0.1, targetRef: {kind: Pod, name: p}}], notReadyAddresses: [{ip: 10.0.0.2}], ports: [{port: 8080}]}]}\n---\n";
    let slice = "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: s-1, namespace: ns, labels: {kubernetes.io/service-name: s}}, ports: [{name: '', port: 1}], endpoints: [{addresses: [10.0.0.3]}]}\n---\n";
    let describe = |text: &str| {
        let (world, findings) = lower(text);
        assert_eq!(findings, []);
        world
            .endpoint_slices
            .iter()
            .map(|slice| {
                let endpoints: Vec<_> = slice
                    .endpoints
                    .iter()
                    .map(|e| format!("{:?} {} {:?}", e.addresses, e.ready, e.pod.as_ref().map(ToString::to_string)))
                    .collect();
                format!("{} {:?} {endpoints:?}", slice.service, slice.ports)
            })
            .collect::<Vec<_>>()
    };
    let from_slice = "ns/s [(None, Some(1), Tcp)] [\"[10.0.0.3] true None\"]";
    assert_eq!(
        describe(endpoints),
        ["ns/s [(None, Some(8080), Tcp)] [\"[10.0.0.1] true Some(\\\"ns/p\\\")\", \"[10.0.0.2] false None\"]"]
    );
    assert_eq!(describe(slice), [from_slice]);
    assert_eq!(describe(&[endpoints, slice].concat()), [from_slice]);
}

#[track_caller]
fn check_entrances(text: &str, expect: &[&str]) {
    let (world, findings) = lower(text);
    assert_eq!(findings, []);
    let got: Vec<_> = world
        .entrances
        .iter()
        .map(|e| {
            let backends: Vec<_> = e
                .backends
                .iter()
                .map(|b| format!("{}:{}", b.service, b.port.as_ref().map(ToString::to_string).unwrap_or_default()))
                .collect();
            format!("{:?} {} {:?} {backends:?} {:?} {}", e.kind, e.name, e.hosts, e.class, e.place)
        })
        .collect();
    assert_eq!(got, expect);
}

#[test]
fn entrances_keep_each_host_with_its_backends() {
    let ingress = "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: i, namespace: ns}
spec:
  rules:
  - host: A.example
    http: {paths: [{backend: {service: {name: s, port: {number: 80}}}}, {backend: {service: {name: t, port: {name: http}}}}]}
  - http:
  - host: b.example
";
    let class = "\n---\n{apiVersion: networking.k8s.io/v1, kind: IngressClass, metadata: {name: c, annotations: {ingressclass.kubernetes.io/is-default-class: 'true'}}, spec: {controller: x}}";
    check_entrances(
        ingress,
        &[
            "Ingress ns/i [\"a.example\"] [\"ns/s:80\", \"ns/t:http\"] None w.yaml:7:5",
            "Ingress ns/i [\"*\"] [] None w.yaml:9:5",
            "Ingress ns/i [\"b.example\"] [] None w.yaml:10:5",
        ],
    );
    let (world, _) = lower(&[ingress, class].concat());
    assert!(world.entrances.iter().all(|entrance| entrance.class.as_deref() == Some("c")));
    assert_eq!(world.ingress_classes["c"], "x");
    check_entrances(
        "
apiVersion: traefik.io/v1alpha1
kind: IngressRoute
metadata: {name: r, namespace: ns, annotations: {kubernetes.io/ingress.class: t}}
spec:
  routes:
  - match: Host(`a.example`) && PathPrefix(`/x`)
    services: [{name: s, port: 80}, {name: w, kind: TraefikService}]
",
        &["IngressRoute ns/r [\"a.example\"] [\"ns/s:80\"] Some(\"t\") w.yaml:7:5"],
    );
    check_entrances(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r, namespace: ns}
spec: {parentRefs: [{name: g, namespace: gw}], rules: [{backendRefs: [{name: s, port: 80}]}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: g, namespace: gw}
spec: {gatewayClassName: traefik, listeners: [{hostname: '*.example'}]}
",
        &["HttpRoute ns/r [\"*.example\"] [\"ns/s:80\"] Some(\"traefik\") w.yaml:2:1"],
    );
}

#[test]
fn hosts_of_traefik_rules() {
    #[track_caller]
    fn check(rule: &str, expect: &[&str]) {
        assert_eq!(entrance::rule_hosts(rule), expect, "{rule}");
    }
    check("Host(`a.b`)", &["a.b"]);
    check("Host(`a`, \"b\") || Host(`c`)", &["a", "b", "c"]);
    check("HostSNI(`*`)", &["*"]);
    check("PathPrefix(`/`)", &["*"]);
    check("!Host(`a`) && Host(`b`)", &["b"]);
    check("HostRegexp(`.+\\.a`)", &[]);
    check("Host(`a", &[]);
    check("", &["*"]);
}

#[track_caller]
fn check_node_local(text: &str, expect: &[&str]) {
    let got: Vec<_> = lower(text).0.node_local_dns.iter().map(ToString::to_string).collect();
    assert_eq!(got, expect, "{text}");
}

#[test]
fn node_local_dns_is_seen_with_its_addresses() {
    let daemon_set = |args: &str| {
        format!(
            "{{apiVersion: apps/v1, kind: DaemonSet, metadata: {{name: node-local-dns, namespace: kube-system}}, spec: {{template: {{metadata: {{labels: {{k8s-app: node-local-dns}}}}, spec: {{hostNetwork: true, containers: [{{args: {args}}}]}}}}}}}}"
        )
    };
    check_node_local(DEPLOYMENT, &[]);
    check_node_local(&daemon_set("['-localip', '169.254.25.10,10.43.0.10']"), &["10.43.0.10", "169.254.25.10"]);
    check_node_local(&daemon_set("['-localip=169.254.25.10']"), &["169.254.25.10"]);
    check_node_local(&daemon_set("['-localip', '__PILLAR__LOCAL__DNS__']"), &["169.254.20.10"]);
}
