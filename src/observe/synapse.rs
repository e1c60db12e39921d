//! Synapse's client API, and what Synapse says about its own way to MAS.

use hyper::Uri;

use super::failure::{Failure, quoted};
use super::http::{self, Answer, Get};
use super::run::Run;
use crate::judge::Reason;

/// Asks for the supported versions: needs no credentials, and no page of a proxy looks like it.
pub(super) async fn versions(run: &mut Run<'_>, endpoint: &str) -> Result<String, Failure> {
    let base = Base::parse(endpoint)?;
    let path = base.join("_matrix/client/versions");
    let get = Get { tls: base.tls, host: &base.host, port: base.port, path: &path, bearer: None, body_for: &[200] };
    let answer = http::fetch(run, &get).await?;
    if answer.status != 200 {
        return Err(http::status(&get, answer.status));
    }
    let detail = read_versions(&answer.body)?;
    if !run.target.deep {
        return Ok(detail);
    }
    Ok(format!("{detail}; {}", mas_interface(run, &base).await?))
}

/// Asks where MAS asks, without the secret that they share: Synapse's refusal proves that the way is open (the check of `mas-cli doctor`, which sends the secret).
async fn mas_interface(run: &mut Run<'_>, base: &Base) -> Result<&'static str, Failure> {
    let path = base.join("_synapse/mas/is_localpart_available");
    let get = Get { tls: base.tls, host: &base.host, port: base.port, path: &path, bearer: None, body_for: &[] };
    let answer = http::fetch(run, &get).await?;
    match answer.status {
        // 400 would mean that it took us for MAS, and missed the parameter.
        400 | 401 | 403 => Ok("its interface for MAS is there"),
        // No failure: with `matrix.kind: synapse_legacy` MAS does without it.
        404 => {
            Ok("its interface for MAS is not there: Synapse has not been told of MAS, or a proxy hides /_synapse/mas")
        }
        status => Err(http::status(&get, status)),
    }
}

/// Asks who a made-up token belongs to. Synapse must ask MAS, so the answer proves the edge Synapse → MAS without any credentials (the check of `mas-cli doctor`). The token is new each time, for Synapse remembers answers for two minutes.
pub(super) async fn whoami(run: &mut Run<'_>) -> Result<String, Failure> {
    let host = run.host();
    let token = format!("portreeve-probe-{:032x}", rand::random::<u128>());
    let get = Get {
        tls: false,
        host: &host,
        port: non_default(false, run.target.address.port()),
        path: "/_matrix/client/v3/account/whoami",
        bearer: Some(&token),
        body_for: &[401],
    };
    let answer = http::fetch(run, &get).await.map_err(|failure| match failure.reason {
        // Synapse gives up after 30 s where its packets to MAS are dropped (1.163, measured): longer than any probe waits.
        Reason::FirstByteTimeout => {
            let detail = "Synapse took the question and is silent: it is overloaded, or itself waits for MAS";
            Failure::new(Reason::FirstByteTimeout, detail)
        }
        _ => failure,
    })?;
    let detail = read_whoami(&get, &answer)?;
    if run.target.deep {
        delegates(run, &get).await?;
    }
    Ok(detail)
}

/// A Synapse that keeps its accounts itself gives the same 401; this endpoint (MSC2965) it does not have.
async fn delegates(run: &mut Run<'_>, whoami: &Get<'_>) -> Result<(), Failure> {
    let get = Get { path: "/_matrix/client/v1/auth_metadata", bearer: None, body_for: &[], ..whoami.clone() };
    if http::fetch(run, &get).await?.status == 404 {
        let detail = "Synapse refused the made-up token by itself: it has not been told of MAS";
        return Err(Failure::new(Reason::HttpBody, detail));
    }
    Ok(())
}

pub(super) fn read_versions(body: &[u8]) -> Result<String, Failure> {
    match http::json_object(body)?.get("versions") {
        Some(serde_json::Value::Array(versions)) => Ok(format!("Synapse serves {} versions", versions.len())),
        _ => Err(Failure::new(Reason::HttpBody, "the answer has no list of versions: this is no Matrix client API")),
    }
}

fn read_whoami(get: &Get<'_>, answer: &Answer) -> Result<String, Failure> {
    match answer.status {
        401 => {
            // A proxy that guards Synapse answers 401 too, and never asked MAS; Matrix errors carry `errcode` (client-server API, Standard error response).
            // Nor did a Synapse that got no token: M_MISSING_TOKEN, where a proxy on the way took it.
            let object = http::json_object(&answer.body)?;
            match object.get("errcode") {
                Some(serde_json::Value::String(code)) if code == "M_UNKNOWN_TOKEN" => {
                    Ok("Synapse asked MAS and refused the made-up token".to_owned())
                }
                Some(serde_json::Value::String(code)) if code == "M_MISSING_TOKEN" => {
                    Err(Failure::new(Reason::HttpBody, "Synapse saw no token: a proxy on the way takes it off"))
                }
                _ => Err(Failure::new(
                    Reason::HttpBody,
                    "the 401 is not the one for an unknown token: it has another errcode, or none",
                )),
            }
        }
        // Our own connection, to Synapse, worked.
        503 => Err(Failure::new(
            Reason::RelayFailed,
            "Synapse answers but cannot ask MAS: HTTP status 503 to a made-up token; it cannot reach MAS, or MAS refuses its secret",
        )),
        // No word of Synapse about MAS, so not the status that is one.
        status => {
            let detail = format!("GET {} gave HTTP status {status}: neither of Synapse's two answers", get.path);
            Err(Failure::new(Reason::HttpBody, detail))
        }
    }
}

/// The port for the `Host` header, where it is not the scheme's own (RFC 9110 §4.2).
pub(super) fn non_default(tls: bool, port: u16) -> Option<u16> {
    let default = if tls { 443 } else { 80 };
    (port != default).then_some(port)
}

/// An http or https base URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Base {
    pub(super) tls: bool,
    pub(super) host: String,
    pub(super) port: Option<u16>,
    /// Begins with `/`.
    pub(super) path: String,
}

