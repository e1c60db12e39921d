//! [`Node`] → serde types, with our own messages.
//!
//! Follows what the API server does with JSON: a field that is `null` is absent, and a `null` item of a list of objects is an empty object.
//! It is stricter than serde's YAML readers in one point that matters: a number or boolean is never silently read as text.

use std::fmt;

use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, Visitor};

use super::{Document, InputError, Key, Node, Place, Position, Value};

/// What to do with keys that the type does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownKeys {
    /// Pass over them: API objects have more fields than we read.
    Ignore,
    /// Report each with "did you mean" and go on.
    Warn,
    /// Refuse the input.
    Refuse,
}

/// Reads a typed value out of a document's node.
///
/// Warnings (unknown keys under [`UnknownKeys::Warn`]) are appended to `warnings` in source order.
pub fn read<T: DeserializeOwned>(
    document: &Document,
    node: &Node,
    unknown: UnknownKeys,
    warnings: &mut Vec<InputError>,
) -> Result<T, InputError> {
    let mut found = Vec::new();
    let result = T::deserialize(NodeReader { node, unknown, warnings: &mut found });
    let locate = |error: Located| {
        let path = error.path();
        let message = if path.is_empty() { error.message } else { format!("{path}: {}", error.message) };
        InputError::new(Place::new(&document.file, error.at.unwrap_or(node.at)), message)
    };
    warnings.extend(found.into_iter().map(locate));
    result.map_err(locate)
}

/// A value together with its place, for inputs whose every value is cited (the guide's values, MAS's config).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field<T> {
    /// Where the value stands.
    pub at: Position,
    value: Result<T, Box<str>>,
}

impl<T> Field<T> {
    /// The value, unless this file does not hold it.
    pub fn known(&self) -> Option<&T> {
        self.value.as_ref().ok()
    }

    /// Why the value is not in this file ("encrypted", "a template", "a ${VARIABLE}"), if it is not.
    pub fn opaque(&self) -> Option<&str> {
        self.value.as_ref().err().map(|why| &**why)
    }
}

/// In a schema a place does not show.
#[cfg(test)]
impl<T: schemars::JsonSchema> schemars::JsonSchema for Field<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        T::json_schema(generator)
    }
}

/// The struct name by which [`Field`] asks our reader for places.
const FIELD: &str = "$portreeve::Field";

impl<'de, T: de::Deserialize<'de>> de::Deserialize<'de> for Field<T> {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldVisitor<T>(std::marker::PhantomData<T>);
        impl<'de, T: de::Deserialize<'de>> Visitor<'de> for FieldVisitor<T> {
            type Value = Field<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value with its place")
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Field<T>, A::Error> {
                let mut at = Position::default();
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "line" => at.line = map.next_value()?,
                        "column" => at.column = map.next_value()?,
                        "opaque" => {
                            let why: String = map.next_value()?;
                            return Ok(Field { at, value: Err(why.into()) });
                        }
                        _ => {
                            return Ok(Field { at, value: Ok(map.next_value()?) });
                        }
                    }
                }
                Err(de::Error::custom("a place without a value"))
            }
        }
        deserializer.deserialize_struct(FIELD, &[], FieldVisitor(std::marker::PhantomData))
    }
}

/// An error on its way out of the tree; it gains its path level by level.
#[derive(Debug)]
struct Located {
    at: Option<Position>,
    /// Innermost first.
    steps: Vec<String>,
    message: String,
}

impl Located {
    fn path(&self) -> String {
        let mut path = String::new();
        for step in self.steps.iter().rev() {
            if !path.is_empty() && !step.starts_with('[') {
                path.push('.');
            }
            path.push_str(step);
        }
        path
    }

    fn inside(mut self, step: impl FnOnce() -> String, at: Position) -> Self {
        self.at.get_or_insert(at);
        self.steps.push(step());
        self
    }
}

impl fmt::Display for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Located {}

impl de::Error for Located {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { at: None, steps: Vec::new(), message: message.to_string() }
    }

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::custom(format_args!("expected {expected}, found {}", kind_of(&found)))
    }

    fn invalid_value(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::custom(format_args!("expected {expected}, found {} that is none", kind_of(&found)))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::custom(format_args!("expected one of {}", expected.join(", ")))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::custom(unknown_key(field, expected))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::custom(format_args!("`{field}` is missing"))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::custom(format_args!("`{field}` is given twice: keep one"))
    }
}

