//! URLs as far as connections depend on them.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use serde::de;

/// `http` or `https`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// Plain; port 80 by default.
    Http,
    /// With TLS; port 443 by default.
    Https,
}

impl Scheme {
    /// The port of a URL that names none.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// An `http` or `https` URL without user, password, query and fragment: those are dropped while reading, as they may be secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// With or without TLS.
    pub scheme: Scheme,
    /// Lower case, without a trailing dot, an IPv6 address without brackets.
    pub host: String,
    /// The port, if the URL names one.
    pub port: Option<u16>,
    text: String,
}

impl Url {
    /// Reads a URL. The error never repeats the text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = text.split_once("://").ok_or(NOT_A_URL)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(NOT_A_URL),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len()));
        let path = path.split(['?', '#']).next().unwrap_or_default();
        if path.contains('@') {
            // A password with a slash in it looks like this, and then what stands before it is no host.
            return Err("an `@` stands after the host: percent-encode it");
        }
        let host_and_port = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let (host, port) = split_port(host_and_port)?;
        let word = if scheme == Scheme::Https { "https" } else { "http" };
        Ok(Self { scheme, host: host_name(host)?, port, text: format!("{word}://{host_and_port}{path}") })
    }

    /// The URL as it was written, less what is dropped.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The URL as Rust's `url` crate writes it, and so as MAS writes what its config says: lower case, no default port, at least a slash for a path.
    pub fn normalized(&self) -> String {
        let rest = self.text.split_once("://").map_or("", |(_, rest)| rest);
        let path = rest.find('/').map_or("/", |at| &rest[at..]);
        let (scheme, default) = if self.scheme == Scheme::Https { ("https", 443) } else { ("http", 80) };
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let port = self.port.filter(|port| *port != default).map_or_else(String::new, |port| format!(":{port}"));
        format!("{scheme}://{host}{port}{path}")
    }

    /// The port that a client dials.
    pub fn port_or_default(&self) -> u16 {
        self.port.unwrap_or(self.scheme.default_port())
    }

    /// Whether two URLs name the same thing for a client: a slash at the end, the host's case and a spelled-out default port make no difference.
    pub fn same_place(&self, other: &Self) -> bool {
        let path = |url: &Self| {
            let rest = url.text.split_once("://").map_or("", |(_, rest)| rest);
            rest.split_once('/').map_or("", |(_, path)| path).trim_end_matches('/').to_owned()
        };
        (self.scheme, &self.host, self.port_or_default()) == (other.scheme, &other.host, other.port_or_default())
            && path(self) == path(other)
    }
}

const NOT_A_URL: &str = "expected a URL that begins with http:// or https://";

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<'de> de::Deserialize<'de> for Url {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer, "text", Self::parse)
    }
}

/// Reads text through a parser whose errors are our own words.
pub(super) fn from_text<'de, D: de::Deserializer<'de>, T>(
    deserializer: D,
    expected: &'static str,
    parse: impl FnOnce(&str) -> Result<T, &'static str>,
) -> Result<T, D::Error> {
    struct TextVisitor<P>(&'static str, P);
    impl<T, P: FnOnce(&str) -> Result<T, &'static str>> de::Visitor<'_> for TextVisitor<P> {
        type Value = T;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            (self.1)(text).map_err(E::custom)
        }
    }
    deserializer.deserialize_str(TextVisitor(expected, parse))
}

/// A port by number.
#[derive(Debug, Clone, Copy)]
pub(super) struct PortNumber(pub(super) u16);

impl<'de> de::Deserialize<'de> for PortNumber {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const EXPECTED: &str = "a port from 1 to 65535";
        struct PortVisitor;
        impl de::Visitor<'_> for PortVisitor {
            type Value = PortNumber;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTED)
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<PortNumber, E> {
                let port = u16::try_from(number).ok().filter(|port| *port != 0);
                port.map(PortNumber).ok_or_else(|| E::custom(format_args!("expected {EXPECTED}")))
            }
        }
        deserializer.deserialize_any(PortVisitor)
    }
}

