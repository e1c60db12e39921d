//! Answers of the Kubernetes API → the same located [`Node`]s that a file gives.
//!
//! A live object has no lines: its nodes are numbered in reading order (line 0, the number as column), and [`Document::place`] turns a number
//! into a path such as `spec.ingress[0]`. What is bulky and read by nobody is left out while reading: `metadata.managedFields` and the last
//! applied configuration. Text is what it says: the API server holds values, never templates or variables.
//!
//! [`Document::place`]: super::Document::place

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::yaml::{MAX_DEPTH, MAX_NODES};
use super::{Key, Node, Position, Value};

/// One page of a list.
#[derive(Debug, Default)]
pub struct Page {
    /// Its objects.
    pub items: Vec<Node>,
    /// Where the next page begins; `None` after the last.
    pub next: Option<String>,
    /// Objects that follow, as far as the API server says.
    pub remaining: Option<u64>,
}

/// Reads one page of a list. The error says what is wrong, and never quotes the text.
pub fn page(text: &[u8]) -> Result<Page, String> {
    struct PageVisitor;
    impl<'de> Visitor<'de> for PageVisitor {
        type Value = Page;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Page, A::Error> {
            let (mut page, mut is_list) = (Page::default(), false);
            while let Some(key) = map.next_key::<Box<str>>()? {
                match &*key {
                    "metadata" => {
                        let meta: ListMeta = map.next_value()?;
                        page.next = meta.next.filter(|token| !token.is_empty());
                        page.remaining = meta.remaining_item_count.and_then(|count| u64::try_from(count).ok());
                    }
                    "items" => {
                        page.items = map.next_value_seed(Items)?;
                        is_list = true;
                    }
                    _ => drop(map.next_value::<IgnoredAny>()?),
                }
            }
            if is_list { Ok(page) } else { Err(A::Error::custom("no items")) }
        }
    }
    let mut reader = serde_json::Deserializer::from_slice(text);
    let page = reader.deserialize_map(PageVisitor);
    page.and_then(|page| reader.end().map(|()| page)).map_err(|error| describe(&error, "list of objects"))
}

/// Reads one object.
pub fn object(text: &[u8]) -> Result<Node, String> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let node = Tree::root(&mut 0).deserialize(&mut reader);
    let node = node.and_then(|node| reader.end().map(|()| node)).map_err(|error| describe(&error, "object"))?;
    if matches!(node.value, Value::Map(_)) { Ok(node) } else { Err("it is no object".to_owned()) }
}

/// Our own words: those of serde_json repeat values.
fn describe(error: &serde_json::Error, wanted: &str) -> String {
    match error.classify() {
        serde_json::error::Category::Data => format!("it is no {wanted} (line {})", error.line()),
        serde_json::error::Category::Eof => "it ends in the middle".to_owned(),
        _ => format!("it is no JSON (line {}, column {})", error.line(), error.column()),
    }
}

#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ListMeta {
    #[serde(rename = "continue")]
    next: Option<String>,
    remaining_item_count: Option<i64>,
}

/// `items`, each a tree of its own; `null` is an empty list, as Go writes it.
struct Items;

impl<'de> DeserializeSeed<'de> for Items {
    type Value = Vec<Node>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Node>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Items {
    type Value = Vec<Node>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("items")
    }
    fn visit_unit<E>(self) -> Result<Vec<Node>, E> {
        Ok(Vec::new())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<Node>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(Tree::root(&mut 0))? {
            items.push(item);
        }
        Ok(items)
    }
}

/// Where in an object we are, as far as it matters for what is left out.
#[derive(Clone, Copy)]
enum Part {
    Object,
    Metadata,
    Annotations,
    Rest,
}

impl Part {
    /// The part under a key; `None` for what nobody reads.
    fn below(self, key: &str) -> Option<Self> {
        match (self, key) {
            (Self::Object, "metadata") => Some(Self::Metadata),
            (Self::Metadata, "managedFields") => None,
            (Self::Metadata, "annotations") => Some(Self::Annotations),
            (Self::Annotations, "kubectl.kubernetes.io/last-applied-configuration") => None,
            _ => Some(Self::Rest),
        }
    }
}