/// The kind of a value, never the value: it may be a secret.
fn kind_of(found: &de::Unexpected<'_>) -> &'static str {
    match found {
        de::Unexpected::Bool(_) => "a boolean",
        de::Unexpected::Unsigned(_) | de::Unexpected::Signed(_) | de::Unexpected::Float(_) => "a number",
        de::Unexpected::Str(_) | de::Unexpected::Char(_) => "text",
        de::Unexpected::Seq => "a list",
        de::Unexpected::Map => "a mapping",
        _ => "nothing",
    }
}

fn unknown_key(key: &str, known: &[&str]) -> String {
    match closest(key, known) {
        Some(near) => format!("unknown key `{key}`: did you mean `{near}`?"),
        None if known.len() <= 12 => format!("unknown key `{key}`: known are {}", known.join(", ")),
        None => format!("unknown key `{key}`"),
    }
}

/// The known word closest to a misspelt one, if one is close.
pub fn closest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let lower = word.to_lowercase();
    known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), *candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 5)
        .min()
        .map(|(_, candidate)| candidate)
}

struct NodeReader<'n, 'w> {
    node: &'n Node,
    unknown: UnknownKeys,
    warnings: &'w mut Vec<Located>,
}

impl NodeReader<'_, '_> {
    fn mismatch(&self, expected: &str) -> Located {
        let message = match &self.node.value {
            Value::Opaque(why) => {
                format!("this value is {why}, so it is not known here; expected {expected}")
            }
            Value::Bool(_) | Value::Int(_) | Value::Float(_) if expected == "text" => {
                format!("expected text, found {}: put it in quotes", self.node.kind())
            }
            _ => format!("expected {expected}, found {}", self.node.kind()),
        };
        Located { at: Some(self.node.at), steps: Vec::new(), message }
    }

    /// Whole numbers of every width. serde's own range message would repeat the value.
    fn number<'de, V: Visitor<'de>>(self, low: i64, high: i64, visitor: V) -> Result<V::Value, Located> {
        match self.node.value {
            Value::Int(n) if (low..=high).contains(&n) => visitor.visit_i64(n),
            Value::Int(_) if high == i64::MAX => Err(self.mismatch("a number that is not negative")),
            Value::Int(_) => Err(self.mismatch(&format!("a number from {low} to {high}"))),
            _ => Err(self.mismatch("a whole number")),
        }
    }
}

macro_rules! integers {
    ($($method:ident $int:ident,)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Located> {
            self.number(i64::try_from($int::MIN).unwrap_or(i64::MIN), i64::try_from($int::MAX).unwrap_or(i64::MAX), visitor)
        })*
    };
}

