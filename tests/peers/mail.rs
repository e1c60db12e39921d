//! Postfix, with STARTTLS on one port, TLS from the first byte on another, and ports that turn clients away.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use portreeve::judge::Reason;
use portreeve::matrix::{Exchange, SmtpMode};
use portreeve::observe::{Prober, Target};

use crate::server::{Server, folder, free, give, is_root, program};
use crate::{block_on, certificate, check};

/// Postfix's own queue folders, with their owners and modes (`postfix-files`).
const QUEUE: [(&str, &str, u32); 14] = [
    ("active", "postfix", 0o700),
    ("bounce", "postfix", 0o700),
    ("corrupt", "postfix", 0o700),
    ("defer", "postfix", 0o700),
    ("deferred", "postfix", 0o700),
    ("flush", "postfix", 0o700),
    ("hold", "postfix", 0o700),
    ("incoming", "postfix", 0o700),
    ("private", "postfix", 0o700),
    ("saved", "postfix", 0o700),
    ("trace", "postfix", 0o700),
    ("pid", "root", 0o755),
    ("public", "postfix:postdrop", 0o710),
    ("maildrop", "postfix:postdrop", 0o730),
];

/// `services`: where it listens, and what is different there.
fn configure(folder: &Path, files: &certificate::Certificate, services: &[(SocketAddr, &str)]) {
    for (name, owner, mode) in QUEUE {
        let path = folder.join("queue").join(name);
        fs::create_dir_all(&path).unwrap();
        give(&path, owner, mode);
    }
    for name in ["data", "conf"] {
        fs::create_dir(folder.join(name)).unwrap();
    }
    give(&folder.join("data"), "postfix", 0o700);
    fs::write(folder.join("mail.log"), "").unwrap();
    let main = format!(
        "compatibility_level = 3.6\n\
         queue_directory = {folder}/queue\n\
         data_directory = {folder}/data\n\
         daemon_directory = /usr/lib/postfix/sbin\n\
         myhostname = {name}\n\
         inet_interfaces = 127.0.0.1\n\
         inet_protocols = ipv4\n\
         mydestination =\n\
         alias_maps =\n\
         local_transport = error:no\n\
         smtpd_peername_lookup = no\n\
         maillog_file = {folder}/mail.log\n\
         maillog_file_prefixes = {folder}\n\
         smtpd_tls_security_level = may\n\
         smtpd_tls_cert_file = {certificate}\n\
         smtpd_tls_key_file = {key}\n",
        folder = folder.display(),
        name = certificate::NAME,
        certificate = files.certificate.display(),
        key = files.key.display(),
    );
    fs::write(folder.join("conf/main.cf"), main).unwrap();
    let mut master = String::new();
    for (address, options) in services {
        writeln!(master, "{address} inet n - n - - smtpd {options}").unwrap();
    }
    master.push_str(
        "tlsmgr unix - - n 1000? 1 tlsmgr\n\
         cleanup unix n - n - 0 cleanup\n\
         rewrite unix - - n - - trivial-rewrite\n\
         proxymap unix - - n - - proxymap\n\
         anvil unix - - n - 1 anvil\n\
         error unix - - n - - error\n\
         postlog unix-dgram n - n - 1 postlogd\n",
    );
    fs::write(folder.join("conf/master.cf"), master).unwrap();
}

#[test]
fn postfix_is_proven_and_left_in_order() {
    assert!(is_root(), "Postfix starts as root only: run this test as root");
    let master = program("master", &["/usr/lib/postfix/sbin", "/usr/libexec/postfix"], "postfix");
    let folder = folder();
    let [start_tls, tls, without_tls, refusing, deferring] = [(); 5].map(|()| free());
    let files = certificate::write(folder.path());
    let services = [
        (start_tls, ""),
        (tls, "-o smtpd_tls_wrappermode=yes"),
        (without_tls, "-o smtpd_tls_security_level=none"),
        (refusing, "-o smtpd_delay_reject=no -o smtpd_client_restrictions=reject"),
        (deferring, "-o smtpd_delay_reject=no -o smtpd_client_restrictions=defer"),
    ];
    configure(folder.path(), &files, &services);
    let mut command = Command::new(master);
    // -d: stay a child of this test.
    command.arg("-c").arg(folder.path().join("conf")).arg("-d").env("MAIL_CONFIG", folder.path().join("conf"));
    let server = Server::start(&mut command, "TERM", start_tls, &folder.path().join("output"));

    let smtp = |mode| Exchange::Smtp { mode };
    let (trusting, plain) = (Prober::new(&[files.root]).unwrap(), Prober::new(&[]).unwrap());
    check(&plain, start_tls, smtp(SmtpMode::Plain), Reason::Ok, "it offers no AUTH");
    for (address, mode) in [(start_tls, SmtpMode::StartTls), (tls, SmtpMode::Tls)] {
        let got = check(&trusting, address, smtp(mode), Reason::Ok, "TLS");
        assert_eq!(got.tls_not_after(), Some(certificate::END));
        assert!(got.phases.tls.is_some() && got.phases.exchange.is_some());
    }
    let waiting = Target::new("a-to-b", tls, smtp(SmtpMode::Plain));
    let got = block_on(plain.probe(&waiting, Duration::from_millis(500)));
    assert_eq!(got.reason, Reason::FirstByteTimeout, "both ends wait for the other: {}", got.detail);
    check(&plain, start_tls, smtp(SmtpMode::Tls), Reason::ProtoMismatch, "not TLS");
    let got = check(&plain, start_tls, smtp(SmtpMode::StartTls), Reason::TlsUntrusted, "self-signed");
    assert_eq!(got.tls_not_after(), Some(certificate::END));
    check(&trusting, without_tls, smtp(SmtpMode::StartTls), Reason::TlsHandshake, "offers no STARTTLS");
    for mode in [SmtpMode::Plain, SmtpMode::StartTls] {
        check(&trusting, refusing, smtp(mode), Reason::ProtoAuth, "554");
        check(&trusting, deferring, smtp(mode), Reason::ProtoMismatch, "450");
    }
    // With a name of our own to say.
    let named = Prober::new(&[]).unwrap().with_helo("probe.example").unwrap();
    check(&named, start_tls, smtp(SmtpMode::Plain), Reason::Ok, "");

    server.stop(start_tls);
    check(&trusting, start_tls, smtp(SmtpMode::StartTls), Reason::ConnectRefusedRst, "reset");
    let log = fs::read_to_string(folder.path().join("mail.log")).unwrap();
    assert!(log.contains("ehlo=2 starttls=1 quit=1 commands=4"), "{log}");
    assert_eq!(log.matches("ehlo=1 quit=1 commands=2").count(), 4, "{log}");
}