/// One value of an object.
struct Tree<'c> {
    /// Nodes before it.
    count: &'c mut u32,
    depth: usize,
    part: Part,
}

impl<'c> Tree<'c> {
    fn root(count: &'c mut u32) -> Self {
        Self { count, depth: 0, part: Part::Object }
    }
}

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Node;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        if self.depth > MAX_DEPTH || *self.count as usize > MAX_NODES {
            return Err(D::Error::custom("too deep or too large"));
        }
        let at = Position { line: 0, column: *self.count };
        *self.count += 1;
        Ok(Node { at, value: deserializer.deserialize_any(self)? })
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value))
    }

    #[allow(clippy::cast_precision_loss, reason = "a number beyond 63 bits is a float in the tree")]
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or(Value::Float(value as f64), Value::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let Self { count, depth, .. } = self;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(Tree { count, depth: depth + 1, part: Part::Rest })? {
            items.push(item);
        }
        Ok(Value::Seq(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let Self { count, depth, part } = self;
        let mut entries = Vec::new();
        while let Some(text) = map.next_key::<Box<str>>()? {
            let Some(part) = part.below(&text) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let node = map.next_value_seed(Tree { count, depth: depth + 1, part })?;
            entries.push((Key { at: node.at, text }, node));
        }
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Document;

    const LIST: &str = r#"{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"7","continue":"abc","remainingItemCount":12},
        "items":[{"metadata":{"name":"p","managedFields":[{"manager":"kubectl"}],
            "annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{}","note":"${HOST} {{ x }}"}},
            "spec":{"ports":[{"port":80},{"port":null,"share":0.5,"big":18446744073709551615}],"on":true}}]}"#;

    #[test]
    fn a_page_is_read_without_what_nobody_reads() {
        let page = page(LIST.as_bytes()).unwrap();
        assert_eq!((page.next.as_deref(), page.remaining, page.items.len()), (Some("abc"), Some(12), 1));
        let root = &page.items[0];
        assert_eq!(root.at_path("/metadata/name").and_then(Node::text), Some("p"));
        assert!(root.at_path("/metadata/managedFields").is_none());
        let annotations: Vec<_> = root.at_path("/metadata/annotations").unwrap().entries().iter().collect();
        let [(key, node)] = annotations[..] else { panic!("{annotations:?}") };
        assert_eq!((&*key.text, node.text()), ("note", Some("${HOST} {{ x }}")));
        assert_eq!(root.at_path("/spec/ports/1/port").unwrap().value, Value::Null);
        assert_eq!(root.at_path("/spec/ports/1/big").unwrap().value, Value::Float(18_446_744_073_709_551_615.0));
    }

    #[test]
    fn a_node_of_a_live_object_knows_its_path() {
        let root = page(LIST.as_bytes()).unwrap().items.remove(0);
        let document = Document { file: "cluster:Pod/n/p".into(), root };
        let check = |path: &str, expect: &str| {
            let node = document.root.at_path(path).unwrap();
            assert_eq!(document.place(node).to_string(), expect);
        };
        check("", "cluster:Pod/n/p");
        check("/metadata/name", "cluster:Pod/n/p:metadata.name");
        check("/spec/ports/1/share", "cluster:Pod/n/p:spec.ports[1].share");
        check("/spec/on", "cluster:Pod/n/p:spec.on");
    }

    #[test]
    fn what_is_no_list_is_told_without_quoting_it() {
        let check = |text: &str, expect: &str| assert_eq!(page(text.as_bytes()).unwrap_err(), expect, "{text}");
        check("<html>hunter2", "it is no JSON (line 1, column 1)");
        check(r#"{"items":[{"a":"hunter2"#, "it ends in the middle");
        check(r#"{"items":"hunter2"}"#, "it is no list of objects (line 1)");
        check(r#"{"kind":"Status"}"#, "it is no list of objects (line 1)");
        check(r#"{"items":[]} hunter2"#, "it is no JSON (line 1, column 14)");
        let deep = format!("{{\"items\":[{}", "[".repeat(200));
        check(&deep, "it is no list of objects (line 1)");
        assert!(page(br#"{"items":null}"#).unwrap().items.is_empty());
        assert_eq!(object(b"[1]").unwrap_err(), "it is no object");
    }
}
