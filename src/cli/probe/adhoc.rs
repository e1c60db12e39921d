//! `portreeve probe postgres://db:5432`: an address of the user's own, without any source.
//!
//! Such a probe says what this place sees. It is never an observation of an edge: MAS may stand where policies treat it otherwise.

use crate::matrix::{Exchange, SmtpMode, SslMode};
use crate::observe::{Dial, Task};

/// Said beside every result.
pub(super) const VANTAGE: &str = "from here, not from MAS: never counts as observed";

/// One address to probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AdHoc {
    /// The address as it was given: scheme, host and port, which hold no secret.
    pub(super) shown: String,
    host: String,
    port: u16,
    exchanges: Vec<Exchange>,
    /// What goes out, for people.
    sends: &'static str,
}

const KNOWN: &str = "known are postgres, smtp, smtps, dns, http, https and tcp";

impl AdHoc {
    /// Whether an argument is an address and no edge's name.
    pub(super) fn is_meant(argument: &str) -> bool {
        argument.contains("://")
    }

    /// Reads an address. Errors repeat nothing of it: what is wrong may be a password.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").ok_or("an address is written scheme://host:port")?;
        if text.contains('@') {
            return Err("an address carries a user's name or a password: leave them out, probes need none".to_owned());
        }
        let scheme = scheme.to_ascii_lowercase();
        let default = match scheme.as_str() {
            "postgres" | "postgresql" => Some(5432),
            "smtp" => Some(587),
            "smtps" => Some(465),
            "dns" => Some(53),
            "http" => Some(80),
            "https" => Some(443),
            "tcp" => None,
            _ => return Err(format!("an address has an unknown scheme: {KNOWN}")),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#', '\\']) {
            return Err(format!("only a host and a port are probed: leave out what follows them in {scheme}://…"));
        }
        let (host, port) = split(authority).ok_or_else(|| format!("{scheme}://… has no host, or one that is none"))?;
        let port = match port {
            Some(port) => Some(port.parse().ok().filter(|port| *port != 0)),
            None => default.map(Some),
        };
        let port = port.ok_or_else(|| format!("{scheme}://… needs a port"))?;
        let port = port.ok_or_else(|| format!("the port of {scheme}://… is no number from 1 to 65535"))?;
        let (exchanges, sends) = conversation(&scheme, &host, port);
        Ok(Self { shown: format!("{scheme}://{}:{port}", bracketed(&host)), host, port, exchanges, sends })
    }

    /// `postgres://db:5432: sends …`
    pub(super) fn announcement(&self) -> String {
        format!("{}: sends {}", self.shown, self.sends)
    }

    /// The conversations to have.
    pub(super) fn tasks(&self, deadline: std::time::Duration) -> Vec<Task> {
        let dial = Dial::to(&self.host, self.port);
        let task = |exchange: &Exchange| Task {
            edge: self.shown.clone(),
            dial: dial.clone(),
            exchange: exchange.clone(),
            deadline,
            deep: true,
        };
        self.exchanges.iter().map(task).collect()
    }
}

/// What is said to a scheme's port, and that in words.
fn conversation(scheme: &str, host: &str, port: u16) -> (Vec<Exchange>, &'static str) {
    let http = |tls| vec![Exchange::Http { tls, host: host.to_owned() }];
    match scheme {
        "postgres" | "postgresql" => (
            vec![Exchange::Postgres { ssl_mode: SslMode::Prefer }],
            "an SSLRequest, TLS if it is offered, and a startup message without a password",
        ),
        // MAS's `plain` mode has port 25, its `starttls` mode 587 (`crates/config/src/sections/email.rs`).
        "smtp" if port == 25 => (vec![Exchange::Smtp { mode: SmtpMode::Plain }], "EHLO and QUIT, after the banner"),
        "smtp" => {
            (vec![Exchange::Smtp { mode: SmtpMode::StartTls }], "EHLO, STARTTLS, EHLO again and QUIT, after the banner")
        }
        "smtps" => (vec![Exchange::Smtp { mode: SmtpMode::Tls }], "a TLS handshake, EHLO and QUIT"),
        "dns" => (
            vec![Exchange::DnsUdp, Exchange::DnsTcp],
            "one question for kubernetes.default.svc.cluster.local, over UDP and over TCP",
        ),
        "http" => (http(false), "GET /"),
        "https" => (http(true), "a TLS handshake and GET /"),
        _ => (vec![Exchange::Tcp], "nothing: it connects and closes"),
    }
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`.
fn split(authority: &str) -> Option<(String, Option<&str>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
        }
        None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    let fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
    ((1..=255).contains(&host.len()) && host.bytes().all(fit)).then(|| (host.to_ascii_lowercase(), port))
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Result<&str, &str>) {
        match (AdHoc::parse(text), expect) {
            (Ok(got), Ok(shown)) => assert_eq!(got.shown, shown),
            (Err(got), Err(part)) => assert!(got.contains(part), "{text}: {got}"),
            (got, expect) => panic!("{text}: {got:?}, expected {expect:?}"),
        }
    }

    #[test]
    fn addresses() {
        check("postgres://db", Ok("postgres://db:5432"));
        check("POSTGRES://DB:6432/", Ok("postgres://db:6432"));
        check("smtp://mail.example.org", Ok("smtp://mail.example.org:587"));
        check("smtps://mail.example.org", Ok("smtps://mail.example.org:465"));
        check("dns://10.43.0.10", Ok("dns://10.43.0.10:53"));
        check("https://[2001:db8::1]", Ok("https://[2001:db8::1]:443"));
        check("http://[2001:db8::1]:8080/", Ok("http://[2001:db8::1]:8080"));
        check("tcp://db:1", Ok("tcp://db:1"));
        check("tcp://db", Err("needs a port"));
        for port in ["0", "65536", "x", ""] {
            check(&format!("tcp://db:{port}"), Err("no number from 1 to 65535"));
        }
        check("ftp://host", Err("unknown scheme"));
        check("tcp://", Err("has no host"));
        check("tcp://a b:1", Err("has no host"));
        check("tcp://[::1", Err("has no host"));
        check("tcp://[db]:1", Err("has no host"));
        check("https://host/login", Err("leave out what follows"));
        check("postgres://db/mas?sslmode=require", Err("leave out what follows"));
    }

    #[test]
    fn modes_of_mail() {
        let mode = |text| AdHoc::parse(text).unwrap().exchanges;
        assert_eq!(mode("smtp://m:25"), [Exchange::Smtp { mode: SmtpMode::Plain }]);
        assert_eq!(mode("smtp://m:587"), [Exchange::Smtp { mode: SmtpMode::StartTls }]);
        assert_eq!(mode("smtps://m"), [Exchange::Smtp { mode: SmtpMode::Tls }]);
    }

    #[test]
    fn what_could_be_a_secret_is_not_repeated() {
        for text in ["postgres://u:hunter2@db", "hunter2://u@x", "hunter2://db", "tcp://a/hunter2", "tcp://hunter2 x"] {
            let error = AdHoc::parse(text).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,60}") {
            let _ = AdHoc::parse(&text);
            let _ = AdHoc::parse(&format!("tcp://{text}"));
        }
    }
}
