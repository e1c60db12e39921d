//! networking.k8s.io/v1 NetworkPolicy as a table: every field with its type, and the validation of `pkg/apis/networking/validation`.

use ipnet::IpNet;
use serde_json::Value;

type Check = fn(&Value) -> Result<(), String>;

/// Field, whether it must be there, its value.
type Field = (&'static str, bool, Check);

pub(super) fn check(policy: &Value) -> Result<(), String> {
    object(
        policy,
        &[
            ("apiVersion", true, |v| one_of(v, &["networking.k8s.io/v1"])),
            ("kind", true, |v| one_of(v, &["NetworkPolicy"])),
            ("metadata", true, metadata),
            ("spec", true, spec),
        ],
    )
}

fn object(value: &Value, fields: &[Field]) -> Result<(), String> {
    let map = value.as_object().ok_or_else(|| format!("no object: {value}"))?;
    for key in map.keys() {
        if !fields.iter().any(|(name, ..)| name == key) {
            return Err(format!("unknown field {key}"));
        }
    }
    for (name, required, check) in fields {
        match map.get(*name) {
            Some(value) => check(value).map_err(|e| format!("{name}: {e}"))?,
            None if *required => return Err(format!("{name} is missing")),
            None => {}
        }
    }
    Ok(())
}

fn list(value: &Value, check: Check) -> Result<(), String> {
    let items = value.as_array().ok_or_else(|| format!("no list: {value}"))?;
    // Empty lists mean "all" in a rule and vanish elsewhere: we never write one.
    if items.is_empty() {
        return Err("an empty list".into());
    }
    items.iter().enumerate().try_for_each(|(n, item)| check(item).map_err(|e| format!("[{n}] {e}")))
}

fn one_of(value: &Value, words: &[&str]) -> Result<(), String> {
    let text = value.as_str().ok_or_else(|| format!("no text: {value}"))?;
    if words.contains(&text) { Ok(()) } else { Err(format!("unexpected {text}")) }
}

fn metadata(value: &Value) -> Result<(), String> {
    object(
        value,
        &[
            ("name", true, |v| dns_name(v, 253)),
            ("namespace", true, |v| dns_name(v, 63)),
            ("labels", true, labels),
            ("annotations", true, |v| {
                let map = v.as_object().ok_or("no mapping")?;
                let size: usize = map.iter().map(|(k, v)| k.len() + v.as_str().map_or(usize::MAX / 2, str::len)).sum();
                if size > 256 << 10 { Err("annotations are too large, or no text".into()) } else { Ok(()) }
            }),
        ],
    )
}

fn dns_name(value: &Value, limit: usize) -> Result<(), String> {
    let text = value.as_str().ok_or("no text")?;
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let ends = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if text.len() <= limit && text.chars().all(fits) && text.starts_with(ends) && text.ends_with(ends) {
        Ok(())
    } else {
        Err(format!("{text} is no name"))
    }
}

fn labels(value: &Value) -> Result<(), String> {
    for (key, value) in value.as_object().ok_or("no mapping")? {
        let value = value.as_str().ok_or("a label that is no text")?;
        let name = key.rsplit('/').next().unwrap_or_default();
        let fits = |s: &str| s.len() <= 63 && s.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        if name.is_empty() || !fits(name) || !fits(value) {
            return Err(format!("{key}={value} is no label"));
        }
    }
    Ok(())
}

fn selector(value: &Value) -> Result<(), String> {
    object(value, &[("matchLabels", false, labels)])
}

fn spec(value: &Value) -> Result<(), String> {
    object(
        value,
        &[
            ("podSelector", true, selector),
            ("policyTypes", true, |v| list(v, |v| one_of(v, &["Ingress", "Egress"]))),
            ("ingress", false, |v| list(v, |v| object(v, &[("from", true, peers), ("ports", true, ports)]))),
            ("egress", false, |v| list(v, |v| object(v, &[("to", true, peers), ("ports", true, ports)]))),
        ],
    )
}

fn ports(value: &Value) -> Result<(), String> {
    list(value, |v| {
        object(
            v,
            &[
                ("protocol", true, |v| one_of(v, &["TCP", "UDP", "SCTP"])),
                ("port", true, |v| match v.as_u64() {
                    Some(1..=65535) => Ok(()),
                    _ => Err(format!("{v} is no port number")),
                }),
            ],
        )
    })
}

fn peers(value: &Value) -> Result<(), String> {
    list(value, |peer| {
        object(
            peer,
            &[("podSelector", false, selector), ("namespaceSelector", false, selector), ("ipBlock", false, ip_block)],
        )?;
        let has = |field| peer.get(field).is_some();
        if has("ipBlock") == (has("podSelector") || has("namespaceSelector")) {
            return Err("either an ipBlock or selectors".into());
        }
        Ok(())
    })
}

/// `ValidateIPBlock`: a CIDR without host bits (a warning since 1.36), every `except` strictly inside it.
fn ip_block(value: &Value) -> Result<(), String> {
    object(value, &[("cidr", true, |v| net(v).map(|_| ())), ("except", false, |v| list(v, |v| net(v).map(|_| ())))])?;
    let outer = net(&value["cidr"])?;
    for hole in value["except"].as_array().into_iter().flatten() {
        let hole = net(hole)?;
        if !outer.contains(&hole) || hole.prefix_len() <= outer.prefix_len() {
            return Err(format!("{hole} is not strictly inside {outer}"));
        }
    }
    Ok(())
}

fn net(value: &Value) -> Result<IpNet, String> {
    let net: IpNet = value.as_str().and_then(|text| text.parse().ok()).ok_or_else(|| format!("{value} is no CIDR"))?;
    if net == net.trunc() { Ok(net) } else { Err(format!("{net} has host bits")) }
}

/// The checker itself can fail: one break a row.
#[test]
fn the_checker_refuses() {
    let good = super::render(&super::guide()).policy;
    check(&good).unwrap();
    for (path, bad) in [
        ("/kind", "Policy".into()),
        ("/metadata/name", "Upper".into()),
        ("/metadata/labels", serde_json::json!({"a": 1})),
        ("/spec/policyTypes", serde_json::json!(["ingress"])),
        ("/spec/ingress", serde_json::json!([])),
        ("/spec/egress/0/ports/0/port", "http".into()),
        ("/spec/egress/0/ports/0/port", 0.into()),
        ("/spec/egress/0/ports/0/protocol", "tcp".into()),
        ("/spec/egress/0/to/0", serde_json::json!({})),
        ("/spec/egress/0/to/0", serde_json::json!({"ipBlock": {"cidr": "10.0.0.1/8"}})),
        ("/spec/egress/0/to/0", serde_json::json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}})),
        ("/spec/egress/0/to/0", serde_json::json!({"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}})),
        ("/spec/egress/0", serde_json::json!({"from": []})),
    ] {
        let mut broken = good.clone();
        *broken.pointer_mut(path).unwrap() = bad;
        assert!(check(&broken).is_err(), "{path}");
    }
}
