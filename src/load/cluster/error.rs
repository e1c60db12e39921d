//! Why a cluster cannot be read at all. No text holds a token, a certificate, or a line of a kubeconfig.

use std::error::Error;

use kube::client::AuthError;

/// Why nothing of a cluster can be read.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// No kubeconfig, or none that can be used.
    #[error("{0}")]
    Kubeconfig(String),
    /// Nobody answers there, or the connection breaks again and again.
    #[error("cannot reach the API server {server}: {why}")]
    Unreachable {
        /// Its address.
        server: String,
        /// What happened.
        why: String,
    },
    /// 401.
    #[error(
        "the API server {server} does not accept these credentials (401): log in again, or choose another --context or --kubeconfig"
    )]
    Unauthorized {
        /// Its address.
        server: String,
    },
    /// An answer that no API server gives.
    #[error(
        "{server} answers {path} with something else than the Kubernetes API: {why}; is this the API server's address?"
    )]
    Answer {
        /// Its address.
        server: String,
        /// What was asked for.
        path: String,
        /// What is wrong with the answer.
        why: String,
    },
    /// A namespace that was asked for by name.
    #[error("there is no namespace `{name}` in the cluster {server}{hint}")]
    NoNamespace {
        /// The API server's address.
        server: String,
        /// As it was asked for.
        name: String,
        /// A name that is close, if there is one.
        hint: String,
    },
    /// Neither pods nor policies may be listed.
    #[error("nothing of the cluster {server} can be judged: {why}; {fix}")]
    Nothing {
        /// Its address.
        server: String,
        /// The first thing that is hidden.
        why: String,
        /// How it could be read.
        fix: String,
    },
    /// The program's own runtime.
    #[error("cannot start: {0}")]
    Start(#[source] std::io::Error),
}

/// What went wrong with a request, in one line, without the client's own word for the kind of error.
pub(super) fn describe_request(error: &kube::Error) -> String {
    describe(error.source().unwrap_or(error))
}

/// What went wrong, in one line. Errors of login plug-ins hold what these print, which may be a token.
pub(super) fn describe(error: &(dyn Error + 'static)) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(auth) = error.downcast_ref::<AuthError>() {
            return login(auth);
        }
        // Many an error repeats the one it comes from.
        let line = error.to_string();
        if !lines.last().is_some_and(|outer| outer.contains(&line)) {
            lines.push(line);
        }
        next = error.source();
    }
    lines.join(": ")
}

/// Why the login failed, without what a plug-in printed.
fn login(error: &AuthError) -> String {
    let plugin = "the login plug-in of this kubeconfig";
    match error {
        AuthError::AuthExecStart(error) => format!("{plugin} cannot be started ({})", error.kind()),
        AuthError::AuthExecRun { out, .. } => format!("{plugin} failed ({}): run it by hand to see why", out.status),
        AuthError::AuthExecParse(_) | AuthError::ExecPluginFailed | AuthError::ParseTokenKey(_) => {
            format!("{plugin} printed something that is no credential")
        }
        AuthError::AuthExec(_) | AuthError::MissingCommand | AuthError::ExecMissingClusterInfo => {
            format!("{plugin} cannot be used: check its `exec:` section")
        }
        AuthError::ReadTokenFile(error, path) => {
            format!("the token file {} cannot be read ({})", path.display(), error.kind())
        }
        _ => "the credentials of this kubeconfig cannot be used: log in again".to_owned(),
    }
}
