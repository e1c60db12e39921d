//! The guide's Phase 6, one check for each of its boxes.

use super::{Answer, RUN_NETWORK, ask, fail, manual, no_manifests, no_mas_config, pass, unknown};
use crate::doctor::facts::Facts;
use crate::judge::Reason;

pub(in crate::doctor) fn pod_starts(facts: &Facts) -> Answer {
    let Some(world) = &facts.world else { return no_manifests() };
    let Some(subject) = &facts.resolution.subject else {
        return unknown("MAS's pods were not found", "see mas-workload");
    };
    let ready: Vec<bool> = subject.pods.iter().filter_map(|pod| world.pod(*pod).ready).collect();
    if ready.is_empty() {
        return unknown(
            "the status of MAS's pods is not known",
            "give `kubectl get pods -o yaml` with --manifests, or --cluster",
        );
    }
    let count = ready.iter().filter(|ready| **ready).count();
    if count == 0 {
        return fail(
            "no pod of MAS is Ready",
            "kubectl logs and describe: a database that cannot be reached ends MAS at its start",
        );
    }
    pass(format!("{count} of {} pods of MAS are Ready", ready.len()))
}

pub(in crate::doctor) fn database(facts: &Facts) -> Answer {
    ask(facts, "mas-to-postgres")
}

/// The names of the edges to identity providers.
fn provider_edges(facts: &Facts) -> Vec<&str> {
    let is = |edge: &&crate::matrix::ResolvedEdge| matches!(edge.edge.exchange, crate::matrix::Exchange::Oidc { .. });
    facts.resolution.edges.iter().filter(is).map(|edge| edge.edge.name.as_str()).collect()
}

pub(in crate::doctor) fn provider(facts: &Facts) -> Answer {
    let edges = provider_edges(facts);
    let Some(first) = edges.first() else {
        return unknown("no source names an identity provider", "see provider-id");
    };
    let answers = edges.iter().map(|edge| ask(facts, edge));
    answers.max_by_key(|answer| badness(answer.outcome)).unwrap_or_else(|| ask(facts, first))
}

fn badness(outcome: crate::doctor::Outcome) -> u8 {
    match outcome {
        crate::doctor::Outcome::Pass => 0,
        crate::doctor::Outcome::Manual => 1,
        crate::doctor::Outcome::Unknown => 2,
        crate::doctor::Outcome::Fail => 3,
    }
}

pub(in crate::doctor) fn synapse(facts: &Facts) -> Answer {
    ask(facts, "synapse-to-mas")
}

pub(in crate::doctor) fn public(facts: &Facts) -> Answer {
    let Some(network) = &facts.network else { return unknown("the network was not asked", RUN_NETWORK) };
    let Some(auth) = &network.auth else { return no_mas_config() };
    let Some(worst) = auth.attempts.iter().find(|a| a.reason != Reason::Ok).or_else(|| auth.attempts.first()) else {
        return unknown("the auth host has no address to ask", "see dns-record");
    };
    let address = worst.address.map_or_else(String::new, |address| format!("{address}: "));
    let said = format!("{address}{}: {}", worst.reason, worst.detail);
    match worst.reason {
        Reason::Ok => pass(said),
        Reason::ConnectTimeout | Reason::ProberError => {
            unknown(said, "ask the auth host from outside: a policy of this place may stop the question")
        }
        _ => fail(said, "see the ingress controller's log for the auth host, and http.public_base"),
    }
}

pub(in crate::doctor) fn element(facts: &Facts) -> Answer {
    let issuer = facts.public_base().map_or_else(|| "http.public_base".to_owned(), |base| base.to_string());
    manual(
        "what Element sees comes from the Matrix host",
        format!(
            "GET https://<Matrix host>/_matrix/client/v1/auth_metadata must name the issuer {issuer}; /_matrix/client/v3/login must offer m.login.sso with oauth_aware_preferred"
        ),
    )
}

pub(in crate::doctor) fn sso(facts: &Facts) -> Answer {
    let id = facts.mas_facts().and_then(|mas| mas.providers.first()?.id.text().map(str::to_owned));
    let id = id.unwrap_or_else(|| "<provider id>".to_owned());
    manual(
        "a login needs a browser and a user",
        format!(
            "open /upstream/authorize/{id} of the auth host: it must lead to Authelia, and after a login back to MAS"
        ),
    )
}

pub(in crate::doctor) fn password(facts: &Facts) -> Answer {
    match facts.mas_facts().map(|mas| mas.passwords) {
        Some(Some(false)) => pass("passwords.enabled is false: nobody logs in with one"),
        Some(Some(true) | None) => manual("passwords are enabled", "log in at /login of the auth host with a password"),
        None => manual(
            "whether passwords are enabled is not known",
            "log in at /login of the auth host with a password, if enabled",
        ),
    }
}

pub(in crate::doctor) fn second_factor(_: &Facts) -> Answer {
    manual(
        "MAS has no second factor of its own, whatever the guide says: it is Authelia's",
        "enrol one at Authelia; the client's authorization_policy there must be two_factor",
    )
}

pub(in crate::doctor) fn reset(facts: &Facts) -> Answer {
    let wanted = facts.values.as_ref().is_some_and(|values| values.features.password_reset.known() == Some(&true));
    match facts.mas_facts().map(|mas| mas.recovery) {
        Some(recovery) if wanted && recovery != Some(true) => fail(
            "mas.features.passwordReset is true, and MAS's account.password_recovery_enabled is not (its default is false)",
            "set account.password_recovery_enabled: true: `features` are the chart's words, not MAS's",
        ),
        Some(Some(true)) => {
            manual("password recovery is enabled", "ask for a mail at /recover of the auth host, and follow it")
        }
        Some(_) => pass("password recovery is not enabled"),
        None => manual(
            "whether recovery is enabled is not known",
            "ask for a mail at /recover of the auth host, if enabled",
        ),
    }
}

pub(in crate::doctor) fn verification(_: &Facts) -> Answer {
    manual(
        "delivery needs a mailbox",
        "add an address at /account/ of the auth host, and enter the code that comes by mail",
    )
}

pub(in crate::doctor) fn account(facts: &Facts) -> Answer {
    let base = facts.public_base().map_or_else(|| "https://<auth host>/".to_owned(), |base| base.to_string());
    manual("pages are for people", format!("open {}/account/ and look around", base.trim_end_matches('/')))
}
