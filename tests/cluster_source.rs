//! `--cluster`, driven as a user drives it, against an API server in this process: the same answers as from files, and every way in which a
//! cluster is only partly or not at all to be had.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what is wrong by panicking")]

mod api;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use api::{Api, Fault, Request, TOKEN, USER, kubeconfig_text, objects};

const CLUSTER: &str = "policies/cluster";
const POLICY: &str = "policies/matrix_portreeve-mas.yaml";
const MATRIX: &str = "policies/traffic-matrix.yaml";
/// The guide's cluster with portreeve's policy.
const WHOLE: [&str; 2] = [CLUSTER, POLICY];

/// What a run printed.
struct Ran {
    out: String,
    err: String,
}

/// Runs in the repository's root, expects an exit code, and that no secret was printed.
#[track_caller]
fn run(code: i32, args: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_portreeve"))
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        // Nothing of this machine's own way to a cluster; the proxy is for others.
        .env_clear()
        .env("HTTPS_PROXY", "http://127.0.0.1:9")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let ran = Ran { out: String::from_utf8(output.stdout).unwrap(), err: String::from_utf8(output.stderr).unwrap() };
    let Ran { out, err } = &ran;
    assert_eq!(output.status.code(), Some(code), "{args:?}\n--- stdout\n{out}\n--- stderr\n{err}");
    assert!(!out.contains("CANARY") && !err.contains("CANARY"), "a secret is printed\n{out}\n{err}");
    ran
}

impl Api {
    /// Runs a command on this cluster.
    #[track_caller]
    fn run(&self, code: i32, args: &[&str]) -> Ran {
        run(code, &[args, &["--cluster", "--kubeconfig", self.kubeconfig()]].concat())
    }

    #[track_caller]
    fn json(&self, code: i32, args: &[&str]) -> Value {
        serde_json::from_str(&self.run(code, &[args, &["-o", "json"]].concat()).out).unwrap()
    }
}

#[track_caller]
fn from_files(code: i32, paths: &[&str], args: &[&str]) -> Value {
    let manifests = paths.iter().flat_map(|path| ["--manifests", *path]);
    let args: Vec<&str> = args.iter().copied().chain(manifests).chain(["-o", "json"]).collect();
    serde_json::from_str(&run(code, &args).out).unwrap()
}

/// The same answer whether its places are in files or in a cluster: places in texts become `@`, and lists are sorted.
fn placeless(value: &mut Value) {
    match value {
        Value::String(text) => *text = without_places(text),
        Value::Array(items) => {
            items.iter_mut().for_each(placeless);
            if items.iter().all(Value::is_object) {
                items.sort_by_key(ToString::to_string);
            }
        }
        Value::Object(entries) => {
            entries.shift_remove("files");
            entries.shift_remove("cluster");
            entries.values_mut().for_each(placeless);
        }
        _ => {}
    }
}

