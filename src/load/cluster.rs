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

use std::collections::BTreeSet;
use std::sync::Arc;

pub use self::access::Access;
use self::api::{Answer, Api};
pub use self::error::ClusterError;
use self::kinds::Kind;
use self::plan::Resource;
use self::progress::Progress;
use super::{Builder, Loaded, Need};
use crate::source::{Document, Key, Node, Place, Position, Value};
use crate::world::{NotCovered, Object, Scope, objects};

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
    /// Pods or policies were listed somewhere: there is something to judge by.
    judged: bool,
    /// The first gap: what the user is told when nothing is left.
    hidden: Option<NotCovered>,
}

impl Reading<'_> {
    async fn run(mut self, needs: &[Need]) -> Result<(), ClusterError> {
        let plan = plan::plan(self.api, needs).await?;
        for resource in &plan.served {
            for namespace in self.namespaces(resource.kind) {
                self.list(resource, namespace.as_deref()).await?;
            }
        }
        for (kind, why) in &plan.unclear {
            self.gap(
                kind,
                None,
                format!("cannot be listed: {why}"),
                "mend the API that serves them (`kubectl get apiservices`)".to_owned(),
            );
        }
        if !self.judged
            && let Some(gap) = self.hidden
        {
            let (why, fix) = (gap.sentence(), gap.fix);
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
    fn namespaces(&self, kind: &Kind) -> Vec<Option<String>> {
        match self.access.namespaces.as_slice() {
            [_, ..] if kind.namespaced => self.access.namespaces.iter().cloned().map(Some).collect(),
            _ => vec![None],
        }
    }

    async fn list(&mut self, resource: &Resource, namespace: Option<&str>) -> Result<(), ClusterError> {
        let kind = resource.kind;
        self.api.progress.begin(place_of(kind, namespace));
        let Self { api, builder, each, loaded, .. } = self;
        let answer = api
            .list(&resource.path(namespace), kind.page(), &mut |item| {
                for object in live(item, resource, loaded) {
                    loaded.objects += 1;
                    builder.add(&object);
                    each(&object);
                }
            })
            .await?;
        match answer {
            Answer::Given(()) => self.judged |= matches!(kind.kind, "Pod" | "NetworkPolicy"),
            Answer::NotThere => {}
            Answer::Refused(_) if kind.kind == "Namespace" && !self.access.namespaces.is_empty() => {
                self.each_namespace(resource).await?;
            }
            Answer::Refused(user) => self.refused(kind, namespace, user),
            Answer::Failed(why) => {
                self.gap(
                    kind,
                    namespace,
                    format!("cannot be listed: {why}"),
                    "ask again, or see the API server's log".to_owned(),
                );
            }
        }
        Ok(())
    }

    /// A Role in a namespace can grant `get` on that very Namespace, and `list` on none.
    async fn each_namespace(&mut self, resource: &Resource) -> Result<(), ClusterError> {
        let mut refused = None;
        for namespace in self.access.namespaces.clone() {
            let path = format!("{}/{namespace}", resource.path(None));
            match self.api.object(&path).await? {
                Answer::Given(node) => {
                    for object in live(node, resource, &mut self.loaded) {
                        self.loaded.objects += 1;
                        self.builder.add(&object);
                        (self.each)(&object);
                    }
                }
                Answer::Refused(user) => refused = Some(user),
                Answer::NotThere | Answer::Failed(_) => {}
            }
        }
        if let Some(user) = refused {
            self.refused(resource.kind, None, user);
        }
        Ok(())
    }

    fn refused(&mut self, kind: &Kind, namespace: Option<&str>, user: Option<String>) {
        let user = user.unwrap_or_else(|| "this user".to_owned());
        let what = place_of(kind, namespace);
        let elsewhere = if self.access.namespaces.is_empty() { ", or read less with --namespace NAME" } else { "" };
        let fix = format!("grant `list` on {what} to {user} (docs/commands.md has the roles){elsewhere}");
        self.gap(kind, namespace, format!("cannot be listed: {user} may not"), fix);
    }

    /// Takes note of what may exist and is not shown. Who asked for some namespaces only is not told of the rest as of a fault.
    fn gap(&mut self, kind: &Kind, namespace: Option<&str>, why: String, fix: String) {
        let scope = namespace.map_or(Scope::Cluster, |namespace| Scope::Namespace(namespace.to_owned()));
        let gap = NotCovered {
            object: place_of(kind, namespace),
            why,
            fix,
            place: Place::whole(Place::CLUSTER),
            hides: Some((vec![kind.kind.to_owned()], scope)),
        };
        self.hidden.get_or_insert_with(|| gap.clone());
        let told = namespace.is_some() || self.access.namespaces.is_empty();
        self.builder.unseen(gap, &[(kind.group, kind.kind)], told);
    }

    /// Secrets are for whoever owns them; what is in them the doctor takes from files only.
    fn no_secrets(&mut self) {
        let gap = NotCovered {
            object: "secrets".to_owned(),
            why: "are never read from a cluster".to_owned(),
            fix: "give a dump that holds them with --manifests: nothing of it is printed".to_owned(),
            place: Place::whole(Place::CLUSTER),
            hides: Some((vec!["Secret".to_owned()], Scope::Cluster)),
        };
        self.builder.unseen(gap, &[], false);
    }

    /// What was not asked for.
    fn outside(&mut self, served: &[Resource]) {
        let names: BTreeSet<String> = self.access.namespaces.iter().cloned().collect();
        if names.is_empty() {
            return;
        }
        let namespaced = served.iter().map(|resource| resource.kind).filter(|kind| kind.namespaced);
        let kinds: Vec<(&str, &str)> = namespaced.map(|kind| (kind.group, kind.kind)).collect();
        let scope = Scope::Outside(names);
        let gap = NotCovered {
            object: format!("everything {scope}"),
            why: "was not asked for (--namespace)".to_owned(),
            fix: "add `--namespace NAME` for the peer's namespace, or leave it out to read the whole cluster"
                .to_owned(),
            place: Place::whole(Place::CLUSTER),
            hides: Some((kinds.iter().map(|(_, kind)| (*kind).to_owned()).collect(), scope)),
        };
        self.builder.unseen(gap, &kinds, false);
    }
}

/// `pods in namespace postgres`.
fn place_of(kind: &Kind, namespace: Option<&str>) -> String {
    let resource = kind.resource();
    namespace.map_or_else(|| resource.clone(), |namespace| format!("{resource} in namespace {namespace}"))
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
