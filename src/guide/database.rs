//! Where MAS's database is, as its config or the chart's values say. Passwords are dropped while reading.

use serde::de;

use super::url::{from_text, host_name, split_port};
use super::{Cite, Setting};
use crate::guide::{Login, SslMode};

/// Where a source says that the database is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Database {
    /// The section, if there is one.
    pub section: Option<Cite>,
    /// The server.
    pub server: Setting<DatabaseServer>,
    /// The port.
    pub port: Setting<u16>,
    /// `ssl_mode`, or `sslmode` of the URI.
    pub ssl_mode: Setting<SslMode>,
    /// `username`, or the URI's.
    pub user: Option<String>,
    /// The database's name.
    pub name: Option<String>,
}

impl Database {
    /// Whom MAS's connections name, as far as the source says it: a database without a name has the user's.
    pub fn login(&self) -> Option<Login> {
        let user = self.user.clone()?;
        let database = self.name.clone().unwrap_or_else(|| user.clone());
        Some(Login { user, database })
    }
}

/// The fields that name a database, as a source spells them.
#[derive(Debug)]
pub(super) struct DatabaseFields {
    pub(super) uri: Setting<DatabaseUri>,
    pub(super) socket: Setting<()>,
    pub(super) host: Setting<DatabaseServer>,
    pub(super) port: Setting<u16>,
    pub(super) ssl_mode: Setting<SslMode>,
    pub(super) user: Option<String>,
    pub(super) name: Option<String>,
}

impl DatabaseFields {
    /// Puts the two ways to name a database together; a URI wins, as whoever calls this has refused both at once where that is an error.
    pub(super) fn assemble(self, section: Option<Cite>) -> Database {
        let Self { uri, socket, host, port, ssl_mode, user, name } = self;
        match uri {
            Setting::Known(uri, cite) => Database {
                section,
                port: of_uri(uri.port, &cite),
                ssl_mode: if ssl_mode.is_absent() { of_uri(uri.ssl_mode, &cite) } else { ssl_mode },
                user: uri.user,
                name: uri.name,
                server: Setting::Known(uri.server, cite),
            },
            Setting::Hidden(cite) => {
                Database { section, server: Setting::Hidden(cite), ssl_mode, ..Database::default() }
            }
            Setting::Absent => {
                let server = match socket {
                    Setting::Known((), cite) => Setting::Known(DatabaseServer::Socket, cite),
                    Setting::Hidden(_) | Setting::Absent => host,
                };
                Database { section, server, port, ssl_mode, user, name }
            }
        }
    }
}

fn of_uri<T>(part: Option<T>, cite: &Cite) -> Setting<T> {
    part.map_or(Setting::Absent, |part| Setting::Known(part, cite.clone()))
}

/// The server part of a database section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseServer {
    /// A host name or address.
    Host(String),
    /// A Unix socket: no connection leaves the pod.
    Socket,
    /// A URI without a host: `PGHOST` or a local socket decide (sqlx, `PgConnectOptions`).
    Unsaid,
}

impl DatabaseServer {
    /// libpq and sqlx take a host that begins with a slash for a socket's folder.
    pub fn parse(host: &str) -> Result<Self, &'static str> {
        match host {
            "" => Ok(Self::Unsaid),
            _ if host.starts_with('/') => Ok(Self::Socket),
            _ => Ok(Self::Host(host_name(host)?)),
        }
    }
}

impl<'de> de::Deserialize<'de> for DatabaseServer {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer, "a host name", Self::parse)
    }
}

/// A `postgresql://` URI without its password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseUri {
    /// The server.
    pub server: DatabaseServer,
    /// The port, if it names one.
    pub port: Option<u16>,
    /// `sslmode`, if it names one.
    pub ssl_mode: Option<SslMode>,
    /// The user, if it names one.
    pub user: Option<String>,
    /// The database, if it names one.
    pub name: Option<String>,
}

impl DatabaseUri {
    /// Reads a URI as sqlx does: the query's `host`, `hostaddr`, `port`, `sslmode`, `user` and `dbname` win over what stands before it, the last one wins.
    ///
    /// The error never repeats the text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let rest = ["postgresql://", "postgres://"]
            .iter()
            .find_map(|scheme| text.strip_prefix(scheme))
            .ok_or("expected a URI that begins with postgresql://")?;
        let (authority, after) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if after.contains('@') {
            return Err("an `@` stands after the host: percent-encode `/`, `?`, `#` and `@` in the password");
        }
        let (user_and_password, host_and_port) = authority.rsplit_once('@').unwrap_or(("", authority));
        let user = user_and_password.split(':').next().unwrap_or_default();
        let (host, port) = split_port(host_and_port)
            .map_err(|_| "host and port cannot be read: percent-encode special characters in the password")?;
        let after = after.split('#').next().unwrap_or_default();
        let (path, query) = after.split_once('?').unwrap_or((after, ""));
        let mut uri = Self {
            server: DatabaseServer::parse(&decode(host)?)?,
            port,
            ssl_mode: None,
            user: said(user)?,
            name: said(path.trim_start_matches('/'))?,
        };
        for (key, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match key {
                "host" | "hostaddr" => uri.server = DatabaseServer::parse(&decode(value)?)?,
                "port" => {
                    let number = value.parse().ok().filter(|number| *number != 0);
                    uri.port = Some(number.ok_or("the port is no number from 1 to 65535")?);
                }
                "user" => uri.user = said(value)?,
                "dbname" => uri.name = said(value)?,
                "sslmode" | "ssl-mode" => uri.ssl_mode = Some(ssl_mode(&decode(value)?)?),
                _ => {}
            }
        }
        Ok(uri)
    }
}

