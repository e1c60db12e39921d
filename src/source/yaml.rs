//! YAML text → [`Document`]s of located [`Node`]s.
//!
//! The parser below serde-saphyr (which kube uses too) does the grammar.
//! The tree is ours because the product needs three things no typed reader gives together: a place for every value, kubectl's scalar rules, and messages that never quote the source.

mod split;

use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::sync::Arc;

use granit_parser::{ErrorKind, Event, Options, Parser, ScalarStyle, Span, StructureStyle};

pub use split::{Part, split};

use super::{InputError, Place, Position, scalar};

/// Most nodes one document may have, aliases expanded. An API object is limited to about 1.5 MiB, so this is generous.
/// Tests reach a smaller limit sooner.
pub(super) const MAX_NODES: usize = if cfg!(test) { 400_000 } else { 4_000_000 };
/// Most nodes that anchors and aliases may copy in one document: enough for real anchors, far too little for a bomb.
const MAX_COPIES: usize = 100_000;
const TOO_MANY_COPIES: &str = "anchors and aliases in this document expand to more than 100,000 values: write them out";
/// Mappings with fewer keys are checked for duplicates by looking at each.
const SCANNED_KEYS: usize = 32;
/// Deepest nesting. The stack of everything that walks a tree is bounded by it.
pub(super) const MAX_DEPTH: usize = 96;

/// One YAML document (or JSON value) of a file.
#[derive(Debug, Clone)]
pub struct Document {
    /// The file it stands in.
    pub file: Arc<str>,
    /// Its content.
    pub root: Node,
}

impl Document {
    /// The place of a node of this document: its line and column, or in a live object its path.
    pub fn place(&self, node: &Node) -> Place {
        match node.at {
            Position { line: 0, column: number @ 1.. } => {
                Place::new(&format!("{}:{}", self.file, self.root.path_to(number)).into(), node.at)
            }
            at => Place::new(&self.file, at),
        }
    }
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where it starts.
    pub at: Position,
    /// What it is.
    pub value: Value,
}

/// A key of a mapping and where it stands.
#[derive(Debug, Clone)]
pub struct Key {
    /// Where it starts.
    pub at: Position,
    /// Its text; a number or boolean key keeps its spelling.
    pub text: Box<str>,
}

/// The kinds of value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// A boolean, also in YAML 1.1 spellings.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with a fraction or exponent, or one too large for 64 bits.
    Float(f64),
    /// Text.
    Text(Box<str>),
    /// A value this file does not hold: encrypted, `${VAR}` or a template. The text says which.
    Opaque(&'static str),
    /// A sequence.
    Seq(Vec<Node>),
    /// A mapping, in source order, without duplicate keys.
    Map(Vec<(Key, Node)>),
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Node {
    /// The value under a key, if this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|(k, _)| &*k.text == key).map(|(_, node)| node)
    }

    /// The value at a path such as `/spec/ingress/0/from`; `None` when it is not there.
    pub fn at_path(&self, path: &str) -> Option<&Node> {
        path.split('/').filter(|part| !part.is_empty()).try_fold(self, |node, part| match &node.value {
            Value::Seq(items) => items.get(part.parse::<usize>().ok()?),
            _ => node.get(part),
        })
    }

    /// The entries of a mapping; empty for anything else.
    pub fn entries(&self) -> &[(Key, Node)] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a sequence; empty for anything else.
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::Seq(items) => items,
            _ => &[],
        }
    }

    /// `spec.ingress[0].from`: the way to the node of this number in a tree that is numbered in reading order.
    fn path_to(&self, number: u32) -> String {
        let mut path = String::new();
        let mut node = self;
        while node.at.column < number {
            // Whatever is inside a child comes before the next one.
            let before = |child: &Node| child.at.column <= number;
            let next = match &node.value {
                Value::Map(entries) => {
                    entries[..entries.partition_point(|(_, child)| before(child))].last().map(|(key, child)| {
                        path.push_str(if path.is_empty() { "" } else { "." });
                        path.push_str(&key.text);
                        child
                    })
                }
                Value::Seq(items) => {
                    let index = items.partition_point(before).saturating_sub(1);
                    let _ = write!(path, "[{index}]");
                    items.get(index)
                }
                _ => None,
            };
            let Some(next) = next else { break };
            node = next;
        }
        path
    }

    /// The text, if this is text.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What kind of value this is, in words for a message.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Int(_) | Value::Float(_) => "a number",
            Value::Text(_) => "text",
            Value::Opaque(why) => why,
            Value::Seq(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    fn count(&self) -> usize {
        match &self.value {
            Value::Seq(items) => 1 + items.iter().map(Node::count).sum::<usize>(),
            Value::Map(entries) => 1 + entries.iter().map(|(_, node)| 1 + node.count()).sum::<usize>(),
            _ => 1,
        }
    }
}

