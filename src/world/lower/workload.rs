//! Workloads: who owns which pod, and the templates of those that have none.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;

use super::super::{Labels, Object, ObjectName, Phase, Pod, Workload, WorkloadKind};
use super::meta::{RawMeta, RawOwner, fields, name_of, refuse};
use super::pod::{self, RawPodSpec, note_node_local};
use super::{Lowered, WorldBuilder};

/// The label by which a Deployment tells its ReplicaSets apart; it ends their names too.
const TEMPLATE_HASH: &str = "pod-template-hash";

/// A workload whose owner is not yet looked up.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    kind: WorkloadKind,
    name: ObjectName,
    selector: Labels,
    owner: Option<RawOwner>,
    scaled_to_zero: bool,
    /// A Job that has ended makes no pod any more.
    ended: bool,
    template: Pod,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawWorkload {
    metadata: RawMeta,
    spec: RawSpec,
    status: RawStatus,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawStatus {
    conditions: Vec<RawCondition>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawCondition {
    r#type: String,
    status: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RawSpec {
    replicas: Option<i64>,
    selector: RawSelector,
    template: RawTemplate,
    job_template: Option<RawJobTemplate>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RawSelector {
    match_labels: Labels,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawJobTemplate {
    spec: RawJobSpec,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawJobSpec {
    template: RawTemplate,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawTemplate {
    metadata: RawMeta,
    spec: RawPodSpec,
}

impl WorldBuilder {
    pub(super) fn workload(&mut self, object: &Object) -> Lowered {
        let Some(kind) = WorkloadKind::from_kind(&object.kind) else {
            return Ok(());
        };
        let mut raw: RawWorkload = fields(object)?;
        let name = name_of(object)?;
        let (template, containers) = match raw.spec.job_template {
            Some(job) => (job.spec.template, "/spec/jobTemplate/spec/template/spec/containers"),
            None => (raw.spec.template, "/spec/template/spec/containers"),
        };
        if object.document.root.at_path(containers).is_none() {
            return refuse(object, "it has no pod template with containers");
        }
        let mut template = template.spec.lower(object, name.clone(), template.metadata.labels)?;
        template.template = true;
        note_node_local(&mut self.world.node_local_dns, &template.labels, object.document.root.at_path(containers));
        let mut selector = raw.spec.selector.match_labels;
        if matches!(kind, WorkloadKind::Job | WorkloadKind::CronJob) {
            // A Job's selector is a uid of its own run.
            selector.clear();
        }
        let owner = raw.metadata.owner();
        let scaled_to_zero = raw.spec.replicas == Some(0);
        let ending = |c: &RawCondition| matches!(c.r#type.as_str(), "Complete" | "Failed") && c.status == "True";
        let ended = kind == WorkloadKind::Job && raw.status.conditions.iter().any(ending);
        let draft = Draft { kind, name: name.clone(), selector, owner, scaled_to_zero, ended, template };
        let earlier = self.workloads.put((kind, name), draft);
        self.replaced(object, earlier.map(|draft| draft.template.place));
        Ok(())
    }
}

/// Who owns something: `(namespace, kind, name)`, for kinds that are not read themselves.
pub(super) type Owners = HashSet<(String, String, String)>;

type Key = (WorkloadKind, ObjectName);

/// Pods with their top owner, and after them the templates of workloads that have no live pod.
pub(super) fn join(pods: Vec<pod::Draft>, workloads: &[Draft]) -> (Vec<Pod>, Owners) {
    let index: HashMap<Key, usize> =
        workloads.iter().enumerate().map(|(at, draft)| ((draft.kind, draft.name.clone()), at)).collect();
    let family = Family { workloads, index: &index };
    let mut owners = Owners::new();
    let mut own = |namespace: &str, owner: Option<&RawOwner>| {
        if let Some(owner) = owner
            && WorkloadKind::from_kind(&owner.kind).is_none()
        {
            owners.insert((namespace.to_owned(), owner.kind.clone(), owner.name.clone()));
        }
    };
    let mut live: HashSet<Key> = HashSet::new();
    let mut joined = Vec::with_capacity(pods.len() + workloads.len());
    for pod::Draft { mut pod, owner } in pods {
        own(&pod.name.namespace, owner.as_ref());
        let top = owner.and_then(|owner| family.top_of_pod(&pod, &owner));
        if let (Some(top), Phase::Live) = (&top, pod.phase) {
            live.insert(top.clone());
        }
        pod.workload = top.map(|top| family.workload(&top));
        joined.push(pod);
    }
    let mut templates = Vec::new();
    for draft in workloads {
        own(&draft.name.namespace, draft.owner.as_ref());
        let key = (draft.kind, draft.name.clone());
        let top = family.top(key.clone());
        let owner_speaks = top != key && index.contains_key(&top);
        let old_revision = top != key && draft.scaled_to_zero;
        if !(owner_speaks || old_revision || draft.ended || live.contains(&top)) {
            templates.push(Pod { workload: Some(family.workload(&top)), ..draft.template.clone() });
        }
    }
    joined.extend(templates);
    (joined, owners)
}

struct Family<'d> {
    workloads: &'d [Draft],
    index: &'d HashMap<Key, usize>,
}

impl Family<'_> {
    fn draft(&self, key: &Key) -> Option<&Draft> {
        self.index.get(key).map(|&at| &self.workloads[at])
    }

    /// The owner of a workload's owner. Two steps are the most there is: CronJob, Job; Deployment, ReplicaSet.
    fn top(&self, key: Key) -> Key {
        let owner = self.draft(&key).and_then(|draft| draft.owner.as_ref());
        let above = owner.and_then(|owner| Some((WorkloadKind::from_kind(&owner.kind)?, &owner.name)));
        match above {
            Some((kind, name)) if kind != key.0 => (kind, ObjectName::new(key.1.namespace, name)),
            _ => key,
        }
    }

    fn top_of_pod(&self, pod: &Pod, owner: &RawOwner) -> Option<Key> {
        let kind = WorkloadKind::from_kind(&owner.kind)?;
        let key = (kind, ObjectName::new(&pod.name.namespace, &owner.name));
        if kind == WorkloadKind::ReplicaSet && self.draft(&key).is_none() {
            // The ReplicaSet is not among the inputs; a Deployment names it after itself and the hash.
            let hash = pod.labels.get(TEMPLATE_HASH).map(|hash| format!("-{hash}"));
            if let Some(name) = hash.and_then(|hash| owner.name.strip_suffix(&hash).map(str::to_owned)) {
                return Some((WorkloadKind::Deployment, ObjectName::new(&pod.name.namespace, name)));
            }
        }
        Some(self.top(key))
    }

    fn workload(&self, top: &Key) -> Workload {
        let selector = self.draft(top).map(|draft| draft.selector.clone()).unwrap_or_default();
        Workload { kind: top.0, name: top.1.name.clone(), selector }
    }
}
