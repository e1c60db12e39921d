//! What a source may not show: a cluster of which only a part may be read, or was asked for.

use std::collections::BTreeSet;
use std::fmt;

use super::World;
use crate::source::Place;

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
    /// `kind/namespace/name`, or the kinds and where.
    pub object: String,
    /// What is not known because of it, as the rest of "X: ...".
    pub why: String,
    /// How it would be known.
    pub fix: String,
    /// Where it stands.
    pub place: Place,
    /// The kinds of which objects may exist that are not here, and where; empty for an object of which the pods or routes are unknown.
    pub hides: Option<(Vec<String>, Scope)>,
}

impl NotCovered {
    /// Where it hides objects of a kind, if it does.
    fn hides(&self, kind: &str) -> Option<&Scope> {
        self.hides.as_ref().filter(|(kinds, _)| kinds.iter().any(|own| own == kind)).map(|(_, scope)| scope)
    }

    /// `pods in namespace x: User y may not list them`.
    pub fn sentence(&self) -> String {
        format!("{}: {}", self.object, self.why)
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
}