/// Reads all documents of a text. Empty documents are left out.
///
/// A broken document ends the reading (YAML has no safe place to go on), so what follows the error is not covered.
pub fn parse(file: &Arc<str>, text: &str) -> (Vec<Document>, Option<InputError>) {
    let mut documents = Vec::new();
    let error = parse_each(file, text, |document| documents.push(document)).err();
    (documents, error)
}

/// Like [`parse`], handing each document over as soon as it is whole: a large file never stands in memory as trees.
pub fn parse_each(file: &Arc<str>, text: &str, each: impl FnMut(Document)) -> Result<(), InputError> {
    run(Builder::new(file), text, each)
}

/// Like [`parse_each`] for one part of a file of manifests ([`split()`]): items of a `List` are handed over one by one, like documents, because
/// a dump of a large cluster is one document of millions of values. What is left of the list follows as the document.
pub fn parse_objects(file: &Arc<str>, part: &Part<'_>, each: impl FnMut(Document)) -> Result<(), InputError> {
    let builder = Builder { lines_before: part.lines_before, opens_lists: true, ..Builder::new(file) };
    run(builder, part.text, each)
}

fn run(mut builder: Builder<'_>, text: &str, mut each: impl FnMut(Document)) -> Result<(), InputError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let file = builder.file;
    let mut options = Options::default();
    options.set_emit_comments(false);
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|error| {
            let position = Position { line: to_u32(error.marker().line()), column: to_u32(error.marker().col() + 1) };
            let tab = tab_near(text, position.line).map(|position| (position, TAB));
            let (mut position, message) = tab.unwrap_or((position, describe(error.kind())));
            position.line = position.line.saturating_add(builder.lines_before);
            InputError::new(Place::new(file, position), message)
        })?;
        if let Some(root) = builder.event(event, span)?
            && root.value != Value::Null
        {
            each(Document { file: Arc::clone(file), root });
        }
    }
    Ok(())
}

fn to_u32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

const TAB: &str = "a tab stands where YAML wants spaces: indent with spaces";

/// A tab in the indentation of this line or the next: the usual cause of an error that the grammar sees elsewhere.
fn tab_near(text: &str, line: u32) -> Option<Position> {
    (line..=line.saturating_add(1)).zip(text.lines().skip(line.saturating_sub(1) as usize)).find_map(
        |(line, content)| {
            let indentation = &content[..content.len() - content.trim_start_matches([' ', '\t']).len()];
            let column = indentation.find('\t')?;
            Some(Position { line, column: to_u32(column + 1) })
        },
    )
}

/// Our own words for what the grammar refuses.
fn describe(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::TabNotAllowed | ErrorKind::TabInBlockIndentation => TAB,
        ErrorKind::UnknownAnchor => "this alias has no anchor before it",
        ErrorKind::InvalidIndentation => "the indentation does not fit the lines above",
        ErrorKind::UnexpectedEof
        | ErrorKind::UnexpectedEofFlowSequence
        | ErrorKind::UnexpectedEofFlowMapping
        | ErrorKind::UnexpectedEofImplicitFlowMapping
        | ErrorKind::UnexpectedEofBlockSequence
        | ErrorKind::UnexpectedEofBlockMapping => "the file ends in the middle of a value: is it truncated?",
        ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey | ErrorKind::ExpectedBlockMappingKey => {
            "a key is expected here, followed by a colon"
        }
        _ => "this is not valid YAML: check indentation, quotes and brackets on this line and the one before",
    }
}

/// A collection that is still open.
enum Open {
    Seq {
        at: Position,
        anchor: usize,
        items: Vec<Node>,
    },
    Map {
        at: Position,
        anchor: usize,
        entries: Vec<(Key, Node)>,
        seen: HashSet<Box<str>>,
        key: Option<Key>,
        flow: bool,
        opaque: bool,
    },
}

struct Builder<'f> {
    file: &'f Arc<str>,
    stack: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    copies: usize,
    /// Lines of the file before this text.
    lines_before: u32,
    /// Items of a list of API objects are handed over one by one.
    opens_lists: bool,
}

