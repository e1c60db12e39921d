//! Configs laid over each other, read by path.

use std::hash::BuildHasher;

use super::Presence;
use crate::guide::Url;
use crate::source::{Document, Node, Place, Value};

/// Why a URL is not kept.
pub(super) const NO_URL: &str = "no http or https URL";

/// A value of a config that is no secret.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Said {
    /// Not there.
    #[default]
    No,
    /// There, and known.
    Text(String, Place),
    /// There, but encrypted, templated or a variable.
    Hidden(&'static str, Place),
}

impl Said {
    /// The text, if it is known.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text, _) => Some(text),
            Self::No | Self::Hidden(..) => None,
        }
    }
}

/// What a config says about a secret.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Given {
    /// Nothing.
    #[default]
    No,
    /// It is written there.
    Here(Presence, Place),
    /// It is in a file; this is the file's name without its folders.
    File(String, Place),
    /// A variable, a template, or something that is no text; the words say which.
    Hidden(&'static str, Place),
}

impl Given {
    /// Where.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::No => None,
            Self::Here(_, place) | Self::File(_, place) | Self::Hidden(_, place) => Some(place),
        }
    }
}

/// Trees, the later over the earlier.
#[derive(Clone)]
pub(super) struct Layers<'a>(pub(super) Vec<(&'a Document, &'a Node)>);

impl<'a> Layers<'a> {
    pub(super) fn new(documents: &'a [Document]) -> Self {
        Self(documents.iter().map(|document| (document, &document.root)).collect())
    }

    /// The value of the last layer that has one.
    pub(super) fn find(&self, path: &str) -> Option<(&'a Document, &'a Node)> {
        let found = self.0.iter().rev().find_map(|(document, node)| Some((*document, node.at_path(path)?)));
        found.filter(|(_, node)| node.value != Value::Null)
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.find(path).is_some()
    }

    /// The items of the lists of all layers (figment's `admerge` joins them).
    pub(super) fn items(&self, path: &str) -> Vec<Layers<'a>> {
        let lists = self.0.iter().filter_map(|(document, node)| Some((*document, node.at_path(path)?)));
        lists.flat_map(|(document, list)| list.items().iter().map(move |item| Layers(vec![(document, item)]))).collect()
    }

    pub(super) fn said(&self, path: &str) -> Said {
        self.find(path).map_or(Said::No, |(document, node)| said(document, node))
    }

    /// A URL without its user, password, query and fragment, as [`Url`] keeps it.
    pub(super) fn url(&self, path: &str) -> Said {
        match self.said(path) {
            Said::Text(text, place) => match Url::parse(&text) {
                Ok(url) => Said::Text(url.as_str().to_owned(), place),
                Err(_) => Said::Hidden(NO_URL, place),
            },
            other => other,
        }
    }

    /// The texts of a list.
    pub(super) fn texts(&self, path: &str) -> Vec<Said> {
        self.items(path).iter().map(|item| item.said("")).collect()
    }

    pub(super) fn flag(&self, path: &str) -> Option<bool> {
        match self.find(path)?.1.value {
            Value::Bool(flag) => Some(flag),
            _ => None,
        }
    }

    /// A mapping, list or text that is there and not empty.
    pub(super) fn is_filled(&self, path: &str) -> bool {
        self.find(path).is_some_and(|(_, node)| match &node.value {
            Value::Map(entries) => !entries.is_empty(),
            Value::Seq(items) => !items.is_empty(),
            Value::Null | Value::Bool(false) => false,
            _ => true,
        })
    }

    /// A secret by value, or by the file that holds it.
    pub(super) fn given(&self, value: &str, file: &str, seal: &impl BuildHasher) -> Given {
        if let Some((document, node)) = self.find(value) {
            let place = document.place(node);
            return match &node.value {
                Value::Text(text) => Given::Here(Presence::of(text, seal), place),
                _ => Given::Hidden(node.kind(), place),
            };
        }
        match self.said(file) {
            Said::Text(path, place) => Given::File(path.rsplit('/').next().unwrap_or_default().to_owned(), place),
            Said::Hidden(why, place) => Given::Hidden(why, place),
            Said::No => Given::No,
        }
    }
}

fn said(document: &Document, node: &Node) -> Said {
    let place = document.place(node);
    match &node.value {
        Value::Text(text) => Said::Text(text.to_string(), place),
        Value::Int(number) => Said::Text(number.to_string(), place),
        Value::Bool(flag) => Said::Text(flag.to_string(), place),
        _ => Said::Hidden(node.kind(), place),
    }
}