/// Words that are a place, with the brackets that stand around them in sentences.
fn without_places(text: &str) -> String {
    let place = |word: &str| {
        let bare = word.trim_matches(['(', ')', ',', ';', ':', '`']);
        bare.starts_with("cluster:")
            || bare.split(':').next().is_some_and(|file| {
                Path::new(file).extension().is_some_and(|extension| extension == "yaml") && file.contains('/')
            })
    };
    text.split(' ').map(|word| if place(word) { "@" } else { word }).collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn check_same(api: &Api, code: i32, paths: &[&str], args: &[&str]) {
    let (mut live, mut files) = (api.json(code, args), from_files(code, paths, args));
    placeless(&mut live);
    placeless(&mut files);
    assert_eq!(live, files, "{args:?}");
    // Neither is empty, and nothing was left out.
    assert!(live.to_string().len() > 100, "{live}");
    let log = api.log();
    assert!(log.iter().all(|request| request.method == "GET" && request.authorized), "{log:#?}");
    assert!(!log.iter().any(|request| request.path.contains("secret")), "{log:#?}");
}

#[test]
fn every_command_answers_as_from_files() {
    let api = Api::of(&WHOLE);
    check_same(&api, 1, &WHOLE, &["audit", "--guide", "policies/guide-values.yaml"]);
    check_same(&api, 0, &WHOLE, &["audit", "--matrix", MATRIX]);
    check_same(&api, 0, &WHOLE, &["matrix", "--matrix", MATRIX]);
    check_same(&api, 0, &WHOLE, &["render", "--counterparts", "--matrix", MATRIX]);
    check_same(&api, 0, &WHOLE, &["explain", "mas-to-postgres", "--matrix", MATRIX]);
    check_same(&api, 0, &WHOLE, &["explain", "mail/deploy/exim-relay", "subject", "8080"]);
    let assertions = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(
        assertions.path(),
        "- {from: subject, to: postgres/svc/matrix-db-rw, port: 5432, expect: allow}\n\
        - {from: any-pod, to: postgres/svc/matrix-db-rw, port: 5432, expect: deny}\n",
    )
    .unwrap();
    check_same(&api, 1, &WHOLE, &["verify", assertions.path().to_str().unwrap()]);
    assert!(api.log().iter().any(Request::goes_on), "no list was longer than a page");
}

/// The world of the resolver's tests has other kinds: EndpointSlices, an IngressRoute, nodes with several addresses.
#[test]
fn the_guides_other_world_too() {
    let paths = ["tests/fixtures/guide-world"];
    let api = Api::of(&paths);
    check_same(&api, 1, &paths, &["audit", "--guide", "policies/guide-values.yaml"]);
}

#[test]
fn the_doctor_reads_everything_but_secrets() {
    let paths = [CLUSTER, POLICY, "tests/fixtures/doctor-sound"];
    let api = Api::of(&paths);
    let items = api.json(0, &["doctor", "--matrix", MATRIX, "--allow-unknown"]);
    let item = |id: &str| {
        let all = items["items"].as_array().unwrap();
        all.iter().find(|item| item["id"] == id).unwrap_or_else(|| panic!("{id}: {items:#}")).clone()
    };
    assert_eq!(item("authelia-client")["outcome"], "pass", "{items:#}");
    // A wrong answer would be `fail`: it is not there, as far as can be seen.
    let shared = item("synapse-shared-secret");
    assert_eq!(shared["outcome"], "unknown", "{shared:#}");
    let evidence = shared["evidence"].as_str().unwrap();
    assert!(evidence.contains("portreeve does not read the Secrets of a cluster"), "{shared:#}");
    assert!(shared["todo"].as_str().unwrap().contains("--manifests in place of --cluster"), "{shared:#}");
    assert!(!items.to_string().contains("among the files"), "{items:#}");
    assert!(!api.log().iter().any(|request| request.path.contains("secret")));
    assert!(api.log().iter().any(|request| request.path.ends_with("/configmaps")));
}

/// A live object's place is its name and the path in it; machines that want files get none.
#[test]
fn places_are_objects_and_paths() {
    let mut all = objects(&WHOLE);
    let policy = all.iter_mut().find(|object| object["metadata"]["name"] == "portreeve-mas").unwrap();
    let egress = policy["spec"]["egress"].as_array_mut().unwrap();
    egress.retain(|rule| !rule.to_string().contains("5432"));
    let api = Api::with(all, 500, |_, _| None);
    let report = api.json(1, &["audit", "--matrix", MATRIX]);
    let finding = report["findings"].as_array().unwrap().iter().find(|finding| finding["edge"] == "mas-to-postgres");
    let place = finding.unwrap_or_else(|| panic!("{report:#}"))["place"].as_str().unwrap();
    assert!(place.starts_with("cluster:NetworkPolicy/matrix/portreeve-mas"), "{place}");
    assert!(report.to_string().contains("cluster:NetworkPolicy/matrix/portreeve-mas:spec.egress["), "{report:#}");
    let sarif: Value = serde_json::from_str(&api.run(1, &["audit", "--matrix", MATRIX, "-o", "sarif"]).out).unwrap();
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    let live =
        results.iter().map(|result| &result["locations"][0]).find(|location| location["logicalLocations"].is_array());
    assert_eq!(live.unwrap()["physicalLocation"], Value::Null);
    let github = api.run(1, &["audit", "--matrix", MATRIX, "-o", "github"]).out;
    assert!(!github.contains("file=cluster"), "{github}");
}

/// Pods stand beside their workloads in a cluster; each counts once, and is found by its workload's name.
#[test]
fn a_workload_is_its_pods_and_no_more() {
    let owner = |kind: &str, name: &str| json!([{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": "u", "controller": true}]);
    let template = json!({"metadata": {"labels": {"app": "mas"}}, "spec": {"containers": [
        {"name": "mas", "image": "example.org/matrix-authentication-service:1", "ports": [{"containerPort": 8080}]}]}});
    let workload = |kind: &str, name: &str, more: Value| {
        let mut object = json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": "matrix"},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "mas"}}, "template": template}});
        object["metadata"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        object
    };
    let mut ended = workload("Job", "migrate", json!({}));
    ended["apiVersion"] = json!("batch/v1");
    ended["status"] = json!({"conditions": [{"type": "Complete", "status": "True"}]});
    let pod = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "mas-5d9f-x", "namespace": "matrix", "labels": {"app": "mas", "pod-template-hash": "5d9f"}, "ownerReferences": owner("ReplicaSet", "mas-5d9f")},
        "spec": template["spec"], "status": {"phase": "Running", "podIP": "10.0.0.7"}});
    let api = Api::with(
        vec![
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "matrix"}}),
            workload("Deployment", "mas", json!({})),
            workload("ReplicaSet", "mas-5d9f", json!({"ownerReferences": owner("Deployment", "mas")})),
            workload("ReplicaSet", "mas-old", json!({"ownerReferences": owner("Deployment", "mas")})),
            ended,
            pod,
        ],
        2,
        |_, _| None,
    );
    let answer = api.json(0, &["explain", "matrix/deploy/mas", "192.0.2.1", "443"]);
    let pairs = json!([{"from": "matrix/mas-5d9f-x", "to": "192.0.2.1/32", "podPort": 443}]);
    assert_eq!(answer["answers"][0]["pairs"], pairs, "{answer:#}");
    assert_eq!(answer["coverage"]["pods"], 1, "{answer:#}");
}

