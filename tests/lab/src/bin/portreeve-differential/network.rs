//! What the network does: a listener in the network of every pod, every node and the outside, and connections between all of them.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use portreeve_lab::cluster::Protocol;
use portreeve_lab::connect::Target;
use portreeve_lab::style::Style;

use crate::cast::{HOST, PORTS, SERVICE_PORTS};
use crate::stage::Stage;

/// The enforcers' table, apart from one that somebody else's has.
const TABLE: &str = "portreeve-differential";

/// The programs that are used.
pub struct Programs {
    /// `tests/cluster/cluster`
    pub cluster: PathBuf,
    /// The folder of `portreeve-lab` and `portreeve-lab-connect`.
    pub lab: PathBuf,
}

impl Programs {
    /// A program of the lab, in the network of a node or of the outside.
    fn exec(&self, place: &str, program: &str) -> Command {
        // Whatever becomes of this program, they end.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM"]).arg(&self.cluster).args(["exec", place]).arg(self.lab.join(program));
        command
    }

    pub fn cluster(&self, args: &[&str]) -> Result<String> {
        let outcome = Command::new(&self.cluster).args(args).stderr(Stdio::inherit()).output();
        let outcome = outcome.with_context(|| self.cluster.display().to_string())?;
        ensure!(outcome.status.success(), "{} {args:?}: {}", self.cluster.display(), outcome.status);
        Ok(String::from_utf8(outcome.stdout)?.trim().to_owned())
    }
}

/// A network with a listener in it.
pub struct Place {
    /// As an assertion may name it: `namespace/pod`, `node/name`, `outside`.
    pub name: String,
    pub addresses: Vec<IpAddr>,
    /// A pod's Service.
    pub service: Vec<IpAddr>,
    pub is_pod: bool,
    listener: Child,
}

impl Drop for Place {
    fn drop(&mut self) {
        // It ends with its input.
        drop(self.listener.stdin.take());
        let _ = self.listener.wait();
    }
}

/// All networks there are.
pub fn places(programs: &Programs, stage: &Stage) -> Result<Vec<Place>> {
    let mut places = Vec::new();
    for (index, pod) in stage.pods.iter().enumerate().filter(|(_, pod)| pod.name_any() != HOST) {
        let pid = process(&pod.uid().unwrap_or_default())?;
        let mut inside = Command::new("nsenter");
        inside.args(["-t", &pid, "-n"]).arg(programs.lab.join("portreeve-lab-connect"));
        let name = format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any());
        let service = stage.services.get(index).cloned().unwrap_or_default();
        places.push(Place { name, addresses: addresses(pod), service, is_pod: true, listener: listen(inside, [])? });
    }
    for node in &stage.nodes {
        let name = node.name_any();
        let all = node.status.as_ref().and_then(|status| status.addresses.as_ref()).into_iter().flatten();
        let addresses: Vec<IpAddr> = all.filter_map(|one| one.address.parse().ok()).collect();
        // A node has more than these.
        let only = addresses.iter().map(|address| format!("--address={address}"));
        let listener = listen(programs.exec(&name, "portreeve-lab-connect"), only)?;
        let name = format!("node/{name}");
        places.push(Place { name, addresses, service: Vec::new(), is_pod: false, listener });
    }
    let listener = listen(programs.exec("outside", "portreeve-lab-connect"), [])?;
    let addresses = outside(&listener)?;
    places.push(Place { name: "outside".to_owned(), addresses, service: Vec::new(), is_pod: false, listener });
    Ok(places)
}

fn addresses(pod: &Pod) -> Vec<IpAddr> {
    let all = pod.status.as_ref().and_then(|status| status.pod_ips.as_ref()).into_iter().flatten();
    all.filter_map(|one| one.ip.parse().ok()).collect()
}

/// A process of a pod: its control group bears the pod's uid.
fn process(uid: &str) -> Result<String> {
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path();
        if std::fs::read_to_string(path.join("cgroup")).is_ok_and(|text| text.contains(uid)) {
            return Ok(path.file_name().unwrap_or_default().to_string_lossy().into_owned());
        }
    }
    bail!("no process has the pod {uid} in its control group")
}

fn outside(listener: &Child) -> Result<Vec<IpAddr>> {
    let outcome = Command::new("nsenter")
        .args(["-t", &listener.id().to_string(), "-n", "ip", "-json", "address", "show", "scope", "global"])
        .output()?;
    let links: serde_json::Value = serde_json::from_slice(&outcome.stdout).context("ip -json address")?;
    let all = links.as_array().into_iter().flatten().filter_map(|link| link["addr_info"].as_array()).flatten();
    Ok(all.filter_map(|address| address["local"].as_str()?.parse().ok()).collect())
}

