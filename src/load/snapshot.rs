//! Objects → the world and its policies, with what could not be read.

use serde::Serialize;

use super::Loaded;
use crate::finding::{Code, Finding};
use crate::policy::{PolicyBuilder, PolicySet};
use crate::source::{Document, Place};
use crate::world::lower::WorldBuilder;
use crate::world::{NotCovered, Object, World};

/// The world and its policies, with what could not be read.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// The objects.
    pub world: World,
    /// The policies.
    pub policies: PolicySet,
    /// What was wrong with any of it.
    pub findings: Vec<Finding>,
    /// `portreeve.io/accept` of the objects.
    pub accepts: Vec<Accept>,
    /// TrafficMatrix objects.
    pub matrices: Vec<Document>,
    /// What was read.
    pub coverage: Coverage,
}

/// An annotation `portreeve.io/accept`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accept {
    /// The object that carries it, as `Kind/namespace/name`.
    pub object: String,
    /// Its text.
    pub text: String,
    /// Where it stands.
    pub place: Place,
}

/// The annotation by which an object's owner accepts findings about it.
const ACCEPT: &str = "portreeve.io/accept";

impl Accept {
    /// That of an object, if it has one.
    fn of(object: &Object) -> Option<Self> {
        let node = object.document.root.at_path("/metadata")?.get("annotations")?.get(ACCEPT)?;
        // What is no text is kept as nothing: it accepts nothing, and that is said.
        let text = node.text().unwrap_or_default().to_owned();
        Some(Self { object: object.label(), text, place: object.document.place(node) })
    }
}

/// What the answer rests on.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Coverage {
    /// The API server's address, if a live cluster was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// Files read.
    pub files: usize,
    /// Objects read.
    pub objects: usize,
    /// Pods, counting a workload's template as one.
    pub pods: usize,
    /// Policies that count.
    pub policies: usize,
    /// Files or objects that could not be read, or are not rendered: what is behind them is unknown.
    pub not_covered: Vec<String>,
}

/// Takes objects in any order and makes a [`Snapshot`] of them. A clone is a fork: the same objects, and others on top.
#[derive(Debug, Clone, Default)]
pub struct Builder {
    world: WorldBuilder,
    policies: PolicyBuilder,
    accepts: Vec<Accept>,
    matrices: Vec<Document>,
    loaded: Loaded,
    cluster: Option<String>,
}

impl Builder {
    /// Takes one object.
    pub fn add(&mut self, object: &Object) {
        self.world.add(object);
        self.policies.add(object);
        self.accepts.extend(Accept::of(object));
        if object.kind == "TrafficMatrix" && object.group() == "portreeve.io" {
            self.matrices.push(object.document.clone());
        }
    }

    /// The same policies in the world of another, for objects that come without pods.
    #[must_use]
    pub fn in_world_of(&self, other: &Self) -> Self {
        Self { world: other.world.clone(), cluster: other.cluster.clone(), ..self.clone() }
    }

    /// The same, with another's account of what was read.
    #[must_use]
    pub fn with_account_of(self, other: &Self) -> Self {
        Self { loaded: other.loaded.clone(), ..self }
    }

    /// Takes note of objects of these kinds that may exist and are not shown; `told` if that is a finding.
    pub(super) fn unseen(&mut self, gap: NotCovered, kinds: &[(&str, &str)], told: bool) {
        for (group, kind) in kinds {
            self.policies.unseen(group, kind, &gap);
        }
        self.world.unseen(gap, told);
    }

    /// Takes note of what was read.
    pub(super) fn loaded(&mut self, loaded: Loaded) {
        self.loaded.problems.extend(loaded.problems);
        self.loaded.unread.extend(loaded.unread);
        self.loaded.files += loaded.files;
        self.loaded.objects += loaded.objects;
    }

    /// Takes note of the cluster that was read.
    pub(super) fn cluster(&mut self, server: String, loaded: Loaded) {
        self.cluster = Some(server);
        self.loaded(loaded);
    }

    /// The snapshot.
    pub fn finish(self) -> Snapshot {
        let Self { mut world, mut policies, accepts, matrices, loaded, cluster } = self;
        let unread: Vec<NotCovered> = loaded.unread.iter().map(NotCovered::unread).collect();
        for gap in &unread {
            policies.unread(gap);
            world.unseen(gap.clone(), false);
        }
        let (world, mut findings) = world.finish();
        let (policies, found) = policies.finish();
        findings.extend(found);
        let broken = |place: &Place, message: &str| {
            let fix = "mend it, or leave it out if it is no manifest";
            Finding::new(Code::BrokenObject, place.file.to_string(), message, fix).at(place.clone())
        };
        findings.extend(loaded.problems.iter().map(|problem| broken(&problem.place, &problem.message)));
        findings.extend(unread.iter().map(|gap| broken(&gap.place, &gap.why)));
        let coverage = Coverage {
            cluster,
            files: loaded.files,
            objects: loaded.objects,
            pods: world.pods.len(),
            policies: policies.policies.len(),
            not_covered: (loaded.problems.iter().map(ToString::to_string))
                .chain(NotCovered::together(&world.not_covered).iter().map(NotCovered::line))
                .collect(),
        };
        Snapshot { world, policies, findings, accepts, matrices, coverage }
    }
}
