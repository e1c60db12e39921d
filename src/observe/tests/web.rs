//! Conversations over HTTP: Synapse, MAS, identity providers.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use super::{DEADLINE, Drip, Hang, Hear, act, attempt, block_on, check, http, mas, oidc, public, say, synapse};
use crate::judge::{Attempt, Reason};
use crate::matrix::Exchange;
use crate::observe::{Prober, ResolvConf, Target};

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn synapse_versions() {
    let ok = answer("200 OK", r#"{"versions":["v1.11","v1.12"]}"#);
    check(synapse(), &[Hear, say(&ok)], Reason::Ok, "2 versions");
    check(synapse(), &[Hear, Drip(ok.clone().into_bytes())], Reason::Ok, "2 versions");
    check(synapse(), &[Hear, say(&answer("404 Not Found", "{}"))], Reason::HttpStatus, "404");
    check(synapse(), &[Hear, say(&answer("200 OK", "<html>Welcome</html>"))], Reason::HttpBody, "page instead of JSON");
    check(synapse(), &[Hear, say(&answer("200 OK", r#"{"other":1}"#))], Reason::HttpBody, "no list of versions");
    check(synapse(), &[Hear, say(&ok[..ok.len() - 3]), Hang], Reason::HttpBody, "before the deadline");
    check(synapse(), &[Hear, say(&ok[..ok.len() - 3])], Reason::ClosedEarly, "HTTP body");
    check(synapse(), &[Hear, say(&ok[..10]), Hang], Reason::ProtoMismatch, "did not finish");
    check(synapse(), &[Hear, say(&ok[..10])], Reason::ClosedEarly, "in the middle");
    let big = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(300 * 1024));
    check(synapse(), &[Hear, say(&big), Hang], Reason::HttpBody, "longer than 262144 bytes");
    let endless = format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(20 * 1024));
    check(synapse(), &[Hear, say(&endless), Hang], Reason::ProtoMismatch, "longer than 16384 bytes");
    let url = Exchange::Synapse { endpoint: "http://user:secret@synapse:8008/".to_owned() };
    let got = attempt(url, &[]);
    assert_eq!(got.reason, Reason::ProberError);
    assert!(!got.detail.contains("secret"), "{}", got.detail);
}

/// An endless drip keeps no probe alive past its deadline.
#[test]
fn an_endless_drip() {
    let drip = "HTTP/1.1 200 OK\r\nA: ".bytes().chain(std::iter::repeat_n(b'x', 10_000)).collect();
    check(http(), &[Hear, Drip(drip)], Reason::ProtoMismatch, "did not finish");
}

#[test]
fn whoami() {
    let unknown = r#"{"errcode":"M_UNKNOWN_TOKEN","error":"Token is not active"}"#;
    check(Exchange::Whoami, &[Hear, say(&answer("401 Unauthorized", unknown))], Reason::Ok, "asked MAS");
    check(Exchange::Whoami, &[Hear, say(&answer("503 No", "{}"))], Reason::RelayFailed, "cannot ask MAS");
    check(Exchange::Whoami, &[Hear, say(&answer("401 No", "<html>"))], Reason::HttpBody, "page instead");
}

#[test]
fn any_http() {
    for status in ["200 OK", "302 Found", "404 Not Found", "401 No"] {
        check(http(), &[Hear, say(&answer(status, "x"))], Reason::Ok, &status[..3]);
    }
    check(http(), &[Hear, say(&answer("502 Bad Gateway", "x"))], Reason::HttpStatus, "502");
}

#[test]
fn discovery() {
    let document =
        r#"{"issuer":"http://auth.example/","authorization_endpoint":"a","token_endpoint":"t","jwks_uri":"j"}"#;
    check(oidc(), &[Hear, say(&answer("200 OK", document))], Reason::Ok, "configured issuer");
    let other = document.replace("example/\"", "example\"");
    check(oidc(), &[Hear, say(&answer("200 OK", &other))], Reason::HttpBody, "configured is");
    check(mas(), &[Hear, say(&answer("200 OK", document))], Reason::Ok, "http://auth.example/");
    check(mas(), &[Hear, say(&answer("200 OK", "{}"))], Reason::HttpBody, "no issuer");
    let known = |issuer: &str| Exchange::MasDiscovery { issuer: Some(issuer.to_owned()) };
    check(known("http://auth.example/"), &[Hear, say(&answer("200 OK", document))], Reason::Ok, "calls itself");
    check(known("http://auth.example"), &[Hear, say(&answer("200 OK", document))], Reason::HttpBody, "configured is");
    check(mas(), &[Hear, say(&answer("404 Not Found", ""))], Reason::HttpStatus, "does not serve `discovery`");
}

#[test]
fn mas_by_its_public_url() {
    let says = |status: &str, body: &str, reason, part| {
        check(public(), &[Hear, say(&answer(status, body))], reason, part);
    };
    let document = |issuer: &str| {
        format!(r#"{{"issuer":"{issuer}","authorization_endpoint":"a","token_endpoint":"t","jwks_uri":"j"}}"#)
    };
    says("200 OK", &document("http://auth.example/"), Reason::Ok, "through its public URL");
    says("200 OK", &document("http://auth.example"), Reason::HttpBody, "MAS calls itself");
    says("200 OK", "<html>", Reason::HttpBody, "a page instead");
    // What Traefik answers: no router, no endpoint, refused, silent.
    says("404 Not Found", "404 page not found\n", Reason::HttpStatus, "no router");
    says("404 Not Found", "<html>", Reason::HttpStatus, "does not serve `discovery`");
    says("503 Service Unavailable", "no available server\n", Reason::NoEndpoints, "no endpoint of MAS");
    says("502 Bad Gateway", "Bad Gateway", Reason::RelayFailed, "refused it or broke off");
    says("504 Gateway Timeout", "Gateway Timeout", Reason::RelayFailed, "MAS did not");
    says("302 Found", "", Reason::HttpStatus, "redirects or guards");
    says("500 Internal Server Error", "", Reason::HttpStatus, "500");
}

#[test]
fn the_health_of_mas_is_that_of_its_database() {
    let says = |status: &str, body: &str, reason, part| {
        check(Exchange::MasHealth, &[Hear, say(&answer(status, body))], reason, part);
    };
    says("200 OK", "ok", Reason::Ok, "so does its database");
    says("200 OK", "OK", Reason::HttpBody, "another service");
    says("500 Internal Server Error", "x", Reason::RelayFailed, "its database does not");
    says("404 Not Found", "", Reason::HttpStatus, "does not serve `health`");
    check(Exchange::MasHealth, &[Hear, Hang], Reason::FirstByteTimeout, "30 s for its database");
}

/// One deep attempt against a peer that answers each connection in turn.
fn deep(exchange: fn(SocketAddr) -> Exchange, answers: &[String]) -> Attempt {
    deep_with(&Prober::new(&[]).unwrap(), exchange, answers, "")
}

/// The same, with a second peer that says `other` to everybody.
fn followed(exchange: fn(SocketAddr) -> Exchange, answers: &[String], other: &str) -> Attempt {
    let prober = Prober::new(&[]).unwrap().with_followed_endpoints(Arc::new(ResolvConf::servers(Vec::new())));
    deep_with(&prober, exchange, answers, other)
}

fn deep_with(prober: &Prober, exchange: fn(SocketAddr) -> Exchange, answers: &[String], other: &str) -> Attempt {
    block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let elsewhere = TcpListener::bind("127.0.0.2:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ports = [("PORT", address.port()), ("OTHER", elsewhere.local_addr().unwrap().port())];
        let fill = |text: &String| {
            ports.iter().fold(text.clone(), |text, (word, port)| text.replace(&format!(":{word}"), &format!(":{port}")))
        };
        let answers: Vec<String> = answers.iter().map(fill).collect();
        tokio::spawn(async move {
            for text in answers {
                act(listener.accept().await.unwrap().0, vec![Hear, say(&answer("200 OK", &text))]).await;
            }
        });
        let other = answer("200 OK", other);
        tokio::spawn(async move {
            loop {
                act(elsewhere.accept().await.unwrap().0, vec![Hear, say(&other)]).await;
            }
        });
        let target = Target::new("a-to-b", address, exchange(address)).deep();
        prober.probe(&target, DEADLINE).await
    })
}

#[test]
fn the_keys_of_a_provider() {
    let issuer = |to: SocketAddr| Exchange::Oidc { issuer: format!("http://127.0.0.1:{}/", to.port()) };
    let document = |keys: &str| {
        format!(
            r#"{{"issuer":"http://127.0.0.1:PORT/","authorization_endpoint":"http://a/","token_endpoint":"http://127.0.0.1:PORT/t","jwks_uri":"{keys}"}}"#
        )
    };
    let own = document("http://127.0.0.1:PORT/jwks");
    let got = deep(issuer, &[own.clone(), r#"{"keys":[{},{}]}"#.to_owned()]);
    assert_eq!(got.reason, Reason::Ok, "{}", got.detail);
    assert!(got.detail.ends_with("it has 2 keys"), "{}", got.detail);
    let got = deep(issuer, &[own.clone(), r#"{"keys":[]}"#.to_owned()]);
    assert_eq!(got.reason, Reason::HttpBody, "{}", got.detail);
    // A document cannot send the probe elsewhere.
    let got = deep(issuer, &[document("http://keys.example/jwks")]);
    assert_eq!(got.reason, Reason::Ok, "{}", got.detail);
    assert!(got.detail.contains(r#"not asked for; MAS must also reach "keys.example""#), "{}", got.detail);
    // Unless somebody asked for it: then the keys are got there. The provider is on loopback, so they may be, too.
    let got = followed(issuer, &[document("http://127.0.0.2:OTHER/jwks?p=1")], r#"{"keys":[{}]}"#);
    assert_eq!(got.reason, Reason::Ok, "{}", got.detail);
    assert!(got.detail.ends_with(r#"jwks_uri at "127.0.0.2" is reached; it has 1 keys"#), "{}", got.detail);
    let got = followed(issuer, &[document("http://127.0.0.2:OTHER/jwks")], "<html>");
    assert_eq!(got.reason, Reason::HttpBody, "{}", got.detail);
    let token = own
        .replace("PORT/t", "PORT/t\",\"userinfo_endpoint\":\"http://127.0.0.2:1/u")
        .replace("127.0.0.1:PORT/t", "127.0.0.2:OTHER/t");
    let keys = r#"{"keys":[{}]}"#.to_owned();
    let got = followed(issuer, &[token.clone(), keys.clone()], "");
    assert_eq!(got.reason, Reason::Ok, "{}", got.detail);
    assert!(got.detail.contains("is not (connect_refused_rst), which matters with fetch_userinfo"), "{}", got.detail);
    let got = followed(issuer, &[token.replace(":OTHER", ":1"), keys], "");
    assert_eq!(got.reason, Reason::ConnectRefusedRst, "{}", got.detail);
    assert!(got.detail.starts_with(r#"token_endpoint at "127.0.0.2":"#), "{}", got.detail);
    let got = deep(issuer, &[document("nowhere")]);
    assert_eq!(got.reason, Reason::HttpBody, "{}", got.detail);
}

#[test]
fn the_interface_for_mas() {
    for (status, part) in [("403 Forbidden", "is there"), ("404 Not Found", "is not there")] {
        let got = block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let target = Target::new("a-to-b", listener.local_addr().unwrap(), synapse()).deep();
            let answers = [answer("200 OK", r#"{"versions":["v1.11"]}"#), answer(status, "{}")];
            tokio::spawn(async move {
                for text in answers {
                    act(listener.accept().await.unwrap().0, vec![Hear, say(&text)]).await;
                }
            });
            Prober::new(&[]).unwrap().probe(&target, DEADLINE).await
        });
        assert_eq!(got.reason, Reason::Ok, "{}", got.detail);
        assert!(got.detail.contains(part), "{}", got.detail);
    }
}

/// What is asked, byte for byte, apart from the version.
#[test]
fn requests() {
    let asked = |target: fn(SocketAddr) -> Target| {
        block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let target = target(listener.local_addr().unwrap());
            let prober = Prober::new(&[]).unwrap();
            let serve = async {
                let mut stream = listener.accept().await.unwrap().0;
                let mut buffer = vec![0; 4096];
                let count = stream.read(&mut buffer).await.unwrap();
                buffer.truncate(count);
                String::from_utf8(buffer).unwrap().replace(&listener.local_addr().unwrap().port().to_string(), "PORT")
            };
            tokio::join!(prober.probe(&target, DEADLINE), serve).1
        })
    };
    let text = asked(|to| Target::new("e", to, Exchange::Oidc { issuer: "http://auth.example:81/realm/".to_owned() }));
    assert!(
        text.starts_with("GET /realm/.well-known/openid-configuration HTTP/1.1\r\nHost: auth.example:81\r\n"),
        "{text}"
    );
    assert!(text.ends_with("\r\nConnection: close\r\n\r\n"), "{text}");
    let text = asked(|to| Target::new("e", to, mas()));
    assert!(text.contains("\r\nHost: 127.0.0.1:PORT\r\n"), "{text}");
    let text = asked(|to| Target::new("e", to, mas()).named("auth.example"));
    assert!(text.contains("\r\nHost: auth.example\r\n"), "{text}");
    let tokens: Vec<_> = (0..2)
        .map(|_| {
            let text = asked(|to| Target::new("e", to, Exchange::Whoami));
            text.lines().find(|line| line.starts_with("Authorization: Bearer portreeve-probe-")).unwrap().to_owned()
        })
        .collect();
    assert_ne!(tokens[0], tokens[1], "Synapse remembers tokens");
}
