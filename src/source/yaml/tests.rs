//! Bad input and faults of every kind: a message of our own with its place, bounded memory, no excerpt of the source.

use super::*;

fn all(text: &str) -> (Vec<Document>, Option<InputError>) {
    parse(&Arc::from("f.yaml"), text)
}

/// Expects a number of whole documents, then an error (`""`: none) that never repeats the canary.
#[track_caller]
fn check(text: &str, documents: usize, error: &str) {
    let (found, got) = all(text);
    let got = got.map_or(String::new(), |e| e.to_string());
    assert_eq!((found.len(), got.as_str()), (documents, error));
    assert!(!got.contains("CANARY"));
}

#[test]
fn broken_text_is_told_with_its_place() {
    check("", 0, "");
    check("# only a comment\n", 0, "");
    check("---\n---\n...\n", 0, "");
    check("\u{feff}a: 1\n", 1, "");
    check("a: 1\na: 2\n", 0, "f.yaml:2:1: this key stands twice in one mapping: keep one of them");
    check("pw: CANARY\n\ta: 1\n", 0, "f.yaml:2:1: a tab stands where YAML wants spaces: indent with spaces");
    check(
        "pw: CANARY\nlist: [1, 2\nnext: CANARY\n",
        0,
        "f.yaml:3:5: this is not valid YAML: check indentation, quotes and brackets on this line and the one before",
    );
    check(
        "pw: \"CANARY\n",
        0,
        "f.yaml:1:5: this is not valid YAML: check indentation, quotes and brackets on this line and the one before",
    );
    check("a: 1\n--- \nb: *CANARY\n", 1, "f.yaml:3:4: this alias has no anchor before it");
    check("? [a]\n: 1\n", 0, "f.yaml:1:3: a key must be plain text, not a list or a mapping");
    check("a: &x\n  b: *x\n", 0, "f.yaml:2:6: this alias points into itself");
    check("<<: 1\n", 0, "f.yaml:1:5: `<<` merges a mapping or a list of mappings");
    check(&"- ".repeat(200), 0, "f.yaml:1:193: more than 96 levels of nesting");
}

#[test]
fn five_thousand_documents_are_read() {
    check(&"a: 1\n---\n".repeat(5000), 5000, "");
}

#[test]
fn an_alias_bomb_is_refused_early() {
    use std::fmt::Write;
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let before = vec![format!("*a{}", level - 1); 10].join(", ");
        writeln!(bomb, "a{level}: &a{level} [{before}]").unwrap();
    }
    let (documents, error) = all(&bomb);
    assert!(documents.is_empty());
    assert_eq!(error.unwrap().message, TOO_MANY_COPIES);
}

#[test]
fn nested_anchors_cannot_multiply_a_large_list() {
    let text = format!("{}[{}]", "- ".repeat(40).replace("- ", "- &a\n  ").replace('\n', " "), "x, ".repeat(20_000));
    assert!(all(&text).1.is_some());
}

#[test]
fn many_keys_take_linear_time() {
    let text = (0..200_000).map(|i| format!("k{i}: 1\n")).collect::<Vec<_>>().concat();
    let (documents, error) = all(&text);
    assert_eq!((documents[0].root.entries().len(), error), (200_000, None));
    let (documents, error) = all(&format!("{text}k7: 2\n"));
    assert!(documents.is_empty() && error.is_some());
}

#[test]
fn anchors_merges_templates_and_json() {
    let root = |text: &str| {
        let (mut documents, error) = all(text);
        assert_eq!(error, None, "{text}");
        documents.remove(0).root
    };
    let merged = root("base: &b {x: 1, y: 2}\nhere:\n  <<: *b\n  y: 3\n");
    assert_eq!(merged.at_path("/here/x").unwrap().value, Value::Int(1));
    assert_eq!(merged.at_path("/here/y").unwrap().value, Value::Int(3));
    let templated = root("port: {{ .Values.port }}\nname: \"{{ .Release.Name }}\"\nnext: 1\n");
    assert_eq!(templated.get("port").unwrap().value, Value::Opaque("a template"));
    assert_eq!(templated.get("name").unwrap().value, Value::Opaque("a template"));
    assert_eq!(templated.get("next").unwrap().at, Position { line: 3, column: 7 });
    let json = root("{\"a\": [1, {\"b\": \"8080\"}], \"c\": null}");
    assert_eq!(json.at_path("/a/1/b").unwrap().value, Value::Text("8080".into()));
    assert_eq!(root("a: !!str 8080").get("a").unwrap().value, Value::Text("8080".into()));
    assert_eq!(root("8080: x").entries()[0].0.text, "8080".into());
}

/// The roots that a list is opened into, as `line:kind`, and how many items stay in it.
#[track_caller]
fn check_list(text: &str, objects: &[&str], left: usize) {
    let file: Arc<str> = Arc::from("f.yaml");
    let mut found = Vec::new();
    parse_objects(&file, &Part { text, lines_before: 10 }, |document| found.push(document.root)).unwrap();
    let list = found.pop().unwrap();
    let got: Vec<_> = found
        .iter()
        .map(|root| {
            let text = |key| root.get(key).and_then(Node::text).unwrap();
            format!("{}:{}/{}", root.at.line, text("apiVersion"), text("kind"))
        })
        .collect();
    assert_eq!(got, objects);
    assert_eq!(list.get("items").map(|items| items.items().len()), Some(left));
}

#[test]
fn a_list_is_opened_item_by_item() {
    let item = "- {apiVersion: v1, kind: Pod}\n";
    check_list(&format!("kind: List\nitems:\n{item}{item}"), &["13:v1/Pod", "14:v1/Pod"], 0);
    check_list(&format!("items:\n{item}kind: List\n"), &["12:v1/Pod"], 0);
    check_list("kind: PodList\napiVersion: v1\nitems: [{a: 1}, {kind: X}]\n", &["13:v1/Pod", "13:v1/X"], 0);
    // What cannot be told yet, or is no list, stays.
    check_list("items: [{a: 1}]\nkind: PodList\n", &[], 1);
    check_list(&format!("kind: ConfigMap\nitems:\n{item}"), &[], 1);
    check_list("kind: List\nitems: [{a: 1}, text, [x]]\n", &[], 3);
    check_list(&format!("kind: List\nitems: &all\n{item}"), &[], 1);
}

#[test]
fn the_budget_of_a_list_is_that_of_its_items() {
    let item = format!("{{apiVersion: v1, kind: Pod, x: [{}]}}", "1, ".repeat(2_000));
    let text = format!("{{kind: List, items: [{}]}}", vec![item; 210].join(", "));
    let (documents, error) = all(&text);
    assert!(documents.is_empty() && error.is_some());
    let mut count = 0;
    let part = Part { text: &text, lines_before: 0 };
    parse_objects(&Arc::from("f.yaml"), &part, |_| count += 1).unwrap();
    assert_eq!(count, 211);
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        let _ = all(&text);
    }

    #[test]
    fn no_yaml_like_text_panics(text in "[a&*{}\\[\\]:,\\- \n\t\"'|>!%#<?]{0,120}") {
        let _ = all(&text);
    }
}
