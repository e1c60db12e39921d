//! The secrets: there, of the right length and encoding, no placeholders, the shared one the same on both sides.

use super::{Answer, NO_SECRETS, fail, no_mas_config, not_found, pass, unknown, unread_secrets};
use crate::doctor::facts::Facts;
use crate::doctor::found::{Given, Kept, Role};
use crate::doctor::{Presence, Shape};
use crate::source::Place;

/// Least length of a secret of high entropy: 16 random bytes in hexadecimal.
const LEAST: usize = 32;

/// A secret and where it was seen.
struct Seen {
    presence: Presence,
    label: String,
}

/// Every place where a role's secret can be looked at, and whether one is only hidden.
fn seen(facts: &Facts, role: Role, given: Option<&Given>) -> (Vec<Seen>, Option<String>) {
    let mut seen = Vec::new();
    let mut hidden = None;
    for kept in facts.found.kept.iter().filter(|kept| kept.role == role) {
        let label = format!("{}: {} key {}", kept.place, kept.object, kept.key);
        match kept.presence {
            Some(presence) => seen.push(Seen { presence, label }),
            None => hidden = Some(format!("{label} is encrypted or templated")),
        }
    }
    match given {
        Some(Given::Here(presence, place)) => {
            seen.push(Seen { presence: *presence, label: format!("{place}: MAS's config") });
        }
        Some(Given::Hidden(why, place)) => hidden = Some(format!("{place}: the value is {why}")),
        Some(Given::File(name, place)) if seen.is_empty() => {
            hidden = Some(in_file(facts, name, place));
        }
        _ => {}
    }
    (seen, hidden)
}

/// A secret that MAS reads from a file, which a Secret that is mounted has or has not.
fn in_file(facts: &Facts, name: &str, place: &Place) -> String {
    match unread_secrets(facts) {
        Some(_) => format!("{place}: it is in the file {name}, and {NO_SECRETS}"),
        None => format!("{place}: it is in the file {name}, which no Secret here has"),
    }
}

/// Judges a secret by its length and characters.
fn judge(
    facts: &Facts,
    role: Role,
    given: Option<&Given>,
    wrong: fn(&Presence) -> Option<&'static str>,
    make: &str,
) -> Answer {
    let (seen, hidden) = seen(facts, role, given);
    for one in &seen {
        let why = one.presence.flaw.map(crate::doctor::Flaw::words).or_else(|| wrong(&one.presence));
        if let Some(why) = why {
            return fail(format!("{}: it {why}", one.label), make);
        }
    }
    match (seen.first(), hidden) {
        (Some(one), _) => pass(format!("{}: {} bytes, no placeholder", one.label, one.presence.length)),
        (None, Some(hidden)) => {
            let look = "look at it where it is filled in, without printing it";
            let or = unread_secrets(facts).map_or_else(String::new, |gap| format!("; or {}", gap.fix));
            unknown(hidden, format!("{look}{or}"))
        }
        (None, None) if unread_secrets(facts).is_some() => {
            not_found(facts, &format!("it (the guide's key is {})", role.key()), "")
        }
        (None, None) if facts.mas.is_some() && role != Role::Database && role != Role::Client => {
            fail(format!("neither MAS's config nor a Secret has it (the guide's key is {})", role.key()), make)
        }
        (None, None) => unknown(
            format!("no Secret with the key {} was read", role.key()),
            "give the Secret with --manifests (nothing of it is printed), or check that it exists",
        ),
    }
}

fn short(presence: &Presence) -> Option<&'static str> {
    (presence.length < LEAST).then_some("is shorter than 32 characters")
}

pub(in crate::doctor) fn encryption(facts: &Facts) -> Answer {
    let wrong = |presence: &Presence| {
        (presence.length != 64 || presence.shape != Shape::Hex).then_some("is not 64 hexadecimal digits (32 bytes)")
    };
    let given = facts.mas_facts().map(|mas| &mas.encryption);
    judge(
        facts,
        Role::Encryption,
        given,
        wrong,
        "openssl rand -hex 32, before the first start; never change it afterwards",
    )
}

pub(in crate::doctor) fn shared(facts: &Facts) -> Answer {
    let given = facts.mas_facts().map(|mas| &mas.shared);
    judge(facts, Role::Shared, given, short, "openssl rand -hex 32, the same for MAS (matrix.secret) and Synapse")
}

pub(in crate::doctor) fn database(facts: &Facts) -> Answer {
    let given = facts.mas_facts().map(|mas| &mas.database_password);
    let wrong = |presence: &Presence| (presence.length < 16).then_some("is shorter than 16 characters");
    judge(facts, Role::Database, given, wrong, "openssl rand -hex 32, in the role's password and in MAS's config")
}

pub(in crate::doctor) fn client(facts: &Facts) -> Answer {
    let given = facts.mas_facts().and_then(|mas| mas.providers.iter().find(|p| p.enabled)).map(|p| &p.client_secret);
    let wrong = |presence: &Presence| {
        if presence.shape == Shape::Hash {
            Some("is a hash: MAS needs the secret itself, Authelia its hash")
        } else {
            short(presence)
        }
    };
    judge(
        facts,
        Role::Client,
        given,
        wrong,
        "openssl rand -hex 32; MAS gets it as it is, Authelia its hash (authelia crypto hash generate)",
    )
}

