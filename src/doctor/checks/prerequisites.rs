//! What must be there before MAS.

use super::{
    Answer, GIVE_MANIFESTS, NO_SECRETS, RUN_NETWORK, answer, ask, fail, hidden, no_manifests, no_mas_config, pass,
    probed, tag, unknown, unread_secrets, version,
};
use crate::doctor::facts::{Facts, at};
use crate::doctor::{Outcome, tree::Said};
use crate::finding::Code;
use crate::judge::Reason;
use crate::matrix::{Exchange, PeerKind};
use crate::world::{Entrance, EntranceKind, World};

/// The first Synapse that serves `/_synapse/mas` (MAS's docs/setup/homeserver.md).
const SYNAPSE_MODERN: (u32, u32) = (1, 136);
/// Warn so long before a certificate ends, in seconds.
const SOON: i64 = 14 * 24 * 3600;

/// Pods behind an edge's target: Ready, not Ready, or not to be seen.
fn serves(facts: &Facts, edge: &str, what: &str) -> Answer {
    if let Some(answer) = probed(facts, edge) {
        return answer;
    }
    let Some(world) = &facts.world else { return no_manifests() };
    let Some(resolved) = facts.resolution.edges.iter().find(|resolved| resolved.edge.name == edge) else {
        return unknown(format!("no source says where {what} is"), "give the guide's values or MAS's config");
    };
    let broken = |code| facts.findings.iter().find(|f| f.code == code && f.edge.as_deref() == Some(edge));
    if let Some(finding) = broken(Code::ReferenceBroken) {
        let place = finding.place.as_ref().map_or_else(String::new, at);
        return fail(format!("{place}{}", finding.message), finding.fix.clone());
    }
    let to = resolved.to.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
    match resolved.readiness(world) {
        Some(true) => pass(format!("{to} has a Ready pod")),
        Some(false) => {
            fail(format!("{to} has no Ready pod"), format!("see why {what} is not Ready: kubectl describe pod"))
        }
        None if to.is_empty() => {
            unknown(format!("{what} was not found"), format!("{GIVE_MANIFESTS}; or name it in a TrafficMatrix"))
        }
        None => unknown(format!("{to} is outside the cluster, or its pods have no status here"), RUN_NETWORK),
    }
}

pub(in crate::doctor) fn synapse(facts: &Facts) -> Answer {
    serves(facts, "mas-to-synapse", "Synapse")
}

pub(in crate::doctor) fn synapse_version(facts: &Facts) -> Answer {
    let Some(world) = &facts.world else { return no_manifests() };
    let images = synapse_images(facts, world);
    let Some(image) = images.first() else {
        return unknown("no pod of Synapse was found", GIVE_MANIFESTS);
    };
    let Some(found) = tag(image).and_then(version) else {
        return unknown(
            "Synapse's image has no version in its tag",
            "ask Synapse: GET /_matrix/federation/v1/version, 1.136 or newer is wanted",
        );
    };
    let said = format!("Synapse {}.{}", found.0, found.1);
    if found < SYNAPSE_MODERN {
        fail(said, "upgrade Synapse to 1.136 or newer: older ones lack `matrix_authentication_service`")
    } else {
        pass(said)
    }
}

pub(super) fn synapse_images(facts: &Facts, world: &World) -> Vec<String> {
    let edges = facts.resolution.edges.iter().filter(|e| matches!(e.edge.exchange, Exchange::Synapse { .. }));
    let pods = edges.flat_map(|edge| &edge.to).filter_map(|peer| match &peer.kind {
        PeerKind::Pods { pods, .. } => Some(pods),
        _ => None,
    });
    let images = pods.flatten().flat_map(|pod| &world.pod(*pod).images);
    images.filter(|image| image.contains("synapse")).cloned().collect()
}

pub(in crate::doctor) fn postgres(facts: &Facts) -> Answer {
    serves(facts, "mas-to-postgres", "PostgreSQL")
}

/// The entrances that answer for the auth host.
pub(super) fn entrances<'a>(facts: &'a Facts, world: &'a World) -> Vec<&'a Entrance> {
    let Some((host, _)) = facts.auth_host() else { return Vec::new() };
    world.entrances.iter().filter(|entrance| entrance.hosts.iter().any(|h| h.eq_ignore_ascii_case(&host))).collect()
}

pub(in crate::doctor) fn ingress(facts: &Facts) -> Answer {
    let Some(world) = &facts.world else { return no_manifests() };
    let Some((host, says)) = facts.auth_host() else { return no_mas_config() };
    let found = entrances(facts, world);
    let Some(first) = found.first() else {
        return fail(
            format!("no Ingress, IngressRoute or HTTPRoute answers for {host} ({says})"),
            format!("add an Ingress with host {host} and MAS's Service behind it"),
        );
    };
    let services = facts.mas_services();
    let leads =
        found.iter().flat_map(|entrance| &entrance.backends).any(|b| services.iter().any(|s| s.name == b.service));
    if leads {
        return pass(format!("{}: {} leads to MAS's Service", first.place, first.name.name));
    }
    let behind: Vec<String> = first.backends.iter().map(|backend| backend.service.name.clone()).collect();
    fail(
        format!("{}: {host} leads to {}, which is not MAS's Service", first.place, behind.join(", ")),
        "put the Service that selects MAS's pods behind the host",
    )
}

