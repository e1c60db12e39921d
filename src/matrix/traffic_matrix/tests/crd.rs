//! The CustomResourceDefinition, generated from the types that read a TrafficMatrix, and held against deploy/crd.yaml.
//!
//! Structural, as the API server asks (apiextensions/v1, "Specifying a structural schema"): every type is said, nothing is referred to.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::super::raw::RawSpec;
use super::spec as read_spec;
use crate::source::emit;

const FILE: &str = "deploy/crd.yaml";
const HEADER: &str = "\
# The TrafficMatrix, short name tmx. Generated from src/matrix/traffic_matrix/raw.rs, and held to it by a test.
# Whoever changes the types runs: PORTREEVE_WRITE=1 cargo test --lib traffic_matrix::tests::crd
";

fn crd() -> Value {
    let column = |name: &str, kind: &str, path: &str| json!({"name": name, "type": kind, "jsonPath": path});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "trafficmatrices.portreeve.io"},
        "spec": {
            "group": "portreeve.io",
            "scope": "Namespaced",
            "names": {
                "kind": "TrafficMatrix",
                "listKind": "TrafficMatrixList",
                "plural": "trafficmatrices",
                "singular": "trafficmatrix",
                "shortNames": ["tmx"],
            },
            "versions": [{
                "name": "v1alpha1",
                "served": true,
                "storage": true,
                "additionalPrinterColumns": [
                    column("Mode", "string", ".spec.mode"),
                    column("Subject", "string", ".spec.subject"),
                    column("Age", "date", ".metadata.creationTimestamp"),
                ],
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "description": "The connections that a Matrix Authentication Service needs, and those that must stay closed.",
                    "required": ["spec"],
                    "properties": {
                        "apiVersion": {"type": "string"},
                        "kind": {"type": "string"},
                        "metadata": {"type": "object"},
                        "spec": spec(),
                    },
                    "x-kubernetes-validations": [{
                        "rule": "self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$') && size(self.metadata.name) <= 63",
                        "message": "the name becomes a label's value: at most 63 lower-case letters, digits and `-`",
                    }],
                }},
            }],
        },
    })
}

/// The schema of `spec`: the types, and what they cannot say.
fn spec() -> Value {
    let settings = SchemaSettings::openapi3().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<RawSpec>().to_value();
    structural(&mut schema);
    for (path, more) in rules() {
        let at = schema.pointer_mut(path).unwrap_or_else(|| panic!("{path} is not in the schema"));
        let (Value::Object(at), Value::Object(more)) = (at, more) else { panic!("{path} is no schema") };
        at.extend(more);
    }
    schema
}

/// What readers check and types do not say: `traffic_matrix.rs` has the same rules, with places.
fn rules() -> Vec<(&'static str, Value)> {
    const LABEL: &str = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$";
    const DURATION: &str = "^([0-9]+(ms|s|m|h))+$";
    let duration = |default: &str| json!({"pattern": DURATION, "maxLength": 32, "default": default});
    let rule = |rule: &str, message: &str| json!({"x-kubernetes-validations": [{"rule": rule, "message": message}]});
    let ends = json!({"minLength": 1, "maxLength": 512});
    let mut rules = vec![
        ("/properties/mode", json!({"default": "Audit"})),
        (
            "/properties/directions",
            json!({"minItems": 1, "x-kubernetes-list-type": "set", "default": ["Ingress", "Egress"]}),
        ),
        ("/properties/deletionPolicy", json!({"default": "Keep"})),
        ("/properties/subject", ends.clone()),
        ("/properties/adopt", json!({"maxItems": 16, "x-kubernetes-list-type": "set"})),
        ("/properties/policies/properties/owner", json!({"default": "Controller"})),
        ("/properties/rollout/properties/strategy", json!({"default": "Confirm"})),
        ("/properties/rollout/properties/window", duration("120s")),
        ("/properties/probe/properties/interval", duration("15s")),
        ("/properties/probe/properties/deepInterval", duration("5m")),
        ("/properties/names/properties/grace", duration("1h")),
        ("/properties/names/properties/max", json!({"minimum": 1, "default": 100})),
        ("/properties/guide/properties/values", json!({"x-kubernetes-preserve-unknown-fields": true})),
        ("/properties/guide/properties/valuesFrom", json!({"maxItems": 16})),
        (
            "/properties/guide/properties/valuesFrom/items/properties/kind",
            json!({"enum": ["ConfigMap", "HelmRelease"]}),
        ),
        ("/properties/masConfigFrom", json!({"maxItems": 16})),
        ("/properties/masConfigFrom/items/properties/kind", json!({"enum": ["ConfigMap"]})),
        (
            "/properties/peers",
            json!({"maxProperties": 32, "x-kubernetes-validations": [{
                "rule": format!("self.all(key, key.matches('{LABEL}'))"),
                "message": "a peer's key has lower-case letters, digits and `-`, at most 63",
            }]}),
        ),
        (
            "/properties/peers/additionalProperties",
            json!({"x-kubernetes-validations": [
                {
                    "rule": "[has(self.service), has(self.selector), has(self.host), has(self.cidrs)].filter(given, given).size() == 1",
                    "message": "exactly one of service, selector, host and cidrs is expected",
                },
                {
                    "rule": "!has(self.allowPrivate) || has(self.host)",
                    "message": "allowPrivate is for a host's addresses: it needs `host`",
                },
            ]}),
        ),
        ("/properties/peers/additionalProperties/properties/cidrs", json!({"minItems": 1, "maxItems": 256})),
        ("/properties/peers/additionalProperties/properties/allowPrivate", json!({"minItems": 1, "maxItems": 256})),
        (
            "/properties/peers/additionalProperties/properties/selector/properties/podSelector",
            rule(
                "has(self.matchLabels) && size(self.matchLabels) > 0",
                "matchLabels is empty: that would be every pod of the namespace",
            ),
        ),
        (
            "/properties/peers/additionalProperties/properties/selector/properties/podSelector/properties/matchLabels",
            json!({"maxProperties": 32}),
        ),
    ];
    for list in ["/properties/edges", "/properties/forbid"] {
        rules.push((
            list,
            json!({"maxItems": 128, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}),
        ));
    }
    rules.extend([
        ("/properties/edges/items/properties/name", json!({"pattern": LABEL})),
        ("/properties/forbid/items/properties/name", json!({"pattern": LABEL})),
        ("/properties/edges/items/properties/protocol", json!({"enum": ["TCP", "UDP", "SCTP"]})),
        ("/properties/forbid/items/properties/protocol", json!({"enum": ["TCP", "UDP", "SCTP"]})),
        ("/properties/edges/items/properties/from", ends.clone()),
        ("/properties/edges/items/properties/to", ends.clone()),
        ("/properties/forbid/items/properties/from", ends.clone()),
        ("/properties/forbid/items/properties/to", ends),
    ]);
    rules
}