impl<'de> de::Deserializer<'de> for NodeReader<'_, '_> {
    type Error = Located;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Located> {
        match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(b) => visitor.visit_bool(*b),
            Value::Int(n) => visitor.visit_i64(*n),
            Value::Float(n) => visitor.visit_f64(*n),
            Value::Text(text) => visitor.visit_str(text),
            Value::Opaque(_) => Err(self.mismatch("a value")),
            Value::Seq(items) => visitor.visit_seq(Items {
                items: items.iter().enumerate(),
                unknown: self.unknown,
                warnings: self.warnings,
            }),
            Value::Map(entries) => visitor.visit_map(Entries::all(entries, self.unknown, self.warnings)),
        }
    }

    integers! {
        deserialize_i8 i8, deserialize_i16 i16, deserialize_i32 i32, deserialize_i64 i64,
        deserialize_u8 u8, deserialize_u16 u16, deserialize_u32 u32, deserialize_u64 u64,
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Located> {
        match self.node.value {
            Value::Bool(b) => visitor.visit_bool(b),
            _ => Err(self.mismatch("true or false")),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Located> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Located> {
        match self.node.value {
            Value::Float(n) => visitor.visit_f64(n),
            Value::Int(n) => visitor.visit_i64(n),
            _ => Err(self.mismatch("a number")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Located> {
        match &self.node.value {
            Value::Text(text) => visitor.visit_str(text),
            _ => Err(self.mismatch("text")),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Located> {
        self.deserialize_str(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Located> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Located> {
        match self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Located> {
        match self.node.value {
            Value::Null => visitor.visit_unit(),
            _ => Err(self.mismatch("nothing")),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Located> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Located> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Located> {
        match &self.node.value {
            Value::Seq(items) => visitor.visit_seq(Items {
                items: items.iter().enumerate(),
                unknown: self.unknown,
                warnings: self.warnings,
            }),
            Value::Null => visitor.visit_seq(Items {
                items: [].iter().enumerate(),
                unknown: self.unknown,
                warnings: self.warnings,
            }),
            _ => Err(self.mismatch("a list")),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Located> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Located> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Located> {
        match &self.node.value {
            Value::Map(entries) => visitor.visit_map(Entries::all(entries, self.unknown, self.warnings)),
            Value::Null => visitor.visit_map(Entries::all(&[], self.unknown, self.warnings)),
            _ => Err(self.mismatch("a mapping")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Located> {
        if name == FIELD {
            return visitor.visit_map(FieldAccess { reader: Some(self), step: 0 });
        }
        let entries: &[(Key, Node)] = match &self.node.value {
            Value::Map(entries) => entries,
            Value::Null => &[],
            _ => return Err(self.mismatch("a mapping")),
        };
        visitor.visit_map(Entries::fields(entries, fields, self.unknown, self.warnings)?)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Located> {
        match &self.node.value {
            Value::Text(text) => visitor.visit_enum((&**text).into_deserializer()),
            _ => Err(self.mismatch("text")),
        }
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Located> {
        self.deserialize_str(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Located> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! { i128 u128 bytes byte_buf }
}

struct Items<'n, 'w> {
    items: std::iter::Enumerate<std::slice::Iter<'n, Node>>,
    unknown: UnknownKeys,
    warnings: &'w mut Vec<Located>,
}

impl<'de> de::SeqAccess<'de> for Items<'_, '_> {
    type Error = Located;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Located> {
        let Some((index, node)) = self.items.next() else {
            return Ok(None);
        };
        let before = self.warnings.len();
        let step = || format!("[{index}]");
        let result = seed.deserialize(NodeReader { node, unknown: self.unknown, warnings: self.warnings });
        self.warnings[before..].iter_mut().for_each(|warning| warning.steps.push(step()));
        result.map(Some).map_err(|error| error.inside(step, node.at))
    }
}

struct Entries<'n, 'w> {
    entries: Vec<&'n (Key, Node)>,
    next: usize,
    unknown: UnknownKeys,
    warnings: &'w mut Vec<Located>,
}

impl<'n, 'w> Entries<'n, 'w> {
    fn all(entries: &'n [(Key, Node)], unknown: UnknownKeys, warnings: &'w mut Vec<Located>) -> Self {
        Self { entries: entries.iter().collect(), next: 0, unknown, warnings }
    }

    /// The entries that a struct knows; a field that is `null` is absent, as for the API server.
    fn fields(
        entries: &'n [(Key, Node)],
        known: &[&str],
        unknown: UnknownKeys,
        warnings: &'w mut Vec<Located>,
    ) -> Result<Self, Located> {
        let mut kept = Vec::with_capacity(entries.len());
        for entry in entries {
            let (key, node) = entry;
            if known.contains(&&*key.text) {
                if node.value != Value::Null {
                    kept.push(entry);
                }
                continue;
            }
            let report = Located { at: Some(key.at), steps: Vec::new(), message: unknown_key(&key.text, known) };
            match unknown {
                UnknownKeys::Ignore => {}
                UnknownKeys::Warn => warnings.push(report),
                UnknownKeys::Refuse => return Err(report),
            }
        }
        Ok(Self { entries: kept, next: 0, unknown, warnings })
    }
}

impl<'de> de::MapAccess<'de> for Entries<'_, '_> {
    type Error = Located;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Located> {
        let Some((key, _)) = self.entries.get(self.next) else {
            return Ok(None);
        };
        let text: de::value::StrDeserializer<'_, Located> = (&*key.text).into_deserializer();
        seed.deserialize(text).map(Some).map_err(|error| error.inside(|| key.text.to_string(), key.at))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Located> {
        let Some((key, node)) = self.entries.get(self.next) else {
            return Err(de::Error::custom("a value was asked for before its key"));
        };
        self.next += 1;
        let before = self.warnings.len();
        let step = || key.text.to_string();
        let result = seed.deserialize(NodeReader { node, unknown: self.unknown, warnings: self.warnings });
        self.warnings[before..].iter_mut().for_each(|warning| warning.steps.push(step()));
        result.map_err(|error| error.inside(step, node.at))
    }
}

/// Hands line, column and value (or why there is none) to [`Field`].
struct FieldAccess<'n, 'w> {
    reader: Option<NodeReader<'n, 'w>>,
    step: u8,
}

impl<'de> de::MapAccess<'de> for FieldAccess<'_, '_> {
    type Error = Located;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Located> {
        let Some(reader) = &self.reader else {
            return Ok(None);
        };
        let key = match (self.step, &reader.node.value) {
            (0, _) => "line",
            (1, _) => "column",
            (_, Value::Opaque(_)) => "opaque",
            _ => "value",
        };
        seed.deserialize(key.into_deserializer()).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Located> {
        self.step += 1;
        let Some(reader) = self.reader.take() else {
            return Err(de::Error::custom("a place was asked for twice"));
        };
        let at = reader.node.at;
        match (self.step, &reader.node.value) {
            (1, _) => {
                self.reader = Some(reader);
                seed.deserialize(at.line.into_deserializer())
            }
            (2, _) => {
                self.reader = Some(reader);
                seed.deserialize(at.column.into_deserializer())
            }
            (_, Value::Opaque(why)) => seed.deserialize((*why).into_deserializer()),
            _ => seed.deserialize(reader),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::yaml;
    use super::*;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    #[derive(Debug, serde::Deserialize, PartialEq)]
    struct Port {
        port: u16,
        #[serde(default)]
        labels: BTreeMap<String, String>,
        host: Option<Field<String>>,
    }

    #[track_caller]
    fn check(text: &str, unknown: UnknownKeys, expect: Result<Port, &str>, warned: &[&str]) {
        let (documents, error) = yaml::parse(&Arc::from("f.yaml"), text);
        assert_eq!(error, None);
        let mut warnings = Vec::new();
        let got = read::<Port>(&documents[0], &documents[0].root, unknown, &mut warnings);
        assert_eq!(got.map_err(|e| e.to_string()), expect.map_err(str::to_owned));
        assert_eq!(warnings.iter().map(ToString::to_string).collect::<Vec<_>>(), warned);
    }

    #[test]
    fn messages_name_the_place_and_never_the_value() {
        use UnknownKeys::{Ignore, Refuse, Warn};
        let fine = || Port { port: 1, labels: BTreeMap::new(), host: None };
        check("port: 1", Refuse, Ok(fine()), &[]);
        check("port: 1\nlabels: null", Refuse, Ok(fine()), &[]);
        check("port: hunter2", Ignore, Err("f.yaml:1:7: port: expected a whole number, found text"), &[]);
        check("port: 70000", Ignore, Err("f.yaml:1:7: port: expected a number from 0 to 65535, found a number"), &[]);
        check("prt: 1\nport: 1", Warn, Ok(fine()), &["f.yaml:1:1: unknown key `prt`: did you mean `port`?"]);
        check("prt: 1\nport: 1", Ignore, Ok(fine()), &[]);
        check("prt: 1\nport: 1", Refuse, Err("f.yaml:1:1: unknown key `prt`: did you mean `port`?"), &[]);
        check("labels: {}", Ignore, Err("f.yaml:1:1: `port` is missing"), &[]);
        check(
            "port: 1\nlabels:\n  a: true",
            Ignore,
            Err("f.yaml:3:6: labels.a: expected text, found a boolean: put it in quotes"),
            &[],
        );
        check(
            "port: ENC[abc]",
            Ignore,
            Err("f.yaml:1:7: port: this value is encrypted, so it is not known here; expected a whole number"),
            &[],
        );
        let at = Position { line: 2, column: 7 };
        check("port: 1\nhost: x", Ignore, Ok(Port { host: Some(Field { at, value: Ok("x".into()) }), ..fine() }), &[]);
        check(
            "port: 1\nhost: ${H}",
            Ignore,
            Ok(Port { host: Some(Field { at, value: Err("a ${VARIABLE}".into()) }), ..fine() }),
            &[],
        );
    }
}
