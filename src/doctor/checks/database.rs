//! MAS's own database.

use super::{Answer, ask, fail, manual, no_manifests, no_mas_config, pass, unknown};
use crate::doctor::facts::Facts;
use crate::doctor::found::Given;
use crate::guide::DatabaseServer;

const SHOW_SQL: &str = "give the init script's ConfigMap, or the operator's object, with --manifests or --cluster";
const RIGHT_SQL: &str = "CREATE DATABASE mas OWNER mas (MAS's docs/setup/database.md)";

pub(in crate::doctor) fn named(facts: &Facts) -> Answer {
    let Some(mas) = &facts.mas else { return no_mas_config() };
    if !mas.facts.database {
        return fail(
            format!("{}: there is no section `database`", mas.source),
            "add database.uri, or host, username, password_file and database",
        );
    }
    match mas.config.as_ref().map(|config| config.database.server.known()) {
        Ok(Some(DatabaseServer::Host(host))) => pass(format!("the database is at {host}")),
        Ok(Some(DatabaseServer::Socket)) => pass("the database is at a Unix socket"),
        Ok(Some(DatabaseServer::Unsaid)) => unknown("database.uri names no host: PGHOST decides", "name the host"),
        Ok(None) => unknown(
            "where the database is is not known: the value is hidden or missing",
            "give a file that holds the value",
        ),
        Err(_) => unknown("MAS's config cannot be read", "see mas-config"),
    }
}

pub(in crate::doctor) fn uri(facts: &Facts) -> Answer {
    let Some(mas) = facts.mas_facts() else { return no_mas_config() };
    if let Some((why, place)) = &mas.uri_problem {
        return fail(
            format!("{place}: database.uri cannot be read: {why}"),
            "percent-encode the password (`/` is %2F, `+` is %2B, `=` is %3D), or use host, username and password_file",
        );
    }
    // A password of `openssl rand -base64` put into a URI by an init container or by Helm.
    let reserved = facts.found.kept.iter().find(|kept| {
        kept.role == crate::doctor::found::Role::Database && kept.presence.is_some_and(|presence| presence.reserved)
    });
    match (&mas.database_password, reserved) {
        (Given::Hidden(_, place), Some(kept)) => fail(
            format!(
                "{place}: database.uri is filled in later, and {} {} has characters that a URI must encode",
                kept.object, kept.key
            ),
            "use host, username and password_file instead of uri, or a password of `openssl rand -hex 32`",
        ),
        (Given::Hidden(why, place), None) => {
            unknown(format!("{place}: the database's password is {why}"), "give a file that holds the value")
        }
        _ => pass("the database's address and password can be read"),
    }
}

pub(in crate::doctor) fn collation(facts: &Facts) -> Answer {
    if facts.world.is_none() {
        return no_manifests();
    }
    let Some(first) = facts.found.sql.first() else {
        return unknown("nothing that was read creates the database mas", SHOW_SQL);
    };
    if let Some(bad) = facts.found.sql.iter().find(|sql| sql.locale && !sql.template0) {
        return fail(
            format!(
                "{}: CREATE DATABASE sets LC_COLLATE without TEMPLATE template0: a cluster with another locale refuses it",
                bad.place
            ),
            "add TEMPLATE template0, or leave the locale out",
        );
    }
    if let Some(bad) = facts.found.sql.iter().find(|sql| !sql.utf8) {
        return fail(format!("{}: the database's encoding is not UTF8", bad.place), "ENCODING 'UTF8'");
    }
    pass(format!("{}: the locale fits any cluster", first.place))
}

pub(in crate::doctor) fn owner(facts: &Facts) -> Answer {
    if facts.world.is_none() {
        return no_manifests();
    }
    let Some(first) = facts.found.sql.first() else {
        return unknown("nothing that was read creates the database mas", SHOW_SQL);
    };
    match facts.found.sql.iter().find(|sql| !sql.owned) {
        Some(bad) => fail(
            format!(
                "{}: the database gets no owner: GRANT ALL ON DATABASE lets nobody create tables since PostgreSQL 15",
                bad.place
            ),
            RIGHT_SQL,
        ),
        None => pass(format!("{}: mas owns its database", first.place)),
    }
}

pub(in crate::doctor) fn pooler(facts: &Facts) -> Answer {
    let Some(mas) = &facts.mas else { return no_mas_config() };
    if facts.world.is_none() {
        return no_manifests();
    }
    let Ok(Some(DatabaseServer::Host(host))) = mas.config.as_ref().map(|config| config.database.server.known()) else {
        return unknown("which host MAS connects to is not known", "see database-named");
    };
    let name = host.split('.').next().unwrap_or(host);
    match facts.found.poolers.iter().find(|pooler| pooler.service == name) {
        Some(pooler) if pooler.by_transaction == Some(true) => fail(
            format!(
                "{}: {host} is a pooler that pools by transaction: MAS holds advisory locks and LISTENs",
                pooler.place
            ),
            "connect to the database itself, or pool by session",
        ),
        Some(pooler) => pass(format!("{}: {host} pools by session", pooler.place)),
        None => pass(format!("{host} is no pooler that is known")),
    }
}

pub(in crate::doctor) fn login(_: &Facts) -> Answer {
    manual(
        "login, version and rights need the password, which portreeve never asks for",
        "as mas: SHOW server_version_num (130000 or more); SELECT has_schema_privilege('public', 'CREATE'); SHOW server_encoding (UTF8)",
    )
}

pub(in crate::doctor) fn answers(facts: &Facts) -> Answer {
    ask(facts, "mas-to-postgres")
}
