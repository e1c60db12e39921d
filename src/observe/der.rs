//! The fields of a certificate that nobody hands out after a failed verification: its times, its issuer, its names, and what makes it too weak.

use std::net::IpAddr;

/// Tags of X.690 §8 that lie on the way to the validity.
const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[0] EXPLICIT Version`, absent in version 1.
const VERSION: u8 = 0xa0;
const OCTET_STRING: u8 = 0x04;
/// `[3] EXPLICIT Extensions`.
const EXTENSIONS: u8 = 0xa3;
/// OID 2.5.4.3 and 2.5.29.17, whole elements.
const COMMON_NAME: &[u8] = &[0x06, 3, 0x55, 0x04, 0x03];
const SUBJECT_ALT_NAME: &[u8] = &[0x06, 3, 0x55, 0x1d, 0x11];
/// OIDs of keys and signatures, whole elements (RFC 8017 Appendix A, RFC 3279 §2.2).
const RSA_KEY: &[u8] = &[0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
const MD5_WITH_RSA: &[u8] = &[0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 4];
const SHA1_WITH_RSA: &[u8] = &[0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 5];
const SHA1_WITH_ECDSA: &[u8] = &[0x06, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1];
/// Shorter RSA keys are not accepted any more (CA/Browser Forum Baseline Requirements §6.1.5; ring's `RSA_*_2048_8192_*`).
const LEAST_RSA_BITS: usize = 2048;
/// `ub-common-name` of RFC 5280, Appendix A.
const MOST_COMMON_NAME: usize = 64;
/// Longest name that is shown: of DNS, RFC 1035 §2.3.4.
const MOST_NAME: usize = 253;
/// So many names are shown, of however many.
const MOST_NAMES: usize = 5;

/// What a certificate says of itself (RFC 5280 §4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Certificate {
    /// Seconds since 1970.
    pub(super) not_before: i64,
    pub(super) not_after: i64,
    /// Common names, fit for a sentence.
    pub(super) issuer: Option<String>,
    pub(super) subject: Option<String>,
    /// Issuer and subject are the same.
    pub(super) self_issued: bool,
    /// How many DNS names and addresses subjectAltName has.
    pub(super) names: usize,
    /// The first of them, fit for a sentence.
    pub(super) first_names: Vec<String>,
    /// Why nobody accepts it however it is signed.
    pub(super) weakness: Option<Weakness>,
}

/// What is too weak about a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weakness {
    /// An RSA key of so many bits.
    RsaBits(usize),
    /// A signature over this digest.
    Digest(&'static str),
}

/// Reads a certificate in DER; `None` when its validity cannot be read.
///
/// ```text
/// Certificate ::= SEQUENCE { tbsCertificate SEQUENCE { [0] version?, serialNumber, signature, issuer, validity SEQUENCE { notBefore, notAfter },
///                            subject, subjectPublicKeyInfo, [1]?, [2]?, [3] extensions? }, … }
/// ```
pub(super) fn read(certificate: &[u8]) -> Option<Certificate> {
    let (tag, certificate, _) = element(certificate)?;
    let (inner_tag, mut fields, _) = element(certificate)?;
    if (tag, inner_tag) != (SEQUENCE, SEQUENCE) {
        return None;
    }
    if fields.first() == Some(&VERSION) {
        fields = element(fields)?.2;
    }
    let (_, _serial_number, fields) = element(fields)?;
    let (_, signature, fields) = element(fields)?;
    let (_, issuer, fields) = element(fields)?;
    let (tag, validity, fields) = element(fields)?;
    let (before_kind, before, validity) = element(validity)?;
    let (after_kind, after, _) = element(validity)?;
    if tag != SEQUENCE {
        return None;
    }
    let (subject, rest) = element(fields).map_or((&[][..], &[][..]), |(_, subject, rest)| (subject, rest));
    let key = element(rest).map_or(&[][..], |(_, key, _)| key);
    let names = elements(rest).find(|(tag, _)| *tag == EXTENSIONS).map_or(&[][..], |(_, content)| names(content));
    Some(Certificate {
        not_before: time(before_kind, before)?,
        not_after: time(after_kind, after)?,
        issuer: common_name(issuer),
        subject: common_name(subject),
        self_issued: issuer == subject,
        names: each_name(names).count(),
        first_names: each_name(names).take(MOST_NAMES).map(|(tag, name)| name_text(tag, name)).collect(),
        weakness: weakness(signature, key),
    })
}

/// `Name ::= SEQUENCE OF SET OF SEQUENCE { type OID, value }`; the last common name is the most specific.
fn common_name(name: &[u8]) -> Option<String> {
    let attributes = elements(name).flat_map(|(_, set)| elements(set));
    let values = attributes.filter_map(|(_, attribute)| {
        let value = attribute.strip_prefix(COMMON_NAME)?;
        let (_, text, _) = element(value)?;
        Some(shown(text, MOST_COMMON_NAME))
    });
    values.last()
}

