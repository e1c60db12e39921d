//! Asks agents for their reports through the API server's port-forward, which ends inside the pod's own network: no policy stands in its way.

use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::assignment::Vantage;
use super::observed::Witness;
use super::report::{MAX_BYTES, Report};
use crate::world::ObjectName;

/// Where an agent serves its report.
pub const PORT: u16 = 9690;
/// Longest time for one agent.
const PATIENCE: Duration = Duration::from_secs(10);
/// Agents asked at the same time.
const AT_ONCE: usize = 16;

/// Asks the agents in these pods. Each answers for itself: one that is silent is a witness that says why.
pub async fn ask(client: &Client, pods: Vec<(ObjectName, Vantage)>) -> Vec<Witness> {
    let mut waiting = pods.into_iter();
    let mut asking = JoinSet::new();
    let mut witnesses = Vec::new();
    loop {
        while asking.len() < AT_ONCE {
            let Some((pod, vantage)) = waiting.next() else { break };
            let client = client.clone();
            asking.spawn(async move {
                let report = match timeout(PATIENCE, report(client, &pod)).await {
                    Ok(report) => report,
                    Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
                };
                Witness { pod: pod.to_string(), vantage, report }
            });
        }
        match asking.join_next().await {
            Some(Ok(witness)) => witnesses.push(witness),
            Some(Err(_)) => {}
            None => break,
        }
    }
    witnesses.sort_by(|a, b| a.pod.cmp(&b.pod));
    witnesses
}

async fn report(client: Client, pod: &ObjectName) -> Result<Report, String> {
    let pods: Api<Pod> = Api::namespaced(client, &pod.namespace);
    let mut forward = pods.portforward(&pod.name, &[PORT]).await.map_err(|error| refused(&error, pod))?;
    let stream = forward.take_stream(PORT).ok_or("the API server forwards nothing")?;
    let failed = forward.take_error(PORT);
    let answer = fetch(TokioIo::new(stream));
    match failed {
        Some(failed) => tokio::select! {
            biased;
            // What the kubelet says comes before the end of the stream, which says nothing.
            Some(why) = failed => Err(why),
            answer = answer => answer,
        },
        None => answer.await,
    }
}

async fn fetch<S>(stream: S) -> Result<Report, String>
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let broken = |error: hyper::Error| format!("no agent answers on port {PORT} ({error})");
    let (mut sender, connection) = http1::handshake(stream).await.map_err(broken)?;
    // It ends with the answer.
    let connection = tokio::spawn(connection);
    let request = Request::get("/v1/report").header(header::HOST, "portreeve").body(Empty::<Bytes>::new());
    let request = request.map_err(|error| error.to_string())?;
    let answer = sender.send_request(request).await.map_err(broken)?;
    if answer.status() != StatusCode::OK {
        return Err(format!("what answers on port {PORT} is no agent: HTTP status {}", answer.status().as_u16()));
    }
    let body = Limited::new(answer.into_body(), MAX_BYTES).collect().await;
    connection.abort();
    let body = body.map_err(|_| "its report is too large, or was cut off".to_owned())?;
    Report::parse(&body.to_bytes()).map_err(|error| error.to_string())
}

/// In words that say what to do.
fn refused(error: &kube::Error, pod: &ObjectName) -> String {
    match error {
        kube::Error::Api(status) if status.code == 403 => {
            format!(
                "cannot create pods/portforward in namespace {}: grant it, or ask somebody who has it",
                pod.namespace
            )
        }
        kube::Error::Api(status) => status.message.clone(),
        error => error.to_string(),
    }
}