/// Of what the generator writes, only what a structural schema may have.
fn structural(schema: &mut Value) {
    if let Value::Array(items) = schema {
        items.iter_mut().for_each(structural);
    }
    let Value::Object(object) = schema else { return };
    // An optional enum is written as "this or null".
    if let Some(Value::Array(either)) = object.remove("anyOf") {
        let not_null = either.into_iter().find(|one| one.get("type") != Some(&json!("null")));
        for (key, value) in not_null.as_ref().and_then(Value::as_object).into_iter().flatten() {
            object.entry(key.as_str()).or_insert_with(|| value.clone());
        }
    }
    // Words of an enum, each with a sentence of its own.
    if let Some(Value::Array(words)) = object.remove("oneOf") {
        let mut said = Vec::new();
        for word in &words {
            said.extend(word.get("const").cloned());
            said.extend(word.get("enum").and_then(Value::as_array).into_iter().flatten().cloned());
        }
        object.insert("type".to_owned(), "string".into());
        object.insert("enum".to_owned(), said.into());
    }
    for gone in ["title", "nullable", "default", "format"] {
        // As properties, these are somebody's keys.
        if object.get(gone).is_some_and(|value| !value.is_object()) || gone == "default" {
            object.remove(gone);
        }
    }
    if let Some(Value::String(text)) = object.get_mut("description") {
        *text = text.replace('\n', " ");
    }
    if object.get("additionalProperties") == Some(&Value::Bool(true)) {
        object.remove("additionalProperties");
    }
    for (_, value) in object.iter_mut() {
        structural(value);
    }
}

/// Every schema in a schema, with its path.
fn each(schema: &Value, path: &str, visit: &mut dyn FnMut(&str, &Map<String, Value>)) {
    let Value::Object(object) = schema else { return };
    visit(path, object);
    for (key, property) in object.get("properties").and_then(Value::as_object).into_iter().flatten() {
        each(property, &format!("{path}.{key}"), visit);
    }
    for key in ["items", "additionalProperties"] {
        object.get(key).into_iter().for_each(|inner| each(inner, &format!("{path}.{key}"), visit));
    }
}

#[test]
fn the_file_is_what_the_types_say() {
    let text = format!("{HEADER}{}", emit::to_yaml(&crd()));
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    if std::env::var_os("PORTREEVE_WRITE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let is = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(is == text, "{FILE} is not what the types say: {HEADER}");
}

#[test]
fn everything_has_a_type_and_a_description() {
    let mut wrong = Vec::new();
    each(&spec(), "spec", &mut |path, schema| {
        let open = schema.contains_key("x-kubernetes-int-or-string");
        if !open && !schema.get("type").is_some_and(Value::is_string) {
            wrong.push(format!("{path} has no type"));
        }
        for word in ["$ref", "anyOf", "oneOf", "allOf", "nullable"] {
            if schema.contains_key(word) {
                wrong.push(format!("{path} has {word}"));
            }
        }
        let inner = ["items", "additionalProperties"].contains(&path.rsplit('.').next().unwrap_or_default());
        if !inner && !schema.contains_key("description") {
            wrong.push(format!("{path} has no description"));
        }
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A default of the schema is the default of the reader: an object means the same before and after the API server filled it in.
#[test]
fn defaults_are_the_readers() {
    let mut spec_with_defaults = json!({});
    for (path, more) in rules() {
        let Some(default) = more.get("default") else { continue };
        let keys: Vec<&str> = path.split('/').filter(|key| !key.is_empty() && *key != "properties").collect();
        let mut at = &mut spec_with_defaults;
        for key in keys {
            at = &mut at[key];
        }
        *at = default.clone();
    }
    let read = |text: &str| read_spec(text).unwrap().0;
    let (given, empty) = (read(&spec_with_defaults.to_string()), read("{}"));
    assert_eq!(
        (given.mode, given.directions, given.deletion_policy, given.owner, given.rollout, given.probe, given.names),
        (empty.mode, empty.directions, empty.deletion_policy, empty.owner, empty.rollout, empty.probe, empty.names)
    );
}
