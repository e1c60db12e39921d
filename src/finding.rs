//! Everything that can be wrong, with its code, its name and its page in docs/findings.md.

use std::fmt;

use crate::source::Place;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing; does not change an exit code.
    Note,
    /// Works today, and should be looked at.
    Warning,
    /// Wrong.
    Error,
}

impl Severity {
    /// The word used everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

macro_rules! codes {
    ($($code:literal $name:ident $severity:ident $meaning:literal,)*) => {
        /// What is wrong, as a word with a number that never changes its meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $meaning] $name,)*
        }

        impl Code {
            /// All codes, in order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// `PR001` and so on.
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// The name, for example `PolicyBlocks`.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// How much it matters.
            pub fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity,)* }
            }

            /// Whether it is about a manifest that is left out, in whole or in part: every answer over the manifests says so.
            pub fn leaves_out(self) -> bool {
                matches!(self, Self::BrokenObject | Self::InvalidPolicy)
            }

            /// One sentence on what it means.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)* }
            }
        }
    };
}

codes! {
    "PR001" NotEnforced Error "The policies deny this connection and it works all the same: nothing enforces them.",
    "PR002" PolicyBlocks Error "A needed connection is denied by the policies.",
    "PR003" BlockedElsewhere Error "A needed connection is stopped although the policies let it through.",
    "PR004" TargetDown Error "The target of a needed connection does not serve.",
    "PR005" NameNotResolved Error "The name of a needed target does not resolve.",
    "PR006" TlsInvalid Error "The target's TLS certificate or handshake fails.",
    "PR007" ProtocolMismatch Error "Something answers there, but it does not speak the protocol that is needed.",
    "PR008" AuthRejected Error "The target answers and refuses who we are.",
    "PR009" ClosedByLuck Warning "A forbidden connection does not work, but no policy forbids it.",
    "PR010" ForbiddenOpen Error "A forbidden connection works.",
    "PR011" WiderThanIntended Warning "The policies admit more at the subject than any edge needs.",
    "PR012" PeerSideMissing Error "The subject's side allows a needed connection; the peer's own policies do not.",
    "PR013" ServicePortUsed Error "A rule names the Service port where policies see the pod port.",
    "PR014" DnsWithoutTcp Error "DNS is allowed over UDP but not over TCP: large answers fail.",
    "PR015" SelectorMatchesNothing Warning "A rule's selector matches nothing that is known.",
    "PR016" AssertionFailed Error "An assertion does not hold.",
    "PR020" PeerUnknown Warning "No source says where this edge goes.",
    "PR021" DefaultUsed Warning "A wide default stands in for a fact that no source gives.",
    "PR022" SourcesContradict Warning "Two sources name different targets for one edge; both stay allowed.",
    "PR023" UnreachableBind Error "MAS listens where no peer can reach it.",
    "PR024" MailMissing Error "A feature needs mail, and mail is not configured.",
    "PR025" SubjectUnclear Error "MAS's pods cannot be told for certain.",
    "PR026" UnknownKey Warning "A key that the input's format does not have.",
    "PR027" ReferenceBroken Error "A reference leads to nothing: a Service, port or pod that is not there.",
    "PR028" ValueUnknown Warning "A value is encrypted, templated or a variable, so it is not known here.",
    "PR029" ProxyInUse Warning "A proxy reroutes this edge.",
    "PR030" GuideUnsound Warning "The guide's own values cannot work as they stand.",
    "PR031" InvalidPolicy Error "A policy that the API server would refuse; it opens nothing here.",
    "PR032" LabelNotText Error "A label's value is no string.",
    "PR033" NotCovered Warning "An object among the inputs is not read, and it could matter.",
    "PR034" KindNotModelled Warning "A policy kind that is not modelled can change the verdict.",
    "PR035" HostBits Warning "A CIDR has host bits set; newer API servers refuse it.",
    "PR036" HostNetworkPeer Warning "A peer runs in its node's network, where pod selectors do not reach it.",
    "PR037" BrokenObject Warning "An object could not be read and was left out.",
    "PR040" DeadPolicy Warning "A policy selects no pod, so it isolates and admits nothing.",
    "PR041" DeadRule Warning "A rule, or a peer in it, can match nothing, whatever pods there are.",
    "PR042" RedundantRule Note "Everything that a rule admits is admitted by other rules too.",
    "PR043" NamedPortMissing Warning "A rule names a port that no pod at the destination has.",
    "PR044" NobodyListens Note "A rule admits a port that no pod at the destination declares.",
    "PR045" OrInsteadOfAnd Warning "Two items of a rule mean either of them where both together were meant.",
    "PR046" SelectorForAddress Error "A rule selects pods where the peer is an address outside the cluster.",
    "PR047" Ipv6Forgotten Warning "A rule is open to all of IPv4 and to none of IPv6, and the pod has both.",
    "PR048" EndPortUsed Note "A rule uses endPort, which some network plug-ins ignore.",
    "PR049" EqualPriority Warning "Two policies of a tier have one priority, so nothing says which comes first.",
    "PR050" Msc3861Used Error "Synapse's config delegates to MAS in a form that Synapse refuses since 1.157.",
    "PR051" RedirectMismatch Error "The identity provider does not know the address to which MAS sends people back.",
    "PR052" SigningKeyMissing Warning "MAS's secrets have no signing key.",
    "PR053" PlaceholderSecret Error "A secret is empty or still a placeholder.",
    "PR054" VariableNotExpanded Warning "A config holds a variable that its program does not expand.",
    "PR055" DatabaseUriBroken Error "MAS cannot read its database URI.",
    "PR056" ProbeUnreachable Error "The kubelet probes MAS on a port where MAS does not answer it.",
    "PR057" ProviderIdInvalid Error "A provider's id is no ULID: MAS refuses its config.",
    "PR058" AcceptanceUnreadable Warning "An acceptance in an annotation cannot be read, so it accepts nothing.",
    "PR059" LockOut Error "The planned policy would cut a needed connection, so it is not written.",
    "PR060" NotOurs Error "An object of the policy's name belongs to somebody else, so it is left alone.",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code(), self.name())
    }
}

impl serde::Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

/// One thing that is wrong: what, about which object, where, and the smallest fix.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// What it is.
    pub code: Code,
    /// The edge it is about, if it is about one.
    pub edge: Option<String>,
    /// The object it is about, as `Kind/namespace/name` or a source's key.
    pub object: String,
    /// Where that stands, if it stands in a file.
    pub place: Option<Place>,
    /// One sentence: what happened, to what.
    pub message: String,
    /// The smallest thing to do about it.
    pub fix: String,
}

impl Finding {
    /// A finding about an object.
    pub fn new(code: Code, object: impl Into<String>, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { code, edge: None, object: object.into(), place: None, message: message.into(), fix: fix.into() }
    }

    /// With its place.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// With its edge.
    #[must_use]
    pub fn on(mut self, edge: impl Into<String>) -> Self {
        self.edge = Some(edge.into());
        self
    }
}

impl serde::Serialize for Finding {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut out = serializer.serialize_struct("Finding", 8)?;
        out.serialize_field("code", self.code.code())?;
        out.serialize_field("name", self.code.name())?;
        out.serialize_field("severity", self.code.severity().as_str())?;
        out.serialize_field("edge", &self.edge)?;
        out.serialize_field("object", &self.object)?;
        out.serialize_field("place", &self.place)?;
        out.serialize_field("message", &self.message)?;
        out.serialize_field("fix", &self.fix)?;
        out.end()
    }
}
