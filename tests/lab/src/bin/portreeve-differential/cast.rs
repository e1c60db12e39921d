//! Who is there: pods that stay while their labels and the policies around them change.

use serde_json::{Value, json};

pub const NAMESPACES: [&str; 3] = ["portreeve-x", "portreeve-y", "portreeve-z"];
/// In each namespace; their ports are in [`containers`].
pub const NAMES: [&str; 3] = ["p", "q", "r"];
/// On its node's network, in the first namespace: selectors must not meet it.
pub const HOST: &str = "host";
/// Every place listens on these, over TCP and UDP.
pub const PORTS: [u16; 5] = [53, 80, 8080, 8081, 9090];
/// The port of each pod's Service → the pod's port.
pub const SERVICE_PORTS: [(u16, u16); 2] = [(1080, 80), (1090, 9090)];
/// The one label that no world changes: Services select by it.
pub const OWN: &str = "own";

/// The pods, with the node of each.
pub fn pods(nodes: &[String]) -> impl Iterator<Item = (&'static str, &'static str, &String)> {
    let own = NAMESPACES.iter().flat_map(|namespace| NAMES.iter().map(move |name| (*namespace, *name)));
    own.chain([(NAMESPACES[0], HOST)])
        .zip(nodes.iter().cycle())
        .map(|((namespace, name), node)| (namespace, name, node))
}

/// Names that mean other numbers on other pods, another protocol, two numbers at once, and a sidecar's port.
fn containers(name: &str) -> Value {
    let container = |name: &str, ports: Value| json!({"name": name, "image": "portreeve.test/pause:1", "imagePullPolicy": "Never", "ports": ports});
    match name {
        "p" => {
            json!({"containers": [container("main", json!([{"name": "http", "containerPort": 8080}, {"name": "dns", "containerPort": 53, "protocol": "UDP"}]))]})
        }
        "q" => {
            let mut sidecar = container("sidecar", json!([{"name": "metrics", "containerPort": 9090}]));
            sidecar["restartPolicy"] = json!("Always");
            let main =
                container("main", json!([{"name": "http", "containerPort": 80}, {"name": "dns", "containerPort": 53}]));
            json!({"initContainers": [sidecar], "containers": [main]})
        }
        "r" => json!({"containers": [
            container("one", json!([{"name": "http", "containerPort": 8081}])),
            container("two", json!([{"name": "http", "containerPort": 9090}, {"name": "metrics", "containerPort": 8081, "protocol": "UDP"}])),
        ]}),
        _ => json!({"hostNetwork": true, "containers": [container("main", json!([]))]}),
    }
}

pub fn pod(namespace: &str, name: &str, node: &str) -> Value {
    let mut spec = containers(name);
    spec["nodeName"] = json!(node);
    spec["terminationGracePeriodSeconds"] = json!(0);
    json!({"metadata": {"name": name, "namespace": namespace, "labels": {OWN: name}}, "spec": spec})
}

/// One pod's Service, in both families.
pub fn service(namespace: &str, name: &str) -> Value {
    let port = |(port, target): &(u16, u16), protocol: &str| json!({"name": format!("{protocol}-{port}").to_lowercase(), "port": port, "targetPort": target, "protocol": protocol});
    let ports: Vec<Value> =
        SERVICE_PORTS.iter().flat_map(|one| ["TCP", "UDP"].map(|protocol| port(one, protocol))).collect();
    json!({
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {OWN: name}, "ipFamilyPolicy": "RequireDualStack", "ports": ports},
    })
}