/// The one TrafficMatrix of the cluster says what should be where nothing else does.
#[test]
fn a_traffic_matrix_in_the_cluster_is_the_intent() {
    let api = Api::of(&[CLUSTER, POLICY, MATRIX]);
    let text = api.run(0, &["audit"]).out;
    assert!(text.contains("mas-to-postgres") && text.contains("nothing wrong"), "{text}");
    assert_eq!(api.run(0, &["explain", "mas-to-postgres"]).out.split(' ').next(), Some("allowed"));
    let none = Api::of(&WHOLE);
    let err = none.run(2, &["audit"]).err;
    assert!(err.contains("nothing says what should be") && err.contains("no TrafficMatrix"), "{err}");
    let mut two = objects(&[CLUSTER, MATRIX, MATRIX]);
    two.last_mut().unwrap()["metadata"]["name"] = json!("other");
    let two = Api::with(two, 500, |_, _| None);
    let err = two.run(2, &["audit"]).err;
    assert!(
        err.contains("several TrafficMatrix objects") && err.contains("cluster:TrafficMatrix/matrix/other"),
        "{err}"
    );
}

#[test]
fn diff_takes_the_cluster_as_a_side() {
    let api = Api::of(&WHOLE);
    let diff = |code: i32, args: &[&str]| {
        let args = [&["diff"], args, &["--kubeconfig", api.kubeconfig(), "-o", "json"]].concat();
        serde_json::from_str::<Value>(&run(code, &args).out).unwrap()
    };
    // Git has the same policies, with its own pods.
    let folder = tempfile::tempdir().unwrap();
    for (index, object) in objects(&WHOLE).iter().filter(|object| object["kind"] == "NetworkPolicy").enumerate() {
        std::fs::write(folder.path().join(format!("{index}.json")), object.to_string()).unwrap();
    }
    let git = folder.path().to_str().unwrap();
    assert_eq!(diff(0, &[git, "cluster"])["differs"], false);
    // Without MAS's own policy in Git the cluster has more.
    let mut without = objects(&[CLUSTER]);
    without.retain(|object| object["kind"] == "NetworkPolicy");
    let file = folder.path().join("without.yaml");
    let list = json!({"apiVersion": "v1", "kind": "List", "items": without});
    std::fs::write(&file, list.to_string()).unwrap();
    let found = diff(1, &[file.to_str().unwrap(), "cluster"]);
    assert_eq!(found["opens"], 7, "{found:#}");
    assert_eq!(found["policies"][0]["name"], "matrix/portreeve-mas", "{found:#}");
    assert!(found["notes"][0].as_str().unwrap().starts_with("A has policies only"), "{found:#}");
    assert_eq!(diff(1, &["cluster", file.to_str().unwrap()])["closes"], 7);
    // On top of the cluster nothing is missing.
    assert_eq!(diff(0, &["cluster", file.to_str().unwrap(), "--cluster"])["differs"], false);
    let err = run(2, &["diff", "cluster", "cluster"]).err;
    assert!(err.contains("the same cluster"), "{err}");
}

