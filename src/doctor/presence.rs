//! What is left of a secret once it was looked at: how long, out of which characters, and whether two are the same.

use std::fmt;
use std::hash::BuildHasher;

/// A secret that is there. The value is gone: nothing that is kept can be turned back into it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Presence {
    /// In bytes, as it will be used.
    pub length: usize,
    /// Out of which characters.
    pub shape: Shape,
    /// Why it cannot be meant, if so.
    pub flaw: Option<Flaw>,
    /// It holds characters that must be percent-encoded in the user part of a URI (RFC 3986 §3.2.1, and `+`, `=` as some readers take them).
    pub reserved: bool,
    /// A hash under a key that lives as long as this process: it tells equal from different, and nothing else.
    mark: u64,
}

/// The characters of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Hexadecimal digits only.
    Hex,
    /// A PEM block with an RSA key (also PKCS#8, which may hold one).
    PemRsa,
    /// Another PEM block.
    Pem,
    /// A password hash (`$pbkdf2-sha512$…`, `$argon2id$…`).
    Hash,
    /// Anything else.
    Other,
}

/// Why a secret cannot be meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing.
    Empty,
    /// The guide's `<secret1>`, `changeme` and the like.
    Placeholder,
    /// White space at an end: `echo` without `-n` puts it there.
    Whitespace,
    /// `data` of a Secret that is not base64.
    NotBase64,
    /// Base64 of base64: encoded by hand and then again.
    EncodedTwice,
    /// Bytes that are no text.
    NotText,
}

impl Flaw {
    /// In words that follow "it".
    pub fn words(self) -> &'static str {
        match self {
            Self::Empty => "is empty",
            Self::Placeholder => "is a placeholder",
            Self::Whitespace => "begins or ends with white space (a line end from `echo` without `-n`)",
            Self::NotBase64 => "is not base64, which `data` of a Secret must be",
            Self::EncodedTwice => "is base64 of 64 hexadecimal digits: it was encoded twice",
            Self::NotText => "is no text",
        }
    }
}

impl fmt::Debug for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { length, shape, flaw, reserved, mark: _ } = self;
        write!(f, "Presence({length} bytes, {shape:?}, {flaw:?}, reserved: {reserved})")
    }
}

impl Presence {
    /// Looks at a secret.
    pub fn of(text: &str, seal: &impl BuildHasher) -> Self {
        let reserved = text.bytes().any(|byte| !byte.is_ascii_alphanumeric() && !b"-._~".contains(&byte));
        Self { length: text.len(), shape: shape(text), flaw: flaw(text), reserved, mark: seal.hash_one(text) }
    }

    /// One that cannot be read as text.
    pub fn broken(flaw: Flaw) -> Self {
        Self { length: 0, shape: Shape::Other, flaw: Some(flaw), reserved: false, mark: 0 }
    }

    /// Whether both are one and the same. `None` when one of them is no text.
    pub fn same_as(&self, other: &Self) -> Option<bool> {
        let readable = |presence: &Self| !matches!(presence.flaw, Some(Flaw::NotBase64 | Flaw::NotText));
        (readable(self) && readable(other)).then_some(self.mark == other.mark && self.length == other.length)
    }
}

fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn shape(text: &str) -> Shape {
    if is_hex(text) {
        return Shape::Hex;
    }
    if text.starts_with("$pbkdf2") || text.starts_with("$argon2") || text.starts_with("$2") || text.starts_with("$6$") {
        return Shape::Hash;
    }
    match text.trim_start().strip_prefix("-----BEGIN ") {
        Some(rest) if rest.starts_with("RSA PRIVATE KEY") || rest.starts_with("PRIVATE KEY") => Shape::PemRsa,
        Some(_) => Shape::Pem,
        None => Shape::Other,
    }
}

/// Words that stand where a secret should.
const PLACEHOLDERS: [&str; 12] = [
    "changeme",
    "change-me",
    "change_me",
    "replaceme",
    "replace-me",
    "replace_me",
    "secret",
    "password",
    "todo",
    "example",
    "generated",
    "placeholder",
];

