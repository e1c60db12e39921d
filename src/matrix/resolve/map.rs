//! Ways to look things up in a world, built once.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::world::{
    EndpointSlice, Labels, ObjectName, Phase, Pod, PodId, PortRef, Protocol, Service, Workload, WorkloadKind, World,
    labels,
};

/// Labels that a roll-out, a restart or the replica's number changes: useless for telling a workload's pods.
const UNSTABLE: &[&str] = &[
    "pod-template-hash",
    "rollouts-pod-template-hash",
    "controller-revision-hash",
    "pod-template-generation",
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
    "batch.kubernetes.io/job-completion-index",
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-name",
    "controller-uid",
    "job-name",
    "cnpg.io/instanceName",
];

/// A world with indexes. Finished pods are in none: they have no connections, and their addresses may be another's.
pub(crate) struct Map<'w> {
    pub(super) world: &'w World,
    by_namespace: HashMap<&'w str, Vec<PodId>>,
    by_name: HashMap<&'w ObjectName, PodId>,
    /// `None`: two live pods have it, so one of the two records is out of date.
    by_address: HashMap<IpAddr, Option<PodId>>,
    slices: HashMap<&'w ObjectName, Vec<&'w EndpointSlice>>,
}

impl<'w> Map<'w> {
    pub(crate) fn new(world: &'w World) -> Self {
        let mut map = Self {
            world,
            by_namespace: HashMap::new(),
            by_name: HashMap::new(),
            by_address: HashMap::new(),
            slices: HashMap::new(),
        };
        for (id, pod) in world.pods().filter(|(_, pod)| pod.phase == Phase::Live) {
            map.by_namespace.entry(&pod.name.namespace).or_default().push(id);
            // A Deployment may have a pod's name: the name of a pod is the pod's.
            if !pod.template || !map.by_name.contains_key(&pod.name) {
                map.by_name.insert(&pod.name, id);
            }
            if !pod.host_network {
                for ip in &pod.addresses {
                    map.by_address.entry(*ip).and_modify(|pod| *pod = None).or_insert(Some(id));
                }
            }
        }
        for slice in &world.endpoint_slices {
            map.slices.entry(&slice.service).or_default().push(slice);
        }
        map
    }

    pub(super) fn slices(&self, service: &ObjectName) -> &[&'w EndpointSlice] {
        self.slices.get(service).map_or(&[], Vec::as_slice)
    }

    pub(super) fn named(&self, name: &ObjectName) -> Option<PodId> {
        self.by_name.get(name).copied()
    }

    pub(super) fn at_address(&self, ip: IpAddr) -> Option<PodId> {
        self.by_address.get(&ip).copied().flatten()
    }

    fn live(&self) -> impl Iterator<Item = (PodId, &'w Pod)> {
        self.world.pods().filter(|(_, pod)| pod.phase == Phase::Live)
    }

    fn in_namespace(&self, namespace: &str) -> impl Iterator<Item = (PodId, &'w Pod)> {
        self.by_namespace.get(namespace).into_iter().flatten().map(|id| (*id, self.world.pod(*id)))
    }

    /// Pods of a namespace that carry all these labels, sorted.
    pub(crate) fn selected(&self, namespace: &str, selector: &Labels) -> Vec<PodId> {
        self.in_namespace(namespace)
            .filter(|(_, pod)| labels::matches_all(selector, &pod.labels))
            .map(|(id, _)| id)
            .collect()
    }

    pub(crate) fn of_workload(&self, kind: WorkloadKind, name: &ObjectName) -> Vec<PodId> {
        let owned = |workload: &Workload| workload.kind == kind && workload.name == name.name;
        self.in_namespace(&name.namespace)
            .filter(|(_, pod)| pod.workload.as_ref().is_some_and(owned))
            .map(|(id, _)| id)
            .collect()
    }

    pub(super) fn with_label(&self, key: &str, value: &str) -> Vec<PodId> {
        self.filtered(|pod| pod.labels.get(key).is_some_and(|own| own == value))
    }

    pub(super) fn filtered(&self, keep: impl Fn(&Pod) -> bool) -> Vec<PodId> {
        self.live().filter(|(_, pod)| keep(pod)).map(|(id, _)| id).collect()
    }

    /// Services of a namespace that lead to any of these pods, by name.
    pub(super) fn services_of(&self, namespace: &str, pods: &[PodId]) -> Vec<&'w Service> {
        let leads = |service: &Service| match &service.selector {
            Some(selector) => pods.iter().any(|id| labels::matches_all(selector, &self.world.pod(*id).labels)),
            None => self.slices(&service.name).iter().flat_map(|slice| &slice.endpoints).any(|endpoint| {
                endpoint.pod.as_ref().and_then(|name| self.named(name)).is_some_and(|id| pods.contains(&id))
            }),
        };
        self.services_in(namespace).filter(|service| leads(service)).collect()
    }

    pub(super) fn services_in(&self, namespace: &str) -> impl Iterator<Item = &'w Service> {
        let first = ObjectName::new(namespace, "");
        let namespace = namespace.to_owned();
        self.world
            .services
            .range(first..)
            .map(|(_, service)| service)
            .take_while(move |service| service.name.namespace == namespace)
    }
}

/// The labels of a pod that its successors will carry too.
pub(super) fn stable_labels(pod: &Pod) -> Labels {
    pod.labels
        .iter()
        .filter(|(key, _)| !UNSTABLE.contains(&key.as_str()))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect()
}

/// What selects a pod and its successors: the workload's selector, else the stable labels.
pub(crate) fn selector_of(pod: &Pod) -> Labels {
    match &pod.workload {
        Some(workload) if !workload.selector.is_empty() => workload.selector.clone(),
        _ => stable_labels(pod),
    }
}

/// The number of a pod's port. The first of that name counts, as for Services (`FindPort`); name and protocol must both fit.
pub(super) fn pod_port(pod: &Pod, port: &PortRef, protocol: Protocol) -> Option<u16> {
    match port {
        PortRef::Number(number) => Some(*number),
        PortRef::Name(name) => {
            let fits = |port: &&crate::world::ContainerPort| {
                port.protocol == protocol && port.name.as_deref() == Some(name.as_str())
            };
            pod.ports.iter().find(fits).map(|port| port.number)
        }
    }
}

/// An image's repository: without digest and tag. A colon before the last slash belongs to the registry's port.
pub(super) fn repository(image: &str) -> &str {
    let image = image.split_once('@').map_or(image, |(image, _)| image);
    let last = image.rfind('/').map_or(0, |at| at + 1);
    image[last..].find(':').map_or(image, |at| &image[..last + at])
}

/// The last part of an image's repository.
pub(super) fn image_name(image: &str) -> &str {
    let repository = repository(image);
    repository.rsplit_once('/').map_or(repository, |(_, name)| name)
}
