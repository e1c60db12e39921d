//! A node in a network namespace of its own, and pods in theirs, wired as the CNI plugin `ptp` does it: each pod has a veth, and the node routes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use portreeve_lab::cluster::{Cluster, Protocol};
use portreeve_lab::connect::Target;
use serde::de::DeserializeOwned;

/// Which test a copy of this program runs inside.
const INSIDE: &str = "PORTREEVE_LAB_TEST";
const CONNECT: &str = env!("CARGO_BIN_EXE_portreeve-lab-connect");
/// Where every pod listens.
pub const PORTS: [u16; 6] = [53, 80, 81, 8080, 9000, 9005];
/// Longer than a lost SYN takes to be sent again.
const PATIENCE: &str = "3000";
/// A refusal by silence ends here. It is no verdict about time: an answer that may come is waited for with patience.
const SILENCE: &str = "1200";

/// Runs `body` in a new network namespace that ends with us; without root, a user namespace gives the rights over it.
pub fn inside(test: &str, body: impl FnOnce()) {
    if std::env::var(INSIDE).as_deref() == Ok(test) {
        return body();
    }
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "unshare", "--net"]);
    if !nix::unistd::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    let own = std::env::current_exe().unwrap();
    let status = command.arg(own).args([test, "--exact", "--nocapture"]).env(INSIDE, test).status();
    let status = status.expect("setpriv and unshare are of the Debian package util-linux");
    assert!(status.success(), "{test} in a network namespace: {status}");
}

/// A family of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

pub const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// The address of a host in a pod's network: 1 is the node, 2 the pod.
fn address(pod: usize, host: u16, family: Family) -> IpAddr {
    let pod = u8::try_from(pod).unwrap();
    match family {
        Family::V4 => Ipv4Addr::new(10, 78, pod, u8::try_from(host).unwrap()).into(),
        Family::V6 => Ipv6Addr::new(0xfd78, pod.into(), 0, 0, 0, 0, 0, host).into(),
    }
}

/// Runs a shell text, here or in a pod.
fn shell(pod: Option<&Child>, text: &str) {
    let mut command = pod.map_or_else(|| Command::new("sh"), |pod| nsenter(pod, "sh"));
    let outcome = command.args(["-ec", text]).output().unwrap();
    assert!(outcome.status.success(), "{text}\n{}", String::from_utf8_lossy(&outcome.stderr));
}

fn nsenter(pod: &Child, program: &str) -> Command {
    let mut command = Command::new("nsenter");
    command.args(["-t", &pod.id().to_string(), "-n", program]);
    command
}

/// The node and its pods, which end with it.
pub struct Node {
    pods: Vec<(String, Child)>,
}

impl Node {
    /// Pods of these names, each listening on [`PORTS`].
    pub fn new(names: &[&str]) -> Self {
        // No storm of refusals is to look like silence: errors are limited to six at once and one a second for each receiver (`net/ipv4/inetpeer.c`).
        shell(
            None,
            "ip link set lo up
             echo 1 >/proc/sys/net/ipv4/ip_forward
             echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
             echo 0 >/proc/sys/net/ipv4/icmp_ratemask
             echo 0 >/proc/sys/net/ipv6/icmp/ratelimit",
        );
        let mut node = Self { pods: Vec::new() };
        for name in names {
            node.add(name);
        }
        node
    }