/// 410 in the middle of a list: it goes on, with the token that comes with it or from the start, and no object counts twice.
#[test]
fn a_list_that_outlives_its_state_goes_on() {
    for go_on in [true, false] {
        let api = Api::with(objects(&WHOLE), 2, move |request, asked| {
            (request.goes_on() && asked == 0).then_some(Fault::Expired { go_on })
        });
        check_same(&api, 0, &WHOLE, &["audit", "--matrix", MATRIX]);
    }
    let api = Api::with(objects(&WHOLE), 2, |request, _| {
        (request.goes_on() && request.path.ends_with("/pods")).then_some(Fault::Expired { go_on: false })
    });
    let report = api.json(1, &["audit", "--matrix", MATRIX]);
    assert!(report.to_string().contains("it forgets the list faster than it answers"), "{report:#}");
}

#[test]
fn a_connection_that_breaks_is_tried_again() {
    let api = Api::with(objects(&WHOLE), 3, |request, asked| {
        (request.path.ends_with("/networkpolicies") && asked == 0).then_some(Fault::Cut)
    });
    check_same(&api, 0, &WHOLE, &["audit", "--matrix", MATRIX]);
}

#[test]
fn what_is_slow_is_waited_for_and_told() {
    let api = Api::with(objects(&WHOLE), 500, |request, _| {
        request.path.ends_with("/pods").then_some(Fault::Late(Duration::from_secs(3)))
    });
    let ran = api.run(0, &["audit", "--matrix", MATRIX]);
    assert!(ran.err.contains("portreeve: reading the cluster: pods"), "{}", ran.err);
    let quick = Api::of(&WHOLE).run(0, &["matrix", "--matrix", MATRIX]);
    assert!(!quick.err.contains("pods, "), "{}", quick.err);
}