pub(in crate::doctor) fn signing(facts: &Facts) -> Answer {
    let make = "mas-cli config generate makes one; put it under secrets.keys or into secrets.keys_dir: the guide leaves it out";
    let Some(mas) = facts.mas_facts() else {
        let kept = facts.found.kept.iter().find(|kept| kept.role == Role::Signing);
        return match kept {
            Some(kept) => pem(kept, make),
            None if unread_secrets(facts).is_some() => {
                unknown(format!("MAS's config was not given, and {NO_SECRETS}"), super::GIVE_MAS_CONFIG)
            }
            None => unknown("MAS's config was not given, and no Secret has a signing key", super::GIVE_MAS_CONFIG),
        };
    };
    if mas.keys_dir {
        return pass("secrets.keys_dir holds the keys; that one of them is RSA is not seen here");
    }
    if mas.keys.is_empty() {
        return match unread_secrets(facts) {
            Some(_) => not_found(facts, "secrets.keys", make),
            None => fail("MAS's config has no secrets.keys: tokens cannot be signed", make),
        };
    }
    let rsa = |given: &&Given| match given {
        Given::Here(presence, _) => presence.shape == Shape::PemRsa,
        Given::File(..) | Given::Hidden(..) => true,
        Given::No => false,
    };
    match mas.keys.iter().find(rsa) {
        Some(_) => pass(format!("MAS's config names {} signing keys", mas.keys.len())),
        None => fail("none of secrets.keys is an RSA key: RS256 must be offered", make),
    }
}

fn pem(kept: &Kept, make: &str) -> Answer {
    match kept.presence {
        Some(Presence { flaw: None, shape: Shape::PemRsa, .. }) => pass(format!("{}: an RSA key", kept.place)),
        Some(_) => fail(format!("{}: {} is no RSA key in PEM", kept.place, kept.key), make),
        None => unknown(format!("{}: it is encrypted or templated", kept.place), "look at it where it is filled in"),
    }
}

pub(in crate::doctor) fn variables(facts: &Facts) -> Answer {
    let Some(mas) = facts.mas_facts() else { return no_mas_config() };
    let Some((key, place)) = mas.variables.first() else { return pass("MAS's config has no ${VARIABLE}") };
    let said = format!("{place}: `{key}` is a ${{VARIABLE}}, and MAS does not fill it in");
    if facts.found.pods.iter().any(|pod| pod.foreign_init) {
        return unknown(
            format!("{said}; an init container of MAS's pod may"),
            "see that it writes the file that MAS reads, or use the *_file keys",
        );
    }
    fail(
        said,
        "use the *_file keys (password_file, secret_file, client_secret_file, encryption_file), or render the file first",
    )
}

/// One side of the shared secret.
enum Side {
    Known(Presence, Place),
    Hidden(String),
}

fn side(facts: &Facts, given: &Given) -> Option<Side> {
    match given {
        Given::No => None,
        Given::Here(presence, place) => Some(Side::Known(*presence, place.clone())),
        Given::Hidden(why, place) => Some(Side::Hidden(format!("{place}: it is {why}"))),
        Given::File(name, place) => {
            let kept = facts.found.kept.iter().find(|kept| kept.key == *name);
            Some(match kept.and_then(|kept| Some((kept.presence?, kept.place.clone()))) {
                Some((presence, place)) => Side::Known(presence, place),
                None => Side::Hidden(in_file(facts, name, place)),
            })
        }
    }
}

pub(in crate::doctor) fn same(facts: &Facts) -> Answer {
    let of_mas = facts.mas_facts().and_then(|mas| side(facts, &mas.shared)).or_else(|| {
        let kept = facts.found.kept.iter().find(|kept| kept.role == Role::Shared)?;
        Some(Side::Known(kept.presence?, kept.place.clone()))
    });
    let of_synapse = facts.found.synapse.iter().filter_map(|s| s.mas.as_ref()).find_map(|mas| side(facts, &mas.secret));
    let ask = "with the secret, GET <Synapse>/_synapse/mas/is_localpart_available: 400 is right, 403 is another secret, 404 is MAS not enabled";
    match (of_mas, of_synapse) {
        (Some(Side::Known(one, at)), Some(Side::Known(other, there))) => match one.same_as(&other) {
            Some(true) => pass(format!("MAS's ({at}) and Synapse's ({there}) are the same")),
            Some(false) => fail(
                format!("MAS's ({at}) and Synapse's ({there}) differ"),
                "put one value into both: matrix.secret of MAS, matrix_authentication_service.secret of Synapse",
            ),
            None => unknown("one of them cannot be read", "see synapse-shared-secret"),
        },
        (Some(Side::Hidden(why)), _) => unknown(format!("MAS's side: {why}"), ask),
        (_, Some(Side::Hidden(why))) => unknown(format!("Synapse's side: {why}"), ask),
        (None, _) => Answer { todo: ask.to_owned(), ..not_found(facts, "MAS's side", ask) },
        (_, None) => Answer { todo: ask.to_owned(), ..not_found(facts, "Synapse's side", ask) },
    }
}
