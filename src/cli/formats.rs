//! Findings and assertions in the forms that CI systems read.

use std::fmt::Write;

use serde_json::json;

use crate::finding::{Code, Finding, Severity};
use crate::source::Place;

/// How `audit` and `verify` print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(super) enum ReportFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object
    Json,
    /// SARIF 2.1.0, for code scanning
    Sarif,
    /// JUnit XML, for test reports
    Junit,
    /// GitHub workflow annotations
    Github,
}

/// SARIF 2.1.0 (OASIS): one run, one rule a code.
pub(super) fn sarif(findings: &[Finding]) -> anyhow::Result<String> {
    let rules: Vec<_> = Code::ALL
        .iter()
        .map(|code| json!({"id": code.code(), "name": code.name(), "shortDescription": {"text": code.meaning()}}))
        .collect();
    let level = |severity| match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    };
    let results: Vec<_> = findings
        .iter()
        .map(|finding| {
            let mut result = json!({
                "ruleId": finding.code.code(),
                "level": level(finding.code.severity()),
                "message": {"text": format!("{}: {} Fix: {}", finding.object, finding.message, finding.fix)},
            });
            if let Some(place) = &finding.place {
                result["locations"] = json!([location(place)]);
            }
            result
        })
        .collect();
    super::output::json(&json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "portreeve", "version": env!("CARGO_PKG_VERSION"), "rules": rules}},
            "results": results,
        }],
    }))
}

fn location(place: &Place) -> serde_json::Value {
    if place.is_live() {
        return json!({"logicalLocations": [{"fullyQualifiedName": &*place.file}]});
    }
    // SARIF counts from 1; a file as a whole has no region.
    let mut location = json!({"physicalLocation": {"artifactLocation": {"uri": &*place.file}}});
    if place.position.line > 0 {
        location["physicalLocation"]["region"] =
            json!({"startLine": place.position.line, "startColumn": place.position.column});
    }
    location
}

/// GitHub's workflow commands: one line a finding.
pub(super) fn github(findings: &[Finding]) -> String {
    let data = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    let mut out = String::new();
    for finding in findings {
        let command = match finding.code.severity() {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "notice",
        };
        // Annotations stand in files; a live object has none.
        let place = finding.place.as_ref().filter(|place| !place.is_live()).map_or(String::new(), |place| {
            let position = place.position;
            format!("file={},line={},col={},", property(&place.file), position.line.max(1), position.column.max(1))
        });
        let message = format!("{}: {}\nfix: {}", finding.object, finding.message, finding.fix);
        let _ = writeln!(out, "::{command} {place}title={}::{}", property(&finding.code.to_string()), data(&message));
    }
    out
}

/// One case of a JUnit report; `failure` is `None` when it passed.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) failure: Option<String>,
}

impl Case {
    /// A finding that belongs to no other case.
    pub(super) fn failed(finding: &Finding) -> Self {
        Self { name: format!("{} {}", finding.code, finding.object), failure: Some(Self::said(finding)) }
    }

    /// A finding as the reason of a failure.
    pub(super) fn said(finding: &Finding) -> String {
        format!("{}: {}: {} Fix: {}", finding.code, finding.object, finding.message, finding.fix)
    }
}

/// JUnit XML with one suite.
pub(super) fn junit(suite: &str, cases: &[Case]) -> String {
    let failures = cases.iter().filter(|case| case.failure.is_some()).count();
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(out, "<testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\">", xml(suite), cases.len());
    for case in cases {
        let name = xml(&case.name);
        let _ = match &case.failure {
            None => writeln!(out, "  <testcase classname=\"{}\" name=\"{name}\"/>", xml(suite)),
            Some(failure) => writeln!(
                out,
                "  <testcase classname=\"{}\" name=\"{name}\"><failure message=\"{}\"/></testcase>",
                xml(suite),
                xml(failure)
            ),
        };
    }
    out + "</testsuite>\n"
}

/// Escapes text for an XML attribute; control characters that XML 1.0 cannot hold become spaces.
fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Position;
    use std::sync::Arc;

    fn finding() -> Finding {
        let place = Place::new(&Arc::from("a,b.yaml"), Position { line: 3, column: 5 });
        Finding::new(Code::PolicyBlocks, "NetworkPolicy/m/x", "says \"no\"\nto <5432>", "allow it").at(place)
    }

    #[test]
    fn github_escapes_what_its_parser_reads() {
        assert_eq!(
            github(&[finding()]),
            "::error file=a%2Cb.yaml,line=3,col=5,title=PR002 PolicyBlocks::NetworkPolicy/m/x: says \"no\"%0Ato <5432>%0Afix: allow it\n"
        );
    }

    #[test]
    fn sarif_has_one_result_with_its_place() {
        let sarif: serde_json::Value = serde_json::from_str(&sarif(&[finding()]).unwrap()).unwrap();
        let result = &sarif["runs"][0]["results"][0];
        assert_eq!(result["ruleId"], "PR002");
        assert_eq!(result["locations"][0]["physicalLocation"]["region"]["startLine"], 3);
        assert_eq!(sarif["runs"][0]["tool"]["driver"]["rules"].as_array().unwrap().len(), Code::ALL.len());
    }

    #[test]
    fn junit_is_escaped_xml() {
        let cases = [
            Case { name: "a & b".to_owned(), failure: None },
            Case { name: "c".to_owned(), failure: Some("\"<\u{1}>\"".to_owned()) },
        ];
        let expect = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"s\" tests=\"2\" failures=\"1\">\n  <testcase classname=\"s\" name=\"a &amp; b\"/>\n  <testcase classname=\"s\" name=\"c\"><failure message=\"&quot;&lt; &gt;&quot;\"/></testcase>\n</testsuite>\n";
        assert_eq!(junit("s", &cases), expect);
    }
}
