//! The schemes of addresses: which conversation each means, and what that sends.

use std::fmt::Write;

use super::Parts;
use crate::guide::{Url, ssl_mode};
use crate::matrix::{Exchange, SmtpMode, SslMode, SslNegotiation};

/// One scheme, as the help tells it.
pub(super) struct Scheme {
    pub(super) name: &'static str,
    /// What stands behind `name://`.
    form: &'static str,
    /// Without it the address must name one.
    pub(super) port: Option<u16>,
    help: &'static str,
}

const fn scheme(name: &'static str, form: &'static str, port: Option<u16>, help: &'static str) -> Scheme {
    Scheme { name, form, port, help }
}

/// All schemes. docs/probes.md has a section for each conversation.
#[rustfmt::skip]
pub(super) const SCHEMES: &[Scheme] = &[
    scheme("postgres", "DB[:5432][?sslmode=MODE&sslnegotiation=direct]", Some(5432), "an SSLRequest of 8 bytes, TLS as sslmode has it (default prefer), a startup message without a password; with direct (PostgreSQL 17) TLS from the first byte"),
    scheme("smtp", "RELAY[:587]", Some(587), "after the banner EHLO, STARTTLS, EHLO again, QUIT; on port 25 without STARTTLS, as MAS's mode `plain`"),
    scheme("smtps", "RELAY[:465]", Some(465), "TLS from the first byte, then EHLO and QUIT"),
    scheme("dns", "SERVER[:53]", Some(53), "one question over UDP and one over TCP; that the name does not exist is an answer, too"),
    scheme("oidc", "ISSUER-HOST[:443][/PATH]", Some(443), "GET of the discovery document, whose issuer must be https://ISSUER-HOST… byte for byte, and of the keys; a TLS handshake with the token and userinfo endpoints on other hosts"),
    scheme("mas", "AUTH-HOST[:443][/PATH]", Some(443), "GET of MAS's discovery document by its public URL: 404 no router, 502 or 504 MAS not reached, 503 no endpoint"),
    scheme("mas-health", "POD[:8081]", Some(8081), "GET /health of MAS: whether it reaches its database"),
    scheme("synapse", "SERVICE[:8008]", Some(8008), "GET of the supported versions, of the interface for MAS, and whoami with a made-up token: 401 if Synapse reaches MAS, 503 if not"),
    scheme("https", "HOST[:443]", Some(443), "a TLS handshake and GET /: any status below 500 is an answer"),
    scheme("http", "HOST[:80]", Some(80), "GET /: any status below 500 is an answer"),
    scheme("tcp", "HOST:PORT", None, "nothing: it connects and closes"),
];

/// The help's list.
pub(in crate::cli::probe) fn help() -> String {
    SCHEMES.iter().fold("Addresses:\n".to_owned(), |mut out, Scheme { name, form, help, .. }| {
        let _ = writeln!(out, "  {name}://{form}\n      sends {help}");
        out
    })
}

/// The conversations of an address, and what they send. Errors repeat nothing of it.
pub(super) fn conversation(parts: &Parts<'_>) -> Result<(Vec<Exchange>, &'static str), String> {
    let Parts { scheme, host, port, path, query, .. } = parts;
    if !path.is_empty() && !matches!(*scheme, "oidc" | "mas") {
        return Err(format!("only a host and a port are probed: leave out the path that follows them in {scheme}://…"));
    }
    if !query.is_empty() && *scheme != "postgres" {
        return Err(format!("leave out the query that follows {scheme}://…"));
    }
    Ok(match *scheme {
        "postgres" => postgres(query)?,
        // MAS's `plain` mode has port 25, its `starttls` mode 587 (`crates/config/src/sections/email.rs`).
        "smtp" if *port == 25 => (vec![Exchange::smtp(SmtpMode::Plain)], "EHLO and QUIT, after the banner"),
        "smtp" => (vec![Exchange::smtp(SmtpMode::StartTls)], "EHLO, STARTTLS, EHLO again and QUIT, after the banner"),
        "smtps" => (vec![Exchange::smtp(SmtpMode::Tls)], "a TLS handshake, EHLO and QUIT"),
        "dns" => (
            vec![Exchange::DnsUdp, Exchange::DnsTcp],
            "one question for kubernetes.default.svc.cluster.local, over UDP and over TCP",
        ),
        // The issuer as it was written: a slash at its end makes another one.
        "oidc" => (
            vec![Exchange::Oidc { issuer: format!("https://{}{path}", parts.authority) }],
            "a TLS handshake and GET of the discovery document, and again of the keys; a handshake with endpoints on other hosts",
        ),
        "mas" => {
            let url = Url::parse(&format!("https://{}{path}", parts.authority)).map_err(str::to_owned)?.normalized();
            let exchange = Exchange::MasPublic { issuer: url.clone(), url };
            (vec![exchange], "a TLS handshake and GET of MAS's discovery document")
        }
        "mas-health" => (vec![Exchange::MasHealth], "GET /health"),
        "synapse" => {
            let endpoint = format!("http://{}/", parts.authority);
            (vec![Exchange::Synapse { endpoint }, Exchange::Whoami], "three GETs, one of them with a made-up token")
        }
        "http" | "https" => {
            let tls = *scheme == "https";
            let sends = if tls { "a TLS handshake and GET /" } else { "GET /" };
            (vec![Exchange::Http { tls, host: host.clone() }], sends)
        }
        _ => (vec![Exchange::Tcp], "nothing: it connects and closes"),
    })
}

fn postgres(query: &str) -> Result<(Vec<Exchange>, &'static str), String> {
    let (mut mode, mut negotiation) = (None, SslNegotiation::Postgres);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        match (key, value) {
            ("sslmode", _) => {
                mode = Some(ssl_mode(value).map_err(|error| format!("sslmode of postgres://…: {error}"))?);
            }
            ("sslnegotiation", "postgres") => negotiation = SslNegotiation::Postgres,
            ("sslnegotiation", "direct") => negotiation = SslNegotiation::Direct,
            ("sslnegotiation", _) => return Err("sslnegotiation of postgres://… is postgres or direct".to_owned()),
            _ => return Err("of what may follow postgres://… only sslmode and sslnegotiation are known".to_owned()),
        }
    }
    let weak = matches!(mode, Some(SslMode::Disable | SslMode::Allow | SslMode::Prefer));
    let (mode, sends) = match negotiation {
        SslNegotiation::Direct if weak => {
            // As libpq: it would end in clear without anybody's wish.
            return Err("sslnegotiation=direct goes with sslmode=require, verify-ca or verify-full".to_owned());
        }
        SslNegotiation::Direct => (
            mode.unwrap_or(SslMode::Require),
            "a TLS handshake for `postgresql` (ALPN), and a startup message without a password",
        ),
        SslNegotiation::Postgres => match mode.unwrap_or_default() {
            mode @ (SslMode::Disable | SslMode::Allow) => (mode, "a startup message without a password, in clear"),
            mode => (mode, "an SSLRequest, TLS if it is offered, and a startup message without a password"),
        },
    };
    Ok((vec![Exchange::Postgres { ssl_mode: mode, negotiation, login: None }], sends))
}
