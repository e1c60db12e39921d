//! An OpenID provider behind Traefik, as Authelia runs: plain HTTP, its public name and certificate at the proxy.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use portreeve::judge::Reason;
use portreeve::matrix::Exchange;
use portreeve::observe::Prober;

use crate::check;
use crate::server::{Server, folder, free};
use crate::tools::tool;
use crate::traefik;

const HOST: &str = "authelia.example";
const ISSUER: &str = "https://authelia.example";

fn start(folder: &Path, address: SocketAddr) -> Server {
    let mut command = Command::new("node");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/tools/identity.mjs"));
    command.arg(tool("identity/node_modules/oidc-provider/lib/index.js"));
    command.args([ISSUER, &address.ip().to_string(), &address.port().to_string()]);
    Server::start(&mut command, "TERM", address, &folder.join("identity.log"))
}

fn oidc(issuer: &str) -> Exchange {
    Exchange::Oidc { issuer: issuer.to_owned() }
}

#[test]
#[ignore = "needs an OpenID provider and Traefik: tests/run peers"]
fn the_identity_provider_is_proven_through_traefik() {
    let (folder, address, backend) = (folder(), free(), free());
    let provider = start(folder.path(), backend);
    let (proxy, files) = traefik::start(folder.path(), address, &[HOST], &[(HOST, Some(backend))]);
    let prober = Prober::new(&[files.root]).unwrap();

    // Its endpoints carry the public name, so the keys are asked for there, too.
    let got = check(&prober, address, oidc(ISSUER), Reason::Ok, "it has 1 keys");
    assert!(got.detail.contains("names the configured issuer"), "{}", got.detail);
    assert!(!got.detail.contains("must also reach"), "{}", got.detail);
    // One byte more is another issuer.
    let said = r#"calls itself "https://authelia.example", configured is "https://authelia.example/""#;
    check(&prober, address, oidc("https://authelia.example/"), Reason::HttpBody, said);
    check(&Prober::new(&[]).unwrap(), address, oidc(ISSUER), Reason::TlsUntrusted, "issuer");
    provider.stop(backend);
    check(&prober, address, oidc(ISSUER), Reason::HttpStatus, "502");
    proxy.stop(address);
}
