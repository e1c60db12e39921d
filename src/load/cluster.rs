//! `--cluster`: a live cluster → API objects, by `list` alone.
//!
//! ```text
//! access.rs (kubeconfig) ──► api.rs (GET, pages) ──► plan.rs (which kinds are served) ──► every list ──► Builder
//! ```
//!
//! Nothing is written and no Secret is read. What may not be listed is no failure: it becomes a gap with its reason, and the verdicts that it
//! can change are unknown. The objects are the same as in files, with `cluster:Kind/namespace/name` in the place of a file.

mod access;
mod api;
mod error;
mod kinds;
mod plan;
mod progress;
mod proxy;

use std::collections::BTreeSet;
use std::sync::Arc;

pub use self::access::Access;
use self::api::{Answer, Api};
pub use self::error::ClusterError;
use self::kinds::Kind;
use self::plan::Resource;
use self::progress::Progress;
use super::{Builder, Loaded, Need};
use crate::source::de::closest;
use crate::source::{Document, Key, Node, Place, Position, Value};
use crate::world::{NotCovered, Object, Scope, Uncovered, objects};

/// Lists everything that a command needs. Blocks; not to be called from async code.
///
/// # Errors
/// No kubeconfig that can be used, an API server that cannot be reached or refuses the credentials, or nothing at all that may be listed.
pub fn read(
    access: &Access,
    needs: &[Need],
    builder: &mut Builder,
    each: &mut dyn FnMut(&Object),
) -> Result<(), ClusterError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ClusterError::Start)?;
    let progress = Progress::default();
    runtime.block_on(progress.accompany(async {
        let (client, server) = access::client(access).await?;
        progress.begin("which kinds there are".to_owned());
        let reading = Reading {
            access,
            api: &Api::new(client, server, &progress),
            builder,
            each,
            loaded: Loaded::default(),
            namespaces: BTreeSet::new(),
            judged: false,
            hidden: None,
        };
        reading.run(needs).await
    }))
}

/// One reading on its way.
struct Reading<'r> {
    access: &'r Access,
    api: &'r Api<'r>,
    builder: &'r mut Builder,
    each: &'r mut dyn FnMut(&Object),
    loaded: Loaded,
    /// Those that were seen.
    namespaces: BTreeSet<String>,
    /// Pods or policies were listed somewhere: there is something to judge by.
    judged: bool,
    /// The first gap among the pods: what the user is told when nothing is left.
    hidden: Option<NotCovered>,
}