/// The strings in use are UTF-8 or subsets of it.
fn shown(text: &[u8], most: usize) -> String {
    String::from_utf8_lossy(text).chars().map(|c| if c.is_control() { '?' } else { c }).take(most).collect()
}

/// The list in subjectAltName (RFC 5280 §4.2.1.6); empty without one.
fn names(extensions: &[u8]) -> &[u8] {
    let Some((SEQUENCE, list, _)) = element(extensions) else { return &[] };
    let found = elements(list).find_map(|(_, extension)| extension.strip_prefix(SUBJECT_ALT_NAME));
    let octets = found.and_then(|rest| elements(rest).find(|(tag, _)| *tag == OCTET_STRING));
    octets.and_then(|(_, content)| element(content)).map_or(&[], |(_, names, _)| names)
}

/// `[2]` is a dNSName, `[7]` an iPAddress; what else there is names no host.
fn each_name(names: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    elements(names).map(|(tag, name)| (tag & 0x1f, name)).filter(|(tag, _)| matches!(tag, 2 | 7))
}

fn name_text(tag: u8, name: &[u8]) -> String {
    let v4 = <[u8; 4]>::try_from(name).ok().map(|octets| IpAddr::from(octets).to_string());
    let v6 = <[u8; 16]>::try_from(name).ok().map(|octets| IpAddr::from(octets).to_string());
    match v4.or(v6).filter(|_| tag == 7) {
        Some(address) => address,
        None => shown(name, MOST_NAME),
    }
}

/// `key` is `SubjectPublicKeyInfo ::= SEQUENCE { AlgorithmIdentifier, BIT STRING }`, of RSA with `SEQUENCE { modulus INTEGER, … }` in it.
fn weakness(signature: &[u8], key: &[u8]) -> Option<Weakness> {
    let digests = [(MD5_WITH_RSA, "MD5"), (SHA1_WITH_RSA, "SHA-1"), (SHA1_WITH_ECDSA, "SHA-1")];
    let digest = digests.into_iter().find(|(oid, _)| signature.starts_with(oid));
    digest.map(|(_, digest)| Weakness::Digest(digest)).or_else(|| {
        let (_, algorithm, rest) = element(key)?;
        let (_, bits, _) = element(rest).filter(|_| algorithm.starts_with(RSA_KEY))?;
        // The first byte says how many bits of the last are unused.
        let (_, pair, _) = element(bits.get(1..)?)?;
        let (_, modulus, _) = element(pair)?;
        let zeros: usize = modulus.iter().position(|byte| *byte != 0)?;
        let first = usize::try_from(modulus.get(zeros)?.leading_zeros()).ok()?;
        let bits = (modulus.len() - zeros) * 8 - first;
        (bits < LEAST_RSA_BITS).then_some(Weakness::RsaBits(bits))
    })
}

/// The elements one after another, until one cannot be read.
fn elements(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (tag, content, rest) = element(bytes)?;
        bytes = rest;
        Some((tag, content))
    })
}

