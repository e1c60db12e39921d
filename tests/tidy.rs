//! Holds the lines that the compiler does not: pure modules stay pure, no file is an orphan, every code has its page.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what is wrong by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use portreeve::finding::Code;
use portreeve::judge::Reason;

/// Folders that know no clock, no socket, no file system, no runtime. `source/files.rs` is the way in.
const PURE: [&str; 9] = ["act", "doctor", "finding", "guide", "judge", "matrix", "policy", "source", "world"];
const IMPURE: [&str; 1] = ["source/files.rs"];
const FORBIDDEN: [&str; 16] = [
    "tokio",
    "hyper",
    "tracing::",
    "kube::",
    "std::fs",
    "std::env",
    "std::process",
    "std::io",
    "std::thread",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "SystemTime",
    "Instant::now",
    "Timestamp::now",
    "rand::",
];
/// A file longer than this wants to be two.
const MAX_LINES: usize = 600;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    fn walk(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, extension, found);
            } else if path.extension().is_some_and(|e| e == extension) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(folder), extension, &mut found);
    found.sort();
    found
}

/// The path below src/, with slashes.
fn below_src(path: &Path) -> String {
    path.strip_prefix(root().join("src")).unwrap().to_string_lossy().replace('\\', "/")
}

fn is_test(name: &str) -> bool {
    name.contains("tests") || name.ends_with("fixture.rs")
}

/// The code of a file without comments and without its tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