impl Base {
    /// A base has no query.
    pub(super) fn parse(url: &str) -> Result<Self, Failure> {
        let base = Self::with_query(url)?;
        if base.path.contains('?') {
            return Err(Failure::new(Reason::ProberError, "the configured URL cannot be asked: it has a query"));
        }
        Ok(base)
    }

    /// An endpoint may have one, and then its path has it at its end.
    pub(super) fn with_query(url: &str) -> Result<Self, Failure> {
        let refuse = |why: &str| {
            // The URL itself may hold a user's password.
            Err(Failure::new(Reason::ProberError, format!("the configured URL cannot be asked: {why}")))
        };
        let Ok(uri) = url.parse::<Uri>() else { return refuse("it is no URL") };
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return refuse("its scheme is neither http nor https"),
        };
        let Some(authority) = uri.authority() else { return refuse("it has no host") };
        if authority.host().is_empty() || authority.as_str().contains('@') {
            return refuse("its host is empty or carries a user's name");
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let port = authority.port_u16().and_then(|port| non_default(tls, port));
        let mut path = uri.path_and_query().map_or("/", hyper::http::uri::PathAndQuery::as_str).to_owned();
        if !path.starts_with('/') {
            // `https://host?query`: an empty path is asked for as `/` (RFC 9112 §3.2.1).
            path.insert(0, '/');
        }
        Ok(Self { tls, host, port, path })
    }

    /// As URLs are joined, and as MAS does it: what follows the last `/` of the base is lost (RFC 3986 §5.2.3).
    pub(super) fn join(&self, relative: &str) -> String {
        let folder = self.path.rfind('/').map_or("/", |end| &self.path[..=end]);
        format!("{folder}{relative}")
    }
}

