//! Kubeconfig → a client.

use std::path::PathBuf;

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

use super::error::{ClusterError, describe};
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
    let client = Client::try_from(config)
        .map_err(|error| ClusterError::Kubeconfig(format!("cannot log in to {server}: {}", describe(&error))))?;
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
    let options = KubeConfigOptions { context: access.context.clone(), ..KubeConfigOptions::default() };
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    config.map_err(|error| ClusterError::Kubeconfig(words(&error)))
}

/// In a pod there is no kubeconfig, and its service account is meant.
fn without_kubeconfig(access: &Access, error: &KubeconfigError) -> Result<Config, ClusterError> {
    let named = access.kubeconfig.is_some() || access.context.is_some();
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
