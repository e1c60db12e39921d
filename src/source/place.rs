//! Where something stands: file, line, column.

use std::fmt;
use std::sync::Arc;

/// A position in a text; both numbers count from 1. A column counts characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// Line, from 1; 0 means "no position known", or a node of a live object.
    pub line: u32,
    /// Column in characters, from 1; without a line the number of a live object's node, which keeps places in reading order.
    pub column: u32,
}

/// A position in a named file, printed as `file:line:column`, or a live object as `cluster:Kind/namespace/name:path`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The path as the user gave it, `-` for standard input, or a live object with the path in it.
    pub file: Arc<str>,
    /// Where in the file.
    pub position: Position,
}

impl Place {
    /// A place in a file.
    pub fn new(file: &Arc<str>, position: Position) -> Self {
        Self { file: Arc::clone(file), position }
    }

    /// What the places of live objects begin with.
    pub const CLUSTER: &'static str = "cluster";

    /// Whether it is in a live cluster and in no file.
    pub fn is_live(&self) -> bool {
        self.file.strip_prefix(Self::CLUSTER).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
    }

    /// The file as a whole.
    pub fn whole(file: &str) -> Self {
        Self { file: Arc::from(file), position: Position::default() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position { line, column } = self.position;
        if line == 0 { f.write_str(&self.file) } else { write!(f, "{}:{line}:{column}", self.file) }
    }
}

impl serde::Serialize for Place {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