fn flaw(text: &str) -> Option<Flaw> {
    let bare = text.trim();
    if bare.is_empty() {
        return Some(Flaw::Empty);
    }
    let lower = bare.to_ascii_lowercase();
    let same_letter = bare.len() >= 8 && bare.bytes().all(|byte| Some(byte) == bare.bytes().next());
    if (bare.starts_with('<') && bare.ends_with('>')) || PLACEHOLDERS.contains(&lower.as_str()) || same_letter {
        return Some(Flaw::Placeholder);
    }
    // PEM ends with a line end by its own rules (RFC 7468).
    if bare.len() != text.len() && !bare.starts_with("-----BEGIN ") {
        return Some(Flaw::Whitespace);
    }
    let twice = !is_hex(bare)
        && matches!(base64(bare).map(String::from_utf8), Some(Ok(inner)) if inner.trim_end().len() == 64 && is_hex(inner.trim_end()));
    twice.then_some(Flaw::EncodedTwice)
}

/// Standard base64 with padding (RFC 4648 §4); white space is passed over, as the API server's reader does.
pub(super) fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut held, mut bits, mut digits, mut padding) = (0_u32, 0_u32, 0_usize, 0_usize);
    for byte in text.bytes().filter(|byte| !byte.is_ascii_whitespace()) {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => {
                padding += 1;
                continue;
            }
            _ => return None,
        };
        if padding > 0 {
            return None;
        }
        digits += 1;
        held = (held << 6) | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from((held >> bits) & 0xff).ok()?);
        }
    }
    (padding <= 2 && (digits + padding).is_multiple_of(4)).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::RandomState;

    #[track_caller]
    fn check(text: &str, shape: Shape, flaw: Option<Flaw>) {
        let got = Presence::of(text, &RandomState::new());
        assert_eq!((got.shape, got.flaw, got.length), (shape, flaw, text.len()), "{text:?}");
    }

    #[test]
    fn shapes_and_flaws() {
        check(&"0f".repeat(32), Shape::Hex, None);
        check("", Shape::Other, Some(Flaw::Empty));
        check(" \n", Shape::Other, Some(Flaw::Empty));
        check("<secret1>", Shape::Other, Some(Flaw::Placeholder));
        check("<hashed-secret>", Shape::Other, Some(Flaw::Placeholder));
        check("ChangeMe", Shape::Other, Some(Flaw::Placeholder));
        check("00000000000000000000", Shape::Hex, Some(Flaw::Placeholder));
        check("0f0f0f\n", Shape::Other, Some(Flaw::Whitespace));
        check("k3y+/w0rd=", Shape::Other, None);
        check("$pbkdf2-sha512$310000$x", Shape::Hash, None);
        check("-----BEGIN RSA PRIVATE KEY-----\nx\n-----END RSA PRIVATE KEY-----\n", Shape::PemRsa, None);
        check("-----BEGIN EC PRIVATE KEY-----\nx\n", Shape::Pem, None);
        let twice = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZg==";
        check(twice, Shape::Other, Some(Flaw::EncodedTwice));
    }

    #[test]
    fn equal_is_told_from_different_and_nothing_is_shown() {
        let seal = RandomState::new();
        let one = Presence::of("CANARY-one", &seal);
        assert_eq!(one.same_as(&Presence::of("CANARY-one", &seal)), Some(true));
        assert_eq!(one.same_as(&Presence::of("CANARY-two", &seal)), Some(false));
        assert_eq!(one.same_as(&Presence::broken(Flaw::NotText)), None);
        let shown = format!("{one:?} {one:#?}");
        assert!(!shown.contains("CANARY") && !shown.contains(&one.mark.to_string()), "{shown}");
    }

    #[test]
    fn base64_is_read_as_the_api_server_reads_it() {
        let text = |encoded| base64(encoded).map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(text("aGVsbG8="), Some("hello".to_owned()));
        assert_eq!(text("aGVs\nbG8="), Some("hello".to_owned()));
        assert_eq!(text(""), Some(String::new()));
        for broken in ["aGVsbG8", "a===", "aGVs*", "aG=VsbG8", "<secret1>"] {
            assert_eq!(text(broken), None, "{broken}");
        }
    }
}
