//! Traefik with routes to backends in every state.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use portreeve::judge::Reason;
use portreeve::matrix::Exchange;
use portreeve::observe::Prober;

use crate::certificate::{self, Certificate};
use crate::mas::StandIn;
use crate::server::{PATIENCE, Server, folder, free};
use crate::silence::Silence;
use crate::tools::tool;
use crate::{DEADLINE, check, probe};

/// Starts Traefik on `address` with a certificate for `names`, and a route for each of `routes` (host, backend; none is a Service without endpoints).
pub(crate) fn start(
    folder: &Path,
    address: SocketAddr,
    names: &[&str],
    routes: &[(&str, Option<SocketAddr>)],
) -> (Server, Certificate) {
    let files = certificate::write_for(folder, names);
    let (certificate, key) = (files.certificate.display(), files.key.display());
    let mut text = format!("tls: {{certificates: [{{certFile: {certificate}, keyFile: {key}}}]}}\n");
    // Traefik's own 30 s for a connection, cut.
    text.push_str("http:\n  serversTransports: {quick: {forwardingTimeouts: {dialTimeout: 1s}}}\n  routers:\n");
    for (index, (host, _)) in routes.iter().enumerate() {
        writeln!(
            text,
            "    r{index}: {{rule: \"Host(`{host}`)\", service: s{index}, entryPoints: [websecure], tls: {{}}}}"
        )
        .unwrap();
    }
    text.push_str("  services:\n");
    for (index, (_, backend)) in routes.iter().enumerate() {
        let servers = backend.map_or_else(String::new, |backend| format!("{{url: \"http://{backend}\"}}"));
        writeln!(text, "    s{index}: {{loadBalancer: {{serversTransport: quick, servers: [{servers}]}}}}").unwrap();
    }
    let dynamic = folder.join("dynamic.yaml");
    fs::write(&dynamic, text).unwrap();
    let mut command = Command::new(tool("traefik/bin/traefik"));
    command.args(["--global.checknewversion=false", "--global.sendanonymoususage=false"]);
    command.arg(format!("--entrypoints.websecure.address={address}"));
    command.arg(format!("--providers.file.filename={}", dynamic.display()));
    let server = Server::start(&mut command, "TERM", address, &folder.join("traefik.log"));
    // It listens before it has read its routes and certificates: until then it closes at once, or shows one of its own.
    let (prober, end) = (Prober::new(std::slice::from_ref(&files.root)).unwrap(), Instant::now() + PATIENCE);
    let unready = [Reason::ClosedEarly, Reason::TlsUntrusted];
    while unready.contains(&probe(&prober, address, page(names[0]), DEADLINE).reason) {
        assert!(Instant::now() < end, "Traefik reads no routes");
        sleep(Duration::from_millis(50));
    }
    (server, files)
}

fn page(host: &str) -> Exchange {
    Exchange::Http { tls: true, host: host.to_owned() }
}

fn oidc(host: &str) -> Exchange {
    Exchange::Oidc { issuer: format!("https://{host}/") }
}

#[test]
#[ignore = "needs Traefik: tests/run peers"]
fn traefik_tells_what_is_behind_it() {
    let (folder, address, mas, dead) = (folder(), free(), free(), free());
    let silence = Silence::new();
    let names = ["auth.example", "dead.example", "silent.example", "empty.example", "unrouted.example"];
    let routes = [
        ("auth.example", Some(mas)),
        ("dead.example", Some(dead)),
        ("silent.example", Some(silence.address)),
        ("empty.example", None),
    ];
    let _mas = StandIn::start(mas);
    let (server, files) = start(folder.path(), address, &names, &routes);
    let prober = Prober::new(&[files.root]).unwrap();

    // 200 for MAS's discovery, and its 404 for the page that the stand-in has not: any answer below 500 is one.
    let got = check(&prober, address, oidc("auth.example"), Reason::Ok, "names the configured issuer");
    assert_eq!(got.tls_not_after(), Some(certificate::END));
    check(&prober, address, page("auth.example"), Reason::Ok, "404");
    // Traefik's own answers.
    for (host, status) in [("unrouted", "404"), ("dead", "502"), ("empty", "503"), ("silent", "504")] {
        check(&prober, address, oidc(&format!("{host}.example")), Reason::HttpStatus, status);
    }
    for (host, status) in [("dead", "502"), ("empty", "503"), ("silent", "504")] {
        check(&prober, address, page(&format!("{host}.example")), Reason::HttpStatus, status);
    }
    // No certificate for this name: Traefik shows one that it made itself.
    check(&prober, address, page("stranger.example"), Reason::TlsUntrusted, "Traefik's default certificate");
    server.stop(address);
    check(&prober, address, oidc("auth.example"), Reason::ConnectRefusedRst, "");
}
