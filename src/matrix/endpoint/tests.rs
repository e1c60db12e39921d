use proptest::prelude::*;

use super::*;
use crate::world::{Protocol, parse_port};

#[track_caller]
fn check(text: &str, expect: Result<Party, &str>) {
    assert_eq!(parse_endpoint(text), expect.map_err(ToOwned::to_owned), "{text}");
}

#[test]
fn endpoints() {
    let object = ObjectName::new;
    check("subject", Ok(Party::Subject));
    check("any-pod", Ok(Party::AnyPod));
    check("world", Ok(Party::World));
    check("matrix/mas-0", Ok(Party::Pod(object("matrix", "mas-0"))));
    check("matrix/a.b", Ok(Party::Pod(object("matrix", "a.b"))));
    check("matrix/pod/mas-0", Ok(Party::Pod(object("matrix", "mas-0"))));
    check("matrix/svc/mas", Ok(Party::Service(object("matrix", "mas"))));
    for (word, kind) in [
        ("deploy", WorkloadKind::Deployment),
        ("deployment", WorkloadKind::Deployment),
        ("sts", WorkloadKind::StatefulSet),
        ("ds", WorkloadKind::DaemonSet),
        ("job", WorkloadKind::Job),
        ("cronjob", WorkloadKind::CronJob),
        ("rs", WorkloadKind::ReplicaSet),
    ] {
        check(&format!("m/{word}/x"), Ok(Party::Workload(kind, object("m", "x"))));
    }
    check("10.0.0.1", Ok(Party::Address("10.0.0.1".parse().unwrap())));
    check("fd00::1", Ok(Party::Address("fd00::1".parse().unwrap())));
    check("10.0.0.0/8", Ok(Party::Block("10.0.0.0/8".parse().unwrap())));
    check("fd00::/8", Ok(Party::Block("fd00::/8".parse().unwrap())));
    check("0.0.0.0/0", Ok(Party::Block("0.0.0.0/0".parse().unwrap())));
    check("node/worker-1", Ok(Party::Node("worker-1".into())));
}

#[test]
fn broken_endpoints_say_how_to_write_them() {
    check("subjct", Err("`subjct` is no endpoint: did you mean `subject`?"));
    check("", Err(&format!("an endpoint is empty: {FORMS}")));
    check("10.0.0.1.5", Err(&format!("`10.0.0.1.5` is no endpoint: {FORMS}")));
    check("10.0.0.1/8", Err("`10.0.0.1/8` has host bits set: write 10.0.0.0/8"));
    check("10.0.0.0/33", Err("`10.0.0.0/33` is no CIDR: write for example 192.0.2.0/24"));
    check("m/dploy/x", Err("`dploy` is no kind here: did you mean `deploy`?"));
    check("m/ingress/x", Err("`ingress` is no kind here: known are svc, deploy, sts, ds, job, cronjob, rs, pod"));
    check("a/b/c/d", Err("`a/b/c/d` has more than three parts: write namespace/kind/name"));
    check("Matrix/x", Err("`Matrix` is no namespace's name: lower-case letters, digits and `-`, at most 63"));
    check("m/X", Err("`X` is not a pod's name: lower-case letters, digits, `-` and `.`, at most 253"));
    check("m/", Err("`` is not a pod's name: lower-case letters, digits, `-` and `.`, at most 253"));
    check("node/", Err("`` is not a node's name: lower-case letters, digits, `-` and `.`, at most 253"));
}

#[track_caller]
fn check_port(text: &str, expect: Result<(&str, Option<Protocol>), &str>) {
    let got = parse_port(text).map(|port| (port.port.to_string(), port.protocol));
    assert_eq!(got, expect.map(|(port, protocol)| (port.to_owned(), protocol)).map_err(ToOwned::to_owned), "{text}");
}

#[test]
fn ports() {
    check_port("5432", Ok(("5432", None)));
    check_port("5432/tcp", Ok(("5432", Some(Protocol::Tcp))));
    check_port("53/UDP", Ok(("53", Some(Protocol::Udp))));
    check_port("http", Ok(("http", None)));
    check_port("tcp-postgresql", Ok(("tcp-postgresql", None)));
    check_port("0", Err("`0` is no port: a number from 1 to 65535 is expected"));
    check_port("65536", Err("`65536` is no port: a number from 1 to 65535 is expected"));
    check_port("53/dns", Err("`dns` is no protocol: tcp, udp or sctp is expected"));
    check_port("", Err("`` is no port: write a number, a number with /tcp or /udp, or a port's name"));
    check_port("-1", Err("`-1` is no port: write a number, a number with /tcp or /udp, or a port's name"));
    check_port("a--b", Err("`a--b` is no port: write a number, a number with /tcp or /udp, or a port's name"));
    check_port(
        "much-too-long-name",
        Err("`much-too-long-name` is no port: write a number, a number with /tcp or /udp, or a port's name"),
    );
}

fn parties() -> impl Strategy<Value = Party> {
    let name = "[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?";
    let object = (prop_oneof![name, Just("node".to_owned())], name).prop_map(|(ns, name)| ObjectName::new(ns, name));
    let kind = prop::sample::select(vec![
        WorkloadKind::Deployment,
        WorkloadKind::StatefulSet,
        WorkloadKind::DaemonSet,
        WorkloadKind::Job,
        WorkloadKind::CronJob,
        WorkloadKind::ReplicaSet,
    ]);
    prop_oneof![
        Just(Party::Subject),
        Just(Party::AnyPod),
        Just(Party::World),
        object.clone().prop_map(Party::Pod),
        object.clone().prop_map(Party::Service),
        (kind, object).prop_map(|(kind, name)| Party::Workload(kind, name)),
        name.prop_map(Party::Node),
        any::<std::net::IpAddr>().prop_map(Party::Address),
        (any::<std::net::Ipv4Addr>(), 0..=32_u8)
            .prop_map(|(ip, len)| Party::Block(IpNet::new(ip.into(), len).unwrap().trunc())),
        (any::<std::net::Ipv6Addr>(), 0..=128_u8)
            .prop_map(|(ip, len)| Party::Block(IpNet::new(ip.into(), len).unwrap().trunc())),
    ]
}

proptest! {
    #[test]
    fn what_the_grammar_can_say_comes_back(party in parties()) {
        prop_assert_eq!(parse_endpoint(&party.to_string()), Ok(party));
    }

    #[test]
    fn no_text_makes_it_panic(text in ".{0,40}") {
        let _ = parse_endpoint(&text);
        let _ = parse_port(&text);
    }
}
