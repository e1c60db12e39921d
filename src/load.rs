//! The ways in: files or a live cluster → API objects, one after the other → a [`Snapshot`].
//!
//! ```text
//! manifests.rs ─┐
//!               ├─► Object ──► snapshot.rs (world, policies) ──► inputs.rs (with what should be)
//! cluster.rs ───┘
//! ```
//!
//! The only way from the file system and the API server to [`world`](crate::world): trees are handed on as they are read and never pile up.

pub mod cluster;
pub mod inputs;
pub(crate) mod manifests;
mod snapshot;

use std::path::PathBuf;

pub use self::snapshot::{Accept, Builder, Coverage, Snapshot};
use crate::source::InputError;
use crate::world::Object;

/// Where the objects come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// Files, folders, or `-`.
    Manifests(Vec<PathBuf>),
    /// A live cluster.
    Cluster(cluster::Access),
}

/// What a command wants beside the objects on which connections depend. A live cluster is asked for nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// TrafficMatrix objects: nothing else says what should be.
    Matrix,
    /// ConfigMaps, which may hold the configs of MAS, Synapse and the identity provider.
    Configs,
    /// What only the doctor looks at: objects of the operators that run PostgreSQL, and a word about the Secrets that are not read.
    Checks,
}

/// What was read, and what was not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Documents that are no API objects.
    pub problems: Vec<InputError>,
    /// Files that cannot be read, or not from here to their end: anything may stand there.
    pub unread: Vec<InputError>,
    /// Files read, broken ones included.
    pub files: usize,
    /// Objects handed on.
    pub objects: usize,
}

impl Source {
    /// Reads it whole, and shows each object to somebody else as well.
    pub fn read(&self, needs: &[Need], each: &mut dyn FnMut(&Object)) -> anyhow::Result<Snapshot> {
        let mut builder = Builder::default();
        self.read_into(&mut builder, needs, each)?;
        Ok(builder.finish())
    }

    /// Reads it on top of what was read before.
    pub fn read_into(
        &self,
        builder: &mut Builder,
        needs: &[Need],
        each: &mut dyn FnMut(&Object),
    ) -> anyhow::Result<()> {
        match self {
            Self::Manifests(paths) => {
                let loaded = manifests::each(paths, &mut |object| {
                    builder.add(&object);
                    each(&object);
                })?;
                builder.loaded(loaded);
            }
            Self::Cluster(access) => cluster::read(access, needs, builder, each)?,
        }
        Ok(())
    }
}
