//! The objects of a running cluster, kept up to date.

use std::fmt::Debug;
use std::hash::Hash;
use std::time::Instant;

use anyhow::{Context, Result};
use futures::StreamExt;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::runtime::reflector::{self, Lookup, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::Sender;

use crate::cluster::Cluster;

/// What the watches have brought.
pub struct Watched {
    namespaces: Store<Namespace>,
    pods: Store<Pod>,
    policies: Store<NetworkPolicy>,
}

impl Watched {
    /// Begins to watch. `changed` holds the time of the first event since it was last looked at.
    pub fn start(client: &Client, changed: &Sender<Instant>) -> Self {
        Self {
            namespaces: watch(Api::all(client.clone()), changed.clone()),
            pods: watch(Api::all(client.clone()), changed.clone()),
            policies: watch(Api::all(client.clone()), changed.clone()),
        }
    }

    /// Waits until each kind has been listed once.
    pub async fn synced(&self) -> Result<()> {
        self.namespaces.wait_until_ready().await.context("the watch of namespaces ended")?;
        self.pods.wait_until_ready().await.context("the watch of pods ended")?;
        self.policies.wait_until_ready().await.context("the watch of policies ended")
    }

    /// All that is there now.
    pub fn cluster(&self) -> Cluster {
        Cluster { namespaces: self.namespaces.state(), pods: self.pods.state(), policies: self.policies.state() }
    }
}

#[allow(clippy::print_stderr, reason = "a program for tests speaks to them")]
fn watch<K>(api: Api<K>, changed: Sender<Instant>) -> Store<K>
where
    K: Resource + Lookup + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    <K as Lookup>::DynamicType: Default + Eq + Hash + Clone + Send + Sync,
{
    let (store, writer) = reflector::store();
    let stream = reflector::reflector(writer, watcher(api, watcher::Config::default())).default_backoff();
    tokio::spawn(stream.for_each(move |event| {
        match event {
            // Full: an earlier event waits there.
            Ok(_) => drop(changed.try_send(Instant::now())),
            Err(error) => eprintln!("portreeve-lab: a watch failed and begins again: {error}"),
        }
        futures::future::ready(())
    }));
    store
}
