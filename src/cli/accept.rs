//! Accepted findings (`--accept FILE`, and the annotation `portreeve.io/accept` of objects): shown as accepted, and failing again after their date.

use std::path::Path;

use anyhow::Context;

use crate::finding::{Code, Finding};
use crate::load::Accept;
use crate::source::files::{self, MAX_CONFIG_BYTES};
use crate::source::{de, yaml};
use crate::world::WorkloadKind;

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

impl Accepted {
    fn means(&self, finding: &Finding) -> bool {
        (self.finding == finding.code.code() || self.finding == finding.code.name())
            && self.object.as_ref().is_none_or(|object| is_about(&finding.object, object))
            && self.edge.as_ref().is_none_or(|edge| Some(edge) == finding.edge.as_ref())
    }
}

/// Whether a finding's object is this one, or a pod of this workload.
fn is_about(found: &str, object: &str) -> bool {
    if found == object {
        return true;
    }
    let pod = found.strip_prefix("Pod/");
    let workload = object.split_once('/').filter(|(kind, _)| WorkloadKind::from_kind(kind).is_some());
    let (Some(pod), Some((_, workload))) = (pod, workload) else { return false };
    pod.strip_prefix(workload).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// The annotations of objects: what they accept, and what of them cannot be read and so accepts nothing.
///
/// Those of an object in `subject` (MAS's workload and pods) are about every finding, others about their own object.
pub(super) fn annotated(accepts: &[Accept], subject: &[String]) -> (Vec<Accepted>, Vec<Finding>) {
    let (mut accepted, mut findings) = (Vec::new(), Vec::new());
    for Accept { object, text, place } in accepts {
        let parts: Vec<&str> = text.split(';').map(str::trim).filter(|part| !part.is_empty()).collect();
        let unreadable = |why: &str| {
            let message = format!("`portreeve.io/accept` {why}: it accepts nothing");
            let fix = "write `PR012=<reason>,until=<YYYY-MM-DD>`, several separated by `;`";
            Finding::new(Code::AcceptanceUnreadable, object.as_str(), message, fix).at(place.clone())
        };
        if parts.is_empty() {
            findings.push(unreadable("is empty or no text"));
        }
        for part in parts {
            match entry(part) {
                Ok(entry) => {
                    let object = (!subject.contains(object)).then(|| object.clone());
                    accepted.push(Accepted { object, ..entry });
                }
                Err(why) => findings.push(unreadable(why)),
            }
        }
    }
    (accepted, findings)
}

/// `PR012=<reason>,until=<date>`.
fn entry(text: &str) -> Result<Accepted, &'static str> {
    let (finding, rest) = text.split_once('=').ok_or("lacks `=` after the finding")?;
    let finding = finding.trim();
    if !is_code(finding) {
        return Err("names no finding that there is");
    }
    let (reason, until) = rest.rsplit_once(",until=").ok_or("lacks `,until=<date>`")?;
    let until = until.trim().parse().map_err(|_| "has no date as YYYY-MM-DD after `until=`")?;
    if reason.trim().is_empty() {
        return Err("gives no reason");
    }
    Ok(Accepted { finding: finding.to_owned(), object: None, edge: None, reason: reason.trim().to_owned(), until })
}

fn is_code(word: &str) -> bool {
    Code::ALL.iter().any(|code| word == code.code() || word == code.name())
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
        anyhow::ensure!(
            is_code(&entry.finding),
            "{}: there is no finding `{}`: see docs/findings.md",
            text.name,
            entry.finding
        );
    }
    Ok(accepted)
}

/// Splits findings by what is accepted today.
pub(super) fn split(findings: Vec<Finding>, accepted: &[Accepted], today: jiff::civil::Date) -> Split {
    let mut split = Split::default();
    for mut finding in findings {
        // One that is still good counts before one that has ended.
        let entries = || accepted.iter().filter(|entry| entry.means(&finding));
        let entry = entries().find(|entry| entry.until >= today).or_else(|| entries().next());
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

    #[test]
    fn annotations_accept_what_they_say_and_nothing_else() {
        let place = crate::source::Place::whole("p.yaml");
        let with = |object: &str, text: &str| {
            let accept = Accept { object: object.to_owned(), text: text.to_owned(), place: place.clone() };
            annotated(&[accept], &["Deployment/matrix/mas".to_owned()])
        };
        let day = jiff::civil::date(2026, 5, 1);
        let finding = |code, object: &str| Finding::new(code, object, "no", "add it");
        let open = |object: &str, text: &str, found: Finding| split(vec![found], &with(object, text).0, day).open.len();
        let deny = || finding(Code::PeerSideMissing, "NetworkPolicy/postgres/deny");
        let text = "PR012=the database team, in May, moves,until=2026-05-31; PR011=wide on purpose,until=2026-04-30";
        assert_eq!(open("NetworkPolicy/postgres/deny", text, deny()), 0);
        assert_eq!(open("NetworkPolicy/other/deny", text, deny()), 1);
        // MAS's own workload speaks for every finding; another one for its own pods.
        assert_eq!(open("Deployment/matrix/mas", text, deny()), 0);
        assert_eq!(
            open("Deployment/db/x", "PR036=so,until=2027-01-01", finding(Code::HostNetworkPeer, "Pod/db/x-1")),
            0
        );
        assert_eq!(
            open("Deployment/db/x", "PR036=so,until=2027-01-01", finding(Code::HostNetworkPeer, "Pod/db/y-1")),
            1
        );
        // Past its date it fails again, and says so.
        let wide = split(
            vec![finding(Code::WiderThanIntended, "NetworkPolicy/postgres/deny")],
            &with("NetworkPolicy/postgres/deny", text).0,
            day,
        );
        assert!(wide.open[0].message.ends_with("(its acceptance ended on 2026-04-30)"), "{}", wide.open[0].message);
        for bad in ["", "PR012", "PR999=x,until=2026-05-31", "PR012=x", "PR012=x,until=soon", "PR012=,until=2026-05-31"]
        {
            let (accepted, findings) = with("NetworkPolicy/postgres/deny", bad);
            assert_eq!((accepted.len(), findings.len()), (0, 1), "{bad}");
            assert_eq!(findings[0].code, Code::AcceptanceUnreadable);
        }
    }
}
