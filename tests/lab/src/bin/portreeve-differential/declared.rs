//! What the product says: `portreeve verify` over a dump of the cluster, as its README has it.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use portreeve_lab::cluster::Protocol;
use serde_json::{Value, json};

use crate::network::{Place, Programs, Way};

/// An open point of the API's text, and the only one that these worlds meet.
pub const OPEN_POINT: &str = "whether a named port reaches a pod through an ipBlock is not defined";

/// A verdict and its reason.
#[derive(Debug, Clone)]
pub struct Declared {
    /// `allow`, `deny`, `unknown`, `mixed`.
    pub verdict: String,
    pub because: String,
}

/// A connection as an assertion. A source is an address of the target's family, so that each family is judged by itself.
pub fn assertion(places: &[Place], way: &Way, expect: &str) -> Option<Value> {
    let to = way.target.address;
    let from = places.get(way.from)?.addresses.iter().find(|address| address.is_ipv4() == to.is_ipv4())?;
    let protocol = if way.target.protocol == Protocol::Udp { "UDP" } else { "TCP" };
    Some(json!({"from": from, "to": to.ip(), "port": to.port(), "protocol": protocol, "expect": expect}))
}

/// The verdict on each way.
pub fn verify(
    portreeve: &Path,
    programs: &Programs,
    places: &[Place],
    ways: &[Way],
    folder: &Path,
) -> Result<Vec<Declared>> {
    let (manifests, assertions) = (folder.join("dump.yaml"), folder.join("assertions.jsonl"));
    let kinds = "namespaces,pods,services,endpointslices,networkpolicies,nodes";
    std::fs::write(&manifests, programs.cluster(&["kubectl", "get", kinds, "--all-namespaces", "--output=yaml"])?)?;
    let lines: Option<Vec<String>> =
        ways.iter().map(|way| Some(assertion(places, way, "allow")?.to_string())).collect();
    std::fs::write(&assertions, lines.context("an end without an address")?.join("\n"))?;
    // Reasons name the dump; they should name it the same everywhere.
    let outcome = Command::new(portreeve)
        .args(["verify", "--manifests", "dump.yaml", "assertions.jsonl", "--output", "json"])
        .current_dir(folder)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| portreeve.display().to_string())?;
    ensure!(matches!(outcome.status.code(), Some(0 | 1)), "portreeve verify: {}", outcome.status);
    let answer: Value = serde_json::from_slice(&outcome.stdout)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = answer["assertions"].as_array().context("no assertions in the answer")?;
    ensure!(all.len() == ways.len(), "{} answers to {} assertions", all.len(), ways.len());
    Ok(all.iter().map(|one| Declared { verdict: text(&one["verdict"]), because: text(&one["because"]) }).collect())
}
