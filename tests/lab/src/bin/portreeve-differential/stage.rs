//! The cast in a running cluster, and one world after the other on it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::cast::{self, NAMES, NAMESPACES};
use crate::world::World;

/// Nothing here takes as long on an idle machine; a busy one may need it.
const PATIENCE: Duration = Duration::from_mins(3);
const STEP: Duration = Duration::from_millis(20);

pub struct Stage {
    client: Client,
    pub nodes: Vec<Node>,
    /// In the order of `cast::pods`.
    pub pods: Vec<Pod>,
    /// The addresses of each pod's Service; none for the last, which is on its node's network.
    pub services: Vec<Vec<IpAddr>>,
    /// What each enforcer says is in force.
    pub states: Vec<PathBuf>,
}

impl Stage {
    pub async fn build(kubeconfig: &Path) -> Result<Self> {
        let file = Kubeconfig::read_from(kubeconfig).with_context(|| kubeconfig.display().to_string())?;
        let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
        let client = Client::try_from(config)?;
        let nodes = Api::<Node>::all(client.clone()).list(&ListParams::default()).await?.items;
        let mut stage = Self { client, nodes, pods: Vec::new(), services: Vec::new(), states: Vec::new() };
        // Of a run that was killed.
        stage.remove().await?;
        match stage.create().await {
            Ok(()) => Ok(stage),
            Err(error) => stage.remove().await.and(Err(error)),
        }
    }

    async fn create(&mut self) -> Result<()> {
        for namespace in NAMESPACES {
            let object = object(json!({"metadata": {"name": namespace}}))?;
            Api::<Namespace>::all(self.client.clone()).create(&PostParams::default(), &object).await?;
        }
        for namespace in NAMESPACES {
            // A pod is refused before its account is there.
            let accounts: Api<ServiceAccount> = self.api(namespace);
            until("a service account", || async { Ok(accounts.get_opt("default").await?) }).await?;
            for name in NAMES {
                let service: Service = object(cast::service(namespace, name))?;
                let created = self.api(namespace).create(&PostParams::default(), &service).await;
                let service: Service = created.with_context(|| format!("Service {namespace}/{name}"))?;
                let addresses = service.spec.and_then(|spec| spec.cluster_ips).unwrap_or_default();
                self.services.push(addresses.iter().filter_map(|text| text.parse().ok()).collect());
            }
        }
        let nodes: Vec<String> = self.nodes.iter().map(ResourceExt::name_any).collect();
        for (namespace, name, node) in cast::pods(&nodes) {
            let pod: Pod = object(cast::pod(namespace, name, node))?;
            let created = self.api(namespace).create(&PostParams::default(), &pod).await;
            created.with_context(|| format!("pod {namespace}/{name}"))?;
        }
        for (namespace, name, _) in cast::pods(&nodes) {
            let pods: Api<Pod> = self.api(namespace);
            let running = || async { Ok(pods.get_opt(name).await?.filter(is_running)) };
            self.pods.push(until(&format!("{namespace}/{name} does not run"), running).await?);
        }
        Ok(())
    }

    /// Removes all that was made, and waits until it is gone.
    pub async fn remove(&self) -> Result<()> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        for name in NAMESPACES {
            if namespaces.get_opt(name).await?.is_some() {
                namespaces.delete(name, &DeleteParams::default()).await?;
            }
        }
        for name in NAMESPACES {
            let gone = || async { Ok(namespaces.get_opt(name).await?.is_none().then_some(())) };
            until(&format!("namespace {name} stays"), gone).await?;
        }
        Ok(())
    }

    fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Makes the cluster this world, and returns when every enforcer has it.
    pub async fn play(&self, world: &World) -> Result<()> {
        let merge = PatchParams::default();
        let mut wanted: BTreeMap<String, u64> = BTreeMap::new();
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        for (name, labels) in NAMESPACES.iter().zip(&world.namespaces) {
            let changed =
                namespaces.patch(name, &merge, &Patch::Merge(json!({"metadata": {"labels": labels}}))).await?;
            wanted.insert(format!("Namespace {name}"), revision(&changed)?);
        }
        let pods = self.pods.iter().zip(&world.pods).map(|(pod, labels)| async move {
            let pods: Api<Pod> = self.api(&pod.namespace().unwrap_or_default());
            let patch = Patch::Merge(json!({"metadata": {"labels": labels}}));
            pods.patch(&pod.name_any(), &PatchParams::default(), &patch).await
        });
        for pod in try_join_all(pods).await? {
            wanted.insert(format!("Pod {}/{}", pod.namespace().unwrap_or_default(), pod.name_any()), revision(&pod)?);
        }
        let old = NAMESPACES.map(|namespace| async move {
            let policies: Api<NetworkPolicy> = self.api(namespace);
            policies.delete_collection(&DeleteParams::default(), &ListParams::default()).await
        });
        try_join_all(old).await?;
        let new = world.policies.iter().map(|policy| async move {
            let namespace = policy["metadata"]["namespace"].as_str().unwrap_or_default();
            let object: NetworkPolicy = object(policy.clone())?;
            let created = self.api(namespace).create(&PostParams::default(), &object).await;
            created.with_context(|| format!("the API server refuses {policy}"))
        });
        for policy in try_join_all(new).await? {
            let name = format!("NetworkPolicy {}/{}", policy.namespace().unwrap_or_default(), policy.name_any());
            wanted.insert(name, revision(&policy)?);
        }
        until("the enforcers do not follow", || async { Ok(self.enforced(&wanted)?.then_some(())) }).await
    }

    /// Whether every enforcer has these objects in these revisions or later ones, and no other policy of ours.
    fn enforced(&self, wanted: &BTreeMap<String, u64>) -> Result<bool> {
        for path in &self.states {
            let state: Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
            let Some(objects) = state["objects"].as_object() else { bail!("{}: no objects", path.display()) };
            let has = |name: &String| objects.get(name)?.as_str()?.parse::<u64>().ok();
            let current = wanted.iter().all(|(name, revision)| has(name).is_some_and(|has| has >= *revision));
            let ours = |name: &str| NAMESPACES.iter().any(|one| name.starts_with(&format!("NetworkPolicy {one}/")));
            if !current || objects.keys().any(|name| ours(name) && !wanted.contains_key(name)) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Whether the API server does not take an object, because of what is in it.
pub fn is_refused(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(kube::Error::Api(status)) if status.code == 422)
}

fn is_running(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let ready = status.and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    ready.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn object<K: DeserializeOwned>(value: Value) -> Result<K> {
    serde_json::from_value(value).context("an object that this program made")
}

/// Revisions are numbers that grow, over all kinds (Kubernetes 1.35, KEP-5504).
fn revision(object: &impl ResourceExt) -> Result<u64> {
    object.resource_version().unwrap_or_default().parse().context("a resourceVersion is no number")
}

async fn until<T, F: Future<Output = Result<Option<T>>>>(what: &str, mut look: impl FnMut() -> F) -> Result<T> {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if tokio::time::Instant::now() > end {
            bail!("{what}: given up after {PATIENCE:?}");
        }
        sleep(STEP).await;
    }
}
