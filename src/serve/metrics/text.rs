//! Prometheus text format 0.0.4, written from front to back into one string
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>).
//!
//! A scrape of 1,000 edges is 46,000 lines, and nearly all of each stands in its neighbour too: an edge's labels are escaped once and then copied.

use std::fmt::{Display, Write};

/// What a family's samples are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Label pairs as the text has them: escaped, with commas, without braces.
#[derive(Debug, Default)]
pub(super) struct Labels(String);

impl Labels {
    /// Names are ours and need no escaping; values may be anything.
    pub(super) fn new<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self::default().with(pairs)
    }

    /// These and more.
    pub(super) fn with<'a>(&self, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut text = self.0.clone();
        for (name, value) in pairs {
            let comma = if text.is_empty() { "" } else { "," };
            push_pair(&mut text, comma, name, value);
        }
        Self(text)
    }
}

fn push_pair(text: &mut String, comma: &str, name: &str, value: &str) {
    text.push_str(comma);
    text.push_str(name);
    text.push_str("=\"");
    push_escaped(text, value);
    text.push('"');
}

/// "Label values can be any sequence of UTF-8 characters, but the backslash, double-quote, and line feed characters have to be escaped."
fn push_escaped(text: &mut String, value: &str) {
    let awkward = |byte: u8| matches!(byte, b'\\' | b'"' | b'\n');
    if !value.bytes().any(awkward) {
        return text.push_str(value);
    }
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            _ => text.push(c),
        }
    }
}

/// The families so far.
#[derive(Debug, Default)]
pub(super) struct Text(String);

impl Text {
    /// Appends a family with the samples that `write` gives it; without any, nothing. `help` is one line without a backslash.
    pub(super) fn family(
        &mut self,
        name: &'static str,
        help: &'static str,
        kind: Kind,
        write: impl FnOnce(&mut Family<'_>),
    ) {
        let before = self.0.len();
        for part in ["# HELP ", name, " ", help, "\n# TYPE ", name, " ", kind.as_str(), "\n"] {
            self.0.push_str(part);
        }
        let head = self.0.len();
        write(&mut Family { out: &mut self.0, name });
        if self.0.len() == head {
            self.0.truncate(before);
        }
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }
}

/// The samples of one family. No two may have the same labels: Prometheus drops the whole scrape.
#[derive(Debug)]
pub(super) struct Family<'a> {
    out: &'a mut String,
    name: &'static str,
}

impl Family<'_> {
    pub(super) fn sample(&mut self, labels: &Labels, value: impl Display) {
        self.line("", labels, None, value);
    }

    /// A sample with one more label.
    pub(super) fn sample_with(&mut self, labels: &Labels, pair: (&str, &str), value: impl Display) {
        self.line("", labels, Some(pair), value);
    }

    /// A histogram: per upper bound what lies at or below it, then all of it.
    pub(super) fn histogram<'b>(
        &mut self,
        labels: &Labels,
        buckets: impl Iterator<Item = (&'b str, u64)>,
        count: u64,
        sum: f64,
    ) {
        for (bound, below) in buckets {
            self.line("_bucket", labels, Some(("le", bound)), below);
        }
        self.line("_bucket", labels, Some(("le", "+Inf")), count);
        self.line("_sum", labels, None, sum);
        self.line("_count", labels, None, count);
    }

    fn line(&mut self, suffix: &str, labels: &Labels, pair: Option<(&str, &str)>, value: impl Display) {
        self.out.push_str(self.name);
        self.out.push_str(suffix);
        if !labels.0.is_empty() || pair.is_some() {
            self.out.push('{');
            self.out.push_str(&labels.0);
            if let Some((name, value)) = pair {
                let comma = if labels.0.is_empty() { "" } else { "," };
                push_pair(self.out, comma, name, value);
            }
            self.out.push('}');
        }
        // Writing to a string does not fail.
        let _ = writeln!(self.out, " {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Labels, Text};

    #[track_caller]
    fn check(value: &str, written: &str) {
        let mut text = Text::default();
        let line = format!("# HELP a b\n# TYPE a gauge\na{{x=\"{written}\",y=\"{written}\"}} 1\n");
        text.family("a", "b", Kind::Gauge, |family| family.sample_with(&Labels::new([("x", value)]), ("y", value), 1));
        assert_eq!(text.into_string(), line);
    }

    #[test]
    fn values_are_escaped() {
        check("", "");
        check("plain, {é} 'x'", "plain, {é} 'x'");
        check("\\", r"\\");
        check("\"", r#"\""#);
        check("\n", r"\n");
        check("\\n\"", r#"\\n\""#);
        check("a\r\tb\n\nc", "a\r\tb\\n\\nc");
    }

    #[test]
    fn without_samples_there_is_no_family() {
        let mut text = Text::default();
        text.family("a", "None.", Kind::Counter, |_| {});
        text.family("b", "One.", Kind::Gauge, |family| family.sample(&Labels::default(), 0.5));
        text.family("c", "One label.", Kind::Counter, |family| family.sample_with(&Labels::default(), ("x", "y"), 2));
        assert_eq!(
            text.into_string(),
            "# HELP b One.\n# TYPE b gauge\nb 0.5\n# HELP c One label.\n# TYPE c counter\nc{x=\"y\"} 2\n"
        );
    }

    #[test]
    fn a_histogram_ends_with_all_of_it() {
        let mut text = Text::default();
        let labels = Labels::new([("x", "y")]).with([("z", "w")]);
        text.family("h", "Seconds.", Kind::Histogram, |family| {
            family.histogram(&labels, [("0.1", 1), ("1", 3)].into_iter(), 4, 7.25);
        });
        let expected = "# HELP h Seconds.\n# TYPE h histogram\n\
            h_bucket{x=\"y\",z=\"w\",le=\"0.1\"} 1\nh_bucket{x=\"y\",z=\"w\",le=\"1\"} 3\nh_bucket{x=\"y\",z=\"w\",le=\"+Inf\"} 4\n\
            h_sum{x=\"y\",z=\"w\"} 7.25\nh_count{x=\"y\",z=\"w\"} 4\n";
        assert_eq!(text.into_string(), expected);
    }
}
