use super::*;

const MAS: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: mas, namespace: ess}
spec:
  selector: {matchLabels: {app: mas}}
  template:
    metadata: {labels: {app: mas}}
    spec:
      containers:
      - image: ghcr.io/element-hq/matrix-authentication-service:1.23.0
        ports: [{name: http, containerPort: 8090}, {name: internal, containerPort: 8081}]
";
const SERVICE: &str = "
---
{apiVersion: v1, kind: Service, metadata: {name: mas, namespace: ess}, spec: {selector: {app: mas}, clusterIP: 10.43.0.9, ports: [PORTS]}}
";
const ROUTE: &str = "
---
{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: mas, namespace: ess}, spec: {rules: [{host: a.example.org, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: mas, port: {name: http}}}}]}}]}}
";
const HTTP: &str = "{name: http, port: 8080, targetPort: http}";
const INTERNAL: &str = "{name: internal, port: 8081, targetPort: internal}";

/// The ports of an edge to MAS whose port no source names.
#[track_caller]
fn listens(world: &str, expect: &[u16], findings: &[&str]) {
    let world = small_world(world);
    let edge = edge("x-to-mas", Party::World, Party::Subject, Port::Unknown { default: Some(8080) });
    let resolution = resolve(&intent(vec![edge]), Some(&world));
    assert_eq!(resolution.edges[0].to[0].ports, expect);
    let told: Vec<&str> = resolution.findings.iter().map(|finding| finding.message.as_str()).collect();
    assert_eq!(told, findings);
}

fn with(ports: &str, more: &str) -> String {
    format!("{MAS}{}{more}", SERVICE.replace("PORTS", ports))
}

#[test]
fn the_world_tells_where_mas_listens() {
    listens(&with(HTTP, ""), &[8090], &[]);
    listens(&with(&format!("{HTTP}, {INTERNAL}"), ROUTE), &[8090], &[]);
    let both = "no source says on which port MAS listens, and its pods are reached on 8081 and 8090";
    listens(&with(&format!("{HTTP}, {INTERNAL}"), ""), &[], &[both]);
    listens(MAS, &[], &[both]);
    listens(&MAS.replace("8090", "8080"), &[8080], &[]);
    listens(&with(&format!("{HTTP}, {INTERNAL}"), "").replace("8090", "8080"), &[8080], &[]);
    listens(&MAS.replace("ports:", "x: []\n        # ports:"), &[8080], &[]);
    // A Service whose port is 8080 says nothing of the pod's.
    listens(&with("{port: 8080, targetPort: 7000}", ""), &[7000], &[]);
}

const SYNAPSE: &str = "
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: NAME, namespace: ess}
spec:
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec: {containers: [{image: 'IMAGE:v1.159.0', ports: [{containerPort: 8008}]}]}
";
const MAIN: &str = "
---
{apiVersion: v1, kind: Service, metadata: {name: synapse, namespace: ess}, spec: {selector: {app: main}, clusterIP: 10.43.0.8, ports: [{port: 8008}]}}
";

/// Who opens `synapse-to-mas`, and what was added to its provenance.
#[track_caller]
fn opens(from: Party, workers: &[(&str, &str)], expect: &str, added: usize) {
    let main = ("main", "ghcr.io/element-hq/synapse");
    let synapse = std::iter::once(&main).chain(workers);
    let synapse: Vec<String> =
        synapse.map(|(name, image)| SYNAPSE.replace("NAME", name).replace("IMAGE", image)).collect();
    let world = small_world(&format!("{MAS}\n---{}{MAIN}", synapse.join("\n---")));
    let edge = edge("synapse-to-mas", from, Party::Subject, Port::Pod(PortRef::Number(8090)));
    let resolution = resolve(&intent(vec![edge]), Some(&world));
    let resolved = &resolution.edges[0];
    assert_eq!(describe(&resolved.from, Some(&world)), expect);
    assert_eq!(resolved.edge.provenance.len(), added);
}

#[test]
fn every_worker_of_synapse_asks_mas() {
    let image = "ghcr.io/element-hq/synapse";
    let synapse = || host("synapse.ess");
    opens(synapse(), &[], "ess {app=main} [main]", 0);
    opens(synapse(), &[("reader", image)], "ess {app=main} [main] | ess {app=reader} [reader]", 1);
    opens(
        service("ess", "synapse"),
        &[("a", image), ("b", image)],
        "ess {app=main} [main] | ess {app=a} [a] | ess {app=b} [b]",
        2,
    );
    // Another program, and another build of Synapse.
    opens(
        synapse(),
        &[("web", "ghcr.io/element-hq/element-web"), ("old", "docker.io/matrixdotorg/synapse")],
        "ess {app=main} [main]",
        0,
    );
    // Whoever selects pods means these.
    let labels = Labels::from([("app".to_owned(), "main".to_owned())]);
    let exact = Party::Selector { namespace: Some("ess".to_owned()), labels };
    opens(exact, &[("reader", image)], "ess {app=main} [main]", 0);
}