impl Reading<'_> {
    async fn run(mut self, needs: &[Need]) -> Result<(), ClusterError> {
        let plan = plan::plan(self.api, needs).await?;
        for resource in &plan.served {
            for namespace in self.places(resource.kind) {
                self.list(resource, namespace.as_deref()).await?;
            }
        }
        for (kind, why) in &plan.unclear {
            let fix = "mend the API that serves them (`kubectl get apiservices`)".to_owned();
            self.gap(kind, None, (format!("cannot be listed: {why}"), fix));
        }
        if !self.judged {
            let no_pods =
                || ("it has neither pods nor networkpolicies".to_owned(), "is it a Kubernetes cluster?".to_owned());
            let (why, fix) = self.hidden.as_ref().map_or_else(no_pods, |gap| {
                (gap.sentence(), format!("{}; or read a part of it with --namespace NAME", gap.fix))
            });
            return Err(ClusterError::Nothing { server: self.api.server.clone(), why, fix });
        }
        self.outside(&plan.served);
        if needs.contains(&Need::Checks) {
            self.no_secrets();
        }
        self.builder.cluster(self.api.server.clone(), self.loaded);
        Ok(())
    }

    /// Where a kind is listed; `None` is everywhere at once.
    fn places(&self, kind: &Kind) -> Vec<Option<String>> {
        match self.access.namespaces.as_slice() {
            [_, ..] if kind.namespaced => self.access.namespaces.iter().cloned().map(Some).collect(),
            _ => vec![None],
        }
    }

    async fn list(&mut self, resource: &Resource, namespace: Option<&str>) -> Result<(), ClusterError> {
        let kind = resource.kind;
        self.api.progress.begin(words(kind, namespace));
        let api = self.api;
        let answer = api.list(&resource.path(namespace), kind.page(), &mut |item| self.take(item, resource)).await?;
        let named = kind.kind == "Namespace" && !self.access.namespaces.is_empty();
        match answer {
            Answer::Given(()) if named => self.check_namespaces()?,
            Answer::Given(()) => self.judged |= matches!(kind.kind, "Pod" | "NetworkPolicy"),
            Answer::NotThere => {}
            Answer::Refused(user) if named => self.each_namespace(resource, user).await?,
            Answer::Refused(user) => self.gap(kind, namespace, refusal(user)),
            Answer::Failed(why) => {
                let fix = "ask again, or see the API server's log".to_owned();
                self.gap(kind, namespace, (format!("cannot be listed: {why}"), fix));
            }
        }
        Ok(())
    }

    /// An item of a list, or an object, as the object that a file would hold.
    fn take(&mut self, item: Node, resource: &Resource) {
        for object in live(item, resource, &mut self.loaded) {
            self.loaded.objects += 1;
            if object.kind == "Namespace" {
                self.namespaces.insert(object.name.clone());
            }
            self.builder.add(&object);
            (self.each)(&object);
        }
    }

    /// A Role in a namespace can grant `get` on that very Namespace, and `list` on none.
    async fn each_namespace(&mut self, resource: &Resource, user: Option<String>) -> Result<(), ClusterError> {
        for namespace in &self.access.namespaces {
            match self.api.object(&format!("{}/{namespace}", resource.path(None))).await? {
                Answer::Given(node) => self.take(node, resource),
                Answer::NotThere => return Err(self.no_namespace(namespace)),
                Answer::Refused(_) | Answer::Failed(_) => {}
            }
        }
        let seen = &self.namespaces;
        let scope = if seen.is_empty() { Scope::Cluster } else { Scope::Outside(seen.clone()) };
        let (why, fix) = refusal(user);
        self.builder.unseen(gap(resource.kind, scope, why, fix), &[], false);
        Ok(())
    }

    /// Of a namespace that is not there every list is empty, which would look like a cluster without anything wrong.
    fn check_namespaces(&self) -> Result<(), ClusterError> {
        let absent = self.access.namespaces.iter().find(|name| !self.namespaces.contains(*name));
        absent.map_or(Ok(()), |name| Err(self.no_namespace(name)))
    }

    fn no_namespace(&self, name: &str) -> ClusterError {
        let known: Vec<&str> = self.namespaces.iter().map(String::as_str).collect();
        let hint = closest(name, &known).map_or_else(String::new, |near| format!(": did you mean `{near}`?"));
        ClusterError::NoNamespace { server: self.api.server.clone(), name: name.to_owned(), hint }
    }

    /// Takes note of what may exist and is not shown. It is no fault where no connection depends on it, nor to whoever asked for some
    /// namespaces only.
    fn gap(&mut self, kind: &Kind, namespace: Option<&str>, (why, fix): (String, String)) {
        let scope = namespace.map_or(Scope::Cluster, |namespace| Scope::Namespace(namespace.to_owned()));
        let gap = gap(kind, scope, why, fix);
        if kind.kind == "Pod" {
            self.hidden.get_or_insert_with(|| gap.clone());
        }
        let told = kind.need.is_none() && (namespace.is_some() || self.access.namespaces.is_empty());
        self.builder.unseen(gap, &[(kind.group, kind.kind)], told);
    }

    /// Secrets are for whoever owns them; what is in them the doctor takes from files only.
    fn no_secrets(&mut self) {
        let fix =
            "give a dump that holds them, too, with --manifests in place of --cluster: nothing of them is printed"
                .to_owned();
        let subject = Uncovered::Kinds {
            kinds: vec!["Secret".to_owned()],
            words: vec!["secrets".to_owned()],
            scope: Scope::Cluster,
        };
        let why = "are never read from a cluster".to_owned();
        self.builder.unseen(NotCovered { subject, why, fix, place: Place::whole(Place::CLUSTER) }, &[], false);
    }

    /// What was not asked for.
    fn outside(&mut self, served: &[Resource]) {
        if self.access.namespaces.is_empty() {
            return;
        }
        let namespaced = served.iter().map(|resource| resource.kind).filter(|kind| kind.namespaced);
        let kinds: Vec<(&str, &str)> = namespaced.map(|kind| (kind.group, kind.kind)).collect();
        let subject = Uncovered::Kinds {
            kinds: kinds.iter().map(|(_, kind)| (*kind).to_owned()).collect(),
            words: vec!["everything".to_owned()],
            scope: Scope::Outside(self.access.namespaces.iter().cloned().collect()),
        };
        let why = "was not asked for (--namespace)".to_owned();
        let fix =
            "add `--namespace NAME` for the peer's namespace, or leave it out to read the whole cluster".to_owned();
        self.builder.unseen(NotCovered { subject, why, fix, place: Place::whole(Place::CLUSTER) }, &kinds, false);
    }
}

/// `pods in namespace postgres`.
fn words(kind: &Kind, namespace: Option<&str>) -> String {
    let resource = kind.resource();
    namespace.map_or_else(|| resource.clone(), |namespace| format!("{resource} in namespace {namespace}"))
}

fn gap(kind: &Kind, scope: Scope, why: String, fix: String) -> NotCovered {
    let subject = Uncovered::Kinds { kinds: vec![kind.kind.to_owned()], words: vec![kind.resource()], scope };
    NotCovered { subject, why, fix, place: Place::whole(Place::CLUSTER) }
}

/// Why a list is not given, and what to do about it.
fn refusal(user: Option<String>) -> (String, String) {
    let user = user.unwrap_or_else(|| "this user".to_owned());
    (
        format!("cannot be listed: {user} may not"),
        format!("grant `list` on them to {user}: deploy/reader-cluster.yaml has the role"),
    )
}

/// An item of a list as the object that a file would hold: items do not say what they are.
fn live(mut item: Node, resource: &Resource, loaded: &mut Loaded) -> Vec<Object> {
    if let Value::Map(entries) = &mut item.value {
        for (key, text) in [("kind", resource.kind.kind.to_owned()), ("apiVersion", resource.api_version())] {
            if !entries.iter().any(|(own, _)| &*own.text == key) {
                let at = Position::default();
                entries.insert(0, (Key { at, text: key.into() }, Node { at, value: Value::Text(text.into()) }));
            }
        }
    }
    let text = |path| item.at_path(path).and_then(Node::text);
    let namespace = text("/metadata/namespace").map_or_else(String::new, |namespace| format!("{namespace}/"));
    let name = text("/metadata/name").unwrap_or_default();
    let file: Arc<str> = format!("{}:{}/{namespace}{name}", Place::CLUSTER, resource.kind.kind).into();
    objects(Document { file, root: item }, &mut loaded.problems)
}