    /// One more pod.
    pub fn add(&mut self, name: &str) {
        let index = self.pods.len();
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "unshare", "--net", CONNECT, "listen"])
            .args(PORTS.map(|port| port.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "{name} does not listen");
        shell(
            None,
            &format!(
                "ip link add to{index} type veth peer name eth0 netns {pid}
                 ip addr add 10.78.{index}.1/24 dev to{index}
                 ip -6 addr add fd78:{index}::1/64 dev to{index} nodad
                 ip link set to{index} up",
                pid = child.id()
            ),
        );
        shell(
            Some(&child),
            &format!(
                "ip link set lo up
                 ip addr add 10.78.{index}.2/24 dev eth0
                 ip -6 addr add fd78:{index}::2/64 dev eth0 nodad
                 ip link set eth0 up
                 ip route add default via 10.78.{index}.1
                 ip -6 route add default via fd78:{index}::1"
            ),
        );
        self.pods.push((name.to_owned(), child));
    }

    fn index(&self, name: &str) -> usize {
        self.pods.iter().position(|(one, _)| one == name).unwrap_or_else(|| panic!("there is no pod {name}"))
    }

    /// A pod's address.
    pub fn of(&self, name: &str, family: Family) -> IpAddr {
        address(self.index(name), 2, family)
    }

    /// The node's address towards a pod.
    pub fn towards(&self, name: &str, family: Family) -> IpAddr {
        address(self.index(name), 1, family)
    }

    /// A port of a pod.
    pub fn target(&self, name: &str, protocol: Protocol, port: u16, family: Family) -> Target {
        Target { protocol, address: SocketAddr::new(self.of(name, family), port) }
    }

    /// What becomes of attempts from a pod, or from the node, all at once.
    pub fn connect(&self, from: Option<&str>, targets: &[Target]) -> Vec<String> {
        let mut outcomes = self.attempts(from, targets, SILENCE);
        // Silence on a busy machine may be slowness: what was silent is asked once more, with patience.
        let silent: Vec<usize> = (0..targets.len()).filter(|index| outcomes[*index] == "timeout").collect();
        let again: Vec<Target> = silent.iter().map(|index| targets[*index]).collect();
        for (index, outcome) in silent.into_iter().zip(self.attempts(from, &again, PATIENCE)) {
            outcomes[index] = outcome;
        }
        outcomes
    }

    fn attempts(&self, from: Option<&str>, targets: &[Target], timeout: &str) -> Vec<String> {
        let mut command = match from {
            Some(name) => nsenter(&self.pods[self.index(name)].1, CONNECT),
            None => Command::new(CONNECT),
        };
        command.args(["connect", "--timeout", timeout]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines: Vec<String> = targets.iter().map(ToString::to_string).collect();
        child.stdin.take().unwrap().write_all(lines.join("\n").as_bytes()).unwrap();
        let outcome = child.wait_with_output().unwrap();
        let outcomes: Vec<String> = String::from_utf8(outcome.stdout).unwrap().lines().map(str::to_owned).collect();
        assert_eq!(outcomes.len(), targets.len());
        outcomes
    }

    /// A connection that stays open.
    pub fn hold(&self, from: &str, to: IpAddr, port: u16) -> Held {
        let mut command = nsenter(&self.pods[self.index(from)].1, CONNECT);
        command.args(["hold", &to.to_string(), &port.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut held = Held { answers: BufReader::new(child.stdout.take().unwrap()), child };
        assert_eq!(held.line(), "open");
        held
    }

    /// The pods as objects of namespace `ns`, each with the label `app` and its name, and a container with the ports in `named`.
    pub fn cluster(&self, named: &str, policies: &str) -> Cluster {
        let pods = self.pods.iter().map(|(name, _)| {
            format!(
                "metadata: {{name: {name}, namespace: ns, uid: uid-{name}, labels: {{app: {name}}}}}\n\
                 spec: {{containers: [{{name: c, ports: [{named}]}}]}}\n\
                 status: {{phase: Running, podIPs: [{{ip: \"{}\"}}, {{ip: \"{}\"}}]}}\n",
                self.of(name, Family::V4),
                self.of(name, Family::V6),
            )
        });
        Cluster {
            namespaces: objects::<Namespace>("metadata: {name: ns, labels: {kubernetes.io/metadata.name: ns}}"),
            pods: pods.flat_map(|text| objects::<Pod>(&text)).collect(),
            policies: objects::<NetworkPolicy>(policies),
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        for (_, pod) in &mut self.pods {
            let _ = pod.kill();
            let _ = pod.wait();
        }
    }
}

/// Objects from YAML documents.
fn objects<K: DeserializeOwned>(text: &str) -> Vec<Arc<K>> {
    text.split("\n---\n")
        .filter(|text| !text.trim().is_empty())
        .map(|text| Arc::new(serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))))
        .collect()
}

/// A connection that stays open.
pub struct Held {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Held {
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// Whether it still carries bytes.
    pub fn is_alive(&mut self) -> bool {
        self.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        self.line() == "alive"
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.answers.read_to_string(&mut String::new());
        let _ = self.child.wait();
    }
}
