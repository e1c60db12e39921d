//! `portreeve plan`, driven as a user drives it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what is wrong by panicking")]

mod binary;

use std::fs;

use serde_json::Value;

use binary::expect;

const MATRIX: &str = "policies/traffic-matrix.yaml";
const POLICY: &str = "policies/matrix_portreeve-mas.yaml";

/// The guide's world, and these manifests on top.
fn plan(code: i32, matrix: &str, more: &[&str], output: &str) -> (String, String) {
    let mut args = vec!["plan", "--matrix", matrix, "--manifests", "policies/cluster", "-o", output];
    args.extend(more.iter().flat_map(|path| ["--manifests", path]));
    expect(code, &args)
}

/// The guide's matrix with one text in the place of another.
fn matrix(folder: &tempfile::TempDir, old: &str, new: &str) -> String {
    let text = fs::read_to_string(MATRIX).unwrap();
    assert!(text.contains(old));
    let path = folder.path().join("matrix.yaml");
    fs::write(&path, text.replace(old, new)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn what_it_prints_can_be_applied_and_is_then_done() {
    let (text, _) = plan(1, MATRIX, &[], "text");
    assert!(text.starts_with("create  NetworkPolicy matrix/portreeve-mas\n"), "{text}");
    assert!(text.contains("mas-to-postgres  denied  allowed\n"), "{text}");
    assert!(text.contains("new connections: 7 pairs open, 0 pairs close, 0 pairs not known"), "{text}");
    let (yaml, told) = plan(0, MATRIX, &[], "yaml");
    assert_eq!(told, text, "people are told on standard error");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("applied.yaml");
    fs::write(&path, &yaml).unwrap();
    let (text, _) = plan(0, MATRIX, &[path.to_str().unwrap()], "text");
    assert_eq!(text, "nothing to do  NetworkPolicy matrix/portreeve-mas is as it should be\n");
    // It can be applied again.
    assert_eq!(plan(0, MATRIX, &[path.to_str().unwrap()], "yaml").0, yaml);
    // It is the policy that `render` writes.
    plan(0, MATRIX, &[POLICY], "text");
}

#[test]
fn the_mode_decides() {
    let folder = tempfile::tempdir().unwrap();
    let audit = matrix(&folder, "mode: Enforce", "mode: Audit");
    let (text, _) = plan(1, &audit, &[], "text");
    assert!(text.contains("held back: the mode is Audit"), "{text}");
    assert_eq!(plan(1, &audit, &[], "yaml").0, "", "what is held back is not printed for `kubectl apply`");
    let off = matrix(&folder, "mode: Enforce", "mode: \"Off\"");
    let (text, _) = plan(0, &off, &[], "text");
    assert!(text.contains("mode is Off, and there is no NetworkPolicy matrix/portreeve-mas of ours"), "{text}");
    // The guide's world has a default-deny: without ours, nobody can log in.
    let (text, _) = plan(1, &off, &[POLICY], "text");
    assert!(text.starts_with("remove  NetworkPolicy matrix/portreeve-mas, held back\n"), "{text}");
    assert!(text.contains("PR059 LockOut  ") && text.contains("mas-to-postgres"), "{text}");
    let ingress = matrix(&folder, "mode: Enforce", "mode: Enforce\n  directions: [Ingress]");
    let json: Value = serde_json::from_str(&plan(1, &ingress, &[], "json").0).unwrap();
    assert_eq!(json["policy"]["spec"]["policyTypes"], serde_json::json!(["Ingress"]));
    assert_eq!((json["step"].as_str(), json["writes"].as_bool()), (Some("create"), Some(true)));
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let foreign = folder.path().join("foreign.yaml");
    let text = fs::read_to_string(POLICY).unwrap().replace("managed-by: portreeve", "managed-by: somebody");
    fs::write(&foreign, text).unwrap();
    let foreign = foreign.to_str().unwrap();
    let json: Value = serde_json::from_str(&plan(1, MATRIX, &[foreign], "json").0).unwrap();
    assert_eq!(json["writes"], false);
    assert_eq!(json["held"][0]["finding"]["code"], "PR060");
    let adopting = matrix(&folder, "mode: Enforce", "mode: Enforce\n  adopt: [portreeve-mas]");
    let (text, _) = plan(1, &adopting, &[foreign], "text");
    assert!(text.starts_with("replace  NetworkPolicy matrix/portreeve-mas\n"), "{text}");
}

#[test]
fn what_a_source_that_was_not_read_asks_for_is_not_cut() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("matrix.yaml");
    let text = "{apiVersion: portreeve.io/v1alpha1, kind: TrafficMatrix, metadata: {name: mas, namespace: matrix}, spec: {mode: Enforce, masConfigFrom: [{name: mas-config}]}}";
    fs::write(&path, text).unwrap();
    let (text, _) = plan(1, path.to_str().unwrap(), &[], "text");
    assert!(text.contains("held back: spec.masConfigFrom is not read here"), "{text}");
    assert!(text.contains("held back: no needed connection is known"), "{text}");
}

#[test]
fn it_needs_to_know_what_is_there() {
    let (_, error) = expect(2, &["plan", "--matrix", MATRIX]);
    assert!(error.contains("give --manifests PATH"), "{error}");
}
