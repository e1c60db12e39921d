//! `portreeve init`: a TrafficMatrix out of what is there, for a person to read, correct and keep.

use std::fmt::Write;

use super::args::{IntentArgs, WorldArgs};
use super::doctor::gather;
use super::output::{self, Style};
use super::{Done, Exit};
use crate::finding::{Finding, Severity};
use crate::load::inputs::Inputs;
use crate::matrix::{Expect, Party, PeerKind, Port, ResolvedEdge, Target};
use crate::source::emit;
use crate::world::{ObjectName, PortRef};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "MAS's config is taken from --mas-config, or else from a ConfigMap or Secret among --manifests, or a ConfigMap of --cluster. \
        Of a Secret only hosts and ports come out, never a password, and a cluster's Secrets are not read: give --mas-config where the config is in one.\n\n\
        Examples:\n  portreeve init --cluster --mas-config config.yaml > traffic-matrix.yaml\n  \
        portreeve init --manifests dump/ > traffic-matrix.yaml\n  \
        portreeve audit --matrix traffic-matrix.yaml --cluster\n\n\
        Exit codes: 0 everything was found; 1 something is left for you to fill in; 2 wrong usage or input."
)]
pub(super) struct Args {
    #[command(flatten)]
    intent: IntentArgs,
    #[command(flatten)]
    world: WorldArgs,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Done> {
    anyhow::ensure!(args.intent.matrix.is_none(), "--matrix is what `init` writes: give --guide or --mas-config");
    let gathered = gather(&args.intent, &args.world)?;
    if let Some(broken) = gathered.mas.as_ref().and_then(|mas| mas.config.as_ref().err()) {
        anyhow::bail!("MAS's config cannot be used: {broken}");
    }
    anyhow::ensure!(
        gathered.mas.is_some() || gathered.values.is_some(),
        "no config of MAS is among the objects (a cluster's Secrets are not read): give it with --mas-config FILE, or the guide's values with --guide FILE"
    );
    let from = gathered.mas.as_ref().map_or("the guide's values", |mas| mas.source.as_str());
    let inputs = &gathered.inputs;
    let edges = &inputs.resolution.edges;
    let peers: Vec<Peer> = edges.iter().filter_map(Peer::ingress).chain(edges.iter().filter_map(Peer::of)).collect();
    let subject = subject(inputs);
    let told: Vec<Finding> =
        inputs.findings.iter().filter(|finding| finding.code.severity() == Severity::Error).cloned().collect();
    let mut notes = output::findings(&told, Style::plain());
    for peer in peers.iter().filter(|peer| peer.value.is_none()) {
        let _ = writeln!(notes, "fill in peers.{}: no source says where it is; without it {}", peer.key, peer.breaks);
    }
    if subject.is_none() {
        notes.push_str("fill in subject: MAS's workload was not found by its image\n");
    }
    let left = !notes.is_empty();
    let _ = std::io::Write::write_all(&mut std::io::stderr(), notes.as_bytes());
    Ok(Done { text: text(inputs, from, subject.as_deref(), &peers), exit: Exit::findings_if(left) })
}

/// MAS's workload, in the endpoint grammar.
fn subject(inputs: &Inputs) -> Option<String> {
    let world = inputs.world.as_ref()?;
    let pod = world.pod(*inputs.resolution.subject.as_ref()?.pods.first()?);
    let workload = pod.workload.as_ref()?;
    let name = ObjectName::new(&*pod.name.namespace, &*workload.name);
    Some(Party::Workload(workload.kind, name).to_string())
}

/// One entry of `peers`.
struct Peer {
    key: String,
    /// As a flow mapping; `None` when nobody knows it.
    value: Option<String>,
    /// Other targets that the sources name.
    others: Vec<String>,
    says: Vec<String>,
    breaks: String,
}

impl Peer {
    /// The ingress controller, which is found by the public host: a TrafficMatrix of peers has none.
    fn ingress(resolved: &ResolvedEdge) -> Option<Self> {
        let edge = &resolved.edge;
        if edge.name != "traefik-to-mas" {
            return None;
        }
        let found = resolved.from.iter().filter(|peer| !peer.by_default).find_map(|peer| match &peer.kind {
            PeerKind::Pods { namespace, selector, .. } if !selector.is_empty() => {
                let labels: Vec<String> =
                    selector.iter().map(|(key, value)| format!("{}: {}", scalar(key), scalar(value))).collect();
                let labels = labels.join(", ");
                Some(format!("{{selector: {{namespace: {namespace}, podSelector: {{matchLabels: {{{labels}}}}}}}}}"))
            }
            _ => None,
        });
        let says = edge.provenance.iter().map(ToString::to_string).collect();
        Some(Self { key: "traefik".to_owned(), value: found, others: Vec::new(), says, breaks: edge.breaks.clone() })
    }

