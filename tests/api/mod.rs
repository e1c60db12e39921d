//! An API server for tests: lists of the objects of real fixtures, paged as the real one pages, over HTTP on loopback; and every way in which
//! one fails. It refuses everything but GET, and keeps a log of what it was asked.

#![allow(dead_code, reason = "each test uses its part")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use portreeve::source::{Node, Value, yaml};
use serde_json::{Value as Json, json};

/// The credential of the kubeconfig: it may be in no output.
pub(crate) const TOKEN: &str = "CANARY-token-of-the-test";
/// Who that is.
pub(crate) const USER: &str = "system:serviceaccount:matrix:reader";

/// What is wrong with an answer.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// 403, as RBAC says it.
    Forbidden,
    /// Any status, with a reason.
    Status(u16, &'static str),
    /// 410 for a page that is not the first, with or without a token to go on.
    Expired { go_on: bool },
    /// The connection ends in the middle of the answer.
    Cut,
    /// 200 and something else.
    Garbage(&'static str),
    /// 200, and a body that never ends.
    Endless,
    /// The right answer, late.
    Late(Duration),
}

/// Looks at a request and how often this very path was asked before.
type Judge = dyn Fn(&Request, usize) -> Option<Fault> + Send + Sync;

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Without the query.
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) authorized: bool,
}

impl Request {
    /// The resource of a list, and its namespace: `/apis/apps/v1/namespaces/x/deployments` is `("apps", "deployments", Some("x"))`.
    /// `None` for what describes the API, and for single objects.
    pub(crate) fn list(&self) -> Option<(String, String, Option<String>)> {
        let parts: Vec<&str> = self.path.trim_matches('/').split('/').collect();
        let (group, rest) = match parts.as_slice() {
            ["api", "v1", rest @ ..] => ("", rest),
            ["apis", group, _, rest @ ..] => (*group, rest),
            _ => return None,
        };
        match rest {
            ["namespaces", namespace, plural] => Some((group.into(), (*plural).into(), Some((*namespace).into()))),
            [plural] => Some((group.into(), (*plural).into(), None)),
            _ => None,
        }
    }

    /// Whether it asks for a page that is not the first.
    pub(crate) fn goes_on(&self) -> bool {
        self.query.contains("continue=")
    }
}

/// By group, version and plural.
type Lists = BTreeMap<(String, String, String), Vec<Json>>;

struct State {
    lists: Lists,
    judge: Box<Judge>,
    log: Mutex<Vec<Request>>,
    /// Objects of a page, whatever is asked for.
    page: usize,
    stopped: AtomicBool,
    open: AtomicUsize,
}

/// A running server; dropped, it ends.
pub(crate) struct Api {
    state: Arc<State>,
    pub(crate) address: SocketAddr,
    kubeconfig: tempfile::NamedTempFile,
    thread: Option<JoinHandle<()>>,
}

impl Api {
    /// Serves the objects of these folders and files.
    pub(crate) fn of(paths: &[&str]) -> Self {
        Self::with(objects(paths), 3, |_, _| None)
    }

    /// Serves these objects, a few a page, and fails as the judge says.
    pub(crate) fn with(
        objects: Vec<Json>,
        page: usize,
        judge: impl Fn(&Request, usize) -> Option<Fault> + Send + Sync + 'static,
    ) -> Self {
        Self::start(sorted(objects), page, judge)
    }

    /// Serves these resources, `(group, plural)`, all in version v1 and without any object but the namespace `matrix`.
    pub(crate) fn empty(
        resources: &[(String, String)],
        judge: impl Fn(&Request, usize) -> Option<Fault> + Send + Sync + 'static,
    ) -> Self {
        let lists =
            resources.iter().map(|(group, plural)| ((group.clone(), "v1".to_owned(), plural.clone()), Vec::new()));
        let mut lists: Lists = lists.collect();
        let namespaces = (String::new(), "v1".to_owned(), "namespaces".to_owned());
        lists
            .insert(namespaces, vec![json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "matrix"}})]);
        Self::start(lists, 1, judge)
    }

    fn start(
        lists: Lists,
        page: usize,
        judge: impl Fn(&Request, usize) -> Option<Fault> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            lists,
            judge: Box::new(judge),
            log: Mutex::default(),
            page,
            stopped: AtomicBool::new(false),
            open: AtomicUsize::new(0),
        });
        let served = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if served.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(stream), state) = (stream, Arc::clone(&served)) else { continue };
                std::thread::spawn(move || state.converse(stream));
            }
        });
        let mut kubeconfig = tempfile::NamedTempFile::new().unwrap();
        kubeconfig.write_all(kubeconfig_text(&format!("http://{address}")).as_bytes()).unwrap();
        Self { state, address, kubeconfig, thread: Some(thread) }
    }

    /// The path of a kubeconfig that leads here.
    pub(crate) fn kubeconfig(&self) -> &str {
        self.kubeconfig.path().to_str().unwrap()
    }

    /// Everything that was asked, in order.
    pub(crate) fn log(&self) -> Vec<Request> {
        self.state.log.lock().unwrap().clone()
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        // Wakes the listener up.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

pub(crate) fn kubeconfig_text(server: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: test\nclusters: [{{name: c, cluster: {{server: '{server}'}}}}]\n\
        contexts: [{{name: test, context: {{cluster: c, user: u}}}}]\nusers: [{{name: u, user: {{token: {TOKEN}}}}}]\n"
    )
}

