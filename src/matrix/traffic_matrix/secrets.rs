//! No secret may stand in a TrafficMatrix: everybody who can read the object could read it, and nothing here needs it.

use crate::source::{Document, InputError, Key, Node, Place, Value};

/// Refuses values that carry a secret.
pub(super) fn refuse(document: &Document, values: &Node) -> Result<(), InputError> {
    walk(document, values, "spec.guide.values", false)
}

fn walk(document: &Document, node: &Node, path: &str, among_secrets: bool) -> Result<(), InputError> {
    for (key, value) in node.entries() {
        let path = format!("{path}.{}", key.text);
        let named_so = is_secret_name(&key.text) || (among_secrets && !names_an_object(&key.text));
        if (named_so && holds_something(value)) || has_password(value) {
            return Err(refused(document, key, &path));
        }
        walk(document, value, &path, among_secrets || &*key.text == "secrets")?;
    }
    for (index, item) in node.items().iter().enumerate() {
        let path = format!("{path}[{index}]");
        if has_password(item) {
            let message = format!("{path}: leave the password out, portreeve never needs it");
            return Err(InputError::new(document.place(item), message));
        }
        walk(document, item, &path, among_secrets)?;
    }
    Ok(())
}

fn refused(document: &Document, key: &Key, path: &str) -> InputError {
    let place = Place::new(&document.file, key.at);
    InputError::new(place, format!("{path}: leave it empty, portreeve never needs it"))
}

/// Whether a key's value is a secret by its name: `sharedSecret`, `clientSecret`, `password`, `apiKey` … but not `secretName` or `existingSecret`.
fn is_secret_name(key: &str) -> bool {
    const ENDINGS: [&str; 8] =
        ["secret", "password", "passwd", "passphrase", "token", "privatekey", "secretkey", "encryptionkey"];
    let plain: String = key.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let ends_so = ENDINGS.iter().any(|ending| plain.ends_with(ending)) || plain == "dsn";
    ends_so && !names_an_object(key)
}

/// Keys that name a Secret object or a file instead of holding what is in it.
fn names_an_object(key: &str) -> bool {
    let plain: String = key.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    plain.starts_with("existing") || ["name", "file", "ref", "path"].iter().any(|ending| plain.ends_with(ending))
}

fn holds_something(node: &Node) -> bool {
    match &node.value {
        Value::Text(text) => !text.is_empty(),
        Value::Int(_) | Value::Float(_) | Value::Opaque(_) => true,
        Value::Null | Value::Bool(_) | Value::Seq(_) | Value::Map(_) => false,
    }
}

/// A URL with `user:password@`.
fn has_password(node: &Node) -> bool {
    let authority = node.text().and_then(|text| text.split_once("://")).map(|(_, rest)| rest);
    authority.and_then(|rest| rest.rsplit_once('@')).is_some_and(|(user, _)| user.contains(':'))
}
