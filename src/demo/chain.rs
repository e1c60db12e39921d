//! One round of the demo: read, resolve, evaluate, set the gates, probe, judge, publish, repair.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::task::JoinSet;

use super::net::{Policy, Source};
use super::peers::Peers;
use super::workbench::Workbench;
use super::world::LabPod;
use crate::finding::Finding;
use crate::judge::audit::audit;
use crate::judge::{Attempt, Board, Change, Declared, EdgeReport, Mode, Observation, Reason, State, join};
use crate::load;
use crate::load::inputs::{self, Inputs};
use crate::matrix::{Exchange, Expect, PeerKind, Resolution, ResolvedEdge};
use crate::observe::{DENY_TIMEOUT, Prober, Target};
use crate::policy::render::network_policy;
use crate::policy::{End, Engine};
use crate::serve::{Action, Controls, How, Shared};
use crate::world::{PodId, World};

/// Longest a probe may take; long enough that silence is no lost packet.
const DEADLINE: Duration = DENY_TIMEOUT;
/// Changes that the page remembers.
const CHANGES: usize = 50;

/// What the demo knows between rounds.
pub(super) struct Chain {
    peers: Peers,
    workbench: Workbench,
    shared: Arc<Shared>,
    prober: Arc<Prober>,
    repair: bool,
    /// What was broken on purpose, in order.
    broken: Vec<(String, How)>,
    /// Newest first.
    changes: VecDeque<Change>,
    /// The state of each edge in the round before.
    before: BTreeMap<String, State>,
    /// The policy was found changed in the round before: it is shown once before it is put back.
    drifted: bool,
}

/// A probe to make: who opens it, to which pod, at which of the manifests' addresses.
struct Dial {
    source: Source,
    pod: LabPod,
    address: SocketAddr,
}

/// What the probes of one edge brought.
#[derive(Default)]
struct Brought {
    attempts: Vec<Attempt>,
    /// The node's control reached the target, or did not.
    control: Option<bool>,
    source: Option<Source>,
}

impl Chain {
    /// Applies the subject's policy for the first time.
    pub(super) fn new(peers: Peers, workbench: Workbench, shared: Arc<Shared>, repair: bool) -> anyhow::Result<Self> {
        let prober = Arc::new(Prober::new(&[peers.ca()]).context("the prober cannot be built")?);
        let (broken, changes, before) = (Vec::new(), VecDeque::new(), BTreeMap::new());
        let chain = Self { peers, workbench, shared, prober, repair, broken, changes, before, drifted: false };
        let inputs = chain.read()?;
        chain.workbench.apply(&intended_policy(&inputs, |_| true)?).context("the policy cannot be written")?;
        Ok(chain)
    }

    pub(super) async fn close(self) {
        self.peers.close().await;
    }

    /// What the page's controls show.
    pub(super) fn controls(&self) -> Controls {
        Controls { repair: self.repair, broken: self.broken.clone() }
    }

    /// One round. What goes wrong with the working copy stands on the board; the demo goes on.
    pub(super) async fn round(&mut self) {
        if let Err(error) = self.try_round().await {
            tracing::warn!("the round was given up: {error:#}");
            let mut board = Board::clone(&self.shared.board());
            for edge in &mut board.edges {
                (edge.state, edge.finding) = (Some(State::Unknown), None);
            }
            board.notes = vec![format!("the working copy cannot be used: {error:#}")];
            self.shared.publish(board);
        }
    }

