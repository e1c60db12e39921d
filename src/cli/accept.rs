//! Accepted findings (`--accept FILE`): shown as accepted, and failing again after their date.

use std::path::Path;

use anyhow::Context;

use crate::judge::{Code, Finding};
use crate::source::files::{self, MAX_CONFIG_BYTES};
use crate::source::{de, yaml};

/// One line of the file.
#[derive(Debug, Clone, serde::Deserialize)]
pub(super) struct Accepted {
    /// `PR012`, or the name.
    finding: String,
    /// Only for this object.
    object: Option<String>,
    /// Only for this edge.
    edge: Option<String>,
    /// Why it is accepted; printed beside the finding.
    reason: String,
    /// Last day of the acceptance, `YYYY-MM-DD`.
    until: jiff::civil::Date,
}

/// What became of a list of findings.
#[derive(Debug, Default)]
pub(super) struct Split {
    /// Still to be acted on.
    pub(super) open: Vec<Finding>,
    /// Accepted, with the reason and date in the message.
    pub(super) accepted: Vec<Finding>,
}

/// Reads the file: a YAML list of `{finding, object?, edge?, reason, until}`.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<Accepted>> {
    let text = files::read(path, MAX_CONFIG_BYTES)?;
    let (documents, error) = yaml::parse(&text.name, &text.text);
    if let Some(error) = error {
        return Err(error.into());
    }
    let mut accepted: Vec<Accepted> = Vec::new();
    for document in &documents {
        let list: Vec<Accepted> = de::read(document, &document.root, de::UnknownKeys::Refuse, &mut Vec::new())?;
        accepted.extend(list);
    }
    for entry in &accepted {
        let known = Code::ALL.iter().any(|code| entry.finding == code.code() || entry.finding == code.name());
        anyhow::ensure!(known, "{}: there is no finding `{}`: see docs/findings.md", text.name, entry.finding);
    }
    Ok(accepted)
}

/// Splits findings by what is accepted today.
pub(super) fn split(findings: Vec<Finding>, accepted: &[Accepted], today: jiff::civil::Date) -> Split {
    let mut split = Split::default();
    for mut finding in findings {
        let entry = accepted.iter().find(|entry| {
            (entry.finding == finding.code.code() || entry.finding == finding.code.name())
                && entry.object.as_ref().is_none_or(|object| *object == finding.object)
                && entry.edge.as_ref().is_none_or(|edge| Some(edge) == finding.edge.as_ref())
        });
        match entry {
            Some(entry) if entry.until >= today => {
                finding.message = format!("{} (accepted until {}: {})", finding.message, entry.until, entry.reason);
                split.accepted.push(finding);
            }
            Some(entry) => {
                finding.message = format!("{} (its acceptance ended on {})", finding.message, entry.until);
                split.open.push(finding);
            }
            None => split.open.push(finding),
        }
    }
    split
}

/// Today, UTC.
pub(super) fn today() -> jiff::civil::Date {
    jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date()
}

/// Reads the file if one is given.
pub(super) fn read_if(path: Option<&Path>) -> anyhow::Result<Vec<Accepted>> {
    path.map_or(Ok(Vec::new()), |path| read(path).context("the list of accepted findings cannot be used"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(split: &Split, open: usize, accepted: usize) {
        assert_eq!((split.open.len(), split.accepted.len()), (open, accepted));
    }

    #[test]
    fn an_acceptance_ends_with_its_date_and_stays_with_its_object() {
        let entry = |object: Option<&str>| Accepted {
            finding: "PR012".to_owned(),
            object: object.map(str::to_owned),
            edge: None,
            reason: "the database team moves in May".to_owned(),
            until: jiff::civil::date(2026, 5, 31),
        };
        let finding = || Finding::new(Code::PeerSideMissing, "NetworkPolicy/postgres/deny", "no", "add it");
        let day = |d| jiff::civil::date(2026, 5, d);
        check(&split(vec![finding()], &[entry(None)], day(31)), 0, 1);
        check(&split(vec![finding()], &[entry(None)], jiff::civil::date(2026, 6, 1)), 1, 0);
        check(&split(vec![finding()], &[entry(Some("NetworkPolicy/postgres/deny"))], day(1)), 0, 1);
        check(&split(vec![finding()], &[entry(Some("NetworkPolicy/other/deny"))], day(1)), 1, 0);
        check(&split(vec![finding()], &[], day(1)), 1, 0);
    }
}
