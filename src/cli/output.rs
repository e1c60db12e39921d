//! Text for people: tables of at most 100 columns, colour on terminals only.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::io::IsTerminal;

use crate::finding::{Finding, Severity};
use crate::judge::{Declared, State};
use crate::load::Coverage;

/// Widest line of any table.
pub(super) const WIDTH: usize = 100;

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(super) enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

/// Colours, or none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    colour: bool,
}

impl Style {
    /// Colour only when standard output is a terminal and `NO_COLOR` is unset (no-color.org).
    pub(super) fn detect() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { colour: !refused && std::io::stdout().is_terminal() }
    }

    /// No colour.
    pub(super) fn plain() -> Self {
        Self { colour: false }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Headings.
    pub(super) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// What matters less.
    pub(super) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// A state's word in its colour; unknown is never green.
    pub(super) fn state(self, state: State, text: &str) -> String {
        let code = match state {
            State::Ok => "32",
            State::Pending => "36",
            State::Unknown => "33",
            State::Violated => "1;31",
        };
        self.paint(code, text)
    }

    /// A declared verdict: green only when it is what is intended.
    pub(super) fn declared(self, fits: bool, declared: Declared, text: &str) -> String {
        let code = match (fits, declared) {
            (true, _) => "32",
            (false, Declared::Unknown) => "33",
            (false, _) => "1;31",
        };
        self.paint(code, text)
    }

    fn severity(self, severity: Severity, text: &str) -> String {
        let code = match severity {
            Severity::Error => "1;31",
            Severity::Warning => "33",
            Severity::Note => "2",
        };
        self.paint(code, text)
    }
}

/// A table whose last column takes what is left of [`WIDTH`] and wraps.
#[derive(Debug)]
pub(super) struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// With its header.
    pub(super) fn new(header: &[&'static str]) -> Self {
        Self { header: header.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; it has as many cells as the header.
    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The table as text. `paint` may colour a cell (row, column, padded text).
    pub(super) fn render(&self, style: Style, paint: impl Fn(usize, usize, &str) -> String) -> String {
        let columns = self.header.len();
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            cells.chain([self.header[column].len()]).max().unwrap_or(0)
        };
        let mut widths: Vec<usize> = (0..columns).map(width).collect();
        let fixed: usize = widths[..columns - 1].iter().map(|w| w + 2).sum();
        widths[columns - 1] = widths[columns - 1].min(WIDTH.saturating_sub(fixed).max(20));
        let mut out = String::new();
        let header: Vec<String> = self.header.iter().zip(&widths).map(|(h, w)| format!("{h:w$}")).collect();
        let _ = writeln!(out, "{}", style.bold(header.join("  ").trim_end()));
        for (index, row) in self.rows.iter().enumerate() {
            let last = wrap(row.last().map_or("", String::as_str), widths[columns - 1]);
            for (line_index, line) in last.iter().enumerate() {
                let mut cells = Vec::with_capacity(columns);
                for column in 0..columns - 1 {
                    let text = if line_index == 0 { row[column].as_str() } else { "" };
                    let padded = format!("{text:w$}", w = widths[column]);
                    cells.push(if line_index == 0 { paint(index, column, &padded) } else { padded });
                }
                cells.push(paint(index, columns - 1, line));
                let _ = writeln!(out, "{}", cells.join("  ").trim_end());
            }
        }
        out
    }
}

/// Breaks text at spaces; a longer word keeps its own line, because a cut path cannot be followed.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        // YAML in a fix keeps its indentation.
        let words = paragraph.trim_start_matches(' ');
        let mut line = " ".repeat(paragraph.len() - words.len());
        let mut length = 0;
        for word in words.split(' ') {
            let word_length = word.chars().count();
            if length > 0 && length + 1 + word_length > width {
                lines.push(std::mem::take(&mut line));
                length = 0;
            }
            if length > 0 {
                line.push(' ');
                length += 1;
            }
            line.push_str(word);
            length += word_length;
        }
        lines.push(line);
    }
    lines
}

/// Text wrapped to the page under an indentation.
pub(super) fn paragraph(text: &str, indent: usize) -> String {
    let margin = " ".repeat(indent);
    wrap(text, WIDTH - indent).iter().fold(String::new(), |mut out, line| {
        let _ = writeln!(out, "{}", format!("{margin}{line}").trim_end());
        out
    })
}