    async fn try_round(&mut self) -> anyhow::Result<()> {
        let inputs = self.read()?;
        let world = inputs.world.as_ref().context("the working copy has no manifests")?;
        let engine = Engine::new(world, &inputs.policies);
        // What cannot be read cannot be applied either: it makes verdicts unknown, and closes nothing.
        let applied = inputs.policies.evaluated();
        self.set_gates(world, &Engine::new(world, &applied)).await?;
        let audited = audit(&inputs.resolution, world, &inputs.policies, &engine, &inputs.name);
        let mut rows = audited.edges;
        let brought = self.probe(&inputs.resolution, world).await;
        let observed = observations(brought);
        let mut findings = join(&mut rows, &observed, &audited.findings, Mode::Enforce);
        add_static(&mut findings, audited.findings);
        add_static(&mut findings, inputs.of_the_deployment().cloned().collect());
        self.shorten(&mut rows, &mut findings);
        let matrix = inputs.name.to_string();
        for (edge, observation) in &observed {
            observation.attempts.iter().for_each(|attempt| self.shared.metrics.record(&matrix, attempt));
            if let Some(state) = rows.iter().find(|row| row.name == *edge).and_then(|row| row.state) {
                self.shared.metrics.verdict(&matrix, edge, state);
            }
        }
        self.note_transitions(&rows);
        self.mend_drift(&inputs)?;
        let probes = observed.into_values().flat_map(|observation| observation.attempts).collect();
        let changes = self.changes.iter().cloned().collect();
        self.shared.publish(Board { matrix, edges: rows, findings, probes, notes: inputs.intent.notes, changes });
        Ok(())
    }

    fn read(&self) -> anyhow::Result<Inputs> {
        let manifests = load::Source::Manifests(self.workbench.manifests());
        inputs::read(&self.workbench.intent(), Some(&manifests), &[])
    }

    /// Does what a network plug-in does: asks what the policies of both ends say, and drops what they deny.
    async fn set_gates(&self, world: &World, engine: &Engine<'_>) -> anyhow::Result<()> {
        for gate in self.peers.net().gates() {
            let route = gate.route();
            let policy = match (route.source.pod().and_then(|pod| find(world, pod)), find(world, route.dest)) {
                // The node reaches its own pods whatever the policies say.
                (None, _) if route.source == Source::Node => Policy::Allows,
                (Some(from), Some(to)) => {
                    let answer = engine.verdict(End::Pod(from), End::Pod(to), route.port, route.protocol);
                    if answer.declared == Declared::Allowed { Policy::Allows } else { Policy::Drops }
                }
                // A pod that somebody took out of the working copy.
                _ => Policy::Drops,
            };
            gate.set_policy(policy).await?;
        }
        Ok(())
    }

    /// Probes all edges at the same time, each from its own source, with a control from the node beside it.
    async fn probe(&self, resolution: &Resolution, world: &World) -> BTreeMap<String, Brought> {
        let mut brought: BTreeMap<String, Brought> = BTreeMap::new();
        let mut running = JoinSet::new();
        for resolved in &resolution.edges {
            let name = &resolved.edge.name;
            let dials = self.dials(resolved, world);
            if dials.is_empty() {
                let entry = brought.entry(name.clone()).or_default();
                entry.attempts.push(Attempt::not_made(name, Reason::ProberError, "no address of a target is known"));
            }
            for dial in dials {
                brought.entry(name.clone()).or_default().source = Some(dial.source);
                for (source, is_control) in [(dial.source, false), (Source::Node, true)] {
                    let target = self.target(resolved, &dial, source);
                    let prober = Arc::clone(&self.prober);
                    running.spawn(async move { (prober.probe(&target, DEADLINE).await, is_control) });
                }
            }
        }
        while let Some(done) = running.join_next().await {
            let Ok((attempt, is_control)) = done else { continue };
            let entry = brought.entry(attempt.edge.clone()).or_default();
            if is_control {
                entry.control = Some(entry.control.unwrap_or(true) && attempt.reason == Reason::Ok);
            } else {
                entry.attempts.push(self.with_pod_address(attempt));
            }
        }
        for entry in brought.values_mut() {
            entry.attempts.sort_by_key(|attempt| attempt.address);
        }
        brought
    }

