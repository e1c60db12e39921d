//! JSON values → YAML text, byte-stable: the same value is always the same bytes.
//!
//! Block style, two spaces, keys in the order of the value, strings quoted only where YAML 1.1 or 1.2 would read them as something else.

use serde_json::Value;

use super::{scalar, yaml};

/// Writes one document, without the `---`.
pub fn to_yaml(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => mapping(&mut out, map, 0),
        Value::Array(items) if !items.is_empty() => sequence(&mut out, items, 0),
        _ => {
            inline(&mut out, value, 0);
            out.push('\n');
        }
    }
    out
}

fn indent(out: &mut String, depth: usize) {
    out.extend(std::iter::repeat_n(' ', depth));
}

fn mapping(out: &mut String, map: &serde_json::Map<String, Value>, depth: usize) {
    for (index, (key, value)) in map.iter().enumerate() {
        // The first key of a list item stands behind its dash.
        if index > 0 || !out.ends_with("- ") {
            indent(out, depth);
        }
        text(out, key);
        out.push(':');
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                out.push('\n');
                mapping(out, inner, depth + 2);
            }
            Value::Array(items) if !items.is_empty() => {
                out.push('\n');
                sequence(out, items, depth);
            }
            _ => {
                out.push(' ');
                inline(out, value, depth + 2);
                out.push('\n');
            }
        }
    }
}

fn sequence(out: &mut String, items: &[Value], depth: usize) {
    for item in items {
        indent(out, depth);
        out.push_str("- ");
        match item {
            Value::Object(inner) if !inner.is_empty() => mapping(out, inner, depth + 2),
            Value::Array(inner) if !inner.is_empty() => {
                out.push('\n');
                sequence(out, inner, depth + 2);
            }
            _ => {
                inline(out, item, depth + 2);
                out.push('\n');
            }
        }
    }
}

fn inline(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(_) => out.push_str("{}"),
        Value::Array(_) => out.push_str("[]"),
        Value::String(s) if s.contains('\n') && !s.contains('\r') && is_block_safe(s) => block(out, s, depth),
        Value::String(s) => text(out, s),
        other => out.push_str(&other.to_string()),
    }
}

/// A literal block keeps line breaks readable; it cannot hold control characters or lines that begin with a space first.
fn is_block_safe(s: &str) -> bool {
    !s.starts_with([' ', '\n']) && !s.chars().any(|c| c.is_control() && c != '\n')
}

fn block(out: &mut String, s: &str, depth: usize) {
    let body = s.trim_end_matches('\n');
    out.push_str(match s.len() - body.len() {
        0 => "|-",
        1 => "|",
        _ => "|+",
    });
    for line in s.strip_suffix('\n').unwrap_or(s).split('\n') {
        out.push('\n');
        if !line.is_empty() {
            indent(out, depth);
            out.push_str(line);
        }
    }
}

fn text(out: &mut String, s: &str) {
    if is_plain(s) {
        out.push_str(s);
    } else {
        // JSON strings are YAML double-quoted scalars.
        out.push_str(&Value::from(s).to_string());
    }
}

fn is_plain(s: &str) -> bool {
    let starts_plain = s.starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_'));
    let all_plain = s.chars().all(|c| c.is_alphanumeric() || " -_./:,()+=<>@'".contains(c));
    starts_plain
        && all_plain
        && !s.ends_with([' ', ':'])
        && !s.contains(": ")
        && matches!(scalar::resolve(s), yaml::Value::Text(_))
        && s != "="
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn back(text: &str) -> Value {
        fn convert(node: &yaml::Node) -> Value {
            match &node.value {
                yaml::Value::Null => Value::Null,
                yaml::Value::Bool(b) => Value::from(*b),
                yaml::Value::Int(n) => Value::from(*n),
                yaml::Value::Float(n) => Value::from(*n),
                yaml::Value::Text(t) => Value::from(&**t),
                yaml::Value::Opaque(why) => panic!("{why} came back"),
                yaml::Value::Seq(items) => items.iter().map(convert).collect(),
                yaml::Value::Map(entries) => {
                    Value::Object(entries.iter().map(|(k, v)| (k.text.to_string(), convert(v))).collect())
                }
            }
        }
        let (documents, error) = yaml::parse(&Arc::from("t"), text);
        assert_eq!(error, None, "{text}");
        documents.first().map_or(Value::Null, |d| convert(&d.root))
    }

    #[test]
    fn writes_what_people_write() {
        let value = serde_json::json!({
            "apiVersion": "networking.k8s.io/v1",
            "metadata": {"name": "x", "annotations": {"note": "two\nlines\n", "n": "8080", "yes": "yes", "e": ""}},
            "spec": {"podSelector": {}, "ingress": [{"from": [{"a": 1}, {"b": [1, 2]}], "ports": []}], "on": true},
        });
        let expect = "apiVersion: networking.k8s.io/v1\nmetadata:\n  name: x\n  annotations:\n    note: |\n      two\n      lines\n    \"n\": \"8080\"\n    \"yes\": \"yes\"\n    e: \"\"\nspec:\n  podSelector: {}\n  ingress:\n  - from:\n    - a: 1\n    - b:\n      - 1\n      - 2\n    ports: []\n  \"on\": true\n";
        assert_eq!(to_yaml(&value), expect);
        assert_eq!(back(expect), value);
    }

    fn values() -> impl Strategy<Value = Value> {
        let text =
            prop_oneof!["[ -~]{0,12}", "\\PC{0,6}", "[a-z\n ]{0,10}", Just("1e3".to_owned()), Just("~".to_owned())];
        // Values that the reader calls opaque are not data we write.
        let text = text.prop_filter("opaque", |s: &String| scalar::opaque(s).is_none() && !s.contains('\u{feff}'));
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            text.prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map("[a-zA-Z0-9./-]{1,8}", inner, 0..4)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(value in values()) {
            let text = to_yaml(&value);
            prop_assert_eq!(back(&text), value, "{}", text);
        }
    }
}
