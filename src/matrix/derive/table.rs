//! The edges that a MAS deployment is known to need: tier, the guide's words, and what people notice when one is cut.
//!
//! Tiers: 0 when nobody can log in (or every client request fails), 1 when some logins or a part of the service fail, 2 for mails, telemetry and the like.
//! "Breaks" sums up facts/mas-edges.md §1.

use crate::world::Protocol;

/// One row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) protocol: Protocol,
    pub(super) tier: u8,
    /// The guide's section, or the source that asks where the guide does not.
    pub(super) section: &'static str,
    pub(super) breaks: &'static str,
}

const fn row(name: &'static str, tier: u8, section: &'static str, breaks: &'static str) -> Row {
    Row { name, protocol: Protocol::Tcp, tier, section, breaks }
}

pub(super) const TRAEFIK_TO_MAS: Row = row(
    "traefik-to-mas",
    0,
    "guide: NetworkPolicy Considerations, Ingress: From Traefik (port 8080)",
    "every login page and token refresh answers 502 or 504",
);
// The guide's reason, "for health checks", is wrong: Synapse introspects every token that it has not cached (§1.2).
pub(super) const SYNAPSE_TO_MAS: Row = row(
    "synapse-to-mas",
    0,
    "guide: NetworkPolicy Considerations, Ingress: From Synapse (port 8080)",
    "every authenticated client request fails with 503 within two minutes",
);
pub(super) const MAS_TO_POSTGRES: Row = row(
    "mas-to-postgres",
    0,
    "guide: NetworkPolicy Considerations, Egress: To PostgreSQL (port 5432)",
    "MAS does not start or its health check fails: nobody can log in",
);
pub(super) const MAS_TO_SYNAPSE: Row = row(
    "mas-to-synapse",
    0,
    "guide: NetworkPolicy Considerations, Egress: To Synapse (port 8008)",
    "nobody can log in or register; only sessions that exist already go on",
);
/// The tier is that of the only way to log in; 1 where another way is known.
pub(super) const MAS_TO_PROVIDER: Row = row(
    "mas-to-authelia",
    0,
    "guide: NetworkPolicy Considerations, Egress: To Authelia (port 443)",
    "logins through this identity provider fail",
);
pub(super) const MAS_TO_DNS_UDP: Row = Row {
    protocol: Protocol::Udp,
    ..row(
        "mas-to-dns-udp",
        0,
        "guide: NetworkPolicy Considerations, Egress: To DNS (port 53)",
        "no name resolves: database, Synapse, identity provider and mail relay are all out of reach",
    )
};
pub(super) const MAS_TO_DNS_TCP: Row = row(
    "mas-to-dns-tcp",
    1,
    "guide: NetworkPolicy Considerations, Egress: To DNS (port 53)",
    "names with large answers do not resolve",
);
pub(super) const MAS_TO_SMTP: Row = row(
    "mas-to-smtp",
    2,
    "guide: NetworkPolicy Considerations, Egress: To SMTP (port 587)",
    "no verification or password-reset mail goes out, and MAS stays healthy",
);
pub(super) const PROMETHEUS_TO_MAS: Row =
    row("prometheus-to-mas", 2, "MAS's config", "MAS's metrics and the alerts on them are missing");
pub(super) const MAS_TO_OTLP: Row = row("mas-to-otlp", 2, "MAS's config", "traces or metrics are lost");
pub(super) const MAS_TO_SENTRY: Row = row("mas-to-sentry", 2, "MAS's config", "error reports are lost");
pub(super) const MAS_TO_CAPTCHA: Row =
    row("mas-to-captcha", 2, "MAS's config", "registration and password recovery refuse every captcha answer");
/// What an edge of the TrafficMatrix is for is not known, so neither is how much depends on it.
pub(super) const FROM_MATRIX: Row =
    row("", 1, "TrafficMatrix", "what this edge was written into the TrafficMatrix for");
/// Deny edges: "breaks" says what is at stake when they are open.
pub(super) const STRANGER_TO_MAS: Row = row(
    "stranger-to-mas",
    1,
    "portreeve: closed by default",
    "nothing when closed; when open, any pod can reach MAS around the ingress controller",
);
pub(super) const MAS_TO_STRANGER: Row = row(
    "mas-to-stranger",
    1,
    "portreeve: closed by default",
    "nothing when closed; when open, MAS's egress is not confined",
);

/// MAS's own default listener (`crates/config/src/sections/http.rs`), and the guide's port.
pub(super) const MAS_PORT: u16 = 8080;
/// sqlx's and libpq's default.
pub(super) const POSTGRES_PORT: u16 = 5432;
/// The guide's port for Synapse's client listener.
pub(super) const SYNAPSE_PORT: u16 = 8008;
/// The stranger's listener (product.md §3).
pub(super) const STRANGER_PORT: u16 = 9691;
