//! Labels and label selectors, as apimachinery defines them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// The label that every namespace carries, set by the API server and immutable.
pub const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// Whether labels carry everything a `matchLabels` (or Service selector) asks for. An empty selector matches all.
pub fn matches_all(selector: &Labels, labels: &Labels) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// A `LabelSelector`: all of its requirements must hold. Without any it selects everything.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Selector {
    /// `matchLabels`
    pub match_labels: Labels,
    /// `matchExpressions`, in source order.
    pub expressions: Vec<Requirement>,
}

/// One `matchExpressions` item.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// What is asked of it.
    pub test: Test,
}

/// The four operators with their values.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Test {
    /// The label is there and has one of these values.
    In(BTreeSet<String>),
    /// The label is not there, or has none of these values.
    NotIn(BTreeSet<String>),
    /// The label is there.
    Exists,
    /// The label is not there.
    DoesNotExist,
}

impl Test {
    /// `labels.Requirement.Matches`: `NotIn` and `DoesNotExist` match a missing key.
    pub fn holds(&self, value: Option<&str>) -> bool {
        match self {
            Self::In(values) => value.is_some_and(|value| values.contains(value)),
            Self::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Self::Exists => value.is_some(),
            Self::DoesNotExist => value.is_none(),
        }
    }
}

impl Selector {
    /// A selector of `matchLabels` only.
    pub fn labels(match_labels: Labels) -> Self {
        Self { match_labels, expressions: Vec::new() }
    }

    /// The selector of one namespace by its automatic label.
    pub fn namespace(name: &str) -> Self {
        Self::labels(Labels::from([(NAMESPACE_NAME.to_owned(), name.to_owned())]))
    }

    /// Whether it asks for nothing, so that it selects everything.
    pub fn is_everything(&self) -> bool {
        self.match_labels.is_empty() && self.expressions.is_empty()
    }

    /// Whether it selects an object with these labels.
    pub fn matches(&self, labels: &Labels) -> bool {
        matches_all(&self.match_labels, labels)
            && self.expressions.iter().all(|r| r.test.holds(labels.get(&r.key).map(String::as_str)))
    }

    /// What keeps it from selecting an object with these labels, each as "lacks label app=web"; empty when it does.
    pub fn unmet(&self, labels: &Labels) -> Vec<String> {
        let plain = self.match_labels.iter().filter_map(|(key, want)| match labels.get(key) {
            Some(value) if value == want => None,
            Some(value) => Some(format!("has label {key}={value}, not {key}={want}")),
            None => Some(format!("lacks label {key}={want}")),
        });
        let expressions = self.expressions.iter().filter_map(|requirement| {
            let Requirement { key, test } = requirement;
            let value = labels.get(key);
            let has = || value.map(|value| format!("{key}={value}")).unwrap_or_default();
            match test {
                _ if test.holds(value.map(String::as_str)) => None,
                Test::In(_) if value.is_some() => Some(format!("has label {}, not `{requirement}`", has())),
                Test::In(_) => Some(format!("lacks a label `{requirement}`")),
                Test::Exists => Some(format!("lacks label {key}")),
                Test::NotIn(_) | Test::DoesNotExist => Some(format!("has label {}, against `{requirement}`", has())),
            }
        });
        plain.chain(expressions).collect()
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        let list = |values: &BTreeSet<String>| values.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        match &self.test {
            Test::In(values) => write!(f, "{key} in ({})", list(values)),
            Test::NotIn(values) => write!(f, "{key} notin ({})", list(values)),
            Test::Exists => f.write_str(key),
            Test::DoesNotExist => write!(f, "!{key}"),
        }
    }
}

/// As kubectl's `-l` takes it; `everything` for the empty selector.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_everything() {
            return f.write_str("everything");
        }
        let plain = self.match_labels.iter().map(|(key, value)| format!("{key}={value}"));
        let expressions = self.expressions.iter().map(ToString::to_string);
        f.write_str(&plain.chain(expressions).collect::<Vec<_>>().join(","))
    }
}

/// Why a label key is refused (apimachinery `validation.IsQualifiedName`), if it is.
pub fn check_key(key: &str) -> Result<(), &'static str> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    if prefix.is_some_and(|prefix| !is_dns_subdomain(prefix)) {
        return Err("the part of a label key before `/` must be a lower-case DNS name");
    }
    if name.is_empty() || !is_label_text(name) {
        return Err(
            "a label key is 1 to 63 letters, digits, `-`, `_` and `.`, and begins and ends with a letter or digit",
        );
    }
    Ok(())
}

