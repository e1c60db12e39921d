//! A value of a source, with what is needed to cite it.

use std::sync::Arc;

use crate::finding::{Code, Finding};
use crate::source::de::Field;
use crate::source::{InputError, Place, Position};

/// Where a value stands and what it is called there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cite {
    /// Its path in the source, for example `mas.synapse.endpoint`.
    pub key: String,
    /// Its place.
    pub place: Place,
}

/// A value of a source.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Setting<T> {
    /// The source does not say.
    #[default]
    Absent,
    /// The source says this.
    Known(T, Cite),
    /// The source has it, but encrypted, templated or as a variable. A finding says so already.
    Hidden(Cite),
}

impl<T> Setting<T> {
    /// The value, if it is known.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value, _) => Some(value),
            Self::Absent | Self::Hidden(_) => None,
        }
    }

    /// Where it stands, known or hidden.
    pub fn cite(&self) -> Option<&Cite> {
        match self {
            Self::Known(_, cite) | Self::Hidden(cite) => Some(cite),
            Self::Absent => None,
        }
    }

    /// Whether the source does not say at all.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// The same setting with its value turned into another type.
    pub fn map<U>(self, turn: impl FnOnce(T) -> U) -> Setting<U> {
        match self {
            Self::Absent => Setting::Absent,
            Self::Known(value, cite) => Setting::Known(turn(value), cite),
            Self::Hidden(cite) => Setting::Hidden(cite),
        }
    }
}

/// A value on its way down through sections, any of which may be absent or hidden.
pub(super) enum Seen<'a, T> {
    Absent,
    Known(&'a T, Position),
    Hidden(&'a str, Position),
}

impl<'a, T> Seen<'a, T> {
    pub(super) fn of(field: Option<&'a Field<T>>) -> Self {
        match field {
            None => Self::Absent,
            Some(field) => match field.known() {
                Some(value) => Self::Known(value, field.at),
                None => Self::Hidden(field.opaque().unwrap_or("not readable"), field.at),
            },
        }
    }

    /// One level down. What stands in a hidden section is hidden.
    pub(super) fn get<U>(self, field: impl FnOnce(&'a T) -> &'a Option<Field<U>>) -> Seen<'a, U> {
        match self {
            Self::Absent => Seen::Absent,
            Self::Known(section, _) => Seen::of(field(section).as_ref()),
            Self::Hidden(why, at) => Seen::Hidden(why, at),
        }
    }
}

/// The documents of one source, in the order in which they are laid over each other, and what was found hidden in them.
pub(super) struct Layers<R> {
    pub(super) layers: Vec<(Arc<str>, R)>,
    pub(super) findings: Vec<Finding>,
}

impl<R> Layers<R> {
    pub(super) fn new(layers: Vec<(Arc<str>, R)>) -> Self {
        Self { layers, findings: Vec::new() }
    }

    /// The value that the last layer with one gives.
    pub(super) fn last<T: Clone>(&mut self, key: &str, get: impl for<'a> Fn(&'a R) -> Seen<'a, T>) -> Setting<T> {
        for (file, layer) in self.layers.iter().rev() {
            let cite = |at| Cite { key: key.to_owned(), place: Place::new(file, at) };
            match get(layer) {
                Seen::Absent => {}
                Seen::Known(value, at) => return Setting::Known(value.clone(), cite(at)),
                Seen::Hidden(why, at) => {
                    let finding = hidden(key, why, cite(at).place);
                    let cite = cite(at);
                    note(&mut self.findings, finding);
                    return Setting::Hidden(cite);
                }
            }
        }
        Setting::Absent
    }

    /// The value that the last layer with one gives, where no edge depends on it: that it is hidden need be told to nobody.
    pub(super) fn aside<T: Clone>(&self, get: impl for<'a> Fn(&'a R) -> Seen<'a, T>) -> Option<T> {
        let last = self.layers.iter().rev().map(|(_, layer)| get(layer)).find(|seen| !matches!(seen, Seen::Absent));
        match last {
            Some(Seen::Known(value, _)) => Some(value.clone()),
            _ => None,
        }
    }

    /// Whether any layer has a value, hidden or not.
    pub(super) fn has<T>(&self, get: impl for<'a> Fn(&'a R) -> Seen<'a, T>) -> bool {
        self.layers.iter().any(|(_, layer)| !matches!(get(layer), Seen::Absent))
    }

    /// Where a section stands in the last layer that has it.
    pub(super) fn section<T>(&self, key: &str, get: impl Fn(&R) -> &Option<Field<T>>) -> Option<Cite> {
        self.layers.iter().rev().find_map(|(file, layer)| {
            let at = get(layer).as_ref()?.at;
            Some(Cite { key: key.to_owned(), place: Place::new(file, at) })
        })
    }
}

/// Turns one field into a setting.
pub(crate) fn setting<T: Clone>(
    findings: &mut Vec<Finding>,
    file: &Arc<str>,
    key: String,
    field: Option<&Field<T>>,
) -> Setting<T> {
    match Seen::of(field) {
        Seen::Absent => Setting::Absent,
        Seen::Known(value, at) => Setting::Known(value.clone(), Cite { key, place: Place::new(file, at) }),
        Seen::Hidden(why, at) => {
            let place = Place::new(file, at);
            note(findings, hidden(&key, why, place.clone()));
            Setting::Hidden(Cite { key, place })
        }
    }
}

/// Puts the name of a section before an error from inside it. Errors about the section itself name no path of their own.
pub(crate) fn under(section: &str, error: InputError) -> InputError {
    let itself = ["`", "unknown key ", "expected "].iter().any(|start| error.message.starts_with(start));
    let joint = if itself { ": " } else { "." };
    InputError::new(error.place, format!("{section}{joint}{}", error.message))
}

/// The finding about a value that this file does not hold.
pub(super) fn hidden(key: &str, why: &str, place: Place) -> Finding {
    Finding::new(
        Code::ValueUnknown,
        key,
        format!("`{key}` is {why}, so what it says is not known here"),
        "name the peer under `spec.peers` of a TrafficMatrix, or give a file that holds the value",
    )
    .at(place)
}

/// Adds a finding unless one stands at this place: a hidden section hides many keys and is reported once.
fn note(findings: &mut Vec<Finding>, finding: Finding) {
    if !findings.iter().any(|known| known.place == finding.place) {
        findings.push(finding);
    }
}