/// The objects of folders and files, as JSON.
pub(crate) fn objects(paths: &[&str]) -> Vec<Json> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for path in paths {
        for file in portreeve::source::files::manifests(&root.join(path)).unwrap() {
            let text = std::fs::read_to_string(&file).unwrap();
            let (documents, error) = yaml::parse(&file.to_string_lossy().into(), &text);
            assert_eq!(error, None);
            found.extend(documents.iter().map(|document| json_of(&document.root)));
        }
    }
    found
}

fn json_of(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Bool(value) => json!(value),
        Value::Int(value) => json!(value),
        Value::Float(value) => json!(value),
        Value::Text(value) => json!(value),
        Value::Opaque(why) => panic!("the fixture holds {why}, which no cluster has"),
        Value::Seq(items) => items.iter().map(json_of).collect(),
        Value::Map(entries) => entries
            .iter()
            .map(|(key, node)| (key.text.to_string(), json_of(node)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
    }
}

/// Objects as an API server keeps them: by resource, by name, with what it adds.
fn sorted(objects: Vec<Json>) -> Lists {
    let mut lists: BTreeMap<_, BTreeMap<(String, String), Json>> = BTreeMap::new();
    for mut object in objects {
        let text = |path: &str| object.pointer(path).and_then(Json::as_str).unwrap_or_default().to_owned();
        let (api_version, kind) = (text("/apiVersion"), text("/kind"));
        let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
        let name = (text("/metadata/namespace"), text("/metadata/name"));
        object["metadata"]["managedFields"] = json!([{"manager": "CANARY-manager", "operation": "Update"}]);
        object["metadata"]["resourceVersion"] = json!("7");
        let applied = "kubectl.kubernetes.io/last-applied-configuration";
        object["metadata"]["annotations"][applied] = json!("{\"CANARY\": \"applied\"}");
        if group.is_empty() || !group.contains('.') || group.ends_with("k8s.io") && group != "gateway.networking.k8s.io"
        {
            // Items of typed lists do not say what they are.
            object.as_object_mut().unwrap().retain(|key, _| key != "kind" && key != "apiVersion");
        }
        let list = lists.entry((group.to_owned(), version.to_owned(), plural(&kind))).or_default();
        assert!(list.insert(name, object).is_none(), "an object stands twice in the fixture");
    }
    lists.into_iter().map(|(key, list)| (key, list.into_values().collect())).collect()
}

fn plural(kind: &str) -> String {
    let lower = kind.to_lowercase();
    match lower.as_str() {
        "trafficmatrix" => "trafficmatrices".to_owned(),
        word if word.ends_with("cy") => format!("{}ies", &word[..word.len() - 1]),
        word if word.ends_with('s') => format!("{word}es"),
        word => format!("{word}s"),
    }
}

impl State {
    fn converse(&self, mut stream: TcpStream) {
        let Some(request) = read_request(&stream) else { return };
        let asked = {
            let mut log = self.log.lock().unwrap();
            log.push(request.clone());
            log.iter().filter(|other| (&other.path, &other.query) == (&request.path, &request.query)).count() - 1
        };
        let fault = (self.judge)(&request, asked);
        if let Some(Fault::Late(time)) = fault {
            std::thread::sleep(time);
        }
        let (code, body) = match &fault {
            Some(Fault::Forbidden) => (403, forbidden(&request)),
            Some(Fault::Status(code, reason)) => (*code, status(*code, reason, "said so", &json!({}))),
            Some(Fault::Expired { go_on }) => {
                let token = if *go_on { token_of(&request) } else { String::new() };
                (410, status(410, "Expired", "The provided continue parameter is too old", &json!({"continue": token})))
            }
            Some(Fault::Garbage(text)) => (200, (*text).to_owned()),
            Some(Fault::Endless) => {
                let _ = stream.write_all(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{\"items\":[\"",
                );
                let spaces = vec![b' '; 1 << 16];
                loop {
                    if self.stopped.load(Ordering::SeqCst) || stream.write_all(&spaces).is_err() {
                        return;
                    }
                }
            }
            Some(Fault::Cut | Fault::Late(_)) | None => self.answer(&request),
        };
        let mut head = String::new();
        let _ = write!(
            head,
            "HTTP/1.1 {code} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        let sent = if matches!(fault, Some(Fault::Cut)) { &body.as_bytes()[..body.len() / 2] } else { body.as_bytes() };
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(sent));
    }

    fn answer(&self, request: &Request) -> (u16, String) {
        if request.method != "GET" {
            return (405, status(405, "MethodNotAllowed", "this server is only read", &json!({})));
        }
        if !request.authorized {
            return (401, status(401, "Unauthorized", "Unauthorized", &json!({})));
        }
        let parts: Vec<&str> = request.path.trim_matches('/').split('/').collect();
        match parts.as_slice() {
            ["apis"] => (200, self.groups().to_string()),
            ["apis", group, version] => self.resources(group, version),
            ["api", "v1", "namespaces", name] => self.object("", "v1", "namespaces", name),
            _ => self.list(request),
        }
    }

    fn groups(&self) -> Json {
        let versions: BTreeSet<(&str, &str)> =
            self.lists.keys().map(|(group, version, _)| (&**group, &**version)).collect();
        let mut groups: BTreeMap<&str, Vec<Json>> = BTreeMap::new();
        for (group, version) in versions.into_iter().filter(|(group, _)| !group.is_empty()) {
            let entry = json!({"groupVersion": format!("{group}/{version}"), "version": version});
            groups.entry(group).or_default().push(entry);
        }
        let groups: Vec<Json> =
            groups.into_iter().map(|(name, versions)| json!({"name": name, "versions": versions})).collect();
        json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
    }

    fn resources(&self, group: &str, version: &str) -> (u16, String) {
        let own = self.lists.iter().filter(|((g, v, _), _)| g == group && v == version);
        let own: Vec<Json> = own
            .map(|((.., plural), _)| json!({"name": plural, "singularName": "", "namespaced": true, "kind": "K", "verbs": ["list"]}))
            .collect();
        if own.is_empty() {
            return (404, "404 page not found\n".to_owned());
        }
        let list = json!({"kind": "APIResourceList", "groupVersion": format!("{group}/{version}"), "resources": own});
        (200, list.to_string())
    }

    fn object(&self, group: &str, version: &str, plural: &str, name: &str) -> (u16, String) {
        let list = self.lists.get(&(group.to_owned(), version.to_owned(), plural.to_owned()));
        let own = list.into_iter().flatten().find(|object| object["metadata"]["name"] == name);
        own.map_or_else(|| (404, status(404, "NotFound", "not found", &json!({}))), |object| (200, object.to_string()))
    }

    fn list(&self, request: &Request) -> (u16, String) {
        let Some((group, plural, namespace)) = request.list() else {
            return (404, "404 page not found\n".to_owned());
        };
        let version =
            request.path.trim_matches('/').split('/').nth(if group.is_empty() { 1 } else { 2 }).unwrap_or_default();
        let list = self.lists.get(&(group.clone(), version.to_owned(), plural));
        // The kinds of Kubernetes itself are always there.
        if list.is_none() && group.contains('.') && !["discovery.k8s.io", "networking.k8s.io"].contains(&group.as_str())
        {
            return (404, "404 page not found\n".to_owned());
        }
        let all: Vec<&Json> = list
            .into_iter()
            .flatten()
            .filter(|object| namespace.as_ref().is_none_or(|own| object["metadata"]["namespace"] == own.as_str()))
            .collect();
        let limit = query(request, "limit").and_then(|limit| limit.parse().ok()).unwrap_or(usize::MAX).min(self.page);
        let from = query(request, "continue").and_then(|token| token.strip_prefix("from=")?.parse().ok()).unwrap_or(0);
        let items: Vec<&Json> = all.iter().copied().skip(from).take(limit).collect();
        let left = all.len().saturating_sub(from + items.len());
        let mut metadata = json!({"resourceVersion": "7"});
        if left > 0 {
            metadata["continue"] = json!(format!("from={}", from + items.len()));
            metadata["remainingItemCount"] = json!(left);
        }
        (200, json!({"kind": "SomeList", "apiVersion": version, "metadata": metadata, "items": items}).to_string())
    }
}

fn status(code: u16, reason: &str, message: &str, metadata: &Json) -> String {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": metadata, "status": "Failure", "message": message, "reason": reason, "code": code})
        .to_string()
}

fn forbidden(request: &Request) -> String {
    let Some((group, plural, namespace)) = request.list() else {
        return status(403, "Forbidden", &format!("namespaces is forbidden: User \"{USER}\" cannot get"), &json!({}));
    };
    let scope =
        namespace.map_or_else(|| "at the cluster scope".to_owned(), |name| format!("in the namespace \"{name}\""));
    let message = format!(
        "{plural} is forbidden: User \"{USER}\" cannot list resource \"{plural}\" in API group \"{group}\" {scope}"
    );
    status(403, "Forbidden", &message, &json!({}))
}

/// The token with which the real server lets a list go on whose state it has forgotten.
fn token_of(request: &Request) -> String {
    query(request, "continue").unwrap_or_default()
}

fn query(request: &Request, key: &str) -> Option<String> {
    let value = request.query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))?;
    Some(value.replace("%3D", "=").replace("%3d", "="))
}

fn read_request(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let mut words = first.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut authorized = false;
    for line in lines.map_while(Result::ok) {
        if line.is_empty() {
            break;
        }
        authorized |= line.to_lowercase() == format!("authorization: bearer {}", TOKEN.to_lowercase());
    }
    Some(Request { method, path: path.to_owned(), query: query.to_owned(), authorized })
}