/// The text of a value that must be a string.
pub(super) fn text<'a>(
    object: &'a serde_json::Map<String, serde_json::Value>,
    key: &'static str,
) -> Result<&'a str, Failure> {
    match object.get(key) {
        Some(serde_json::Value::String(text)) => Ok(text),
        Some(other) => {
            let shown = quoted(&other.to_string());
            Err(Failure::new(Reason::HttpBody, format!("{key} of the discovery document is no string but {shown}")))
        }
        None => Err(Failure::new(Reason::HttpBody, format!("the discovery document has no {key}"))),
    }
}

/// Any bytes as Synapse's answers, and as a URL.
#[cfg(fuzzing)]
pub(super) fn fuzz(body: &[u8]) {
    let _ = read_versions(body);
    let get = Get { tls: false, host: "h", port: None, path: "/", bearer: None, body_for: &[] };
    for status in [200, 401, 503] {
        let _ = read_whoami(&get, &Answer { status, body: body.to_vec() });
    }
    let base = std::str::from_utf8(body).ok().and_then(|url| Base::parse(url).ok());
    assert!(base.is_none_or(|base| base.join("_matrix/x").starts_with('/')));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expect: Option<(bool, &str, Option<u16>, &str)>) {
        let got = Base::parse(url).ok().map(|base| (base.tls, base.host.clone(), base.port, base.join("_matrix/x")));
        assert_eq!(got, expect.map(|(tls, host, port, path)| (tls, host.to_owned(), port, path.to_owned())), "{url}");
    }

    #[test]
    fn endpoints() {
        check("http://synapse:8008", Some((false, "synapse", Some(8008), "/_matrix/x")));
        check("http://synapse:80/", Some((false, "synapse", None, "/_matrix/x")));
        check("https://matrix.example.org/base/", Some((true, "matrix.example.org", None, "/base/_matrix/x")));
        // MAS joins relative to the last slash.
        check("https://matrix.example.org/base", Some((true, "matrix.example.org", None, "/_matrix/x")));
        check("http://[2001:db8::1]:8008", Some((false, "2001:db8::1", Some(8008), "/_matrix/x")));
        for url in [
            "",
            "synapse:8008",
            "ftp://synapse",
            "http://",
            "http://u:p@synapse/",
            "http://synapse/?a=b",
            "http://a b/",
        ] {
            check(url, None);
        }
    }

    #[test]
    fn a_401_must_come_from_synapse() {
        let get = Get { tls: false, host: "h", port: None, path: "/", bearer: None, body_for: &[] };
        let answer = |status, body: &str| Answer { status, body: body.as_bytes().to_vec() };
        let reason = |status, body| read_whoami(&get, &answer(status, body)).map_err(|failure| failure.reason);
        assert!(reason(401, r#"{"errcode":"M_UNKNOWN_TOKEN","error":"x"}"#).is_ok());
        assert_eq!(reason(401, r#"{"errcode":"M_MISSING_TOKEN","error":"x"}"#), Err(Reason::HttpBody));
        assert_eq!(reason(401, "{}"), Err(Reason::HttpBody));
        assert_eq!(reason(401, "<html>login</html>"), Err(Reason::HttpBody));
        assert_eq!(reason(503, ""), Err(Reason::RelayFailed));
        for status in [200, 404, 429, 500, 502] {
            assert_eq!(reason(status, "{}"), Err(Reason::HttpBody));
        }
    }

    #[test]
    fn versions_need_a_list() {
        assert!(read_versions(br#"{"versions":["v1.11"]}"#).is_ok());
        for body in [&b"{}"[..], b"[]", b"", b"<html></html>", br#"{"versions":"v1"}"#] {
            assert_eq!(read_versions(body).map_err(|failure| failure.reason), Err(Reason::HttpBody), "{body:?}");
        }
    }
}
