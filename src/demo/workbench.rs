//! The working copy: the demo's manifests and policies as files that anyone may edit while it runs.

use std::io;
use std::path::{Path, PathBuf};

use super::world::{self, Lab};
use crate::load::inputs::IntentPaths;
use crate::source::files;

/// The subject's policy, as `render --out` names it.
const POLICY: &str = "matrix_portreeve-mas.yaml";
/// What opens a forbidden edge: a policy that somebody applied by hand.
const OPENED: &str = "matrix_opened-by-hand.yaml";
const MATRIX: &str = "traffic-matrix.yaml";
const CA: &str = "ca.pem";

/// The folder: `traffic-matrix.yaml`, `cluster/` with manifests and policies, `ca.pem` for `probe --ca`.
#[derive(Debug)]
pub(super) struct Workbench {
    folder: PathBuf,
    /// Removes the folder at the end, unless the user named it.
    _temporary: Option<tempfile::TempDir>,
}

impl Workbench {
    /// Writes the demo's world into a folder, with the certificate (PEM) that its peers' certificates lead to.
    pub(super) fn create(folder: Option<&Path>, lab: Lab, ca: &str) -> io::Result<Self> {
        let temporary =
            if folder.is_some() { None } else { Some(tempfile::Builder::new().prefix("portreeve-demo-").tempdir()?) };
        let folder = folder.or(temporary.as_ref().map(tempfile::TempDir::path)).unwrap_or(Path::new(".")).to_path_buf();
        std::fs::create_dir_all(folder.join("cluster"))?;
        world::write_world(&folder.join("cluster"), lab)?;
        std::fs::write(folder.join(MATRIX), world::TRAFFIC_MATRIX)?;
        std::fs::write(folder.join(CA), ca)?;
        Ok(Self { folder, _temporary: temporary })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the intent is.
    pub(super) fn intent(&self) -> IntentPaths {
        IntentPaths { matrix: Some(self.folder.join(MATRIX)), ..IntentPaths::default() }
    }

    /// Where the manifests and policies are.
    pub(super) fn manifests(&self) -> Vec<PathBuf> {
        vec![self.folder.join("cluster")]
    }

    /// The subject's policy as it stands in the folder.
    pub(super) fn policy(&self) -> Option<String> {
        std::fs::read_to_string(self.folder.join("cluster").join(POLICY)).ok()
    }

    /// Puts the subject's policy in place, whole or not at all.
    pub(super) fn apply(&self, yaml: &str) -> io::Result<()> {
        self.replace(POLICY, yaml)
    }

    /// Applies a foreign policy that opens a forbidden edge.
    pub(super) fn open(&self, yaml: &str) -> io::Result<()> {
        self.replace(OPENED, yaml)
    }

    /// Takes the foreign policy away.
    pub(super) fn close(&self) -> io::Result<()> {
        match std::fs::remove_file(self.folder.join("cluster").join(OPENED)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn replace(&self, name: &str, text: &str) -> io::Result<()> {
        files::replace(&self.folder.join("cluster").join(name), text)
    }
}
