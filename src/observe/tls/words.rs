//! What a TLS error means for the edge, in words that say which name, which day, which issuer.

use rustls::{AlertDescription, CertificateError, InvalidMessage, PeerIncompatible};

use super::super::der::Weakness;
use super::super::failure::{Failure, quoted};
use super::verify::Shown;
use crate::judge::Reason;

/// Names of one certificate that are said.
const MOST_NAMES: usize = 3;

/// The failure behind a TLS error; `host` is the name that was asked for.
pub(in crate::observe) fn failure_of(error: &rustls::Error, host: &str, shown: Option<&Shown>) -> Failure {
    use rustls::Error::{
        AlertReceived, InvalidCertificate, InvalidMessage as Invalid, PeerIncompatible as Incompatible,
    };
    match error {
        InvalidCertificate(error) => {
            let mut failure = certificate(error, host, shown.unwrap_or(&Shown::default()));
            if shown.is_some_and(|shown| shown.is_traefik_default) {
                failure.detail += "; it is Traefik's default certificate: Traefik has none for this name";
            }
            failure
        }
        AlertReceived(AlertDescription::ProtocolVersion)
        | Incompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled,
        ) => Failure::new(Reason::TlsVersion, "the peer speaks neither TLS 1.2 nor TLS 1.3"),
        // The first bytes were no TLS record: plain HTTP, SMTP or the like.
        Invalid(InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion) => {
            Failure::new(Reason::ProtoMismatch, "the answer to the TLS handshake is not TLS")
        }
        AlertReceived(alert @ (AlertDescription::CertificateRequired | AlertDescription::BadCertificate)) => {
            let detail = format!("the peer wants a certificate of its client (alert {alert:?}), and probes have none");
            Failure::new(Reason::TlsHandshake, detail)
        }
        AlertReceived(alert) => {
            Failure::new(Reason::TlsHandshake, format!("the peer ended the TLS handshake with the alert {alert:?}"))
        }
        // rustls's own texts name protocol states, never data of the connection.
        error => Failure::new(Reason::TlsHandshake, format!("the TLS handshake failed: {error}")),
    }
}

fn certificate(error: &CertificateError, host: &str, shown: &Shown) -> Failure {
    let seconds = |time: &rustls::pki_types::UnixTime| i64::try_from(time.as_secs()).ok();
    match error {
        CertificateError::Expired => expired(shown.facts.not_after, shown),
        CertificateError::ExpiredContext { not_after, .. } => expired(seconds(not_after), shown),
        CertificateError::NotValidYet => not_yet(shown.facts.not_before, shown),
        CertificateError::NotValidYetContext { not_before, .. } => not_yet(seconds(not_before), shown),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            let detail = format!("the certificate is not for {}: {}", quoted(host), names(shown));
            Failure::new(Reason::TlsNameMismatch, detail)
        }
        error => Failure::new(Reason::TlsUntrusted, untrusted(error, shown)),
    }
}

fn expired(end: Option<i64>, shown: &Shown) -> Failure {
    let clock = clock(shown);
    let detail = match (end.and_then(day), shown.facts.not_after.and_then(day)) {
        (Some(end), Some(leaf)) if end != leaf => {
            format!("the certificate of an issuer on the way expired on {end}; the server's own ends on {leaf}{clock}")
        }
        (Some(end), _) => format!("the certificate expired on {end}{clock}"),
        _ => format!("the certificate or one of its issuers has expired{clock}"),
    };
    Failure::new(Reason::TlsExpired, detail)
}

fn not_yet(begin: Option<i64>, shown: &Shown) -> Failure {
    let clock = clock(shown);
    let detail = begin.and_then(minute).map_or_else(
        || format!("the certificate is not valid yet{clock}"),
        |begin| format!("the certificate is not valid before {begin}{clock}"),
    );
    Failure::new(Reason::TlsNotYetValid, detail)
}

/// A wrong date is as often a wrong clock, ours or the issuer's; so ours is told.
fn clock(shown: &Shown) -> String {
    minute(shown.now).map_or_else(String::new, |now| format!(" (the clock here says {now})"))
}

/// `it has 1 name, "a.example"`, `it has 100 names, "a", "b", "c" and others`.
fn names(shown: &Shown) -> String {
    let facts = &shown.facts;
    let said: Vec<String> = facts.first_names.iter().take(MOST_NAMES).map(|name| quoted(name)).collect();
    match facts.names {
        // RFC 6125 §6.4.4 let clients fall back to the common name; none does any more.
        0 => "it names no host (subjectAltName)".to_owned(),
        1 => format!("its only name is {}", said.concat()),
        count if count > said.len() => format!("it has {count} names, {} and others", said.join(", ")),
        count => format!("it has {count} names, {}", said.join(", ")),
    }
}

fn untrusted(error: &CertificateError, shown: &Shown) -> String {
    match shown.weakness {
        Some(Weakness::RsaBits(bits)) => {
            return format!("a certificate's RSA key has {bits} bits: at least 2048 are wanted");
        }
        Some(Weakness::Digest(digest)) => {
            return format!("a certificate is signed over {digest}: that is forged today");
        }
        None => {}
    }
    match error {
        CertificateError::UnknownIssuer if shown.self_issued => {
            "the certificate is its own issuer (self-signed), and it is not among the extra roots".to_owned()
        }
        CertificateError::UnknownIssuer => {
            let issuer =
                shown.facts.issuer.as_deref().map_or_else(String::new, |issuer| format!(" {}", quoted(issuer)));
            let alone =
                if shown.intermediates == 0 { ", and the server sends no intermediate certificate" } else { "" };
            format!("the certificate's issuer{issuer} is not among the public roots or the extra roots{alone}")
        }
        CertificateError::BadSignature => {
            let issuer = shown.facts.issuer.as_deref().map_or_else(|| "its issuer".to_owned(), quoted);
            format!(
                "the certificate's signature is wrong: {issuer} is known by that name with another key (a CA made anew?)"
            )
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the certificate is not for servers (extendedKeyUsage)".to_owned()
        }
        // webpki's `CaUsedAsEndEntity`, which rustls has no name for.
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "the certificate is an authority's, not a server's (basicConstraints)".to_owned()
        }
        CertificateError::BadEncoding => "the certificate cannot be read".to_owned(),
        error => format!("the certificate cannot be trusted: {error}"),
    }
}

/// The UTC day of a time, as people write it.
fn day(seconds: i64) -> Option<String> {
    Some(jiff::Timestamp::from_second(seconds).ok()?.strftime("%Y-%m-%d").to_string())
}

/// The same to the minute.
fn minute(seconds: i64) -> Option<String> {
    Some(jiff::Timestamp::from_second(seconds).ok()?.strftime("%Y-%m-%dT%H:%MZ").to_string())
}

/// Any bytes as the certificates of a handshake that failed, in every way that looks at them.
#[cfg(fuzzing)]
pub(in crate::observe) fn fuzz(bytes: &[u8]) {
    let Some((cut, chain)) = bytes.split_first() else { return };
    let (leaf, issuer) = chain.split_at(chain.len().min(usize::from(*cut) * 16));
    let shown = Shown::new(leaf, &[issuer.to_vec().into()], rustls::pki_types::UnixTime::now());
    for error in [
        CertificateError::Expired,
        CertificateError::NotValidYet,
        CertificateError::NotValidForName,
        CertificateError::UnknownIssuer,
        CertificateError::BadSignature,
    ] {
        let failure = failure_of(&rustls::Error::InvalidCertificate(error), "mas.example", Some(&shown));
        assert!(failure.detail.len() < 8 * 1024, "a certificate writes an essay");
    }
}
