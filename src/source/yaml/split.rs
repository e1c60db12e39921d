//! A text of many documents → parts that can be read side by side.

/// A part of a text that begins where a document begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part<'t> {
    /// Its text.
    pub text: &'t str,
    /// Lines of the whole text before it.
    pub lines_before: u32,
}

/// Cuts a text at `---` lines into parts of at least `size` bytes each, the last one excepted.
///
/// `---` at the start of a line, followed by white space, is a document marker wherever it stands, also inside a block scalar or between quotes
/// (YAML 1.2.2 §9.1.2 `c-forbidden`), so no value is ever cut. A text with directives (`%` at the start of a line) stays whole: a directive
/// belongs to the marker after it.
pub fn split(text: &str, size: usize) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let (mut rest, mut lines_before) = (text, 0_u32);
    if !text.starts_with('%') && !text.contains("\n%") {
        while let Some(at) = next_marker(rest, size) {
            let (part, after) = rest.split_at(at);
            parts.push(Part { text: part, lines_before });
            let lines = part.bytes().filter(|byte| *byte == b'\n').count();
            lines_before = lines_before.saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
            rest = after;
        }
    }
    parts.push(Part { text: rest, lines_before });
    parts
}

/// Where the first marker line at or after `from` begins.
fn next_marker(text: &str, from: usize) -> Option<usize> {
    let mut at = from;
    while !text.is_char_boundary(at.min(text.len())) {
        at += 1;
    }
    loop {
        at += text.get(at..)?.find("\n---")? + 1;
        if matches!(text.as_bytes().get(at + 3), None | Some(b' ' | b'\t' | b'\n' | b'\r')) {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::source::yaml::{parse, parse_objects};

    #[track_caller]
    fn check(text: &str, parts: &[(&str, u32)]) {
        let got: Vec<_> = split(text, 1).into_iter().map(|part| (part.text, part.lines_before)).collect();
        assert_eq!(got, parts);
    }

    #[test]
    fn parts_begin_where_documents_begin() {
        check("", &[("", 0)]);
        check("a: 1\n", &[("a: 1\n", 0)]);
        check("---\na: 1\n---\nb: 2\n", &[("---\na: 1\n", 0), ("---\nb: 2\n", 2)]);
        check(
            "a: 1\n--- # c\nb: |\n ---\n ----\n----x\n---",
            &[("a: 1\n", 0), ("--- # c\nb: |\n ---\n ----\n----x\n", 1), ("---", 6)],
        );
        check("ä: 1\r\n---\r\nb: 2\r\n", &[("ä: 1\r\n", 0), ("---\r\nb: 2\r\n", 1)]);
        check("%YAML 1.2\n---\na: 1\n---\nb: 1\n", &[("%YAML 1.2\n---\na: 1\n---\nb: 1\n", 0)]);
        check("a: 1\n...\n%YAML 1.2\n---\na: 1\n", &[("a: 1\n...\n%YAML 1.2\n---\na: 1\n", 0)]);
    }

    proptest::proptest! {
        /// Values and lines are those of the whole text, up to the first error.
        #[test]
        fn parts_say_what_the_whole_says(lines in proptest::collection::vec(
            proptest::sample::select(vec!["---", "a: 1", "b: [x, y]", "c: |", "  text", "--- ", "----", "'", "- x", "# note", "...", "é: \"z\"", ""]), 0..24,
        )) {
            let text = lines.join("\n");
            let file: Arc<str> = Arc::from("f.yaml");
            let (whole, error) = parse(&file, &text);
            let mut found = Vec::new();
            let mut broken = None;
            for part in split(&text, 1) {
                if let Err(error) = parse_objects(&file, &part, |document| found.push(document)) {
                    broken = Some(error);
                    break;
                }
            }
            proptest::prop_assert_eq!(broken.is_some(), error.is_some());
            let seen = |documents: &[super::super::Document]| documents.iter().map(|d| (d.root.at, d.root.clone())).collect::<Vec<_>>();
            proptest::prop_assert_eq!(seen(&found), seen(&whole));
        }
    }
}
