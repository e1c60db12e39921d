//! A client and a router in network namespaces of their own: the ICMP messages of a real kernel, read through the TCP error queue.

use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use portreeve::judge::Reason;
use portreeve::matrix::Exchange;
use portreeve::observe::{Prober, Target};

use crate::block_on;

/// Set in the copy of this test that runs inside.
const INSIDE: &str = "PORTREEVE_TEST_INSIDE_NAMESPACE";
const NAME: &str = "network::a_router_that_says_no";

/// The client's side; the router is a second namespace that ends with this shell. `$1` is the test binary, `$2` the test's name.
///
/// ICMP errors are rate limited for each receiver, and those of a `prohibit` or `unreachable` route pay twice (`ip_error` and `icmpv4_xrlim_allow` share a bucket), so only two come in a row. The second limit is switched off; the first still leaves five.
const SETUP: &str = r#"set -e
ip link set lo up
unshare -n sleep 60 & router=$!
trap 'kill $router' EXIT
own=$(readlink /proc/self/ns/net)
while [ "$(readlink /proc/$router/ns/net)" = "$own" ] || [ "$(cat /proc/$router/comm)" != sleep ]; do sleep 0.02; done
ip link add name client type veth peer name router
ip link set router netns $router
ip addr add 10.99.0.2/24 dev client
ip -6 addr add fd99::2/64 dev client nodad
ip link set client up
nsenter -t $router -n sh -ec '
  ip link set lo up
  ip addr add 10.99.0.1/24 dev router
  ip -6 addr add fd99::1/64 dev router nodad
  ip link set router up
  echo 1 > /proc/sys/net/ipv4/ip_forward
  echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
  echo 0 > /proc/sys/net/ipv4/icmp_ratemask
  echo 0 > /proc/sys/net/ipv6/icmp/ratelimit
  ip route add prohibit 10.98.13.0/24
  ip route add unreachable 10.98.1.0/24
  ip route add blackhole 10.98.66.0/24
  ip -6 route add prohibit fd98:13::/64
  ip -6 route add unreachable fd98:1::/64
'
ip route add default via 10.99.0.1
ip -6 route add default via fd99::1
ip route add prohibit 10.97.13.0/24
"$1" --exact "$2" --nocapture
"#;

#[test]
fn a_router_that_says_no() {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    let own = std::env::current_exe().unwrap();
    let outcome = Command::new("unshare")
        .args(["--map-root-user", "--net", "sh", "-c", SETUP, "sh"])
        .arg(own)
        .arg(NAME)
        .env(INSIDE, "1")
        .output()
        .expect("unshare is not installed: apt-get install util-linux");
    let text = format!("{}{}", String::from_utf8_lossy(&outcome.stdout), String::from_utf8_lossy(&outcome.stderr));
    assert!(
        outcome.status.success() && text.contains("1 passed"),
        "this test needs network namespaces, and `ip` (apt-get install iproute2):\n{text}"
    );
}

#[track_caller]
fn check(address: &str, exchange: Exchange, reason: Reason, offender: Option<&str>) {
    let address: SocketAddr = address.parse().unwrap();
    let target = Target::new("a-to-b", address, exchange);
    // Where an answer comes it may take a second SYN, after one second: the first can be lost while the link comes up.
    let silent = matches!(reason, Reason::ConnectTimeout | Reason::DnsTimeout);
    let deadline = Duration::from_millis(if silent { 800 } else { 3000 });
    let got = block_on(Prober::new(&[]).unwrap().probe(&target, deadline));
    assert_eq!(got.reason, reason, "{address}: {}", got.detail);
    assert_eq!(got.offender, offender.map(|text| text.parse::<IpAddr>().unwrap()), "{address}: {}", got.detail);
}

fn inside() {
    use Exchange::{DnsUdp, Tcp};
    let (v4, v6) = (Some("10.99.0.1"), Some("fd99::1"));
    // errno is EHOSTUNREACH for both of these: only the queue tells them apart.
    check("10.98.13.5:5432", Tcp, Reason::IcmpAdminProhibited, v4);
    check("10.98.1.5:5432", Tcp, Reason::IcmpNoRoute, v4);
    check("10.98.13.5:53", DnsUdp, Reason::IcmpAdminProhibited, v4);
    check("10.98.1.5:53", DnsUdp, Reason::IcmpNoRoute, v4);
    check("[fd98:13::5]:5432", Tcp, Reason::IcmpAdminProhibited, v6);
    check("[fd98:1::5]:5432", Tcp, Reason::IcmpNoRoute, v6);
    check("[fd98:13::5]:53", DnsUdp, Reason::IcmpAdminProhibited, v6);
    // Dropped, as most CNIs do it: silence.
    check("10.98.66.5:5432", Tcp, Reason::ConnectTimeout, None);
    check("10.98.66.5:53", DnsUdp, Reason::DnsTimeout, None);
    // Nothing listens on the router: a reset over TCP, its own ICMP over UDP.
    check("10.99.0.1:5432", Tcp, Reason::ConnectRefusedRst, None);
    check("10.99.0.1:53", DnsUdp, Reason::IcmpPortUnreachable, v4);
    // Our own kernel refuses: EACCES at once, and no message from anybody.
    check("10.97.13.5:5432", Tcp, Reason::LocalDenied, None);
}