/// Findings for people: code and name, what and where, the smallest fix. One cause is told once, with all edges that it concerns.
pub(super) fn findings(findings: &[Finding], style: Style) -> String {
    let mut out = String::new();
    let same = |a: &Finding, b: &Finding| {
        let cause =
            |finding: &Finding| (finding.code, finding.object.clone(), finding.place.clone(), finding.fix.clone());
        a.edge.is_some() && b.edge.is_some() && cause(a) == cause(b)
    };
    for (index, finding) in findings.iter().enumerate() {
        if findings[..index].iter().any(|earlier| same(earlier, finding)) {
            continue;
        }
        let more = findings[index + 1..].iter().filter(|later| same(finding, later));
        let more: Vec<&str> = more.filter_map(|later| later.edge.as_deref()).collect();
        let edge = finding.edge.as_deref().map_or(String::new(), |edge| format!("  {edge}"));
        let head = format!("{} {}", finding.code.code(), finding.code.name());
        let _ = writeln!(out, "{}{}", style.severity(finding.code.severity(), &head), style.bold(&edge));
        out.push_str(&paragraph(&format!("{}{}", subject(finding), finding.message), 2));
        if !more.is_empty() {
            out.push_str(&paragraph(&format!("the same for {}", more.join(", ")), 2));
        }
        if !finding.fix.is_empty() {
            // A sentence, and below it a manifest: that is for a machine, and a broken line would not parse.
            let mut lines = finding.fix.trim_end().lines();
            out.push_str(&paragraph(&format!("fix: {}", lines.next().unwrap_or_default()), 2));
            for line in lines {
                let _ = writeln!(out, "{}", format!("    {line}").trim_end());
            }
        }
    }
    out
}

/// What is not covered, but for what these findings say already.
pub(super) fn not_covered<'c>(coverage: &'c Coverage, told: &[Finding]) -> impl Iterator<Item = &'c str> {
    let said: BTreeSet<String> =
        told.iter().filter_map(|f| Some(format!("{}: {}", f.place.as_ref()?, f.message))).collect();
    coverage.not_covered.iter().filter(move |line| !said.contains(*line)).map(String::as_str)
}

/// Where it is and what it is about. The place of a live object, or in a file that it is about, names that.
fn subject(finding: &Finding) -> String {
    match &finding.place {
        Some(place) if place.is_live() && place.file.contains(finding.object.as_str()) => format!("{place}: "),
        Some(place) if *place.file == *finding.object => format!("{place}: "),
        Some(place) => format!("{place}: {}: ", finding.object),
        None => format!("{}: ", finding.object),
    }
}

/// `1 error, 2 warnings`, or `nothing wrong`.
pub(super) fn summary(findings: &[Finding]) -> String {
    let count = |severity| findings.iter().filter(|f| f.code.severity() == severity).count();
    let say = |n: usize, word: &str| match n {
        0 => None,
        1 => Some(format!("1 {word}")),
        n => Some(format!("{n} {word}s")),
    };
    let parts: Vec<String> = [
        say(count(Severity::Error), "error"),
        say(count(Severity::Warning), "warning"),
        say(count(Severity::Note), "note"),
    ]
    .into_iter()
    .flatten()
    .collect();
    if parts.is_empty() { "nothing wrong".to_owned() } else { parts.join(", ") }
}

/// JSON for machines: one object, one line end.
pub(super) fn json(value: &impl serde::Serialize) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_stay_within_the_page_and_wrap_at_spaces() {
        let mut table = Table::new(&["EDGE", "WHAT"]);
        table.row(vec!["mas-to-postgres".to_owned(), "word ".repeat(40).trim_end().to_owned()]);
        table.row(vec!["x".to_owned(), String::new()]);
        let text = table.render(Style { colour: false }, |_, _, cell| cell.to_owned());
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert_eq!(text.lines().count(), 5, "{text}");
        assert!(text.lines().skip(2).take(2).all(|line| line.starts_with("                 word")), "{text}");
    }

    #[test]
    fn yaml_in_a_fix_keeps_its_indentation() {
        let finding =
            Finding::new(crate::finding::Code::PolicyBlocks, "o", "m", "add:\nspec:\n  ports:\n  - port: 1\n");
        let text = findings(&[finding], Style::plain());
        assert_eq!(text, "PR002 PolicyBlocks\n  o: m\n  fix: add:\n    spec:\n      ports:\n      - port: 1\n");
    }

    #[test]
    fn no_colour_means_no_escape() {
        let style = Style { colour: false };
        assert_eq!(style.state(State::Violated, "violated"), "violated");
        assert_eq!(Style { colour: true }.bold("x"), "\x1b[1mx\x1b[0m");
    }
}
