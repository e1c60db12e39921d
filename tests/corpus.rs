//! The published corpus: every case has its reason, its source and its assertions, and every assertion holds.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what is wrong by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use portreeve::judge::verify::{check, read};
use portreeve::load::inputs;
use portreeve::policy::Engine;

/// The corpus never shrinks below this.
const CASES: usize = 250;

struct Case {
    /// `area/name`.
    name: String,
    manifests: PathBuf,
    expect: PathBuf,
    text: String,
}

impl Case {
    fn area(&self) -> &str {
        self.name.split('/').next().unwrap()
    }

    fn why(&self) -> &str {
        self.text.lines().next().unwrap_or_default().trim_start_matches("# ")
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

fn folders() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.is_dir());
    found.sort();
    found
}

/// Every file below an area, by its path without extensions: whether there are manifests, whether there are assertions.
fn files() -> BTreeMap<String, (bool, bool)> {
    let mut found: BTreeMap<String, (bool, bool)> = BTreeMap::new();
    for folder in folders() {
        let area = folder.file_name().unwrap().to_str().unwrap();
        for entry in fs::read_dir(&folder).unwrap() {
            let file = entry.unwrap().file_name().into_string().unwrap();
            let (stem, is_expect) = match file.strip_suffix(".expect.yaml") {
                Some(stem) => (stem, true),
                None => (file.strip_suffix(".yaml").unwrap_or_else(|| panic!("{area}/{file}: no case")), false),
            };
            let slot = found.entry(format!("{area}/{stem}")).or_default();
            if is_expect { slot.1 = true } else { slot.0 = true }
        }
    }
    found
}

fn cases() -> Vec<Case> {
    let cases = files().into_keys().map(|name| {
        let manifests = root().join(format!("{name}.yaml"));
        let expect = root().join(format!("{name}.expect.yaml"));
        let text = fs::read_to_string(&manifests).unwrap_or_else(|error| panic!("{name}.yaml: {error}"));
        Case { name, manifests, expect, text }
    });
    cases.collect()
}

/// What fails of one case, in words; empty when it holds.
fn failures(case: &Case) -> Vec<String> {
    let file: Arc<str> = Arc::from(format!("{}.expect.yaml", case.name));
    let text = fs::read_to_string(&case.expect).unwrap();
    let assertions = read(&file, &text).unwrap_or_else(|error| panic!("{}: {error}", case.name));
    assert!(!assertions.is_empty(), "{file} asserts nothing");
    let cluster = inputs::manifests(std::slice::from_ref(&case.manifests)).unwrap();
    let engine = Engine::new(&cluster.world, &cluster.policies);
    let outcomes = check(&assertions, &cluster.world, &engine, None);
    outcomes
        .iter()
        .filter(|outcome| !outcome.holds)
        .map(|outcome| {
            let (expect, verdict) = (outcome.assertion.expect.as_str(), outcome.verdict.as_str());
            format!("{}: expected {expect}, is {verdict}: {}", outcome.assertion.name, outcome.because)
        })
        .collect()
}

#[test]
fn every_case_is_whole() {
    for (name, (manifests, expect)) in files() {
        assert!(manifests, "{name}.expect.yaml stands without its case");
        assert!(expect, "{name}.yaml stands without its assertions");
    }
    let cases = cases();
    assert!(cases.len() >= CASES, "{} cases; there were {CASES}", cases.len());
    let mut reasons = BTreeSet::new();
    for case in &cases {
        let mut lines = case.text.lines();
        let why = lines.next().and_then(|line| line.strip_prefix("# ")).unwrap_or_default();
        assert!(why.len() > 20 && why.ends_with(['.', ')']), "{}: the first line says why", case.name);
        assert!(reasons.insert((case.area().to_owned(), why.to_owned())), "{}: says the same as another", case.name);
        let source = lines.next().and_then(|line| line.strip_prefix("# Source: ")).unwrap_or_default();
        let named = source.starts_with("https://") || source.starts_with("kubernetes/");
        assert!(named, "{}: the second line names the source", case.name);
        let sentence = lines.next().and_then(|line| line.strip_prefix("#   ")).unwrap_or_default();
        assert!(sentence.len() > 5, "{}: the third line quotes the sentence, or says what is open", case.name);
    }
}

#[test]
fn every_case_holds() {
    let mut wrong = Vec::new();
    for case in cases() {
        let failed = failures(&case);
        if !failed.is_empty() {
            wrong.push(format!("{}: {}\n    {}", case.name, case.why(), failed.join("\n    ")));
        }
    }
    assert!(wrong.is_empty(), "{} cases fail\n{}", wrong.len(), wrong.join("\n"));
}

/// A case that is turned round must fail: otherwise the corpus would prove nothing.
#[test]
fn a_wrong_expectation_is_seen() {
    let case = cases().into_iter().find(|case| case.name == "selectors/not-in-missing-key").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let expect = folder.path().join("turned.expect.yaml");
    let text = fs::read_to_string(&case.expect).unwrap();
    let turned = text.replace("expect: allow", "expect: deny");
    assert_ne!(text, turned);
    fs::write(&expect, turned).unwrap();
    assert_eq!(failures(&Case { expect, ..case }).len(), 1);
}

/// The README's table is what is there.
#[test]
fn the_readme_counts_right() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let mut areas: BTreeMap<String, usize> = BTreeMap::new();
    for case in cases() {
        *areas.entry(case.area().to_owned()).or_default() += 1;
    }
    for (area, count) in &areas {
        let row = format!("| `{area}` | {count} |");
        assert!(readme.contains(&row), "tests/corpus/README.md does not say {row}");
    }
    let total: usize = areas.values().sum();
    assert!(readme.contains(&format!("{total} cases")), "tests/corpus/README.md does not say {total} cases");
}

/// As a user runs it.
#[test]
fn the_binary_agrees() {
    for name in ["defaults/rule-empty", "ipblock/except", "services/target-port-name", "unknown/pending-pod-and-block"]
    {
        let output = Command::new(env!("CARGO_BIN_EXE_portreeve"))
            .args(["verify", "--manifests", &format!("{name}.yaml"), &format!("{name}.expect.yaml")])
            .current_dir(root())
            .output()
            .unwrap();
        let out = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{name}\n{out}\n{}", String::from_utf8_lossy(&output.stderr));
        assert!(out.contains("assertions hold"), "{out}");
    }
}
