//! Synapse's side.

use super::{Answer, ask, fail, hidden, no_manifests, no_mas_config, not_found, pass, unknown, version};
use crate::doctor::facts::{Facts, at};
use crate::doctor::tree::Said;
use crate::finding::Code;
use crate::guide::Url;
use crate::world::PortRef;

const GIVE_CONFIG: &str = "give the ConfigMap or Secret that holds homeserver.yaml with --manifests";

fn no_config(facts: &Facts) -> Option<Answer> {
    facts.found.synapse.is_empty().then(|| not_found(facts, "Synapse's homeserver.yaml", GIVE_CONFIG))
}

pub(in crate::doctor) fn msc3861(facts: &Facts) -> Answer {
    if let Some(unknown) = no_config(facts) {
        return unknown;
    }
    let Some(place) = facts.found.synapse.iter().find_map(|synapse| synapse.msc3861.as_ref()) else {
        return pass("homeserver.yaml does not use experimental_features.msc3861");
    };
    let images =
        facts.world.as_ref().map(|world| super::prerequisites::synapse_images(facts, world)).unwrap_or_default();
    let old = images.first().and_then(|image| super::tag(image)).and_then(version).is_some_and(|v| v < (1, 157));
    let since = if old {
        "Synapse 1.157 and newer refuse to start with it"
    } else {
        "Synapse refuses to start with it since 1.157"
    };
    fail(
        format!("{}experimental_features.msc3861 is set, as the guide says: {since}", at(place)),
        "remove it; set matrix_authentication_service: {enabled: true, endpoint: http://<MAS's Service>:8080/, secret_path: …}",
    )
}

pub(in crate::doctor) fn enabled(facts: &Facts) -> Answer {
    if let Some(unknown) = no_config(facts) {
        return unknown;
    }
    let todo =
        "set matrix_authentication_service: {enabled: true, endpoint: http://<MAS's Service>:8080/, secret_path: …}";
    match facts.found.synapse.iter().find_map(|synapse| synapse.mas.as_ref()) {
        None => fail("homeserver.yaml has no matrix_authentication_service", todo),
        Some(mas) if mas.enabled != Some(true) => {
            fail(format!("{}matrix_authentication_service.enabled is not true", at(&mas.place)), todo)
        }
        Some(mas) => pass(format!("{}matrix_authentication_service is enabled", at(&mas.place))),
    }
}

pub(in crate::doctor) fn endpoint(facts: &Facts) -> Answer {
    if let Some(unknown) = no_config(facts) {
        return unknown;
    }
    let Some(mas) = facts.found.synapse.iter().find_map(|synapse| synapse.mas.as_ref()) else {
        return unknown("homeserver.yaml has no matrix_authentication_service", "see synapse-mas-enabled");
    };
    let Some(text) = mas.endpoint.text() else {
        return match mas.endpoint {
            Said::No => fail(
                format!("{}there is no endpoint: Synapse asks localhost:8080", at(&mas.place)),
                "set it to http://<MAS's Service>:8080/",
            ),
            _ => hidden(
                "matrix_authentication_service.endpoint",
                &mas.endpoint,
                "set it to http://<MAS's Service>:8080/",
            ),
        };
    };
    let Ok(url) = Url::parse(text) else {
        return fail(format!("{}the endpoint is no URL", at(&mas.place)), "set it to http://<MAS's Service>:8080/");
    };
    if facts.world.is_none() {
        return no_manifests();
    }
    if facts.auth_host().is_some_and(|(host, _)| host == url.host) {
        return pass(format!(
            "{}Synapse asks MAS at its public URL: every request goes through the ingress controller",
            at(&mas.place)
        ));
    }
    let Some(service) = facts.service(&url.host) else {
        return fail(
            format!("{}the endpoint names {}, and there is no such Service", at(&mas.place), url.host),
            "name MAS's Service",
        );
    };
    let leads = facts.mas_services().iter().any(|known| known.name == service.name);
    let port = service.ports.iter().any(|port| port.port == url.port_or_default());
    match (leads, port) {
        (true, true) => pass(format!("{}the endpoint is MAS's Service {}", at(&mas.place), service.name.name)),
        (false, _) => fail(
            format!("{}{} does not select MAS's pods", at(&service.place), service.name.name),
            "name MAS's Service in the endpoint",
        ),
        (true, false) => fail(
            format!("{}{} has no port {}", at(&service.place), service.name.name, url.port_or_default()),
            "name the Service port in the endpoint's URL",
        ),
    }
}

