//! The port grammar of product.md §3: one for the guide's values, TrafficMatrix, assertions and commands.

use super::{PortRef, Protocol};

/// A port, with its protocol where it names one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortText {
    /// Number or name.
    pub port: PortRef,
    /// After the slash.
    pub protocol: Option<Protocol>,
}

/// Reads `5432`, `5432/tcp`, `53/udp` or a port's name.
pub fn parse_port(text: &str) -> Result<PortText, String> {
    let (port, protocol) = match text.split_once('/') {
        None => (text, None),
        Some((port, protocol)) => (port, Some(parse_protocol(protocol)?)),
    };
    if port.bytes().all(|b| b.is_ascii_digit()) && !port.is_empty() {
        let number = port.parse().ok().filter(|number| *number != 0);
        let number = number.ok_or_else(|| format!("`{port}` is no port: a number from 1 to 65535 is expected"))?;
        return Ok(PortText { port: PortRef::Number(number), protocol });
    }
    // apimachinery's IsValidPortName.
    let name_ok =
        port.len() <= 15 && is_label(port) && port.bytes().any(|b| b.is_ascii_lowercase()) && !port.contains("--");
    if !name_ok {
        return Err(format!("`{port}` is no port: write a number, a number with /tcp or /udp, or a port's name"));
    }
    Ok(PortText { port: PortRef::Name(port.to_owned()), protocol })
}

/// Reads a protocol in either case.
pub fn parse_protocol(text: &str) -> Result<Protocol, String> {
    Protocol::parse(&text.to_ascii_uppercase())
        .ok_or_else(|| format!("`{text}` is no protocol: tcp, udp or sctp is expected"))
}

/// RFC 1123 label, without its length limit.
pub(crate) fn is_label(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}