/// What may not be listed is named by verb, resource, scope and user, and what it could change is unknown; nothing else is.
#[test]
fn what_may_not_be_seen_is_named_and_unknown() {
    let api = Api::with(objects(&WHOLE), 500, |request, _| {
        (request.list()? == (String::new(), "pods".to_owned(), None)).then_some(Fault::Forbidden)
    });
    let report = api.json(1, &["audit", "--matrix", MATRIX]);
    let hidden = hidden(&report);
    assert_eq!(hidden, [format!("pods cannot be listed: {USER} may not")], "{report:#}");
    let gap = report["findings"].as_array().unwrap().iter().find(|finding| finding["name"] == "NotCovered").unwrap();
    assert_eq!(
        (gap["object"].as_str(), gap["message"].as_str()),
        (Some("pods"), Some(&*format!("cannot be listed: {USER} may not")))
    );
    assert!(gap["fix"].as_str().unwrap().starts_with(&format!("grant `list` on them to {USER}")), "{gap:#}");

    let policies = |request: &Request, _| (request.list()?.1 == "networkpolicies").then_some(Fault::Forbidden);
    let api = Api::with(objects(&WHOLE), 500, policies);
    let report = api.json(1, &["audit", "--matrix", MATRIX]);
    for edge in report["edges"].as_array().unwrap() {
        assert_eq!(edge["declared"], "unknown", "{edge:#}");
        let because = edge["because"].as_str().unwrap();
        assert!(
            because.contains("networkpolicies (cluster) cannot be seen") || because.contains("no source"),
            "{edge:#}"
        );
    }
    assert!(!report.to_string().contains("WiderThanIntended"), "{report:#}");
    let answer = api.run(0, &["explain", "subject", "postgres/svc/matrix-db-rw", "5432"]).out;
    assert!(answer.contains("no known policy isolates it"), "{answer}");
    // Somebody else's policy may stand under the name.
    assert_eq!(api.run(1, &["plan", "--matrix", MATRIX, "-o", "yaml"]).out, "");
    // Where an unknown answer is allowed, the gap still is a finding.
    api.run(1, &["audit", "--matrix", MATRIX, "--allow-unknown"]);
    assert!(api.run(1, &["explain", "mas-to-postgres", "--matrix", MATRIX]).out.starts_with("unknown"));
}

/// What is asked for the sake of one command is no fault of a connection.
#[test]
fn configs_may_be_left_out() {
    let api = Api::with(objects(&WHOLE), 500, |request, _| {
        ["configmaps", "trafficmatrices"].contains(&request.list()?.1.as_str()).then_some(Fault::Forbidden)
    });
    let report = api.json(0, &["audit", "--matrix", MATRIX]);
    assert_eq!(hidden(&report), [format!("configmaps cannot be listed: {USER} may not")], "{report:#}");
    assert!(report["findings"].as_array().unwrap().is_empty(), "{report:#}");
}

/// What an audit says was not covered, without the place.
fn hidden(report: &Value) -> Vec<String> {
    let lines = report["coverage"]["notCovered"].as_array().unwrap().iter().map(|line| line.as_str().unwrap());
    lines.map(|line| line.strip_prefix("cluster: ").unwrap_or(line).to_owned()).collect()
}