fn listen(mut inside: Command, only: impl IntoIterator<Item = String>) -> Result<Child> {
    let command = inside.arg("listen").args(only).args(PORTS.map(|port| port.to_string()));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
    ensure!(line == "ready\n", "a listener does not begin: {command:?}");
    Ok(child)
}

/// One connection to try, by the places of its ends in the list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    pub from: usize,
    pub to: usize,
    pub target: Target,
}

/// Every connection with a pod at an end, over both protocols and families: to pods, nodes and the outside, and by Services.
pub fn ways(places: &[Place]) -> Vec<Way> {
    let mut ways = Vec::new();
    for (from, source) in places.iter().enumerate() {
        for (to, destination) in places.iter().enumerate().filter(|(_, to)| source.is_pod || to.is_pod) {
            let direct =
                destination.addresses.iter().flat_map(|address| PORTS.map(|port| SocketAddr::new(*address, port)));
            // Only where kube-proxy is, and where the source stays what it is.
            let service = destination.service.iter().filter(|_| source.is_pod);
            let service = service.flat_map(|address| SERVICE_PORTS.map(|(port, _)| SocketAddr::new(*address, port)));
            for address in
                direct.chain(service).filter(|to| source.addresses.iter().any(|own| own.is_ipv4() == to.is_ipv4()))
            {
                ways.extend([Protocol::Tcp, Protocol::Udp].map(|protocol| Way {
                    from,
                    to,
                    target: Target { protocol, address },
                }));
            }
        }
    }
    ways
}

/// What became of each way, all at once from all places.
pub fn connect(programs: &Programs, places: &[Place], ways: &[Way], timeout: Duration) -> Result<Vec<String>> {
    let mut running = Vec::new();
    for (from, place) in places.iter().enumerate() {
        let own: Vec<String> = ways.iter().filter(|way| way.from == from).map(|way| way.target.to_string()).collect();
        if own.is_empty() {
            continue;
        }
        let mut child = Command::new("nsenter")
            .args(["-t", &place.listener.id().to_string(), "-n"])
            .arg(programs.lab.join("portreeve-lab-connect"))
            .args(["connect", "--timeout", &timeout.as_millis().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        child.stdin.take().context("no input")?.write_all(own.join("\n").as_bytes())?;
        running.push((from, child));
    }
    let mut outcomes: Vec<std::vec::IntoIter<String>> = places.iter().map(|_| Vec::new().into_iter()).collect();
    for (from, child) in running {
        let text = String::from_utf8(child.wait_with_output()?.stdout)?;
        if let Some(slot) = outcomes.get_mut(from) {
            *slot = text.lines().map(str::to_owned).collect::<Vec<_>>().into_iter();
        }
    }
    let next = |way: &Way| outcomes.get_mut(way.from)?.next();
    ways.iter().map(next).collect::<Option<Vec<_>>>().context("a prober died")
}

/// An enforcer for each node.
pub struct Enforcers {
    running: Vec<Child>,
    /// Milliseconds from each event to the table that followed it.
    pub delays: Arc<Mutex<Vec<u64>>>,
}

impl Enforcers {
    /// Starts them; the files of their states are in the order of the nodes.
    pub fn start(programs: &Programs, nodes: &[String], style: Style, folder: &Path) -> Result<(Self, Vec<PathBuf>)> {
        let kubeconfig = programs.cluster(&["kubeconfig"])?;
        let mut enforcers = Self { running: Vec::new(), delays: Arc::default() };
        let mut states = Vec::new();
        for node in nodes {
            let tables = programs.cluster(&["exec", node, "nft", "list", "tables", "inet"])?;
            ensure!(
                !tables.contains("portreeve-lab"),
                "somebody else's portreeve-lab enforces on {node}: it would decide, too"
            );
            let state = folder.join(format!("{node}.json"));
            let mut command = programs.exec(node, "portreeve-lab");
            command.args(["--kubeconfig", &kubeconfig, "--style", &style.to_string(), "--table", TABLE, "--state"]);
            let mut child = command.arg(&state).stdout(Stdio::piped()).spawn()?;
            let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines().map_while(Result::ok);
            enforcers.running.push(child);
            ensure!(lines.any(|line| line == "ready"), "the enforcer of {node} ended");
            let delays = enforcers.delays.clone();
            std::thread::spawn(move || {
                let delay = |line: String| line.split_once("after_ms=")?.1.parse().ok();
                for delay in lines.filter_map(delay) {
                    delays.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(delay);
                }
            });
            states.push(state);
        }
        Ok((enforcers, states))
    }
}

impl Drop for Enforcers {
    fn drop(&mut self) {
        for child in &mut self.running {
            let _ = kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM);
            let _ = child.wait();
        }
    }
}