#[test]
fn pure_modules_stay_pure() {
    let mut wrong = Vec::new();
    for path in files("src", "rs") {
        let name = below_src(&path);
        let pure = PURE.iter().any(|room| name == format!("{room}.rs") || name.starts_with(&format!("{room}/")));
        if !pure || is_test(&name) || IMPURE.contains(&name.as_str()) {
            continue;
        }
        let code = code(&path);
        wrong.extend(
            FORBIDDEN.iter().filter(|word| code.contains(**word)).map(|word| format!("src/{name} uses {word}")),
        );
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What only some rooms may know: a runtime, and the client of a real cluster, which is a way in and the way to the agents. Whoever else needs objects
/// takes them as [`portreeve::world::Object`]s.
const KNOWN_IN: [(&str, &[&str]); 3] = [
    ("tokio", &["agent/ask", "agent/run", "cli", "demo", "load/cluster", "observe", "serve"]),
    ("kube::", &["agent/ask", "load/cluster"]),
    ("k8s_openapi", &["agent/ask", "load/cluster"]),
];

#[test]
fn runtime_and_client_stay_where_they_belong() {
    let mut wrong = Vec::new();
    for path in files("src", "rs") {
        let name = below_src(&path);
        let code = code(&path);
        for (word, rooms) in KNOWN_IN {
            let here = rooms.iter().any(|room| name == format!("{room}.rs") || name.starts_with(&format!("{room}/")));
            if code.contains(word) && !here && !is_test(&name) {
                wrong.push(format!("src/{name} uses {word}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Each room, and the rooms it may look at: those to its left in the drawing in lib.rs. Only wiring (cli, demo, main) sees everything.
const FLOW: [(&str, &[&str]); 13] = [
    ("source", &[]),
    ("finding", &["source"]),
    ("world", &["source", "finding"]),
    ("guide", &["source", "finding", "world"]),
    ("matrix", &["source", "finding", "world", "guide"]),
    ("policy", &["source", "finding", "world", "matrix"]),
    ("judge", &["source", "finding", "world", "matrix", "policy"]),
    ("act", &["finding", "world", "matrix", "policy", "judge"]),
    ("doctor", &["source", "finding", "world", "guide", "matrix", "policy", "judge"]),
    ("observe", &["world", "matrix", "judge"]),
    ("serve", &["finding", "matrix", "judge"]),
    ("agent", &["source", "matrix", "world", "policy", "judge", "observe", "serve"]),
    ("load", &["source", "finding", "world", "guide", "matrix", "policy"]),
];

#[test]
fn flow_goes_one_way() {
    let mut wrong = Vec::new();
    for path in files("src", "rs") {
        let name = below_src(&path);
        let room = name.split('/').next().unwrap().trim_end_matches(".rs");
        let Some((_, left)) = FLOW.iter().find(|(known, _)| *known == room).filter(|_| !is_test(&name)) else {
            continue;
        };
        let code = code(&path);
        let looked_at = code
            .split("crate::")
            .skip(1)
            .filter_map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next());
        let rooms = ["cli", "demo"].into_iter().chain(FLOW.iter().map(|(known, _)| *known));
        let rooms: BTreeSet<&str> = rooms.filter(|other| *other != room && !left.contains(other)).collect();
        wrong.extend(
            looked_at.filter(|other| rooms.contains(other)).map(|other| format!("src/{name} looks at {other}")),
        );
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_source_file_is_compiled() {
    for path in files("src", "rs") {
        let name = below_src(&path);
        if name == "lib.rs" || name == "main.rs" {
            continue;
        }
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        let folder = path.parent().unwrap();
        let parent = if folder == root().join("src") { folder.join("lib.rs") } else { folder.with_extension("rs") };
        let text = fs::read_to_string(&parent).unwrap_or_default();
        let declared = text.lines().any(|line| {
            let line = line.trim();
            line.ends_with(&format!("mod {stem};"))
        });
        assert!(declared, "src/{name} is declared in no module ({})", parent.display());
    }
}

#[test]
fn files_stay_small() {
    for path in files("src", "rs") {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= MAX_LINES, "{}: {lines} lines; more than {MAX_LINES} want to be two files", path.display());
    }
}

#[test]
fn every_code_and_reason_has_its_section() {
    let findings = read("docs/findings.md");
    for code in Code::ALL {
        let heading = format!("## {} {}", code.code(), code.name());
        assert!(findings.lines().any(|line| line == heading), "docs/findings.md has no section {heading:?}");
        assert!(
            findings.contains(code.meaning()),
            "docs/findings.md does not say what {code} means in the code's words"
        );
    }
    let reasons = read("docs/reasons.md");
    for reason in Reason::ALL {
        let heading = format!("## {reason}");
        assert!(reasons.lines().any(|line| line == heading), "docs/reasons.md has no section {heading:?}");
    }
}

/// A code that nothing emits promises what the product does not do.
#[test]
fn every_code_can_come_out() {
    let sources: Vec<String> = files("src", "rs")
        .iter()
        .filter(|path| !is_test(&below_src(path)) && below_src(path) != "finding.rs")
        .map(|path| code(path))
        .collect();
    for code in Code::ALL {
        let name = format!("Code::{}", code.name());
        assert!(sources.iter().any(|source| source.contains(&name)), "nothing in src/ emits {code}");
    }
}

#[test]
fn every_dependency_earns_its_line() {
    let manifest = read("Cargo.toml");
    let table = read("docs/dependencies.md");
    let mut section = "";
    let mut names = BTreeSet::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        } else if section.contains("dependencies") && line.contains('=') {
            names.insert(line.split('=').next().unwrap().trim());
        }
    }
    assert!(names.len() > 10, "Cargo.toml's dependencies were not found");
    for name in names {
        assert!(table.contains(&format!("`{name}`")), "docs/dependencies.md does not say what {name} is for");
    }
}

/// A test that `cargo test` leaves out says which stage of tests/run runs it.
#[test]
fn no_test_is_left_out_everywhere() {
    let run = read("tests/run");
    for folder in ["src", "tests"] {
        for path in files(folder, "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let marks = text.lines().filter_map(|line| line.trim().strip_prefix("#[ignore"));
            for mark in marks {
                let stage = mark.split("tests/run ").nth(1).and_then(|rest| rest.split(['"', ' ']).next());
                let runs = |stage: &str| run.contains(&format!("\nstage_{stage}() {{"));
                assert!(
                    stage.is_some_and(runs),
                    "{}: no stage of tests/run runs a test with #[ignore{mark}",
                    path.display()
                );
            }
        }
    }
}

/// Help texts and comments send people only where there is something. What is of another project's docs says so before it: `MAS's docs/…`, `Synapse docs/…`.
#[test]
fn every_page_that_is_named_is_there() {
    let mut named = BTreeSet::new();
    let mut wrong = Vec::new();
    for path in files("src", "rs") {
        let text = fs::read_to_string(&path).unwrap();
        for (at, _) in text.match_indices("docs/") {
            let before = text[..at].trim_end();
            let theirs = ["MAS", "MAS's", "Synapse", "Synapse's", "`"].iter().any(|whose| before.ends_with(whose));
            let end = text[at..].find(|c: char| !c.is_ascii_alphanumeric() && !"-_./".contains(c));
            let page = text[at..][..end.unwrap_or(text.len() - at)].trim_end_matches('.');
            if theirs || page.strip_suffix(".md").is_none() {
                continue;
            }
            named.insert(page.to_owned());
            if !root().join(page).exists() {
                wrong.push(format!("src/{} names {page}, which is not there", below_src(&path)));
            }
        }
    }
    assert!(named.contains("docs/probes.md"), "the pages that src/ names were not found: {named:?}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A link inside docs/ leads to a page, and to a section of it if it names one.
#[test]
fn every_link_between_pages_leads_somewhere() {
    let mut wrong = Vec::new();
    for path in files("docs", "md") {
        let text = fs::read_to_string(&path).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            let (page, section) = link.split_once('#').unwrap_or((link, ""));
            let there = if page.is_empty() { path.clone() } else { path.parent().unwrap().join(page) };
            let known = there.exists()
                && (section.is_empty()
                    || fs::read_to_string(&there)
                        .unwrap()
                        .lines()
                        .any(|line| line.starts_with('#') && anchor(line.trim_start_matches('#').trim()) == section));
            if !known {
                wrong.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A heading as a link names it: small letters, hyphens for spaces, nothing else but underscores.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn no_machine_is_named() {
    for folder in ["src", "tests", "docs", "policies", "dashboards", "deploy"] {
        for extension in ["rs", "md", "yaml", "json", "sh", "py"] {
            for path in files(folder, extension) {
                let text = fs::read_to_string(&path).unwrap();
                let machine = ["/wo", "rk/"].concat();
                assert!(!text.contains(&machine), "{}: names a path of one machine", path.display());
            }
        }
    }
}