pub(in crate::doctor) fn tls_secret(facts: &Facts) -> Answer {
    let Some(world) = &facts.world else { return no_manifests() };
    let Some(ingress) = entrances(facts, world).into_iter().find(|entrance| entrance.kind == EntranceKind::Ingress)
    else {
        return unknown("no Ingress answers for the auth host, so none names a certificate", "see ingress-host");
    };
    let found: Vec<_> =
        facts.found.tls.iter().filter(|secret| secret.kind == TLS || secret.name.contains("tls")).collect();
    let wanted = facts.found.tls.iter().find(|secret| {
        secret.name == "mas-tls" && secret.namespace.as_deref().unwrap_or(&facts.namespace) == ingress.name.namespace
    });
    match wanted.or_else(|| found.first().copied()) {
        Some(secret) if secret.kind != TLS => fail(
            format!("{}: Secret {} has type {}", secret.place, secret.name, secret.kind),
            format!("make it anew with type {TLS} (`kubectl create secret tls`): a Secret's type cannot be changed"),
        ),
        Some(secret) if !secret.whole => fail(
            format!("{}: Secret {} lacks tls.crt or tls.key", secret.place, secret.name),
            "see cert-manager's Certificate and its events, or put both in",
        ),
        Some(secret) => pass(format!("{}: Secret {} has a certificate and its key", secret.place, secret.name)),
        None => unknown(
            if unread_secrets(facts).is_some() { NO_SECRETS } else { "no TLS Secret was read" },
            "kubectl get secret mas-tls -o jsonpath='{.type}' must print kubernetes.io/tls; its end is checked with --network",
        ),
    }
}

const TLS: &str = "kubernetes.io/tls";

pub(in crate::doctor) fn tls_expiry(facts: &Facts) -> Answer {
    let Some(network) = &facts.network else { return unknown("the network was not asked", RUN_NETWORK) };
    let Some(auth) = &network.auth else { return no_mas_config() };
    let end = auth.attempts.iter().filter_map(crate::judge::Attempt::tls_not_after).min();
    let broken = auth.attempts.iter().find(|attempt| {
        matches!(
            attempt.reason,
            Reason::TlsExpired
                | Reason::TlsNotYetValid
                | Reason::TlsNameMismatch
                | Reason::TlsUntrusted
                | Reason::TlsVersion
                | Reason::TlsHandshake
        )
    });
    if let Some(attempt) = broken {
        return fail(
            format!("{}: {}", attempt.reason, attempt.detail),
            "renew the certificate of the auth host, for this name and from an issuer that browsers trust",
        );
    }
    let Some(end) = end else {
        return unknown("no TLS handshake with the auth host came about", "see dns-record and mas-through-ingress");
    };
    let days = (end - network.now).div_euclid(24 * 3600);
    if end - network.now < SOON {
        return fail(
            format!("the auth host's certificate ends in {days} days"),
            "see why it is not renewed: kubectl describe certificate",
        );
    }
    pass(format!("the auth host's certificate is valid for {days} more days"))
}

pub(in crate::doctor) fn subdomain(facts: &Facts) -> Answer {
    let values = facts.values.as_ref().and_then(|values| values.ingress_host.known());
    let base = facts.public_base().map(|base| base.host);
    match (values, base) {
        (Some(host), Some(base)) if *host != base => fail(
            format!("mas.ingress.host is {host}, MAS's http.public_base is at {base}"),
            "name one host in both: links in mails and redirects use http.public_base",
        ),
        (Some(host), _) => pass(format!("MAS's public host is {host}")),
        (None, Some(base)) => pass(format!("MAS's public host is {base}")),
        (None, None) => unknown(
            "no source names MAS's public host",
            "set mas.ingress.host in the guide's values, or http.public_base in MAS's config",
        ),
    }
}

/// Mail that a feature needs, and what is configured.
pub(in crate::doctor) fn mail(facts: &Facts) -> Answer {
    if let Some(finding) = facts.findings.iter().find(|finding| finding.code == Code::MailMissing) {
        let place = finding.place.as_ref().map_or_else(String::new, at);
        return fail(format!("{place}{}", finding.message), finding.fix.clone());
    }
    let Some(mas) = facts.mas_facts() else { return no_mas_config() };
    match mas.mail_transport.text() {
        Some("smtp") => {}
        Some(other) => {
            let needed = mas.recovery == Some(true) || mas.registration == Some(true);
            let said = format!("email.transport is {other}: no mail leaves through SMTP");
            let todo =
                "set email.transport to smtp, with mode and hostname: registration and password reset send mails";
            return answer(if needed && other == "blackhole" { Outcome::Fail } else { Outcome::Manual }, said, todo);
        }
        None if mas.mail_transport == Said::No => {
            return fail(
                "MAS's config has no email section: mails are thrown away",
                "add email with transport smtp, mode and hostname",
            );
        }
        None => return hidden("email.transport", &mas.mail_transport, "give it"),
    }
    if mas.mail_host == Said::No || mas.mail_mode == Said::No {
        return fail(
            "email.hostname or email.mode is missing: MAS does not start with transport smtp",
            "give both; mode is plain, starttls or tls",
        );
    }
    match mas.mail_host.text() {
        Some("") => fail("email.hostname is empty", "name the relay"),
        Some(host) => pass(format!("mail goes to {host}")),
        None => hidden("email.hostname", &mas.mail_host, "give it"),
    }
}

pub(in crate::doctor) fn mail_answers(facts: &Facts) -> Answer {
    ask(facts, "mas-to-smtp")
}
