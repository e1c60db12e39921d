//! Which of the kinds this API server has.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{APIGroupList, APIResourceList};

use super::Need;
use super::api::{Answer, Api};
use super::error::ClusterError;
use super::kinds::{KINDS, Kind};

/// A kind to list.
#[derive(Debug)]
pub(super) struct Resource {
    pub(super) kind: &'static Kind,
    /// The version in which it is served.
    version: String,
}

impl Resource {
    /// `group/version`, or `v1`.
    pub(super) fn api_version(&self) -> String {
        match self.kind.group {
            "" => self.version.clone(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// The path of its list.
    pub(super) fn path(&self, namespace: Option<&str>) -> String {
        let root = if self.kind.group.is_empty() { "api" } else { "apis" };
        let within = namespace.map_or_else(String::new, |namespace| format!("/namespaces/{namespace}"));
        format!("/{root}/{}{within}/{}", self.api_version(), self.kind.plural)
    }
}

/// What is served, in the order of [`KINDS`], and the kinds of which that could not be learnt, with the reason.
pub(super) struct Plan {
    pub(super) served: Vec<Resource>,
    pub(super) unclear: Vec<(&'static Kind, String)>,
}

/// Asks which groups there are, and of those that matter and come from outside Kubernetes what they have.
pub(super) async fn plan(api: &Api<'_>, needs: &[Need]) -> Result<Plan, ClusterError> {
    const PATH: &str = "/apis";
    let groups: APIGroupList = match api.about(PATH).await? {
        Answer::Given(groups) => groups,
        Answer::Refused(user) => {
            let who = user.unwrap_or_else(|| "this user".to_owned());
            return Err(ClusterError::Nothing {
                server: api.server.clone(),
                why: format!("{who} may not ask which kinds there are"),
                fix: "bind the ClusterRole system:discovery, as every cluster does by default".to_owned(),
            });
        }
        Answer::NotThere => {
            return Err(ClusterError::Answer {
                server: api.server.clone(),
                path: PATH.to_owned(),
                why: "404".to_owned(),
            });
        }
        Answer::Failed(why) => {
            return Err(ClusterError::Unreachable { server: api.server.clone(), why });
        }
    };
    let versions: BTreeMap<&str, Vec<&str>> = groups
        .groups
        .iter()
        .map(|group| (group.name.as_str(), group.versions.iter().map(|version| version.version.as_str()).collect()))
        .collect();
    let mut plan = Plan { served: Vec::new(), unclear: Vec::new() };
    let mut known: BTreeMap<String, Answer<APIResourceList>> = BTreeMap::new();
    for kind in KINDS.iter().filter(|kind| kind.need.is_none_or(|need| needs.contains(&need))) {
        // Calico's own API server shows the objects of its CRDs once more.
        let twice = kind.group == "projectcalico.org" && versions.contains_key("crd.projectcalico.org");
        let versions = versions.get(kind.group).filter(|_| !twice);
        if kind.is_built_in() {
            plan.served.push(Resource { kind, version: kind.version.to_owned() });
        } else if let Some(versions) = versions {
            match version_of(api, kind, versions, &mut known).await? {
                Ok(Some(version)) => plan.served.push(Resource { kind, version }),
                Ok(None) => {}
                Err(why) => plan.unclear.push((kind, why)),
            }
        }
    }
    Ok(plan)
}

/// The version in which a kind is served, best first; `Err` when a version did not say what it has.
async fn version_of(
    api: &Api<'_>,
    kind: &Kind,
    versions: &[&str],
    known: &mut BTreeMap<String, Answer<APIResourceList>>,
) -> Result<Result<Option<String>, String>, ClusterError> {
    let best = versions.iter().filter(|version| **version == kind.version);
    let others = versions.iter().filter(|version| **version != kind.version);
    let mut silent = None;
    for version in best.chain(others) {
        let path = format!("/apis/{}/{version}", kind.group);
        if !known.contains_key(&path) {
            known.insert(path.clone(), api.about(&path).await?);
        }
        match known.get(&path) {
            Some(Answer::Given(list)) if list.resources.iter().any(|resource| resource.name == kind.plural) => {
                return Ok(Ok(Some((*version).to_owned())));
            }
            Some(Answer::Failed(why)) => silent = Some(why.clone()),
            Some(Answer::Refused(_)) => silent = Some("what this group has may not be asked".to_owned()),
            Some(Answer::Given(_) | Answer::NotThere) | None => {}
        }
    }
    Ok(silent.map_or(Ok(None), Err))
}
