//! Synapse with SQLite, which delegates authentication to MAS, or does not.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use portreeve::judge::Reason;
use portreeve::matrix::Exchange;
use portreeve::observe::Prober;

use crate::mas::{SECRET, StandIn};
use crate::server::{Server, folder, free};
use crate::silence::Silence;
use crate::tools::{get, tool};
use crate::{DEADLINE, check, probe};

/// As Synapse asks for it: what conflicts with MAS is off (`synapse/config/mas.py`).
fn config(folder: &Path, address: SocketAddr, mas: Option<(SocketAddr, &str)>) -> String {
    let delegation = mas.map_or_else(String::new, |(mas, secret)| {
        format!("matrix_authentication_service: {{enabled: true, endpoint: \"http://{mas}/\", secret: \"{secret}\"}}\n")
    });
    format!(
        "server_name: matrix.example\n\
         pid_file: {folder}/pid\n\
         signing_key_path: {folder}/signing.key\n\
         media_store_path: {folder}/media\n\
         report_stats: false\n\
         trusted_key_servers: []\n\
         macaroon_secret_key: a\n\
         form_secret: b\n\
         enable_registration: false\n\
         password_config: {{enabled: false}}\n\
         database: {{name: sqlite3, args: {{database: {folder}/homeserver.db}}}}\n\
         listeners:\n\
         - {{port: {port}, bind_addresses: [127.0.0.1], type: http, tls: false, resources: [{{names: [client]}}]}}\n\
         {delegation}",
        folder = folder.display(),
        port = address.port(),
    )
}

fn start(folder: &Path, address: SocketAddr, mas: Option<(SocketAddr, &str)>) -> Server {
    let file = folder.join("homeserver.yaml");
    fs::write(&file, config(folder, address, mas)).unwrap();
    let python = || Command::new(tool("synapse/bin/python"));
    let synapse = ["-m", "synapse.app.homeserver", "--config-path"];
    // Only the signing key is missing.
    let made = python().args(synapse).arg(&file).arg("--generate-missing-configs").output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Server::start(python().args(synapse).arg(&file), "TERM", address, &folder.join("log"))
}

fn client_api(address: SocketAddr) -> Exchange {
    Exchange::Synapse { endpoint: format!("http://{address}/") }
}

#[test]
#[ignore = "needs Synapse: tests/run peers"]
fn synapse_says_whether_it_reaches_mas() {
    let (folder, address, mas) = (folder(), free(), free());
    let prober = Prober::new(&[]).unwrap();
    let standing = StandIn::start(mas);
    let server = start(folder.path(), address, Some((mas, SECRET)));

    // What the probe rests on.
    let localpart = "/_synapse/mas/is_localpart_available";
    let whoami = "/_matrix/client/v3/account/whoami";
    assert_eq!(get(address, localpart, SECRET).0, 400);
    assert_eq!(get(address, localpart, "wrong").0, 403);
    let (status, body) = get(address, whoami, "made-up");
    assert!(status == 401 && body.contains("M_UNKNOWN_TOKEN"), "{body}");
    // This one it refuses without asking anybody.
    let (status, body) = get(address, whoami, "");
    assert!(status == 401 && body.contains("M_MISSING_TOKEN"), "{body}");

    check(&prober, address, client_api(address), Reason::Ok, "its interface for MAS is there");
    check(&prober, address, Exchange::Whoami, Reason::Ok, "asked MAS");
    drop(standing);
    // It remembers what MAS said of a token for two minutes, so each probe makes a new one up.
    assert_eq!(get(address, whoami, "made-up").0, 401);
    assert_eq!(get(address, whoami, "another").0, 503);
    check(&prober, address, Exchange::Whoami, Reason::HttpStatus, "503");
    check(&prober, address, client_api(address), Reason::Ok, "its interface for MAS is there");
    let standing = StandIn::start(mas);
    // No failure does it remember.
    check(&prober, address, Exchange::Whoami, Reason::Ok, "asked MAS");
    server.stop(address);
    check(&prober, address, Exchange::Whoami, Reason::ConnectRefusedRst, "");

    // MAS refuses what Synapse says it is: for Synapse this is the same as no MAS.
    let server = start(folder.path(), address, Some((mas, "another secret")));
    check(&prober, address, Exchange::Whoami, Reason::HttpStatus, "refuses its secret");
    server.stop(address);
    drop(standing);

    // Its packets to MAS are dropped: Synapse is silent for as long as it hopes.
    let silence = Silence::new();
    let server = start(folder.path(), address, Some((silence.address, SECRET)));
    let got = probe(&prober, address, Exchange::Whoami, Duration::from_secs(5));
    assert_eq!(got.reason, Reason::FirstByteTimeout, "{}", got.detail);
    assert!(got.detail.contains("itself waits for MAS"), "{}", got.detail);
    check(&prober, address, client_api(address), Reason::Ok, "its interface for MAS is there");
    let got = probe(&prober, address, Exchange::Whoami, Duration::from_secs(30) + DEADLINE);
    assert_eq!(got.reason, Reason::HttpStatus, "{}", got.detail);
    server.stop(address);
}

#[test]
#[ignore = "needs Synapse: tests/run peers"]
fn a_synapse_that_knows_no_mas_is_told() {
    let (folder, address) = (folder(), free());
    let prober = Prober::new(&[]).unwrap();
    let server = start(folder.path(), address, None);
    assert_eq!(get(address, "/_synapse/mas/is_localpart_available", SECRET).0, 404);
    check(&prober, address, client_api(address), Reason::Ok, "its interface for MAS is not there");
    // It knows all tokens itself, so its 401 proves nothing about MAS.
    check(&prober, address, Exchange::Whoami, Reason::HttpBody, "has not been told of MAS");
    server.stop(address);
}