/// Splits `host`, `host:port`, `[v6]` and `[v6]:port`.
pub(super) fn split_port(text: &str) -> Result<(&str, Option<u16>), &'static str> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or("an IPv6 address lacks its closing bracket")?;
            match after.strip_prefix(':') {
                Some(port) => (host, port),
                None if after.is_empty() => (host, ""),
                None => return Err("only a port may follow the closing bracket"),
            }
        }
        None => text.rsplit_once(':').unwrap_or((text, "")),
    };
    if port.is_empty() {
        return Ok((host, None));
    }
    let number = port.parse::<u16>().ok().filter(|number| *number != 0 && !port.starts_with('+'));
    number.map(|number| (host, Some(number))).ok_or("the port is no number from 1 to 65535")
}

/// A host as connections know it: lower case, no trailing dot; an address in its usual spelling.
pub fn host_name(text: &str) -> Result<String, &'static str> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    if text.parse::<Ipv6Addr>().is_err() && text.contains(':') {
        return Err("the host holds a colon: a port belongs into its own place, an IPv6 address into brackets");
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    if name.is_empty() {
        return Err("the host is missing");
    }
    if !name.is_ascii() {
        return Err("the host has characters beyond ASCII: write it as punycode (xn--…)");
    }
    let label_ok =
        |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if name.len() > 253 || !name.split('.').all(label_ok) {
        return Err("this is no host name");
    }
    Ok(name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Result<(&str, u16, &str), &str>) {
        let got = Url::parse(text);
        let got = got.as_ref().map(|url| (url.host.as_str(), url.port_or_default(), url.as_str()));
        assert_eq!(got.map_err(|e| &**e), expect, "{text}");
    }

    #[test]
    fn urls_keep_what_connections_need() {
        check("http://a:8008", Ok(("a", 8008, "http://a:8008")));
        check("https://A.Example.", Ok(("a.example", 443, "https://A.Example.")));
        check("http://a/x/", Ok(("a", 80, "http://a/x/")));
        check("HTTPS://a:/x", Ok(("a", 443, "https://a:/x")));
        check("http://[::1]:8080/", Ok(("::1", 8080, "http://[::1]:8080/")));
        check("http://10.0.0.1", Ok(("10.0.0.1", 80, "http://10.0.0.1")));
        check("https://user:CANARY@a/x?token=CANARY#CANARY", Ok(("a", 443, "https://a/x")));
        check("https://u:p@ss@a", Ok(("a", 443, "https://a")));
        check("https://u:CAN/ARY@a/", Err("an `@` stands after the host: percent-encode it"));
        check("a:8008", Err(NOT_A_URL));
        check("postgres://a", Err(NOT_A_URL));
        check("", Err(NOT_A_URL));
        check("http://", Err("the host is missing"));
        check("http://a:0", Err("the port is no number from 1 to 65535"));
        check("http://a:70000", Err("the port is no number from 1 to 65535"));
        check("http://[::1", Err("an IPv6 address lacks its closing bracket"));
        check("http://a b/", Err("this is no host name"));
        check("http://a..b/", Err("this is no host name"));
        check("http://bücher.example/", Err("the host has characters beyond ASCII: write it as punycode (xn--…)"));
    }

    #[test]
    fn normalized_as_mas_writes_it() {
        for (text, expect) in [
            ("https://Auth.Example", "https://auth.example/"),
            ("https://auth.example:443/", "https://auth.example/"),
            ("http://auth.example:443", "http://auth.example:443/"),
            ("https://[::1]:8443/a/b", "https://[::1]:8443/a/b"),
            ("https://auth.example/Realms/x/?q#f", "https://auth.example/Realms/x/"),
        ] {
            assert_eq!(Url::parse(text).unwrap().normalized(), expect);
        }
    }

    #[test]
    fn a_slash_or_default_port_makes_no_other_place() {
        let same = |a: &str, b: &str| Url::parse(a).unwrap().same_place(&Url::parse(b).unwrap());
        assert!(same("https://a", "https://A:443/"));
        assert!(same("https://a/realms/x", "https://a/realms/x/"));
        assert!(!same("https://a/realms/x", "https://a/realms/y"));
        assert!(!same("https://a", "http://a"));
        assert!(!same("https://a", "https://a:8443"));
    }
}