    /// What to write in the place of a value that nobody knows.
    fn example(&self) -> String {
        match self.key.as_str() {
            "traefik" => {
                "{selector: {namespace: traefik, podSelector: {matchLabels: {app.kubernetes.io/name: traefik}}}}"
                    .to_owned()
            }
            key => {
                let port = match key {
                    "postgres" => 5432,
                    "synapse" => 8008,
                    "smtp" => 587,
                    _ => 443,
                };
                format!("{{host: {key}.example.org, port: {port}}}")
            }
        }
    }

    /// The far end of an edge that goes out of MAS; what discovery finds by itself is left to it.
    fn of(resolved: &ResolvedEdge) -> Option<Self> {
        let edge = &resolved.edge;
        let key = edge.name.strip_prefix("mas-to-").filter(|_| edge.expect == Expect::Allow)?;
        if edge.to.iter().any(|target| target.party == Party::ClusterDns) {
            return None;
        }
        // By the Service where it is one: it does not depend on a search list. An outside name stays a name, wherever it leads today.
        let service = resolved
            .to
            .iter()
            .find_map(|peer| peer.service.as_ref())
            .filter(|(service, _)| matches!(edge.to.as_slice(), [target] if is_named_so(&target.party, service)));
        let mut values = match service {
            Some((name, port)) => vec![format!("{{service: {name}, port: {port}}}")],
            None => edge.to.iter().filter_map(value).collect(),
        };
        let others = if values.len() > 1 { values.split_off(1) } else { Vec::new() };
        Some(Self {
            key: key.to_owned(),
            value: values.pop(),
            others,
            says: edge.provenance.iter().map(ToString::to_string).collect(),
            breaks: edge.breaks.clone(),
        })
    }
}

/// Whether a source means this Service, and not a name that happens to lead there (the ingress controller, by a public host).
fn is_named_so(party: &Party, service: &ObjectName) -> bool {
    match party {
        Party::Host { host, .. } => {
            let mut labels = host.split('.');
            labels.next() == Some(&*service.name)
                && labels.next().is_none_or(|namespace| *namespace == *service.namespace)
        }
        _ => true,
    }
}

fn value(target: &Target) -> Option<String> {
    let who = match &target.party {
        Party::Service(name) => format!("service: {name}"),
        Party::Host { host, .. } => format!("host: {}", scalar(host)),
        Party::Address(address) => format!("host: {}", scalar(&address.to_string())),
        Party::Block(net) => format!("cidrs: [{}]", scalar(&net.to_string())),
        _ => return None,
    };
    let port = match &target.port {
        Port::Client(PortRef::Number(port)) | Port::Unknown { default: Some(port) } => Some(port.to_string()),
        Port::Client(PortRef::Name(name)) => Some(scalar(name)),
        Port::Pod(_) | Port::Unknown { default: None } => None,
    };
    Some(port.map_or_else(|| format!("{{{who}}}"), |port| format!("{{{who}, port: {port}}}")))
}

/// A text as YAML has it in a flow mapping.
fn scalar(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_/".contains(&byte))
        && emit::to_yaml(&text.into()).trim_end() == text;
    if plain { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

fn text(inputs: &Inputs, from: &str, subject: Option<&str>, peers: &[Peer]) -> String {
    let name = &inputs.name;
    let mut out = format!(
        "# The connections that MAS needs, by {from}. Read it, correct it, keep it in Git.\n\
         # portreeve audit --matrix THIS --cluster    do the policies allow exactly these?\n\
         # portreeve plan --matrix THIS --cluster     what would be written, and is it safe?\n\
         apiVersion: portreeve.io/v1alpha1\nkind: TrafficMatrix\nmetadata:\n  name: {}\n  namespace: {}\nspec:\n  \
         # Audit writes nothing; Enforce writes the NetworkPolicy.\n  mode: Audit\n",
        name.name, name.namespace
    );
    match subject {
        Some(subject) => {
            let _ = writeln!(out, "  # MAS's pods, found by their image.\n  subject: {subject}");
        }
        None => {
            let _ = writeln!(
                out,
                "  # MAS's pods were not found: name their workload.\n  # subject: {}/deploy/mas",
                name.namespace
            );
        }
    }
    out.push_str("  # Who the peers are. DNS is found by itself.\n  peers:\n");
    for peer in peers {
        for says in &peer.says {
            let _ = writeln!(out, "    # {}", says.replace('\n', " "));
        }
        let _ = if let Some(value) = &peer.value {
            writeln!(out, "    {}: {value}", peer.key)
        } else {
            let Peer { key, breaks, .. } = peer;
            writeln!(out, "    # Not known; without it {breaks}.\n    # {key}: {}", peer.example())
        };
        for other in &peer.others {
            let _ = writeln!(out, "    # another source says: {other}");
        }
    }
    if peers.iter().all(|peer| peer.value.is_none()) {
        out.push_str("    {}\n");
    }
    out
}