pub(in crate::doctor) fn conflicts(facts: &Facts) -> Answer {
    if let Some(unknown) = no_config(facts) {
        return unknown;
    }
    let bad = facts.found.synapse.iter().find(|synapse| !synapse.conflicts.is_empty());
    match bad {
        None => pass("homeserver.yaml has nothing that Synapse refuses beside MAS"),
        Some(synapse) => fail(
            format!("{}Synapse refuses to start with MAS and {}", at(&synapse.place), synapse.conflicts.join(", ")),
            "remove them: MAS does all of this (the Authelia of oidc_providers moves to MAS's upstream_oauth2)",
        ),
    }
}

pub(in crate::doctor) fn server_name(facts: &Facts) -> Answer {
    if let Some(unknown) = no_config(facts) {
        return unknown;
    }
    let Some(mas) = facts.mas_facts() else { return no_mas_config() };
    let Some(name) = facts.found.synapse.iter().find_map(|synapse| synapse.server_name.text()) else {
        return unknown("homeserver.yaml's server_name is not known", GIVE_CONFIG);
    };
    match mas.homeserver.text() {
        Some(homeserver) if homeserver == name => pass(format!("both say {name}")),
        Some(homeserver) => fail(
            format!("MAS's matrix.homeserver is {homeserver}, Synapse's server_name is {name}"),
            "use server_name in both: MAS builds user ids from it",
        ),
        None if mas.homeserver == Said::No => fail(
            "matrix.homeserver is missing in MAS's config: its default is localhost:8008",
            format!("set it to {name}"),
        ),
        None => hidden("matrix.homeserver", &mas.homeserver, "give it"),
    }
}

pub(in crate::doctor) fn mas_endpoint(facts: &Facts) -> Answer {
    if facts.world.is_none() {
        return no_manifests();
    }
    let broken = facts
        .findings
        .iter()
        .find(|finding| finding.code == Code::ReferenceBroken && finding.edge.as_deref() == Some("mas-to-synapse"));
    if let Some(finding) = broken {
        let place = finding.place.as_ref().map_or_else(String::new, at);
        return fail(format!("{place}{}", finding.message), finding.fix.clone());
    }
    let url = facts.mas.as_ref().and_then(|mas| mas.config.as_ref().ok()?.endpoint.known().cloned());
    let Some(url) = url.or_else(|| facts.values.as_ref()?.synapse_endpoint.known().cloned()) else {
        return unknown("no source says where MAS finds Synapse", "set matrix.endpoint in MAS's config");
    };
    let Some(service) = facts.service(&url.host) else {
        return unknown(
            format!("{} is no Service that is known", url.host),
            "correct the name, or give the Service with --manifests",
        );
    };
    match service.ports.iter().find(|port| port.port == url.port_or_default()) {
        Some(port) => {
            let target = match &port.target {
                PortRef::Number(number) => number.to_string(),
                PortRef::Name(name) => format!("`{name}`"),
            };
            pass(format!("{}: port {} leads to {target}", service.place, port.port))
        }
        None => fail(
            format!("{}: {} has no port {}", service.place, service.name.name, url.port_or_default()),
            "name the Service port in matrix.endpoint (the guide's 8008 is the pod port)",
        ),
    }
}

pub(in crate::doctor) fn kind(facts: &Facts) -> Answer {
    let Some(mas) = facts.mas_facts() else { return no_mas_config() };
    match mas.kind.text() {
        None if mas.kind != Said::No => hidden("matrix.kind", &mas.kind, "give it"),
        None | Some("synapse" | "synapse_modern") => pass("MAS uses Synapse's modern API"),
        Some("synapse_read_only") => fail(
            "matrix.kind is synapse_read_only: MAS creates no users",
            "set it to synapse once the migration is done",
        ),
        Some("synapse_legacy") => {
            fail("matrix.kind is synapse_legacy, which goes with the msc3861 that Synapse dropped", "set it to synapse")
        }
        Some(_) => fail(
            "matrix.kind is none of synapse, synapse_modern, synapse_legacy, synapse_read_only",
            "set it to synapse",
        ),
    }
}

pub(in crate::doctor) fn answers(facts: &Facts) -> Answer {
    ask(facts, "mas-to-synapse")
}
