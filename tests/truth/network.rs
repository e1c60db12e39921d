//! Three namespaces in a row, client, router, peer; they end with the processes in them, whatever happens to this test.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::{NAME, ROLE};

/// Names a reason for which this test may be left out, in words separated by commas: `iproute2`, `nftables`, `namespaces`.
const ALLOW_SKIP: &str = "PORTREEVE_ALLOW_SKIP";

/// The client's side. `$1` is this test's program, `$2` the test's name, `$3` the variable for the role.
///
/// `setpriv --pdeathsig` ends the router and the peer with this shell even when nobody can run its trap. ICMP errors are rate limited per receiver; the router limits no type, for the table is about reasons, not about storms. (With `icmp_ratelimit` 0 the limit would be passed and the bucket emptied, and an `unreachable` route draws on the same bucket again: `ip_error` in `net/ipv4/route.c`.)
///
/// Loss is made by nftables, for a kernel need not have netem: at random for TCP, which sends again, and every 20th datagram for UDP, which does not.
const SETUP: &str = r#"set -e
ip link set lo up
setpriv --pdeathsig KILL unshare -n sleep 600 & router=$!
trap 'kill $router' EXIT
setpriv --pdeathsig KILL unshare -n env "$3=peer" sh -c 'read go <"$0"; exec "$@"' "$4" "$1" --exact "$2" --nocapture & peer=$!
trap 'kill $router $peer' EXIT
own=$(readlink /proc/self/ns/net)
for of in $router $peer; do
  while [ "$(readlink /proc/$of/ns/net)" = "$own" ]; do sleep 0.02; done
done
ip link add client type veth peer name to-client
ip link set to-client netns $router
nsenter -t $router -n ip link add to-peer type veth peer name peer
nsenter -t $router -n ip link set peer netns $peer
ip addr add 10.77.1.2/24 dev client
ip addr add 10.77.1.3/24 dev client
ip -6 addr add fd77:1::2/64 dev client nodad
ip -6 addr add fd77:1::3/64 dev client nodad
ip link set client up
ip route add default via 10.77.1.1 src 10.77.1.2
ip -6 route add default via fd77:1::1 src fd77:1::2
ip route add prohibit 10.77.4.0/24
ip -6 route add prohibit fd77:4::/64
nsenter -t $router -n sh -ec '
  ip link set lo up
  ip addr add 10.77.1.1/24 dev to-client
  ip -6 addr add fd77:1::1/64 dev to-client nodad
  ip addr add 10.77.2.1/24 dev to-peer
  ip -6 addr add fd77:2::1/64 dev to-peer nodad
  ip link set to-client up
  ip link set to-peer up
  ip route add unreachable 10.77.3.0/24
  ip -6 route add unreachable fd77:3::/64
  echo 1 > /proc/sys/net/ipv4/ip_forward
  echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
  echo 0 > /proc/sys/net/ipv4/icmp_ratemask
  echo 0 > /proc/sys/net/ipv6/icmp/ratelimit
  nft -f -' <<'RULES'
table inet truth {
  chain forward {
    type filter hook forward priority 0; policy accept;
    ip saddr 10.77.1.2 jump denied
    ip6 saddr fd77:1::2 jump denied
    meta l4proto tcp th dport 5305 numgen random mod 100 < 5 drop
    meta l4proto tcp th sport 5305 numgen random mod 100 < 5 drop
    meta nfproto ipv4 udp dport 5305 numgen inc mod 20 0 drop
    meta nfproto ipv6 udp dport 5305 numgen inc mod 20 0 drop
  }
  chain denied {
    meta l4proto { tcp, udp } th dport 5301 drop
    meta l4proto { tcp, udp } th dport 5302 reject with icmpx type port-unreachable
    meta l4proto { tcp, udp } th dport 5303 reject with icmpx type admin-prohibited
    tcp dport 5304 reject with tcp reset
  }
}
RULES
nsenter -t $peer -n sh -ec '
  ip link set lo up
  ip addr add 10.77.2.10/24 dev peer
  ip -6 addr add fd77:2::a/64 dev peer nodad
  ip link set peer up
  ip route add default via 10.77.2.1
  ip -6 route add default via fd77:2::1'
echo go >"$4"
env "$3=prober" "$1" --exact "$2" --nocapture
"#;

/// Builds the network and runs the prober in it.
pub(crate) fn outside() {
    if let Err((reason, why)) = possible() {
        let allowed = std::env::var(ALLOW_SKIP).unwrap_or_default();
        println!("the truth table cannot be made here ({reason}): {why}");
        assert!(allowed.split(',').any(|word| word.trim() == reason), "set {ALLOW_SKIP}={reason} to go on without it");
        return;
    }
    let folder = tempfile::Builder::new().prefix("portreeve-").tempdir().unwrap();
    let gate = folder.path().join("go");
    assert!(Command::new("mkfifo").arg(&gate).status().unwrap().success());
    let own = std::env::current_exe().unwrap();
    let outcome = unshare()
        .args(["sh", "-c", SETUP, "sh"])
        .arg(own)
        .args([NAME, ROLE])
        .arg(&gate)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&outcome.stdout), String::from_utf8_lossy(&outcome.stderr));
    println!("{text}");
    assert!(outcome.status.success() && text.contains("0 wrong of"), "{}", outcome.status);
}

/// A command in a new network namespace that ends with us. Without root, a user namespace gives the rights over it.
fn unshare() -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "unshare", "--net"]);
    if !is_root() {
        command.arg("--map-root-user");
    }
    command
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// Whether namespaces can be made here; else a word and a sentence.
fn possible() -> Result<(), (&'static str, String)> {
    for (program, package) in [("ip", "iproute2"), ("nft", "nftables")] {
        let folders = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];
        if !folders.iter().any(|folder| Path::new(folder).join(program).is_file()) {
            return Err((package, format!("{program} is not installed: apt-get install {package}")));
        }
    }
    let tried = unshare().args(["sh", "-ec", "ip link set lo up; nft add table inet truth"]).output();
    match tried {
        Ok(outcome) if outcome.status.success() => Ok(()),
        Ok(outcome) => Err(("namespaces", String::from_utf8_lossy(&outcome.stderr).trim().to_owned())),
        Err(error) => Err(("namespaces", format!("setpriv and unshare (util-linux): {error}"))),
    }
}
