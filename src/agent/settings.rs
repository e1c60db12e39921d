//! The agent's two files: what to probe, and whom to trust. Read again whenever they change; what cannot be used leaves the old in force.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::assignment::{Assignment, MAX_BYTES};
use crate::observe::{Prober, roots_from_pem};
use crate::source::files;

/// Where they are.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// `agent.json`; missing is not wrong.
    pub(super) assignment: PathBuf,
    /// PEM certificates beside the public roots; missing is not wrong, for a ConfigMap may come later.
    pub(super) ca: Option<PathBuf>,
    seen: Option<Contents>,
}

/// What they held when they were last read, or why they could not be.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Contents {
    assignment: Result<Option<String>, String>,
    ca: Result<Option<String>, String>,
}

/// What follows from a change.
#[derive(Debug)]
pub(super) struct Change {
    /// To be probed from now on; `None` leaves it as it is.
    pub(super) assignment: Option<Assignment>,
    /// To be probed with.
    pub(super) prober: Prober,
}

impl Settings {
    pub(super) fn new(assignment: PathBuf, ca: Option<PathBuf>) -> Self {
        Self { assignment, ca, seen: None }
    }

    /// Reads them again. `None` when they are as they were; an error is given once, not at each look.
    pub(super) fn look(&mut self) -> Option<anyhow::Result<Change>> {
        let contents = Contents {
            assignment: text(&self.assignment, MAX_BYTES),
            ca: self.ca.as_deref().map_or(Ok(None), |path| text(path, MAX_BYTES)),
        };
        if self.seen.as_ref() == Some(&contents) {
            return None;
        }
        let change = self.change(&contents);
        self.seen = Some(contents);
        Some(change)
    }

    fn change(&self, contents: &Contents) -> anyhow::Result<Change> {
        let broken = |why: &String| anyhow::anyhow!("{why}");
        let roots = match contents.ca.as_ref().map_err(broken)? {
            Some(pem) => roots_from_pem(pem.as_bytes()).context("the --ca file cannot be used")?,
            None => Vec::new(),
        };
        let prober = Prober::new(&roots).context("the --ca file cannot be used")?;
        let assignment = match contents.assignment.as_ref().map_err(broken)? {
            Some(text) => {
                let assignment = Assignment::parse(text.as_bytes());
                Some(assignment.with_context(|| format!("{} cannot be used", self.assignment.display()))?)
            }
            None => None,
        };
        Ok(Change { assignment, prober })
    }
}

/// A file's text; `None` when there is no such file.
fn text(path: &Path, limit: u64) -> Result<Option<String>, String> {
    if !path.exists() {
        return Ok(None);
    }
    files::read(path, limit).map(|text| Some(text.text)).map_err(|error| error.to_string())
}