    /// The connections behind an edge: every source pod of the demo to every address of its targets.
    fn dials(&self, resolved: &ResolvedEdge, world: &World) -> Vec<Dial> {
        let net = self.peers.net();
        let mut dials = Vec::new();
        for source in sources(resolved, world) {
            for peer in &resolved.to {
                let PeerKind::Pods { pods, .. } = &peer.kind else { continue };
                for (pod, port) in pods.iter().flat_map(|pod| peer.ports.iter().map(move |port| (*pod, *port))) {
                    for address in &world.pod(pod).addresses {
                        let Some(lab_pod) = LabPod::at(*address, net.lab()) else { continue };
                        if net.gate(source, lab_pod, port, resolved.edge.protocol).is_some() {
                            dials.push(Dial { source, pod: lab_pod, address: SocketAddr::new(*address, port) });
                        }
                    }
                }
            }
        }
        dials
    }

    fn target(&self, resolved: &ResolvedEdge, dial: &Dial, source: Source) -> Target {
        let edge = &resolved.edge;
        // The demo owns every identity, so what Synapse and Traefik need of MAS is asked from their own addresses.
        let exchange = match &edge.exchange {
            Exchange::Whoami => Exchange::MasDiscovery { issuer: None },
            Exchange::MasPublic { issuer, .. } => Exchange::MasDiscovery { issuer: Some(issuer.clone()) },
            other => other.clone(),
        };
        let address = self.peers.net().translate(source, dial.address);
        let target = Target::new(edge.name.clone(), address, exchange);
        match dial.pod.host_name() {
            Some(host) => target.named(host),
            None => target,
        }
    }

    /// People know the pod's address, not the one that the lab gave to this source.
    fn with_pod_address(&self, mut attempt: Attempt) -> Attempt {
        let net = self.peers.net();
        if let Some(address) = attempt.address
            && let Some(pod) = net.real(address.ip())
        {
            attempt.address = Some(SocketAddr::new(pod.address(net.lab()).into(), address.port()));
        }
        attempt.offender =
            attempt.offender.and_then(|offender| net.real(offender)).map(|pod| pod.address(net.lab()).into());
        attempt
    }

    /// Files by their names below the working copy, whose own path is long and says nothing.
    fn shorten(&self, rows: &mut [EdgeReport], findings: &mut [Finding]) {
        let folder = format!("{}/", self.workbench.folder().display());
        let short = |text: &mut String| *text = text.replace(&folder, "");
        let in_finding = |finding: &mut Finding| {
            [&mut finding.object, &mut finding.message, &mut finding.fix].into_iter().for_each(short);
            if let Some(place) = &mut finding.place {
                place.file = place.file.replace(&folder, "").into();
            }
        };
        findings.iter_mut().for_each(in_finding);
        for row in rows {
            row.provenance.iter_mut().chain([&mut row.because, &mut row.needs]).for_each(short);
            row.finding.iter_mut().for_each(in_finding);
        }
    }

    /// Logs and remembers what became different since the round before.
    fn note_transitions(&mut self, rows: &[EdgeReport]) {
        for row in rows {
            let Some(state) = row.state else { continue };
            let before = self.before.insert(row.name.clone(), state);
            if before == Some(state) || (before.is_none() && state == State::Ok) {
                continue;
            }
            let reason = row.reason.map_or("", Reason::as_str);
            if let Some(finding) = row.finding.as_ref().filter(|_| state == State::Violated) {
                tracing::warn!(
                    edge = row.name,
                    reason,
                    finding = finding.code.name(),
                    object = finding.object,
                    "{}",
                    finding.message
                );
                self.note(format!("{}: {}: {}, {}", row.name, state.as_str(), finding.code.name(), finding.object));
            } else {
                tracing::info!(edge = row.name, reason, "{}", state.as_str());
                self.note(format!("{}: {}", row.name, state.as_str()));
            }
        }
    }

    fn note(&mut self, what: String) {
        let at = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        self.changes.push_front(Change { at, what });
        self.changes.truncate(CHANGES);
    }

    /// With repair on, a policy that differs from what is intended is put back, one round after it was first seen.
    fn mend_drift(&mut self, inputs: &Inputs) -> anyhow::Result<()> {
        let intended = intended_policy(inputs, |_| true)?;
        let drifted = self.workbench.policy().as_ref() != Some(&intended);
        if drifted && self.drifted && self.repair {
            self.workbench.apply(&intended).context("the policy cannot be put back")?;
            self.broken.retain(|(_, how)| *how != How::Policy);
            tracing::info!("the policy differed from what is intended and was put back");
            self.note("repair: matrix/portreeve-mas differed from what is intended and was put back".to_owned());
            self.drifted = false;
        } else {
            self.drifted = drifted;
        }
        Ok(())
    }

