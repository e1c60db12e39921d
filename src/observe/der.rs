//! The one field of a certificate that nobody hands out after a failed verification: its end.

/// Tags of X.690 §8 that lie on the way to the validity.
const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[0] EXPLICIT Version`, absent in version 1.
const VERSION: u8 = 0xa0;

/// `notAfter` of a certificate in DER, seconds since 1970; `None` when it cannot be read (RFC 5280 §4.1).
///
/// ```text
/// Certificate ::= SEQUENCE { tbsCertificate SEQUENCE { [0] version?, serialNumber, signature, issuer, validity SEQUENCE { notBefore, notAfter }, … } … }
/// ```
pub(super) fn not_after(certificate: &[u8]) -> Option<i64> {
    let (tag, certificate, _) = element(certificate)?;
    let (inner_tag, mut fields, _) = element(certificate)?;
    if (tag, inner_tag) != (SEQUENCE, SEQUENCE) {
        return None;
    }
    if fields.first() == Some(&VERSION) {
        fields = element(fields)?.2;
    }
    for _ in ["serialNumber", "signature", "issuer"] {
        fields = element(fields)?.2;
    }
    let (tag, validity, _) = element(fields)?;
    let (_, _, after) = element(validity)?;
    let (kind, text, _) = element(after)?;
    (tag == SEQUENCE).then(|| time(kind, text))?
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
            let _ = not_after(&bytes);
        }

        #[test]
        fn never_panics_on_a_damaged_certificate(at in 0usize..400, byte: u8) {
            let mut damaged = certificate(2027);
            let at = at % damaged.len();
            damaged[at] = byte;
            let _ = not_after(&damaged);
        }
    }
}