/// A Role in one namespace and nothing else: that namespace is judged, peers elsewhere are unknown and named.
#[test]
fn one_namespace_is_enough() {
    let mut all = objects(&WHOLE);
    all.push(json!({"apiVersion": "traefik.io/v1alpha1", "kind": "IngressRoute", "metadata": {"name": "r", "namespace": "traefik"}}));
    let api = Api::with(all, 500, |request, _| {
        let elsewhere = match request.list() {
            Some((_, _, namespace)) => namespace.as_deref() != Some("matrix"),
            None => request.path.strip_prefix("/api/v1/namespaces/").is_some_and(|name| name != "matrix"),
        };
        elsewhere.then_some(Fault::Forbidden)
    });
    let report = api.json(1, &["audit", "--matrix", MATRIX, "--namespace", "matrix"]);
    let edge =
        |name: &str| report["edges"].as_array().unwrap().iter().find(|edge| edge["name"] == name).unwrap().clone();
    assert_eq!(edge("synapse-to-mas")["declared"], "allowed", "{report:#}");
    assert_eq!(edge("mas-to-synapse")["declared"], "allowed", "{report:#}");
    for name in ["mas-to-postgres", "traefik-to-mas", "mas-to-dns-udp", "stranger-to-mas"] {
        assert_eq!(edge(name)["declared"], "unknown", "{report:#}");
    }
    let postgres =
        report["findings"].as_array().unwrap().iter().find(|finding| finding["edge"] == "mas-to-postgres").unwrap();
    let message = postgres["message"].as_str().unwrap();
    assert!(
        message.contains("postgres/matrix-db-rw") && message.contains("outside of matrix was not asked for"),
        "{message}"
    );
    assert!(postgres["fix"].as_str().unwrap().contains("--namespace"), "{postgres:#}");
    // Nothing false is said of what cannot be seen.
    for code in ["ReferenceBroken", "SelectorMatchesNothing", "PolicyBlocks", "NotCovered"] {
        let found = report["findings"].as_array().unwrap().iter().find(|finding| finding["name"] == code);
        assert!(found.is_none(), "{found:#?}");
    }
    assert!(
        hidden(&report).iter().any(|line| line.starts_with("nodes, ingressclasses cannot be listed")),
        "{report:#}"
    );
    let asked = api.log();
    assert!(asked.iter().any(|request| request.path == "/apis/networking.k8s.io/v1/namespaces/matrix/networkpolicies"));

    // Another namespace that may not be read is a finding.
    let report = api.json(1, &["audit", "--matrix", MATRIX, "--namespace", "matrix", "--namespace", "postgres"]);
    let of_postgres = hidden(&report).into_iter().find(|line| line.contains("in namespace postgres")).unwrap();
    assert!(
        of_postgres.starts_with("pods, deployments, ") && of_postgres.ends_with(&format!("{USER} may not")),
        "{of_postgres}"
    );
    assert!(
        of_postgres.contains("networkpolicies, configmaps in namespace postgres cannot be listed"),
        "{of_postgres}"
    );

    let err = api.run(2, &["audit", "--matrix", MATRIX, "--namespace", "matrxi"]).err;
    assert!(err.contains("nothing of the cluster"), "{err}");
    let err = Api::of(&WHOLE).run(2, &["audit", "--matrix", MATRIX, "--namespace", "matrxi"]).err;
    assert!(err.contains("there is no namespace `matrxi`") && err.contains("did you mean `matrix`?"), "{err}");

    // Without --namespace there is nothing at all.
    let err = api.run(2, &["audit", "--matrix", MATRIX]).err;
    assert!(err.contains("nothing of the cluster") && err.contains("--namespace") && err.contains(USER), "{err}");
}

/// A CRD that is served and may not be listed could overrule everything; one that is not served does not exist.
#[test]
fn policies_of_other_kinds_are_asked_for_where_they_are_served() {
    let mut all = objects(&WHOLE);
    all.push(json!({"apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy", "metadata": {"name": "c", "namespace": "postgres"}, "spec": {}}));
    let api = Api::with(all.clone(), 500, |_, _| None);
    let report = api.json(1, &["audit", "--matrix", MATRIX]);
    assert!(report.to_string().contains("CiliumNetworkPolicy/postgres/c"), "{report:#}");
    let clusterwide =
        |request: &Request| request.path.contains("ciliumclusterwide") || request.path.contains("projectcalico");
    assert!(!api.log().iter().any(clusterwide), "what is not served was asked for");
    let api = Api::with(all.clone(), 500, |request, _| {
        request.path.ends_with("/ciliumnetworkpolicies").then_some(Fault::Forbidden)
    });
    let report = api.json(1, &["audit", "--matrix", MATRIX]);
    assert!(report["edges"].as_array().unwrap().iter().all(|edge| edge["declared"] == "unknown"), "{report:#}");
    // An API that is registered and down.
    let api = Api::with(all, 500, |request, _| {
        request.path.starts_with("/apis/cilium.io").then_some(Fault::Status(500, "InternalError"))
    });
    let report = api.json(1, &["audit", "--matrix", MATRIX]);
    let expect = "ciliumnetworkpolicies.cilium.io, ciliumclusterwidenetworkpolicies.cilium.io cannot be listed: the API server answers 500 InternalError";
    assert!(hidden(&report).contains(&expect.to_owned()), "{report:#}");
}