    /// Carries out what the visitor asks for, and says what was done or why not.
    pub(super) async fn act(&mut self, action: Action) -> Result<String, String> {
        let said = self.try_act(action).await.map_err(|error| format!("{error:#}"))?;
        tracing::info!("{said}");
        self.note(format!("by hand: {said}"));
        Ok(said)
    }

    async fn try_act(&mut self, action: Action) -> anyhow::Result<String> {
        match action {
            Action::Repair { on } => {
                self.repair = on;
                Ok(format!("repair is {}", if on { "on" } else { "off" }))
            }
            Action::Break { edge, how } => self.break_edge(edge, how).await,
            Action::Mend { edge } => self.mend_edge(&edge).await,
        }
    }

    async fn break_edge(&mut self, edge: String, how: How) -> anyhow::Result<String> {
        let inputs = self.read()?;
        let resolved = by_name(&inputs, &edge)?;
        if self.broken.contains(&(edge.clone(), how)) {
            return Ok(format!("{edge} is broken like this already"));
        }
        let said = match (how, resolved.edge.expect) {
            (How::Open, Expect::Allow) => anyhow::bail!("it is open already; break it by `peer` or `policy`"),
            (How::Policy, Expect::Deny) => anyhow::bail!("no rule allows it; break it by `open`"),
            (How::Peer, _) => {
                let pods = self.pods_of(resolved, &inputs);
                anyhow::ensure!(!pods.is_empty(), "no pod of the demo stands behind it");
                for pod in &pods {
                    self.peers.stop(*pod).await?;
                }
                format!("stopped {}", names(&pods))
            }
            (How::Policy, Expect::Allow) => {
                self.broken.push((edge.clone(), how));
                self.write_policy(&inputs)?;
                return Ok(format!("took the rule for {edge} out of matrix/portreeve-mas"));
            }
            (How::Open, Expect::Deny) => {
                self.workbench.open(OPENING)?;
                "applied matrix/opened-by-hand, which admits every pod to MAS and MAS to every pod".to_owned()
            }
        };
        self.broken.push((edge, how));
        Ok(said)
    }

    async fn mend_edge(&mut self, edge: &str) -> anyhow::Result<String> {
        let inputs = self.read()?;
        let resolved = by_name(&inputs, edge)?;
        let (mine, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.broken).into_iter().partition(|(name, _)| name == edge);
        self.broken = others;
        for (_, how) in &mine {
            match how {
                How::Peer => {
                    for pod in self.pods_of(resolved, &inputs) {
                        self.peers.resume(pod).await?;
                    }
                }
                How::Policy => self.write_policy(&inputs)?,
                How::Open if self.broken.iter().all(|(_, how)| *how != How::Open) => self.workbench.close()?,
                How::Open => {}
            }
        }
        Ok(if mine.is_empty() { format!("{edge} was not broken from here") } else { format!("mended {edge}") })
    }

    /// The intended policy without the rules that were taken out on purpose.
    fn write_policy(&self, inputs: &Inputs) -> anyhow::Result<()> {
        let taken: BTreeSet<&str> =
            self.broken.iter().filter(|(_, how)| *how == How::Policy).map(|(edge, _)| edge.as_str()).collect();
        let yaml = intended_policy(inputs, |edge| !taken.contains(edge.edge.name.as_str()))?;
        self.workbench.apply(&yaml).context("the policy cannot be written")
    }

    fn pods_of(&self, resolved: &ResolvedEdge, inputs: &Inputs) -> Vec<LabPod> {
        let Some(world) = &inputs.world else { return Vec::new() };
        let pods: BTreeSet<LabPod> = self.dials(resolved, world).into_iter().map(|dial| dial.pod).collect();
        pods.into_iter().collect()
    }
}

