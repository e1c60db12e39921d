//! Where engines differ on purpose.

use std::fmt;

/// Whose reading of the open points is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Dialect {
    /// As the upstream end-to-end suite tests it: a CIDR matches the addresses of pods and nodes too.
    #[default]
    Upstream,
    /// As Cilium has it: a CIDR matches only what is neither a pod nor a node ("CIDR rules do not apply to traffic where both sides of the
    /// connection are either managed by Cilium or use an IP belonging to a node in the cluster", Cilium documentation, *Layer 3 Policies*).
    Cilium,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Upstream, Self::Cilium];

    /// From the word on the command line.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dialect| dialect.as_str() == text)
    }

    /// The word on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Upstream => "upstream",
            Self::Cilium => "cilium",
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
