//! Requests to the API server: `GET` alone, page by page.

use std::cell::Cell;
use std::collections::HashSet;
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::Request;
use kube::Client;
use kube::api::ListParams;
use kube::client::Body;
use kube::core::Status;
use serde::de::DeserializeOwned;

use super::error::{ClusterError, describe, describe_request};
use super::progress::Progress;
use crate::source::files::MAX_MANIFEST_BYTES;
use crate::source::{Node, json};

/// Most bytes of one answer.
#[allow(clippy::cast_possible_truncation, reason = "256 MiB")]
const MOST_BYTES: usize = MAX_MANIFEST_BYTES as usize;
/// Most bytes of an answer that says no.
const MOST_STATUS_BYTES: usize = 64 << 10;
/// How often a connection that breaks is tried again. What the API server asks to be tried again (429, 503, 504) the client does by itself.
const TRIES: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// How often a list may outlive the API server's memory of its first page.
const MOST_EXPIRED: u32 = 20;

/// The API server, and how much it has answered.
pub(super) struct Api<'p> {
    client: Client,
    pub(super) server: String,
    pub(super) progress: &'p Progress,
    /// It has answered at least once, so a broken connection may mend.
    reached: Cell<bool>,
}

/// What became of a question.
pub(super) enum Answer<T> {
    Given(T),
    /// 404: this API server has no such kind, or the object is not there.
    NotThere,
    /// 403, with the user as the API server names him.
    Refused(Option<String>),
    /// Any other answer than success: what it says.
    Failed(String),
}

enum Reply {
    Body(Vec<u8>),
    Status(Box<Status>),
}

impl<'p> Api<'p> {
    pub(super) fn new(client: Client, server: String, progress: &'p Progress) -> Self {
        Self { client, server, progress, reached: Cell::new(false) }
    }

    /// A document of the API about itself.
    pub(super) async fn about<T: DeserializeOwned>(&self, path: &str) -> Result<Answer<T>, ClusterError> {
        match self.get(path).await? {
            Reply::Body(body) => match serde_json::from_slice(&body) {
                Ok(value) => Ok(Answer::Given(value)),
                Err(_) => Err(self.strange(path, "it is no JSON that describes an API")),
            },
            Reply::Status(status) => Ok(no(&status)),
        }
    }

    /// One object.
    pub(super) async fn object(&self, path: &str) -> Result<Answer<Node>, ClusterError> {
        match self.get(path).await? {
            Reply::Body(body) => json::object(&body).map(Answer::Given).map_err(|why| self.strange(path, &why)),
            Reply::Status(status) => Ok(no(&status)),
        }
    }

    /// All objects of a list, page by page.
    ///
    /// When the API server has forgotten the state in which the list began (410), it goes on where it was with the objects of now, by the token
    /// that comes with the 410 or from the start without those that were already seen: either way each object is given once.
    pub(super) async fn list(
        &self,
        path: &str,
        page: u32,
        each: &mut dyn FnMut(Node),
    ) -> Result<Answer<()>, ClusterError> {
        let mut seen: HashSet<(String, String)> = HashSet::new();
        let (mut token, mut expired) = (None, 0);
        loop {
            let params = ListParams { continue_token: token.clone(), ..ListParams::default().limit(page) };
            let request = kube::core::Request::new(path).list(&params);
            let uri = request.map_err(|error| self.strange(path, &error.to_string()))?.uri().to_string();
            let status = match self.get(&uri).await? {
                Reply::Body(body) => {
                    let page = json::page(&body).map_err(|why| self.strange(path, &why))?;
                    drop(body);
                    for item in page.items {
                        if seen.insert(name_of(&item)) {
                            each(item);
                        }
                    }
                    self.progress.page(seen.len(), page.remaining);
                    if page.next.is_none() {
                        return Ok(Answer::Given(()));
                    }
                    if page.next == token {
                        return Err(self.strange(path, "a page leads to itself"));
                    }
                    token = page.next;
                    continue;
                }
                Reply::Status(status) => status,
            };
            if status.code != 410 {
                return Ok(no(&status));
            }
            expired += 1;
            if expired > MOST_EXPIRED {
                return Ok(Answer::Failed("it forgets the list faster than it answers (410)".to_owned()));
            }
            token = status.metadata.and_then(|meta| meta.continue_).filter(|token| !token.is_empty());
        }
    }

    async fn get(&self, path: &str) -> Result<Reply, ClusterError> {
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            match self.ask(path).await {
                Ok(Reply::Status(status)) if status.code == 401 => {
                    return Err(ClusterError::Unauthorized { server: self.server.clone() });
                }
                Ok(reply) => {
                    self.reached.set(true);
                    return Ok(reply);
                }
                Err(Broken::TooLarge) => {
                    let why = format!("its answer is larger than {} MiB", MAX_MANIFEST_BYTES >> 20);
                    return Err(self.strange(path, &why));
                }
                Err(Broken::Connection(why)) if attempt == TRIES || !self.reached.get() => {
                    return Err(ClusterError::Unreachable { server: self.server.clone(), why });
                }
                Err(Broken::Connection(_)) => {}
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        Err(self.strange(path, "nothing"))
    }

    async fn ask(&self, path: &str) -> Result<Reply, Broken> {
        let request = Request::get(path).header("accept", "application/json").body(Body::empty());
        let request = request.map_err(|error| Broken::Connection(error.to_string()))?;
        let response = self.client.send(request).await.map_err(|error| Broken::Connection(describe_request(&error)))?;
        let code = response.status();
        let most = if code.is_success() { MOST_BYTES } else { MOST_STATUS_BYTES };
        let body = Limited::new(response.into_body(), most).collect().await.map_err(|error| {
            if error.is::<http_body_util::LengthLimitError>() {
                return Broken::TooLarge;
            }
            let inner = error.downcast_ref::<kube::Error>();
            Broken::Connection(inner.map_or_else(|| describe(&*error), describe_request))
        })?;
        let body = Vec::from(body.to_bytes());
        if code.is_success() {
            return Ok(Reply::Body(body));
        }
        let mut status: Status = serde_json::from_slice(&body).unwrap_or_default();
        status.code = code.as_u16();
        Ok(Reply::Status(Box::new(status)))
    }

    fn strange(&self, path: &str, why: &str) -> ClusterError {
        ClusterError::Answer { server: self.server.clone(), path: path.to_owned(), why: why.to_owned() }
    }
}

/// Why there is no answer.
enum Broken {
    TooLarge,
    Connection(String),
}

fn no<T>(status: &Status) -> Answer<T> {
    match status.code {
        404 => Answer::NotThere,
        403 => Answer::Refused(user(&status.message)),
        code if status.reason.is_empty() => Answer::Failed(format!("the API server answers {code}")),
        code => Answer::Failed(format!("the API server answers {code} {}", status.reason)),
    }
}

/// `pods is forbidden: User "x" cannot list resource …`: the one place where a client learns who it is.
fn user(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("User \"")?;
    let (user, _) = rest.split_once('"')?;
    (!user.is_empty()).then(|| user.to_owned())
}

fn name_of(object: &Node) -> (String, String) {
    let text = |path| object.at_path(path).and_then(Node::text).unwrap_or_default().to_owned();
    (text("/metadata/namespace"), text("/metadata/name"))
}