/// What somebody applied by hand to get a thing going, and forgot.
const OPENING: &str = "\
# Not portreeve's: a policy that somebody applied by hand.
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: opened-by-hand
  namespace: matrix
spec:
  podSelector:
    matchLabels:
      app.kubernetes.io/component: mas
  ingress:
  - from:
    - namespaceSelector: {}
  egress:
  - to:
    - namespaceSelector: {}
";

fn names(pods: &[LabPod]) -> String {
    pods.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn by_name<'i>(inputs: &'i Inputs, edge: &str) -> anyhow::Result<&'i ResolvedEdge> {
    let known = || inputs.resolution.edges.iter().map(|e| e.edge.name.as_str()).collect::<Vec<_>>().join(", ");
    let found = inputs.resolution.edges.iter().find(|resolved| resolved.edge.name == edge);
    found.with_context(|| format!("there is no such edge; there are {}", known()))
}

/// The rendered policy for the edges that are kept.
fn intended_policy(inputs: &Inputs, keep: impl Fn(&ResolvedEdge) -> bool) -> anyhow::Result<String> {
    let mut resolution = inputs.resolution.clone();
    resolution.edges.retain(keep);
    let rendered = network_policy(&resolution, &inputs.name, inputs.directions());
    Ok(rendered.map_err(|finding| anyhow::anyhow!("{}: {}", finding.object, finding.message))?.yaml)
}

/// The demo's pod in the working copy's world, by its name: whoever edits an address there sees what follows from it.
fn find(world: &World, pod: LabPod) -> Option<PodId> {
    let name = pod.object();
    world.pods().find(|(_, candidate)| candidate.name == name).map(|(id, _)| id)
}

/// The demo's sources of an edge. `any-pod` is shown by the stranger.
fn sources(resolved: &ResolvedEdge, world: &World) -> BTreeSet<Source> {
    let mut sources = BTreeSet::new();
    for peer in &resolved.from {
        match &peer.kind {
            PeerKind::AnyPod => {
                sources.insert(Source::Stranger);
            }
            PeerKind::Pods { pods, .. } => {
                let known = |source: &Source| {
                    source.pod().and_then(|pod| find(world, pod)).is_some_and(|id| pods.contains(&id))
                };
                sources.extend(Source::ALL.into_iter().filter(known));
            }
            PeerKind::Blocks { .. } | PeerKind::Unresolved => {}
        }
    }
    sources
}

/// Adds what only one edge's probes cannot know: whether the source reached anything in this round.
fn observations(brought: BTreeMap<String, Brought>) -> BTreeMap<String, Observation> {
    let answered = |entry: &&Brought| entry.attempts.iter().any(|attempt| attempt.reason.is_from_outside());
    let alive: BTreeSet<Source> = brought.values().filter(answered).filter_map(|entry| entry.source).collect();
    // A source with a single edge has no second one to vouch for it: on one machine its network is the machine's.
    let vouched = |source: Source| {
        brought.values().filter(|entry| entry.source == Some(source)).count() < 2 || alive.contains(&source)
    };
    let networks: BTreeMap<String, bool> =
        brought.iter().map(|(edge, entry)| (edge.clone(), entry.source.is_some_and(vouched))).collect();
    brought
        .into_iter()
        .map(|(edge, entry)| {
            let source_has_network = networks.get(&edge).copied().unwrap_or_default();
            let Brought { attempts, control: target_up, .. } = entry;
            let observation = Observation { attempts, target_up, source_has_network, ..Observation::default() };
            (edge, observation)
        })
        .collect()
}

/// Static findings that the probes' findings do not cover already.
fn add_static(findings: &mut Vec<Finding>, audited: Vec<Finding>) {
    let covered: BTreeSet<String> = findings.iter().filter_map(|finding| finding.edge.clone()).collect();
    let fresh = |finding: &Finding| finding.edge.as_ref().is_none_or(|edge| !covered.contains(edge));
    findings.extend(audited.into_iter().filter(fresh));
}
