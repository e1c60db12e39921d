//! The verdict of the policies.

/// What all NetworkPolicies together say of a connection, both ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Declared {
    /// They let it through.
    Allowed,
    /// At least one end does not.
    Denied,
    /// A fact is missing.
    Unknown,
}

impl Declared {
    /// All verdicts, in order.
    pub const ALL: [Self; 3] = [Self::Allowed, Self::Denied, Self::Unknown];

    /// The word used everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Unknown => "unknown",
        }
    }

    /// Of several pairs the edge has the worst: denied if any is, else unknown if any is.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Denied, _) | (_, Self::Denied) => Self::Denied,
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            (Self::Allowed, Self::Allowed) => Self::Allowed,
        }
    }
}
