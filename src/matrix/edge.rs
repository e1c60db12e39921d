//! An edge: one connection that must work, or must not.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::finding::Finding;
use crate::guide::{Login, SmtpMode, SslMode, SslNegotiation, Url};
use crate::source::Place;
use crate::world::{Labels, ObjectName, PortRef, Protocol, WorkloadKind};

/// All that the sources intend, before a world is looked at.
#[derive(Debug, Clone, Default)]
pub struct Intent {
    /// The edges, in the order of product.md §4, then by name.
    pub edges: Vec<Edge>,
    /// Who the subject is.
    pub subject: SubjectRule,
    /// What was wrong, missing or contradictory in the sources.
    pub findings: Vec<Finding>,
    /// Plain remarks ("`mas.enabled` is false, which changes nothing here").
    pub notes: Vec<String>,
    /// Keys of the TrafficMatrix that lead to further sources, which were not read: what they ask for is not among the edges.
    pub unread: Vec<&'static str>,
}

/// How the subject (the pods of MAS) is found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SubjectRule {
    /// By an image whose path ends in `matrix-authentication-service`.
    #[default]
    ByImage,
    /// By an image with exactly this `registry/repository` (no tag).
    Image(String),
    /// As the TrafficMatrix says.
    Named(Party),
}

/// One intended connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// Its name, unique in a matrix, for example `mas-to-postgres`.
    pub name: String,
    /// Who opens it. Several when sources differ.
    pub from: Vec<Party>,
    /// Whom it goes to. Several when sources contradict each other: all stay allowed, and that is a finding.
    pub to: Vec<Target>,
    /// Its protocol.
    pub protocol: Protocol,
    /// Whether it must work.
    pub expect: Expect,
    /// 0: nobody can log in without it. 1: some logins or a part of the service fail. 2: only mails, telemetry and the like.
    pub tier: u8,
    /// What people notice when it is cut.
    pub breaks: String,
    /// Every source that asks for it.
    pub provenance: Vec<Provenance>,
    /// The conversation that proves it.
    pub exchange: Exchange,
}

/// Whether an edge must work or must not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expect {
    /// It must work.
    Allow,
    /// It must not.
    Deny,
}

impl Expect {
    /// `allow` or `deny`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// One end of an edge, before it is looked up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Party {
    /// The pods of MAS.
    Subject,
    /// `ns/svc/name`
    Service(ObjectName),
    /// `ns/deploy/name` and the like.
    Workload(WorkloadKind, ObjectName),
    /// `ns/pod`
    Pod(ObjectName),
    /// Pods by labels; `None` for the namespace means the subject's.
    Selector {
        /// Namespace name.
        namespace: Option<String>,
        /// `matchLabels`.
        labels: Labels,
    },
    /// A short Service name as URLs have it (`matrix-db-rw`, `matrix-db-rw.postgres`, `….svc.cluster.local`), or an outside host: which of both is known only with a world.
    Host {
        /// Lower case, without a trailing dot.
        host: String,
        /// Address ranges that may be accepted for it although private.
        allow_private: Vec<IpNet>,
    },
    /// An address.
    Address(IpAddr),
    /// A range of addresses.
    Block(IpNet),
    /// `node/name`
    Node(String),
    /// Any pod of the cluster.
    AnyPod,
    /// Any address outside the cluster.
    World,
    /// The cluster's DNS servers, as MAS's pods reach them.
    ClusterDns,
    /// The ingress controller that answers for this public host (`None`: host not known).
    IngressController(Option<String>),
    /// The portreeve stranger.
    Stranger,
    /// The sources do not say. `peer` is the key to write into the TrafficMatrix's `peers:`.
    Unknown {
        /// The key in `peers:`, for example `postgres`.
        peer: &'static str,
    },
}

/// Where an edge goes, and on which port as its source knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Whom.
    pub party: Party,
    /// Which port.
    pub port: Port,
    /// Where the source says so.
    pub place: Option<Place>,
}

/// A port as a source knows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Port {
    /// The port a client dials (a Service port when the party is a Service, a URL's port for a host).
    Client(PortRef),
    /// A port of the pod, for certain (MAS's own listener, `targetPort`).
    Pod(PortRef),
    /// No source says; `default` is what the protocol would use, if it has one.
    Unknown {
        /// The protocol's own port.
        default: Option<u16>,
    },
}

impl Party {
    /// The name by which MAS knows it, if it has one.
    pub fn host(&self) -> Option<String> {
        match self {
            Self::Host { host, .. } => Some(host.clone()),
            Self::Service(service) => Some(service.service_host()),
            _ => None,
        }
    }
}

