//! dnsmasq, over UDP and TCP, as a target and as the resolver's server.

use std::process::Command;

use portreeve::judge::Reason;
use portreeve::matrix::Exchange;
use portreeve::observe::{Prober, ResolvConf, resolve};

use crate::server::{Server, folder, free, program};
use crate::{DEADLINE, block_on, check};

#[test]
fn dnsmasq_is_proven() {
    let dnsmasq = program("dnsmasq", &["/usr/sbin", "/usr/local/sbin", "/usr/bin"], "dnsmasq-base");
    let (folder, address) = (folder(), free());
    let mut command = Command::new(dnsmasq);
    command.args(["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--pid-file="]);
    command.args(["--listen-address=127.0.0.1", "--bind-interfaces", &format!("--port={}", address.port())]);
    command.args(["--address=/kubernetes.default.svc.cluster.local/10.43.0.1", "--address=/missing.example/"]);
    let server = Server::start(&mut command, "TERM", address, &folder.path().join("log"));

    let prober = Prober::new(&[]).unwrap();
    let missing = Prober::new(&[]).unwrap().with_dns_question("missing.example").unwrap();
    // Without an upstream server dnsmasq refuses what it does not know.
    let foreign = Prober::new(&[]).unwrap().with_dns_question("foreign.example").unwrap();
    for exchange in [Exchange::DnsUdp, Exchange::DnsTcp] {
        check(&prober, address, exchange.clone(), Reason::Ok, "answers");
        check(&missing, address, exchange.clone(), Reason::Ok, "does not exist");
        check(&foreign, address, exchange, Reason::DnsRefused, "refuses");
    }

    let mut conf = ResolvConf::servers(vec![address]);
    let look = |name, conf: &ResolvConf| block_on(resolve(name, conf, DEADLINE)).map_err(|(reason, _)| reason);
    let found = Ok(vec![[10, 43, 0, 1].into()]);
    assert_eq!(look("kubernetes.default.svc.cluster.local", &conf), found);
    assert_eq!(look("missing.example", &conf), Err(Reason::DnsNxdomain));
    assert_eq!(look("foreign.example", &conf), Err(Reason::DnsRefused));
    conf.search = vec!["missing.example".to_owned(), "svc.cluster.local".to_owned()];
    conf.ndots = 5;
    assert_eq!(look("kubernetes.default", &conf), found);

    server.stop(address);
    check(&prober, address, Exchange::DnsTcp, Reason::ConnectRefusedRst, "reset");
    let got = check(&prober, address, Exchange::DnsUdp, Reason::IcmpPortUnreachable, "type 3 code 3");
    assert_eq!(got.offender, Some(address.ip()), "the target itself says that the port is closed");
    assert_eq!(look("kubernetes.default", &conf), Err(Reason::DnsTimeout));
}