#[test]
fn a_cluster_that_cannot_be_read_is_an_error_in_one_line() {
    #[track_caller]
    fn check(fault: Fault, at: &'static str, expect: &[&str]) {
        let api = Api::with(objects(&WHOLE), 500, move |request, _| request.path.ends_with(at).then(|| fault.clone()));
        let Ran { out, err } = api.run(2, &["audit", "--matrix", MATRIX]);
        let told = err.lines().filter(|line| !line.contains("reading the cluster")).count();
        assert_eq!((out.as_str(), told), ("", 1), "{err}");
        assert!(expect.iter().all(|part| err.contains(part)), "{err}");
    }
    check(Fault::Status(401, "Unauthorized"), "/apis", &["does not accept these credentials (401)", "--context"]);
    check(Fault::Garbage("<html>CANARY</html>"), "/apis", &["/apis", "is this the API server's address?"]);
    check(Fault::Garbage("{\"items\": [{\"a\": \"CANARY"), "/pods", &["/api/v1/pods", "it ends in the middle"]);
    check(Fault::Garbage("[\"CANARY\"]"), "/pods", &["it is no list of objects"]);
    check(Fault::Endless, "/configmaps", &["/api/v1/configmaps", "larger than 256 MiB"]);
    check(Fault::Cut, "/pods", &["cannot reach the API server http://127.0.0.1:"]);

    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let file = kubeconfig(&kubeconfig_text(&format!("http://{gone}")));
    let err = run(2, &["audit", "--matrix", MATRIX, "--cluster", "--kubeconfig", file.path().to_str().unwrap()]).err;
    assert!(err.contains(&format!("cannot reach the API server http://{gone}")) && err.contains("refused"), "{err}");
}