/// Why a label value is refused (apimachinery `validation.IsValidLabelValue`), if it is.
pub fn check_value(value: &str) -> Result<(), &'static str> {
    if value.is_empty() || is_label_text(value) {
        Ok(())
    } else {
        Err("a label value is at most 63 letters, digits, `-`, `_` and `.`, and begins and ends with a letter or digit")
    }
}

fn is_label_text(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    bytes.len() <= 63
        && ends(bytes.first())
        && ends(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
}

/// RFC 1123 subdomain (apimachinery `validation.IsDNS1123Subdomain`): what most object names must be.
pub fn is_dns_subdomain(text: &str) -> bool {
    let lower = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let part = |part: &str| {
        let bytes = part.as_bytes();
        bytes.first().is_some_and(lower)
            && bytes.last().is_some_and(lower)
            && bytes.iter().all(|b| lower(b) || *b == b'-')
    };
    !text.is_empty() && text.len() <= 253 && text.split('.').all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn values(list: &[&str]) -> BTreeSet<String> {
        list.iter().map(|v| (*v).to_owned()).collect()
    }

    #[track_caller]
    fn check(operator: Test, of: &[(&str, &str)], expect: bool, text: &str) {
        let selector = Selector {
            match_labels: Labels::new(),
            expressions: vec![Requirement { key: "env".into(), test: operator }],
        };
        assert_eq!(selector.matches(&labels(of)), expect, "{selector} on {of:?}");
        assert_eq!(selector.unmet(&labels(of)).is_empty(), expect, "{selector} on {of:?}");
        assert_eq!(selector.to_string(), text);
    }

    /// apimachinery `labels/selector.go`, `Requirement.Matches`.
    #[test]
    fn operators_on_present_and_missing_keys() {
        let both = || values(&["a", "b"]);
        for (of, is_in, exists) in [
            (&[("env", "a")][..], true, true),
            (&[("env", "c")], false, true),
            (&[("env", "")], false, true),
            (&[("other", "a")], false, false),
            (&[], false, false),
        ] {
            check(Test::In(both()), of, is_in, "env in (a,b)");
            check(Test::NotIn(both()), of, !is_in, "env notin (a,b)");
            check(Test::Exists, of, exists, "env");
            check(Test::DoesNotExist, of, !exists, "!env");
        }
        check(Test::In(values(&[""])), &[], false, "env in ()");
    }

    #[test]
    fn match_labels_with_an_empty_value_wants_the_key() {
        let selector = Selector::labels(labels(&[("app", "")]));
        assert!(!selector.matches(&labels(&[])));
        assert!(selector.matches(&labels(&[("app", "")])));
        assert!(Selector::default().matches(&labels(&[])));
        assert_eq!(Selector::default().to_string(), "everything");
    }

    #[test]
    fn unmet_says_what_is_missing() {
        let selector = Selector {
            match_labels: labels(&[("app", "web"), ("tier", "1")]),
            expressions: vec![Requirement { key: "env".into(), test: Test::In(values(&["a"])) }],
        };
        assert_eq!(
            selector.unmet(&labels(&[("app", "api"), ("env", "b")])),
            ["has label app=api, not app=web", "lacks label tier=1", "has label env=b, not `env in (a)`"]
        );
    }

    #[test]
    fn keys_and_values_as_the_api_server_takes_them() {
        for key in ["app", "a", "A.b_c-9", "example.org/app", "kubernetes.io/metadata.name"] {
            assert_eq!(check_key(key), Ok(()), "{key}");
        }
        for key in ["", "-a", "a-", "a b", "/a", "a/", "a/b/c", "Example.org/a", "ä"] {
            assert!(check_key(key).is_err(), "{key}");
        }
        assert!(check_key(&"x".repeat(63)).is_ok());
        assert!(check_key(&"x".repeat(64)).is_err());
        for value in ["", "a", "1", "v1.2_x-y"] {
            assert_eq!(check_value(value), Ok(()), "{value}");
        }
        for value in ["-", "a-", "a/b", " "] {
            assert!(check_value(value).is_err(), "{value}");
        }
    }
}
