//! A list of assertions, as YAML or as JSON lines. Strict: an unknown key is an error, because a misspelt `expect` would assert nothing.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

use super::{Assertion, Expectation};
use crate::matrix::parse_endpoint;
use crate::source::de::{UnknownKeys, read as read_node};
use crate::source::{Document, InputError, Node, Place, Value, yaml};
use crate::world::{parse_port, parse_protocol};

/// What makes each JSON line a document of its own without moving any line.
const MARK: &str = "--- ";

/// Reads assertions: a YAML list (or several documents of lists), a JSON array, or one JSON object a line.
pub fn read(file: &Arc<str>, text: &str) -> Result<Vec<Assertion>, InputError> {
    let mut assertions = Vec::new();
    let mut failed = None;
    let lines = is_json_lines(text);
    let marked: String;
    let source = if lines {
        marked =
            text.lines().map(|line| if skipped(line) { "\n".to_owned() } else { format!("{MARK}{line}\n") }).collect();
        &marked
    } else {
        text
    };
    let parsed = yaml::parse_each(file, source, |document| {
        if failed.is_none() {
            failed = assertions_of(&document, &mut assertions).err();
        }
    });
    let mut result = failed.map_or(parsed, Err);
    if lines {
        let places = assertions.iter_mut().map(|assertion| &mut assertion.place);
        for place in places.chain(result.as_mut().err().map(|error| &mut error.place)) {
            unmark(place);
        }
    }
    result.map(|()| assertions)
}

fn skipped(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#')
}

fn is_json_lines(text: &str) -> bool {
    let mut lines = text.lines().filter(|line| !skipped(line)).peekable();
    lines.peek().is_some() && lines.all(|line| line.trim().starts_with('{') && line.trim().ends_with('}'))
}

fn unmark(place: &mut Place) {
    let marked = u32::try_from(MARK.len()).unwrap_or_default();
    place.position.column = place.position.column.saturating_sub(marked).max(1);
}

fn assertions_of(document: &Document, into: &mut Vec<Assertion>) -> Result<(), InputError> {
    match &document.root.value {
        Value::Seq(items) => items.iter().try_for_each(|item| assertion(document, item).map(|a| into.push(a))),
        Value::Map(_) => assertion(document, &document.root).map(|a| into.push(a)),
        _ => {
            let message = "a list of assertions is wanted here: `- {from, to, port, expect}`";
            Err(InputError::new(document.place(&document.root), message))
        }
    }
}

#[derive(Deserialize)]
struct Raw {
    name: Option<String>,
    from: String,
    to: String,
    port: RawPort,
    protocol: Option<String>,
    expect: Expectation,
}

fn assertion(document: &Document, node: &Node) -> Result<Assertion, InputError> {
    let raw: Raw = read_node(document, node, UnknownKeys::Refuse, &mut Vec::new())?;
    let at = |key: &str, message: String| {
        InputError::new(document.place(node.get(key).unwrap_or(node)), format!("{key}: {message}"))
    };
    let from = parse_endpoint(&raw.from).map_err(|message| at("from", message))?;
    let to = parse_endpoint(&raw.to).map_err(|message| at("to", message))?;
    let port = parse_port(&raw.port.0).map_err(|message| at("port", message))?;
    let named = raw.protocol.as_deref().map(parse_protocol).transpose();
    let named = named.map_err(|message| at("protocol", message))?;
    let protocol = match (port.protocol, named) {
        (Some(one), Some(other)) if one != other => {
            return Err(at("protocol", "it contradicts the protocol behind the port: keep one of them".to_owned()));
        }
        (one, other) => one.or(other).unwrap_or_default(),
    };
    let port = port.port;
    let name = raw.name.unwrap_or_else(|| format!("{} to {} {port}/{protocol}", raw.from, raw.to));
    let (from_text, to_text) = (raw.from, raw.to);
    Ok(Assertion {
        name,
        from,
        from_text,
        to,
        to_text,
        port,
        protocol,
        expect: raw.expect,
        place: document.place(node),
    })
}

/// A port as people write it: a number, or text such as `53/udp` or `http`.
struct RawPort(String);

impl<'de> Deserialize<'de> for RawPort {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PortVisitor;
        impl Visitor<'_> for PortVisitor {
            type Value = RawPort;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a port")
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<RawPort, E> {
                Ok(RawPort(number.to_string()))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<RawPort, E> {
                Ok(RawPort(text.to_owned()))
            }
        }
        deserializer.deserialize_any(PortVisitor)
    }
}
