//! What a source may not show: a cluster of which only a part may be read, or was asked for.

use std::collections::BTreeSet;
use std::fmt;

use super::World;
use crate::source::{InputError, Place};

/// Whose pods or objects something is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Any.
    Cluster,
    /// Those of one namespace.
    Namespace(String),
    /// Those of every namespace but these.
    Outside(BTreeSet<String>),
}

impl Scope {
    /// Whether it is about what lives in a namespace.
    pub fn touches(&self, namespace: &str) -> bool {
        match self {
            Self::Cluster => true,
            Self::Namespace(own) => own == namespace,
            Self::Outside(others) => !others.contains(namespace),
        }
    }
}

/// `in namespace matrix`, after a kind's name.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster => f.write_str("in the cluster"),
            Self::Namespace(name) => write!(f, "in namespace {name}"),
            Self::Outside(names) => {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                write!(f, "outside of {}", names.join(", "))
            }
        }
    }
}

/// Something that could matter and is not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotCovered {
    /// What it is about.
    pub subject: Uncovered,
    /// What is not known because of it, after the subject.
    pub why: String,
    /// How it would be known.
    pub fix: String,
    /// Where it stands.
    pub place: Place,
}

/// What a gap is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Uncovered {
    /// `kind/namespace/name`: an object of which the pods or routes are unknown.
    Object(String),
    /// Objects that may exist and are not here.
    Kinds {
        /// Their kinds.
        kinds: Vec<String>,
        /// The same in words: `pods`.
        words: Vec<String>,
        /// Where they may be.
        scope: Scope,
    },
    /// A file, or a part of one, that cannot be read: objects of any kind, anywhere.
    File(String),
}

impl fmt::Display for Uncovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object(text) | Self::File(text) => f.write_str(text),
            Self::Kinds { words, scope: Scope::Cluster, .. } => f.write_str(&words.join(", ")),
            Self::Kinds { words, scope, .. } => write!(f, "{} {scope}", words.join(", ")),
        }
    }
}

impl NotCovered {
    /// Where it hides objects of a kind, if it does.
    fn hides(&self, kind: &str) -> Option<&Scope> {
        match &self.subject {
            Uncovered::Kinds { kinds, scope, .. } if kinds.iter().any(|own| own == kind) => Some(scope),
            Uncovered::File(_) => Some(&Scope::Cluster),
            Uncovered::Kinds { .. } | Uncovered::Object(_) => None,
        }
    }

    /// A file among the manifests that cannot be read to its end.
    pub fn unread(error: &InputError) -> Self {
        Self {
            subject: Uncovered::File(error.place.file.to_string()),
            why: format!("{}: verdicts that it could change are unknown", error.message),
            fix: "mend it, or leave it out if it is no manifest".to_owned(),
            place: error.place.clone(),
        }
    }

    /// The sentence after its place.
    pub fn line(&self) -> String {
        match &self.subject {
            Uncovered::File(_) => format!("{}: {}", self.place, self.why),
            Uncovered::Object(_) | Uncovered::Kinds { .. } => format!("{}: {}", self.place, self.sentence()),
        }
    }

    /// `pods in namespace x cannot be listed: user y may not`.
    pub fn sentence(&self) -> String {
        match &self.subject {
            Uncovered::Object(object) => format!("{object}: {}", self.why),
            Uncovered::File(_) => format!("{} cannot be read", self.place),
            kinds @ Uncovered::Kinds { .. } => format!("{kinds} {}", self.why),
        }
    }

    /// The same gaps with kinds that are hidden for one reason in one place told together.
    pub fn together(gaps: &[Self]) -> Vec<Self> {
        let mut told: Vec<Self> = Vec::new();
        for gap in gaps {
            let same = told.iter_mut().find_map(|earlier| match (&mut earlier.subject, &gap.subject) {
                (
                    Uncovered::Kinds { kinds, words, scope },
                    Uncovered::Kinds { kinds: more, words: further, scope: other },
                ) if scope == other && (&earlier.why, &earlier.fix) == (&gap.why, &gap.fix) => {
                    kinds.extend(more.iter().cloned());
                    words.extend(further.iter().cloned());
                    Some(())
                }
                _ => None,
            });
            if same.is_none() {
                told.push(gap.clone());
            }
        }
        told
    }
}

impl World {
    /// Why objects of a kind may exist in a namespace that are not here; `None` when all of them are.
    pub fn unseen(&self, kind: &str, namespace: &str) -> Option<&NotCovered> {
        self.not_covered.iter().find(|gap| gap.hides(kind).is_some_and(|scope| scope.touches(namespace)))
    }

    /// The same for any namespace.
    pub fn unseen_anywhere(&self, kind: &str) -> Option<&NotCovered> {
        self.not_covered.iter().find(|gap| gap.hides(kind).is_some())
    }

    /// A file among the manifests that cannot be read to its end, if there is one.
    pub fn unread(&self) -> Option<&NotCovered> {
        self.not_covered.iter().find(|gap| matches!(gap.subject, Uncovered::File(_)))
    }
}