/// Tag, content and what follows of the first element. Lengths are definite in DER (X.690 §10.1).
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        // More than four length bytes would be a certificate of gigabytes.
        let count = usize::from(first & 0x7f);
        if !(1..=4).contains(&count) {
            return None;
        }
        let (digits, rest) = rest.split_at_checked(count)?;
        (digits.iter().fold(0usize, |sum, digit| sum << 8 | usize::from(*digit)), rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`, the only forms that RFC 5280 §4.1.2.5 allows.
fn time(kind: u8, text: &[u8]) -> Option<i64> {
    let digits = text.strip_suffix(b"Z")?;
    let number = |digits: &[u8]| {
        digits.iter().try_fold(0i16, |sum, digit| {
            digit.is_ascii_digit().then(|| sum.checked_mul(10)?.checked_add(i16::from(digit - b'0')))?
        })
    };
    let (year, rest) = match (kind, digits.len()) {
        (UTC_TIME, 12) => {
            let (year, rest) = digits.split_at(2);
            // RFC 5280: 50 and above is 19YY.
            let year = number(year)?;
            (if year >= 50 { 1900 + year } else { 2000 + year }, rest)
        }
        (GENERALIZED_TIME, 14) => {
            let (year, rest) = digits.split_at(4);
            (number(year)?, rest)
        }
        _ => return None,
    };
    let mut parts = rest.chunks_exact(2).map(|pair| number(pair).and_then(|n| i8::try_from(n).ok()));
    let mut part = || parts.next()?;
    let (month, day, hour, minute, second) = (part()?, part()?, part()?, part()?, part()?);
    let time = jiff::civil::DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
    Some(time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second())
}

/// Any bytes as a certificate: what is shown of it is short.
#[cfg(fuzzing)]
pub(super) fn fuzz(bytes: &[u8]) {
    let Some(certificate) = read(bytes) else { return };
    let texts = certificate.issuer.iter().chain(&certificate.subject);
    assert!(texts.clone().all(|text| text.chars().count() <= MOST_COMMON_NAME));
    assert!(certificate.first_names.len() <= MOST_NAMES.min(certificate.names));
    assert!(texts.chain(&certificate.first_names).all(|text| text.len() <= 4 * MOST_NAME && !text.contains('\n')));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn not_after(certificate: &[u8]) -> Option<i64> {
        read(certificate).map(|certificate| certificate.not_after)
    }

    #[test]
    fn names_and_issuers() {
        let mut params =
            rcgen::CertificateParams::new(vec!["a.example".to_owned(), "b.example".to_owned(), "192.0.2.1".to_owned()])
                .unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "TRAEFIK DEFAULT CERT");
        let key = rcgen::KeyPair::generate().unwrap();
        let got = read(params.self_signed(&key).unwrap().der()).unwrap();
        assert_eq!((got.names, got.subject.as_deref()), (3, Some("TRAEFIK DEFAULT CERT")));
        assert_eq!(got.first_names, ["a.example", "b.example", "192.0.2.1"]);
        assert_eq!((got.issuer, got.self_issued, got.weakness), (got.subject, true, None));
        assert!(got.not_before < got.not_after);
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let bare = read(params.self_signed(&key).unwrap().der()).unwrap();
        assert_eq!((bare.names, bare.subject, bare.issuer), (0, None, None));
        assert!(bare.first_names.is_empty());
        let many = (0..100).map(|number| format!("h{number}.example")).collect::<Vec<_>>();
        let many = rcgen::CertificateParams::new(many).unwrap().self_signed(&key).unwrap();
        let many = read(many.der()).unwrap();
        assert_eq!((many.names, many.first_names.len()), (100, MOST_NAMES));
    }

    #[test]
    fn weak_keys_and_digests() {
        let algorithm = |oid: &[u8]| [oid, &[5, 0]].concat();
        let nested = |tag: u8, content: &[u8]| {
            let length = u16::try_from(content.len()).unwrap().to_be_bytes();
            [&[tag, 0x82][..], &length, content].concat()
        };
        let key = |modulus: &[u8]| {
            let pair = nested(SEQUENCE, &[nested(0x02, modulus), vec![2, 3, 1, 0, 1]].concat());
            [nested(SEQUENCE, &algorithm(RSA_KEY)), nested(3, &[&[0][..], &pair].concat())].concat()
        };
        assert_eq!(weakness(&[], &key(&[&[0][..], &[0xff; 128]].concat())), Some(Weakness::RsaBits(1024)));
        assert_eq!(weakness(&[], &key(&[&[0x7f][..], &[0xff; 255]].concat())), Some(Weakness::RsaBits(2047)));
        assert_eq!(weakness(&[], &key(&[&[0][..], &[0xff; 256]].concat())), None);
        assert_eq!(weakness(&algorithm(SHA1_WITH_RSA), &[]), Some(Weakness::Digest("SHA-1")));
        assert_eq!(weakness(&algorithm(MD5_WITH_RSA), &[]), Some(Weakness::Digest("MD5")));
        assert_eq!(weakness(&[], &[]), None);
    }

    fn certificate(year: i32) -> Vec<u8> {
        let mut params = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 3, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn both_forms_of_time() {
        // UTCTime until 2049, GeneralizedTime after. Numbers from `date -u -d … +%s`.
        assert_eq!(not_after(&certificate(2027)), Some(1_803_859_200));
        assert_eq!(not_after(&certificate(2060)), Some(2_845_324_800));
        assert_eq!(not_after(&certificate(1999)), Some(920_246_400));
    }

    #[test]
    fn times_that_are_none() {
        assert_eq!(time(UTC_TIME, b"260301000000Z"), Some(1_772_323_200));
        for text in
            [&b"261301000000Z"[..], b"260230000000Z", b"2603010000Z", b"260301000000+0000", b"26030100000aZ", b""]
        {
            assert_eq!(time(UTC_TIME, text), None, "{text:?}");
        }
        assert_eq!(time(GENERALIZED_TIME, b"260301000000Z"), None);
        assert_eq!(time(0x02, b"260301000000Z"), None);
    }

    #[test]
    fn a_cut_certificate_has_no_end() {
        let whole = certificate(2027);
        for length in 0..100 {
            assert_eq!(not_after(&whole[..length]), None);
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&bytes);
            let _ = common_name(&bytes);
            each_name(names(&bytes)).for_each(|(tag, name)| drop(name_text(tag, name)));
            let _ = weakness(&bytes, &bytes);
        }

        #[test]
        fn never_panics_on_a_damaged_certificate(at in 0usize..400, byte: u8) {
            let mut damaged = certificate(2027);
            let at = at % damaged.len();
            damaged[at] = byte;
            let _ = read(&damaged);
        }
    }
}