impl Target {
    /// Host (a name or an address) and port as the source itself says to dial them, if it says both.
    pub fn dialled(&self) -> Option<(String, u16)> {
        let port = match &self.port {
            Port::Client(PortRef::Number(port)) | Port::Pod(PortRef::Number(port)) => *port,
            Port::Client(PortRef::Name(_)) | Port::Pod(PortRef::Name(_)) => return None,
            Port::Unknown { default } => (*default)?,
        };
        let host = match &self.party {
            Party::Address(address) => address.to_string(),
            named => named.host()?,
        };
        Some((host, port))
    }
}

impl Exchange {
    /// With PostgreSQL, as MAS begins it, and nobody's name.
    pub fn postgres(ssl_mode: SslMode) -> Self {
        Self::Postgres { ssl_mode, negotiation: SslNegotiation::default(), login: None }
    }

    /// With a mail relay that lets MAS in without a login.
    pub fn smtp(mode: SmtpMode) -> Self {
        Self::Smtp { mode, auth: false }
    }

    /// Its word in JSON and on the page.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::DnsUdp => "dns-udp",
            Self::DnsTcp => "dns-tcp",
            Self::Postgres { .. } => "postgres",
            Self::Smtp { .. } => "smtp",
            Self::Oidc { .. } => "oidc",
            Self::Synapse { .. } => "synapse",
            Self::MasDiscovery { .. } => "mas-discovery",
            Self::MasPublic { .. } => "mas-public",
            Self::MasHealth => "mas-health",
            Self::Whoami => "whoami",
            Self::Http { .. } => "http",
        }
    }

    /// The host and port that are to be asked, whatever pods the edge leads to.
    pub fn asked_at(&self) -> Option<(String, u16)> {
        let Self::MasPublic { url, .. } = self else { return None };
        let url = Url::parse(url).ok()?;
        let port = url.port_or_default();
        Some((url.host, port))
    }

    /// Whether somebody else is asked to use the edge: Synapse, or the ingress controller.
    pub fn is_relayed(&self) -> bool {
        matches!(self, Self::Whoami | Self::MasPublic { .. })
    }

    /// Whether a failure to get a DNS answer is the edge's own.
    pub fn is_dns(&self) -> bool {
        matches!(self, Self::DnsUdp | Self::DnsTcp)
    }
}

/// Why an edge exists: one source's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// Where it says so.
    pub place: Option<Place>,
    /// The guide's section or the config's key, for example `guide: NetworkPolicy Considerations, Egress`.
    pub section: String,
    /// What it says, for example `mas.synapse.endpoint`.
    pub says: String,
}

/// The conversation that proves an edge. Hosts are what goes into SNI and `Host`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Exchange {
    /// Connect, nothing more.
    Tcp,
    /// DNS over UDP.
    DnsUdp,
    /// DNS over TCP.
    DnsTcp,
    /// PostgreSQL: SSLRequest, and TLS where the server offers it.
    Postgres {
        /// As MAS's `ssl_mode`.
        ssl_mode: SslMode,
        /// How TLS begins.
        #[serde(default)]
        negotiation: SslNegotiation,
        /// Whom the startup message of a deep probe names. Without it a made-up user, whose refusal is no failure.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        login: Option<Login>,
    },
    /// SMTP: banner, EHLO, STARTTLS.
    Smtp {
        /// As MAS's `email.mode`.
        mode: SmtpMode,
        /// MAS logs in there, so the server must offer AUTH.
        #[serde(default)]
        auth: bool,
    },
    /// OpenID Connect discovery.
    Oidc {
        /// The issuer, byte for byte.
        issuer: String,
    },
    /// Synapse's client API (`/_matrix/client/versions`).
    Synapse {
        /// `http` or `https` base URL as MAS's config has it.
        endpoint: String,
    },
    /// MAS's own discovery document, asked of its listener as Synapse and the ingress controller do.
    MasDiscovery {
        /// What MAS must call itself, byte for byte; `None` when no source says.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        issuer: Option<String>,
    },
    /// The same through the ingress controller, at the public URL: proves that the controller has a certificate and a route for it, and reaches MAS.
    MasPublic {
        /// `http.public_base`.
        url: String,
        /// What MAS must call itself, byte for byte.
        issuer: String,
    },
    /// MAS's `/health`: a query of its database, and nothing else.
    MasHealth,
    /// Synapse asked with a bogus token: 401 proves that Synapse reaches MAS, 503 that it does not.
    Whoami,
    /// Any HTTP answer.
    Http {
        /// TLS first.
        tls: bool,
        /// Host for SNI and `Host`.
        host: String,
    },
}

impl fmt::Display for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        write!(f, "{} ({})", self.says, self.section)
    }
}