fn kubeconfig(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

/// The parser's own errors quote the lines around, and a plug-in's error holds what it printed: neither may come out.
#[test]
fn a_kubeconfig_that_cannot_be_used_is_told_without_its_secrets() {
    #[track_caller]
    fn check(text: &str, more: &[&str], expect: &str) {
        let file = kubeconfig(text);
        let args = ["audit", "--matrix", MATRIX, "--cluster", "--kubeconfig", file.path().to_str().unwrap()];
        let err = run(2, &[&args[..], more].concat()).err;
        assert!(err.contains(expect), "{err}");
    }
    let sound = kubeconfig_text("http://127.0.0.1:1");
    check(&sound.replace("name: u, user:", "name: u, user"), &[], "the kubeconfig is no kubeconfig");
    check(&sound, &["--context", "tset"], "has no context `tset`: did you mean `test`?");
    check(&sound.replace("'http://127.0.0.1:1'", "'::'"), &[], "no `server` that is a URL");
    check(&sound.replace("current-context: test\n", ""), &[], "names no current context");
    let exec = |script: &str| {
        let plugin = format!(
            "{{exec: {{apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: /bin/sh, args: [-c, '{script}']}}}}"
        );
        sound.replace(&format!("{{token: {TOKEN}}}"), &plugin)
    };
    check(&exec("echo CANARY-on-stdout; exit 3"), &[], "the login plug-in of this kubeconfig failed (exit status: 3)");
    check(&exec("echo \"CANARY: [\""), &[], "printed something that is no credential");
    check(
        &sound.replace("127.0.0.1:1'", "user:CANARY@127.0.0.1:1'"),
        &[],
        "cannot reach the API server http://127.0.0.1:1:",
    );
    let err = run(2, &["audit", "--matrix", MATRIX, "--cluster", "--kubeconfig", "not/there"]).err;
    assert!(err.contains("the kubeconfig not/there cannot be read"), "{err}");
    let err = run(2, &["audit", "--matrix", MATRIX, "--cluster"]).err;
    assert!(err.contains("no cluster is named"), "{err}");
}

#[test]
fn wrong_usage_is_told() {
    let err = run(2, &["audit", "--matrix", MATRIX, "--cluster", "--manifests", CLUSTER]).err;
    assert!(err.contains("cannot be used with"), "{err}");
    let err = run(2, &["audit", "--matrix", MATRIX, "--manifests", CLUSTER, "--context", "x"]).err;
    assert!(err.contains("go with --cluster"), "{err}");
    let err = run(2, &["audit", "--matrix", MATRIX, "--cluster", "--namespace", "../pods"]).err;
    assert!(err.contains("no namespace's name"), "{err}");
}

/// The roles that the docs hand out grant what is asked for, nothing less and nothing more.
#[test]
fn the_documented_roles_are_exactly_what_is_asked_for() {
    let cluster = granted("deploy/reader-cluster.yaml");
    assert!(cluster.iter().all(|(.., verb)| verb == "list"), "{cluster:?}");
    check_role(&cluster, &[]);
    // A Role cannot grant what is in no namespace; all else is the same.
    let of_cluster = |plural: &str| {
        ["namespaces", "nodes", "ingressclasses", "gatewayclasses"].contains(&plural)
            || plural.starts_with("cluster") && plural.ends_with("policies")
            || [
                "adminnetworkpolicies",
                "baselineadminnetworkpolicies",
                "ciliumclusterwidenetworkpolicies",
                "globalnetworkpolicies",
            ]
            .contains(&plural)
    };
    let mut expect: Vec<_> = cluster.into_iter().filter(|(_, plural, _)| !of_cluster(plural)).collect();
    expect.push((String::new(), "namespaces".to_owned(), "get".to_owned()));
    let mut namespace = granted("deploy/reader-namespace.yaml");
    expect.sort();
    namespace.sort();
    assert_eq!(namespace, expect);
    check_role(&namespace, &["--namespace", "matrix"]);
}

/// `(group, plural, verb)` of a role.
fn granted(path: &str) -> Vec<(String, String, String)> {
    let texts = |rule: &Value, key: &str| -> Vec<String> {
        rule[key].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let role = objects(&[path]).remove(0);
    let mut granted = Vec::new();
    for rule in role["rules"].as_array().unwrap() {
        for group in texts(rule, "apiGroups") {
            for plural in texts(rule, "resources") {
                granted.extend(texts(rule, "verbs").into_iter().map(|verb| (group.clone(), plural.clone(), verb)));
            }
        }
    }
    granted
}

/// Where everything is served and only this is granted nothing is missed, and all of it is asked for.
#[track_caller]
fn check_role(role: &[(String, String, String)], more: &[&str]) {
    let mut asked = std::collections::BTreeSet::new();
    for calico in ["crd.projectcalico.org", "projectcalico.org"] {
        // Only one of the two is asked.
        let served = role.iter().filter(|(group, ..)| !group.ends_with("projectcalico.org") || group == calico);
        let served: Vec<(String, String)> = served.map(|(group, plural, _)| (group.clone(), plural.clone())).collect();
        let lists: Vec<(String, String)> = role
            .iter()
            .filter(|(.., verb)| verb == "list")
            .map(|(group, plural, _)| (group.clone(), plural.clone()))
            .collect();
        let namespaced = !more.is_empty();
        let api = Api::empty(&served, move |request, _| {
            let (group, plural, namespace) = request.list()?;
            let allowed = lists.contains(&(group, plural)) && (!namespaced || namespace.is_some());
            (!allowed).then_some(Fault::Forbidden)
        });
        let ran = api.run(0, &[&["doctor", "--allow-unknown", "--phase", "testing", "-o", "json"], more].concat());
        assert!(ran.out.contains("summary"), "{}", ran.out);
        let out = api.run(0, &[&["explain", "192.0.2.1", "192.0.2.2", "1"], more].concat()).out;
        let refused: Vec<&str> = out.lines().filter(|line| line.contains("cannot be listed")).collect();
        let of_cluster = |line: &&&str| line.contains("in namespace") || more.is_empty();
        assert!(!refused.iter().any(|line| of_cluster(&line)), "{refused:#?}");
        asked.extend(api.log().iter().filter_map(Request::list).map(|(group, plural, _)| (group, plural)));
    }
    for (group, plural, _) in role.iter().filter(|(.., verb)| verb == "list") {
        assert!(asked.contains(&(group.clone(), plural.clone())), "{plural}.{group} is granted and never asked for");
    }
}