impl<'f> Builder<'f> {
    fn new(file: &'f Arc<str>) -> Self {
        Self {
            file,
            stack: Vec::new(),
            anchors: HashMap::new(),
            nodes: 0,
            copies: 0,
            lines_before: 0,
            opens_lists: false,
        }
    }

    fn error(&self, at: Position, message: impl Into<String>) -> InputError {
        InputError::new(Place::new(self.file, at), message)
    }

    /// Takes one event; returns the root when a document is whole, or an item of a list that is opened.
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<Option<Node>, InputError> {
        let line = to_u32(span.start.line()).saturating_add(self.lines_before);
        let at = Position { line, column: to_u32(span.start.col() + 1) };
        match event {
            Event::DocumentStart(..) => {
                self.anchors.clear();
                (self.nodes, self.copies) = (0, 0);
                Ok(None)
            }
            Event::Scalar(text, style, anchor, tag) => {
                let core = tag.as_deref().and_then(|tag| tag.core_suffix().map(str::to_owned));
                let value = match (style, core.as_deref()) {
                    (ScalarStyle::Plain, None) if tag.is_none() => scalar::resolve(&text),
                    (_, Some("null")) => Value::Null,
                    (_, Some("int" | "float" | "bool")) => scalar::resolve(&text),
                    _ => scalar::opaque(&text).map_or_else(|| Value::Text(text.as_ref().into()), Value::Opaque),
                };
                // A plain key keeps its spelling: `8080: x` has the key "8080", `y: x` has "y", as JSON keys are text.
                self.scalar(at, &text, value, anchor, style == ScalarStyle::Plain)
            }
            Event::SequenceStart(_, anchor, _) => {
                self.open(at, Open::Seq { at, anchor, items: Vec::new() })?;
                Ok(None)
            }
            Event::MappingStart(style, anchor, _) => {
                let flow = style == StructureStyle::Flow;
                self.open(
                    at,
                    Open::Map { at, anchor, entries: Vec::new(), seen: HashSet::new(), key: None, flow, opaque: false },
                )?;
                Ok(None)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(id) => {
                let Some(node) = self.anchors.get(&id) else {
                    return Err(self.error(at, "this alias points into itself"));
                };
                self.copies += node.count();
                if self.copies > MAX_COPIES {
                    return Err(self.error(at, TOO_MANY_COPIES));
                }
                let value = node.value.clone();
                self.place(Node { at, value })
            }
            _ => Ok(None),
        }
    }

    fn open(&mut self, at: Position, open: Open) -> Result<(), InputError> {
        if self.stack.len() >= MAX_DEPTH {
            return Err(self.error(at, format!("more than {MAX_DEPTH} levels of nesting")));
        }
        self.stack.push(open);
        Ok(())
    }

    fn scalar(
        &mut self,
        at: Position,
        text: &str,
        value: Value,
        anchor: usize,
        plain: bool,
    ) -> Result<Option<Node>, InputError> {
        if let Some(Open::Map { key: key @ None, entries, seen, .. }) = self.stack.last_mut() {
            if plain && text == "<<" {
                *key = Some(Key { at, text: "<<".into() });
                return Ok(None);
            }
            // Small mappings are scanned; a large one gets a set, or a hostile file would take quadratic time.
            if entries.len() == SCANNED_KEYS {
                seen.extend(entries.iter().map(|(key, _)| key.text.clone()));
            }
            let twice = if entries.len() < SCANNED_KEYS {
                entries.iter().any(|(key, _)| &*key.text == text)
            } else {
                !seen.insert(text.into())
            };
            if twice {
                let message = "this key stands twice in one mapping: keep one of them";
                return Err(self.error(at, message));
            }
            *key = Some(Key { at, text: text.into() });
            return self.anchor(anchor, &Node { at, value }).map(|()| None);
        }
        let node = Node { at, value };
        self.anchor(anchor, &node)?;
        self.place(node)
    }

    fn close(&mut self) -> Result<Option<Node>, InputError> {
        let (node, anchor) = match self.stack.pop() {
            Some(Open::Seq { at, anchor, items }) => (Node { at, value: Value::Seq(items) }, anchor),
            Some(Open::Map { at, anchor, opaque: true, .. }) => {
                (Node { at, value: Value::Opaque("a template") }, anchor)
            }
            Some(Open::Map { at, anchor, entries, .. }) => {
                let entries =
                    merge(entries).map_err(|at| self.error(at, "`<<` merges a mapping or a list of mappings"))?;
                (Node { at, value: Value::Map(entries) }, anchor)
            }
            None => return Ok(None),
        };
        self.anchor(anchor, &node)?;
        self.place(node)
    }

    /// Keeps a copy of an anchored node for its aliases.
    fn anchor(&mut self, anchor: usize, node: &Node) -> Result<(), InputError> {
        if anchor != 0 {
            self.copies += node.count();
            if self.copies > MAX_COPIES {
                return Err(self.error(node.at, TOO_MANY_COPIES));
            }
            self.anchors.insert(anchor, node.clone());
        }
        Ok(())
    }

    /// Whether a finished node is an API object in the `items` of the document's root. It gains the `apiVersion` and `kind` that follow from those
    /// of the list, where it has none: the API server leaves them out of the items of a `PodList`.
    ///
    /// Of a list whose own `kind` comes later, as kubectl writes it, only items that say what they are can be taken.
    fn takes_out(&self, node: &mut Node) -> bool {
        let [Open::Map { anchor: 0, entries: list, key: Some(key), .. }, Open::Seq { anchor: 0, .. }] = &self.stack[..]
        else {
            return false;
        };
        let Value::Map(item) = &mut node.value else { return false };
        let kind = entry(list, "kind");
        if &*key.text != "items" || kind.is_some_and(|kind| !kind.ends_with("List")) {
            return false;
        }
        let item_kind = kind.and_then(|kind| kind.strip_suffix("List")).filter(|kind| !kind.is_empty());
        let inherited =
            [("apiVersion", entry(list, "apiVersion").filter(|_| item_kind.is_some())), ("kind", item_kind)];
        let says = |item: &[(Key, Node)], key: &str| item.iter().any(|(k, _)| &*k.text == key);
        if inherited.iter().any(|(key, from_list)| from_list.is_none() && entry(item, key).is_none()) {
            return false;
        }
        let at = node.at;
        for (key, text) in inherited {
            if let Some(text) = text.filter(|_| !says(item, key)) {
                item.push((Key { at, text: key.into() }, Node { at, value: Value::Text(text.into()) }));
            }
        }
        true
    }

    /// Puts a finished node where it belongs.
    fn place(&mut self, mut node: Node) -> Result<Option<Node>, InputError> {
        if self.opens_lists && self.takes_out(&mut node) {
            self.nodes = 0;
            return Ok(Some(node));
        }
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(self.error(node.at, format!("more than {MAX_NODES} values in one document")));
        }
        match self.stack.last_mut() {
            None => return Ok(Some(node)),
            Some(Open::Seq { items, .. }) => items.push(node),
            Some(Open::Map { key, entries, flow, opaque, .. }) => match key.take() {
                Some(key) => entries.push((key, node)),
                // `{{ .Values.x }}` without quotes reads as a mapping whose key is a mapping: a template, not an error.
                None if *flow && matches!(node.value, Value::Map(_) | Value::Opaque(_)) => {
                    *opaque = true;
                    *key = Some(Key { at: node.at, text: "".into() });
                }
                None => {
                    return Err(self.error(node.at, "a key must be plain text, not a list or a mapping"));
                }
            },
        }
        Ok(None)
    }
}

/// The text of an entry.
fn entry<'e>(entries: &'e [(Key, Node)], key: &str) -> Option<&'e str> {
    entries.iter().find(|(k, _)| &*k.text == key).and_then(|(_, node)| node.text())
}

/// Applies `<<` as YAML 1.1 has it: keys of the mapping itself win, earlier sources win over later ones.
fn merge(mut entries: Vec<(Key, Node)>) -> Result<Vec<(Key, Node)>, Position> {
    let Some(index) = entries.iter().position(|(key, _)| &*key.text == "<<") else {
        return Ok(entries);
    };
    let (_, source) = entries.remove(index);
    let sources = match source.value {
        Value::Map(_) => vec![source],
        Value::Seq(items) => items,
        Value::Null => Vec::new(),
        _ => return Err(source.at),
    };
    for source in sources {
        let Value::Map(merged) = source.value else {
            return Err(source.at);
        };
        for (key, node) in merged {
            if !entries.iter().any(|(k, _)| k.text == key.text) {
                entries.push((key, node));
            }
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests;