impl<'de> de::Deserialize<'de> for DatabaseUri {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer, "a database URI", Self::parse)
    }
}

/// [`SslMode`] by its word in MAS's config.
#[derive(Debug, Clone, Copy)]
pub(super) struct SslModeWord(pub(super) SslMode);

impl<'de> de::Deserialize<'de> for SslModeWord {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer, "an SSL mode", |text| ssl_mode(text).map(Self))
    }
}

pub(crate) fn ssl_mode(text: &str) -> Result<SslMode, &'static str> {
    Ok(match text.to_ascii_lowercase().as_str() {
        "disable" => SslMode::Disable,
        "allow" => SslMode::Allow,
        "prefer" => SslMode::Prefer,
        "require" => SslMode::Require,
        "verify-ca" => SslMode::VerifyCa,
        "verify-full" => SslMode::VerifyFull,
        _ => return Err("expected one of disable, allow, prefer, require, verify-ca, verify-full"),
    })
}

/// A part that is not empty.
fn said(text: &str) -> Result<Option<String>, &'static str> {
    Ok(Some(decode(text)?).filter(|text| !text.is_empty()))
}

/// Percent-decoding of a host or option.
fn decode(text: &str) -> Result<String, &'static str> {
    const BROKEN: &str = "a percent sign is not followed by two hexadecimal digits";
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|b| char::from(b).to_digit(16)).ok_or(BROKEN);
        let value = digit()? * 16 + digit()?;
        bytes.push(u8::try_from(value).map_err(|_| BROKEN)?);
    }
    String::from_utf8(bytes).map_err(|_| "a percent-encoded part is not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;
    use DatabaseServer::{Host, Socket, Unsaid};

    #[track_caller]
    fn check(text: &str, expect: Result<(DatabaseServer, Option<u16>, Option<SslMode>), &str>) {
        let got = DatabaseUri::parse(text).map(|uri| (uri.server, uri.port, uri.ssl_mode));
        assert_eq!(got.map_err(ToOwned::to_owned), expect.map_err(ToOwned::to_owned), "{text}");
    }

    #[test]
    fn database_uris_are_read_as_sqlx_reads_them() {
        let host = |name: &str| Host(name.to_owned());
        check("postgresql://u:p@db:5432/mas?sslmode=require", Ok((host("db"), Some(5432), Some(SslMode::Require))));
        check("postgres://db", Ok((host("db"), None, None)));
        check("postgresql://u:p%2Fw%40@DB.example./mas", Ok((host("db.example"), None, None)));
        check("postgresql://u:p@ss@db/mas", Ok((host("db"), None, None)));
        check("postgresql://[fd00::1]:6432/mas", Ok((host("fd00::1"), Some(6432), None)));
        check("postgresql://%2Fvar%2Frun%2Fpostgresql/mas", Ok((Socket, None, None)));
        check("postgresql:///mas?host=/run/postgresql", Ok((Socket, None, None)));
        check("postgresql:///mas?host=db&port=6432", Ok((host("db"), Some(6432), None)));
        check("postgresql://a/mas?host=b&host=c", Ok((host("c"), None, None)));
        check(
            "postgresql://a/mas?hostaddr=10.0.0.9&sslmode=VERIFY-FULL",
            Ok((host("10.0.0.9"), None, Some(SslMode::VerifyFull))),
        );
        check("postgresql://", Ok((Unsaid, None, None)));
        check("postgresql:///mas", Ok((Unsaid, None, None)));
        check("db:5432", Err("expected a URI that begins with postgresql://"));
        check(
            "postgresql://db/mas?sslmode=on",
            Err("expected one of disable, allow, prefer, require, verify-ca, verify-full"),
        );
        check("postgresql://%zz/mas", Err("a percent sign is not followed by two hexadecimal digits"));
        check("postgresql://db/mas?port=0", Err("the port is no number from 1 to 65535"));
    }

    #[test]
    fn user_and_database_are_read_and_the_password_is_not() {
        let names = |text: &str| {
            let uri = DatabaseUri::parse(text).unwrap();
            assert!(!format!("{uri:?}").contains("CANARY"), "{text}");
            (uri.user.unwrap_or_default(), uri.name.unwrap_or_default())
        };
        let both = |user: &str, name: &str| (user.to_owned(), name.to_owned());
        assert_eq!(names("postgresql://mas:CANARY@db:5432/matrix?sslmode=require"), both("mas", "matrix"));
        assert_eq!(names("postgresql://mas%2Bx:CANARY@db/a%2Fb"), both("mas+x", "a/b"));
        assert_eq!(names("postgresql://u:p@CANARY@db"), both("u", ""));
        assert_eq!(names("postgresql://db/mas"), both("", "mas"));
        assert_eq!(names("postgresql:///?user=u&dbname=d&password=CANARY"), both("u", "d"));
        let login = |user: Option<&str>, name: Option<&str>| {
            let (user, name) = (user.map(str::to_owned), name.map(str::to_owned));
            Database { user, name, ..Database::default() }.login()
        };
        assert_eq!(login(Some("u"), None), Some(Login { user: "u".to_owned(), database: "u".to_owned() }));
        assert_eq!(login(None, Some("d")), None);
    }

    #[test]
    fn an_unencoded_password_is_never_taken_for_a_host() {
        let at = "an `@` stands after the host: percent-encode `/`, `?`, `#` and `@` in the password";
        check("postgresql://mas:1234/x@db/mas", Err(at));
        check("postgresql://mas:12?x@db/mas", Err(at));
        check(
            "postgresql://mas:CANARY",
            Err("host and port cannot be read: percent-encode special characters in the password"),
        );
    }
}
