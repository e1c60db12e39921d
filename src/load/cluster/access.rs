//! Kubeconfig → a client.

use std::path::PathBuf;

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

use super::error::{ClusterError, describe_request};
use super::proxy;
use crate::source::de::closest;

/// Which cluster is read, as whom, and how much of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// The context; the kubeconfig's current one without it.
    pub context: Option<String>,
    /// The kubeconfig; without it `$KUBECONFIG`, `~/.kube/config`, or inside a pod its service account.
    pub kubeconfig: Option<PathBuf>,
    /// Only these namespaces, and what is in no namespace; empty for all.
    pub namespaces: Vec<String>,
}

impl Access {
    /// A client for what is not listed.
    ///
    /// # Errors
    /// As [`read`](super::read): no kubeconfig that can be used.
    pub async fn client(&self) -> Result<Client, ClusterError> {
        client(self).await.map(|(client, _)| client)
    }
}

/// The client, and the server's address without anything that could be a secret.
pub(super) async fn client(access: &Access) -> Result<(Client, String), ClusterError> {
    let config = config(access).await?;
    let url = &config.cluster_url;
    let server = format!(
        "{}://{}{}",
        url.scheme_str().unwrap_or("https"),
        url.host().unwrap_or_default(),
        url.port().map_or_else(String::new, |port| format!(":{port}"))
    );
    let client = Client::try_from(config).map_err(|error| {
        ClusterError::Kubeconfig(format!("cannot log in to {server}: {}", describe_request(&error)))
    })?;
    Ok((client, server))
}

async fn config(access: &Access) -> Result<Config, ClusterError> {
    let read = match &access.kubeconfig {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    let kubeconfig = match read {
        Ok(kubeconfig) => kubeconfig,
        Err(error) => return without_kubeconfig(access, &error),
    };
    if let Some(context) = &access.context {
        check(context, &kubeconfig)?;
    }
    let own_proxy = names_proxy(access.context.as_deref(), &kubeconfig);
    let options = KubeConfigOptions { context: access.context.clone(), ..KubeConfigOptions::default() };
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    let mut config = config.map_err(|error| ClusterError::Kubeconfig(words(&error)))?;
    let (scheme, host) = (config.cluster_url.scheme_str(), config.cluster_url.host().unwrap_or_default());
    let no_proxy = std::env::var("NO_PROXY").or_else(|_| std::env::var("no_proxy")).unwrap_or_default();
    if !own_proxy && !proxy::is_meant(scheme, host, &no_proxy) {
        config.proxy_url = None;
    }
    Ok(config)
}

/// Whether the kubeconfig itself says how its cluster is reached.
fn names_proxy(context: Option<&str>, kubeconfig: &Kubeconfig) -> bool {
    let name = context.or(kubeconfig.current_context.as_deref());
    let context = kubeconfig.contexts.iter().find(|own| Some(own.name.as_str()) == name);
    let cluster = context.and_then(|own| own.context.as_ref()).map(|context| context.cluster.as_str());
    let cluster = kubeconfig.clusters.iter().find(|own| Some(own.name.as_str()) == cluster);
    let proxy = cluster.and_then(|own| own.cluster.as_ref()?.proxy_url.as_ref());
    proxy.is_some_and(|proxy| !proxy.is_empty())
}

/// In a pod there is no kubeconfig, and its service account is meant.
fn without_kubeconfig(access: &Access, error: &KubeconfigError) -> Result<Config, ClusterError> {
    let named = access.kubeconfig.is_some()
        || access.context.is_some()
        || std::env::var_os("KUBECONFIG").is_some_and(|value| !value.is_empty());
    let absent = match error {
        KubeconfigError::FindPath => true,
        KubeconfigError::ReadConfig(error, _) => error.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    };
    if named || !absent {
        return Err(ClusterError::Kubeconfig(words(error)));
    }
    Config::incluster().map_err(|_| {
        let text =
            "no cluster is named: there is no kubeconfig and this is no pod; give --kubeconfig FILE or set KUBECONFIG";
        ClusterError::Kubeconfig(text.to_owned())
    })
}

fn check(context: &str, kubeconfig: &Kubeconfig) -> Result<(), ClusterError> {
    let names: Vec<&str> = kubeconfig.contexts.iter().map(|context| context.name.as_str()).collect();
    if names.contains(&context) {
        return Ok(());
    }
    let hint = match closest(context, &names) {
        Some(near) => format!("did you mean `{near}`?"),
        None if names.is_empty() => "it has none".to_owned(),
        None => format!("it has {}", names.join(", ")),
    };
    Err(ClusterError::Kubeconfig(format!("the kubeconfig has no context `{context}`: {hint}")))
}

/// Our own words: the parser's errors repeat lines of the file.
fn words(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::ReadConfig(error, path) => {
            format!("the kubeconfig {} cannot be read ({})", path.display(), error.kind())
        }
        KubeconfigError::Parse(_) => "the kubeconfig is no kubeconfig: check its YAML".to_owned(),
        KubeconfigError::CurrentContextNotSet => {
            "the kubeconfig names no current context: give --context NAME".to_owned()
        }
        KubeconfigError::LoadContext(name) => format!("the kubeconfig has no context `{name}`"),
        KubeconfigError::LoadClusterOfContext(name) => format!("the kubeconfig has no cluster `{name}`"),
        KubeconfigError::MissingClusterUrl | KubeconfigError::ParseClusterUrl(_) => {
            "the kubeconfig's cluster has no `server` that is a URL".to_owned()
        }
        KubeconfigError::ParseProxyUrl(_) => {
            "the proxy for the API server is no URL: check proxy-url and HTTPS_PROXY".to_owned()
        }
        KubeconfigError::LoadCertificateAuthority(_) | KubeconfigError::ParseCertificates(_) => {
            "the kubeconfig's certificate authority cannot be read".to_owned()
        }
        KubeconfigError::LoadClientCertificate(_) | KubeconfigError::LoadClientKey(_) => {
            "the kubeconfig's client certificate or key cannot be read".to_owned()
        }
        _ => "the kubeconfig cannot be used".to_owned(),
    }
}
