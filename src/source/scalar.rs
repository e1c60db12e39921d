//! What a plain scalar means, by the rules that kubectl, Helm and the API server apply.
//!
//! Source: sigs.k8s.io/yaml, `goyaml.v2/resolve.go` (YAML 1.1 booleans, Go's number literals).
//! The table in the tests is the contract.

use super::yaml::Value;

/// Resolves an untagged plain scalar.
pub(super) fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Value::Bool(true);
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Value::Bool(false);
        }
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return Value::Float(f64::INFINITY);
        }
        "-.inf" | "-.Inf" | "-.INF" => return Value::Float(f64::NEG_INFINITY),
        ".nan" | ".NaN" | ".NAN" => return Value::Float(f64::NAN),
        _ => {}
    }
    if let Some(why) = opaque(text) {
        return Value::Opaque(why);
    }
    let looks_numeric = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'));
    if looks_numeric {
        let digits: String = text.chars().filter(|c| *c != '_').collect();
        if let Some(number) = integer(&digits) {
            return Value::Int(number);
        }
        if is_float(&digits)
            && let Ok(number) = digits.parse()
        {
            return Value::Float(number);
        }
    }
    Value::Text(text.into())
}

/// Why a scalar's value cannot be known from this file, if so: it is filled in or decrypted later.
///
/// Text of several lines is a file in a file (a ConfigMap's `homeserver.yaml`): what is filled in there is for its own reader to see.
pub(super) fn opaque(text: &str) -> Option<&'static str> {
    if text.starts_with("ENC[") {
        Some("encrypted")
    } else if text.trim_end().contains('\n') {
        None
    } else if text.contains("{{") {
        Some("a template")
    } else if text.contains("${") {
        Some("a ${VARIABLE}")
    } else {
        None
    }
}

/// Go's `strconv.ParseInt(text, 0, 64)`: `0x`, `0o`, `0b`, and a leading `0` mean another base.
fn integer(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let lower = digits.to_ascii_lowercase();
    let (base, body) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    if body.starts_with(['+', '-']) {
        return None;
    }
    let magnitude = i128::from_str_radix(body, base).ok()?;
    i64::try_from(if negative { -magnitude } else { magnitude }).ok()
}

/// `^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`, as goyaml has it.
fn is_float(text: &str) -> bool {
    let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let mantissa_ok = match mantissa.split_once('.') {
        Some(("", fraction)) => !fraction.is_empty() && all_digits(fraction),
        Some((whole, fraction)) => all_digits(whole) && all_digits(fraction),
        None => !mantissa.is_empty() && all_digits(mantissa),
    };
    let exponent_ok = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !digits.is_empty() && all_digits(digits)
    });
    mantissa_ok && exponent_ok
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &Value) {
        assert_eq!(&resolve(text), expect, "{text:?}");
    }

    #[test]
    fn scalars_mean_what_kubectl_reads() {
        let text = |s: &str| Value::Text(s.into());
        for s in ["", "~", "null", "NULL"] {
            check(s, &Value::Null);
        }
        for s in ["yes", "on", "y", "True"] {
            check(s, &Value::Bool(true));
        }
        for s in ["no", "off", "N", "FALSE"] {
            check(s, &Value::Bool(false));
        }
        check("yEs", &text("yEs"));
        check("8080", &Value::Int(8080));
        check("8_080", &Value::Int(8080));
        check("0x1F", &Value::Int(31));
        check("0777", &Value::Int(511));
        check("0o17", &Value::Int(15));
        check("0b11", &Value::Int(3));
        check("-5", &Value::Int(-5));
        check("+5", &Value::Int(5));
        // Not octal, so Go reads a float.
        check("089", &Value::Float(89.0));
        check("1.5", &Value::Float(1.5));
        check("1e3", &Value::Float(1000.0));
        check(".5", &Value::Float(0.5));
        check("1.", &Value::Float(1.0));
        check("1.2.0", &text("1.2.0"));
        check("1.e", &text("1.e"));
        check("-", &text("-"));
        check("10.0.0.0/8", &text("10.0.0.0/8"));
        check("2026-11-23", &text("2026-11-23"));
        check("99999999999999999999", &Value::Float(1e20));
        check("ENC[AES256_GCM,data:x]", &Value::Opaque("encrypted"));
        check("https://${HOST}/", &Value::Opaque("a ${VARIABLE}"));
        check("x{{ .Values.port }}", &Value::Opaque("a template"));
    }
}
