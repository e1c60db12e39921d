//! Which pods are MAS.

use std::collections::BTreeMap;

use super::map::{Map, repository, selector_of, stable_labels};
use super::select::listed;
use crate::finding::{Code, Finding};
use crate::matrix::{Party, Subject, SubjectRule};
use crate::world::{Labels, Pod, PodId, WorkloadKind};

/// How the path of every MAS image ends, whatever registry mirrors it.
const IMAGE: &str = "matrix-authentication-service";
/// How the user settles it.
const FIX: &str = "name it in the TrafficMatrix: `subject: <namespace>/deploy/<name>`";

/// The subject, or why it cannot be told for certain.
pub(super) fn find(rule: &SubjectRule, map: Option<&Map<'_>>, findings: &mut Vec<Finding>) -> Option<Subject> {
    let Some(map) = map else {
        return unseen(rule);
    };
    match named(rule, map).and_then(|pods| settle(rule, map, pods)) {
        Ok(subject) => {
            if subject.pods.iter().any(|id| map.world.pod(*id).host_network) {
                let message = "MAS runs in its nodes' network, where no NetworkPolicy applies to it".to_owned();
                let fix = "remove `hostNetwork: true` from its pod template";
                findings.push(Finding::new(Code::HostNetworkPeer, "subject", message, fix));
            }
            Some(subject)
        }
        Err(why) => {
            let finding = match map.world.unseen_anywhere("Pod") {
                Some(gap) => Finding::new(
                    Code::SubjectUnclear,
                    "subject",
                    format!("{why} ({})", gap.sentence()),
                    gap.fix.clone(),
                ),
                None => Finding::new(Code::SubjectUnclear, "subject", why, FIX),
            };
            findings.push(finding);
            None
        }
    }
}

/// Without a world only labels that the user wrote are certain.
fn unseen(rule: &SubjectRule) -> Option<Subject> {
    match rule {
        SubjectRule::Named(Party::Selector { namespace: Some(namespace), labels }) if !labels.is_empty() => {
            Some(Subject { namespace: namespace.clone(), selector: labels.clone(), pods: Vec::new() })
        }
        _ => None,
    }
}

fn runs(pod: &Pod, rule: &SubjectRule) -> bool {
    pod.images.iter().any(|image| match rule {
        SubjectRule::Image(wanted) => plain(repository(image)) == plain(repository(wanted)),
        _ => repository(image).ends_with(IMAGE),
    })
}

/// Docker's default registry and its library may be left out of an image's name.
fn plain(repository: &str) -> &str {
    let repository = repository.strip_prefix("docker.io/").unwrap_or(repository);
    repository.strip_prefix("library/").unwrap_or(repository)
}

/// The pods that the rule means, before it is known whether they are one workload.
fn named(rule: &SubjectRule, map: &Map<'_>) -> Result<Vec<PodId>, String> {
    let (pods, what) = match rule {
        SubjectRule::ByImage => (by_image(rule, map), format!("no pod runs an image whose path ends in {IMAGE}")),
        SubjectRule::Image(image) => (by_image(rule, map), format!("no pod runs the image {}", repository(image))),
        SubjectRule::Named(Party::Workload(kind, name)) => {
            let what = format!("{}/{}/{} has no pod or template here", name.namespace, kind.short(), name.name);
            (map.of_workload(*kind, name), what)
        }
        SubjectRule::Named(Party::Pod(name)) => (map.named(name).into_iter().collect(), format!("no pod {name} here")),
        SubjectRule::Named(Party::Selector { namespace: Some(namespace), labels }) => {
            (map.selected(namespace, labels), format!("no pod in namespace {namespace} has these labels"))
        }
        SubjectRule::Named(Party::Service(name)) => {
            let selector = map.world.services.get(name).and_then(|service| service.selector.as_ref());
            let pods = selector.map(|selector| map.selected(&name.namespace, selector)).unwrap_or_default();
            (pods, format!("Service {name} is not here, or it selects no pod"))
        }
        SubjectRule::Named(_) => {
            return Err("the subject must be a workload, a pod, a Service or a selector with its namespace".to_owned());
        }
    };
    if pods.is_empty() { Err(what) } else { Ok(pods) }
}

/// Jobs of the same image (migrations, syn2mas) are not the service, unless there is nothing else.
fn by_image(rule: &SubjectRule, map: &Map<'_>) -> Vec<PodId> {
    let pods = map.filtered(|pod| runs(pod, rule));
    let passing = |id: &&PodId| {
        let workload = map.world.pod(**id).workload.as_ref();
        !workload.is_some_and(|workload| matches!(workload.kind, WorkloadKind::Job | WorkloadKind::CronJob))
    };
    let lasting: Vec<PodId> = pods.iter().filter(passing).copied().collect();
    if lasting.is_empty() { pods } else { lasting }
}

/// Pods → one subject, if they are one workload and one selector means exactly them.
fn settle(rule: &SubjectRule, map: &Map<'_>, pods: Vec<PodId>) -> Result<Subject, String> {
    let mut workloads: BTreeMap<(String, String), PodId> = BTreeMap::new();
    for id in &pods {
        let pod = map.world.pod(*id);
        let name = match &pod.workload {
            Some(workload) => format!("{}/{}", workload.kind.short(), workload.name),
            None => format!("{:?}", stable_labels(pod)),
        };
        workloads.entry((pod.name.namespace.clone(), name)).or_insert(*id);
    }
    let several = |pods: Vec<&PodId>| {
        let names = pods.iter().map(|id| describe(map.world.pod(**id))).collect::<Vec<_>>();
        format!("several workloads could be MAS: {}", listed(&names))
    };
    let mut groups = workloads.into_iter();
    let (Some(((namespace, _), first)), None) = (groups.next(), groups.next()) else {
        let mut seen = std::collections::BTreeSet::new();
        return Err(several(pods.iter().filter(|id| seen.insert(describe(map.world.pod(**id)))).collect()));
    };
    let selector: Labels = match rule {
        SubjectRule::Named(Party::Selector { labels, .. }) => labels.clone(),
        _ => selector_of(map.world.pod(first)),
    };
    if selector.is_empty() {
        return Err(format!("{} has no label by which a policy could select it", describe(map.world.pod(first))));
    }
    let selected = map.selected(&namespace, &selector);
    let others = selected.iter().filter(|id| !pods.contains(id)).map(|id| describe(map.world.pod(*id)));
    let others: Vec<String> = others.collect::<std::collections::BTreeSet<_>>().into_iter().collect();
    if !others.is_empty() {
        return Err(format!("the labels that select MAS also select {}", listed(&others)));
    }
    let foreign = pods.iter().filter(|id| !runs(map.world.pod(**id), rule)).count();
    if foreign != 0 && foreign != pods.len() {
        return Err("some of the pods run MAS's image and some do not".to_owned());
    }
    Ok(Subject { namespace, selector, pods })
}

fn describe(pod: &Pod) -> String {
    match &pod.workload {
        Some(workload) => format!("{}/{}/{}", pod.name.namespace, workload.kind.short(), workload.name),
        None => pod.name.to_string(),
    }
}
