//! `portreeve probe postgres://db:5432`: an address of the user's own, without any source.
//!
//! Such a probe says what this place sees. It is never an observation of an edge: MAS may stand where policies treat it otherwise.

mod schemes;

use crate::matrix::Exchange;
use crate::observe::{Dial, Task};
use schemes::SCHEMES;

pub(super) use schemes::help;

/// Said beside every result.
pub(super) const VANTAGE: &str = "from here, not from MAS: never counts as observed";

/// One address to probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AdHoc {
    /// The address as it was given, which holds no secret.
    pub(super) shown: String,
    host: String,
    port: u16,
    exchanges: Vec<Exchange>,
    /// What goes out, for people.
    sends: &'static str,
}

/// An address, taken apart.
struct Parts<'a> {
    /// In lower case, by its usual name.
    scheme: &'static str,
    /// Host and port as they were written.
    authority: &'a str,
    host: String,
    port: u16,
    /// Begins with a slash, or is empty.
    path: &'a str,
    /// Without the question mark.
    query: &'a str,
}

impl AdHoc {
    /// Whether an argument is an address and no edge's name.
    pub(super) fn is_meant(argument: &str) -> bool {
        argument.contains("://")
    }

    /// Reads an address. Errors repeat nothing of it: what is wrong may be a password.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let parts = Parts::of(text)?;
        let (exchanges, sends) = schemes::conversation(&parts)?;
        let Parts { scheme, host, port, path, query, .. } = parts;
        let query = if query.is_empty() { String::new() } else { format!("?{query}") };
        let shown = format!("{scheme}://{}:{port}{path}{query}", bracketed(&host));
        Ok(Self { shown, host, port, exchanges, sends })
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

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").ok_or("an address is written scheme://host:port")?;
        if text.contains('@') {
            return Err("an address carries a user's name or a password: leave them out, probes need none".to_owned());
        }
        let named = match scheme.to_ascii_lowercase().as_str() {
            "postgresql" => "postgres".to_owned(),
            other => other.to_owned(),
        };
        let known = || SCHEMES.iter().map(|scheme| scheme.name).collect::<Vec<_>>().join(", ");
        let known = SCHEMES.iter().find(|scheme| scheme.name == named).ok_or_else(known);
        let scheme = known.map_err(|known| format!("an address has an unknown scheme: known are {known}"))?;
        let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let name = scheme.name;
        let fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/%&=".contains(&byte);
        if authority.contains(['#', '\\']) || !path.bytes().chain(query.bytes()).all(fit) {
            return Err(format!("leave out what follows host, port and path in {name}://…"));
        }
        let (host, port) = split(authority).ok_or_else(|| format!("{name}://… has no host, or one that is none"))?;
        let port = match port {
            Some(port) => Some(port.parse().ok().filter(|port| *port != 0)),
            None => scheme.port.map(Some),
        };
        let port = port.ok_or_else(|| format!("{name}://… needs a port"))?;
        let port = port.ok_or_else(|| format!("the port of {name}://… is no number from 1 to 65535"))?;
        // A slash alone is no path, but of an issuer, where it makes a difference.
        let path = if path == "/" && !matches!(name, "oidc" | "mas") { "" } else { path };
        Ok(Self { scheme: name, authority, host, port, path, query })
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
    use crate::matrix::{SmtpMode, SslMode, SslNegotiation};

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
        check("https://host/login", Err("leave out the path"));
        check("https://host?login", Err("leave out the query"));
        check("https://host/#login", Err("leave out what follows"));
        check("oidc://auth.example", Ok("oidc://auth.example:443"));
        check("oidc://auth.example/realms/x/", Ok("oidc://auth.example:443/realms/x/"));
        check("mas://auth.example", Ok("mas://auth.example:443"));
        check("mas-health://10.0.0.1", Ok("mas-health://10.0.0.1:8081"));
        check("synapse://synapse", Ok("synapse://synapse:8008"));
    }

    #[test]
    fn issuers_are_taken_byte_for_byte() {
        let exchange = |text| AdHoc::parse(text).unwrap().exchanges.remove(0);
        let oidc = |issuer: &str| Exchange::Oidc { issuer: issuer.to_owned() };
        assert_eq!(exchange("oidc://Auth.example"), oidc("https://Auth.example"));
        assert_eq!(exchange("oidc://auth.example:443/"), oidc("https://auth.example:443/"));
        // MAS writes its own as the `url` crate does.
        let url = "https://auth.example/".to_owned();
        assert_eq!(exchange("mas://Auth.example:443"), Exchange::MasPublic { issuer: url.clone(), url });
    }

    #[test]
    fn modes_of_postgres() {
        use SslMode::{Disable, Prefer, Require, VerifyFull};
        use SslNegotiation::{Direct, Postgres};
        let is = |text: &str, ssl_mode, negotiation| {
            let expect = Exchange::Postgres { ssl_mode, negotiation, login: None };
            assert_eq!(AdHoc::parse(text).unwrap().exchanges, [expect], "{text}");
        };
        is("postgres://db", Prefer, Postgres);
        is("postgresql://db?sslmode=disable", Disable, Postgres);
        is("postgres://db/?sslmode=verify-full&sslnegotiation=postgres", VerifyFull, Postgres);
        is("postgres://db?sslnegotiation=direct", Require, Direct);
        is("postgres://db?sslnegotiation=direct&sslmode=verify-full", VerifyFull, Direct);
        check("postgres://db?sslnegotiation=direct&sslmode=prefer", Err("goes with sslmode=require"));
        check("postgres://db?sslmode=on", Err("expected one of disable"));
        check("postgres://db?sslnegotiation=hunter2", Err("is postgres or direct"));
        check("postgres://db?password=hunter2", Err("only sslmode and sslnegotiation are known"));
        check("postgres://db/mas", Err("leave out the path"));
    }

    /// What the help says of each scheme is what happens.
    #[test]
    fn every_scheme_is_explained() {
        for scheme in SCHEMES {
            let address = AdHoc::parse(&format!("{}://host:1", scheme.name)).unwrap();
            assert!(!address.exchanges.is_empty(), "{}", scheme.name);
            assert!(help().contains(&format!("  {}://", scheme.name)));
        }
    }

    #[test]
    fn modes_of_mail() {
        let mode = |text| AdHoc::parse(text).unwrap().exchanges;
        assert_eq!(mode("smtp://m:25"), [Exchange::smtp(SmtpMode::Plain)]);
        assert_eq!(mode("smtp://m:587"), [Exchange::smtp(SmtpMode::StartTls)]);
        assert_eq!(mode("smtps://m"), [Exchange::smtp(SmtpMode::Tls)]);
    }

    #[test]
    fn what_could_be_a_secret_is_not_repeated() {
        for text in [
            "postgres://u:hunter2@db",
            "hunter2://u@x",
            "hunter2://db",
            "tcp://a/hunter2",
            "tcp://hunter2 x",
            "postgres://db?sslmode=hunter2",
        ] {
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
