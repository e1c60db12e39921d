//! MAS's config, workload, Service and listeners.

use super::prerequisites::entrances;
use super::{
    Answer, GIVE_MANIFESTS, GIVE_MAS_CONFIG, fail, hidden, no_manifests, no_mas_config, pass, unknown, version,
};
use crate::doctor::facts::{Facts, at};
use crate::doctor::found::{ListenerFacts, MasFacts, MasPod};
use crate::finding::Code;
use crate::guide::Scheme;
use crate::matrix::PeerKind;
use crate::world::PortRef;

/// The first MAS that speaks Synapse's modern API (MAS's docs/setup/homeserver.md).
const MAS_MODERN: (u32, u32) = (0, 20);

pub(in crate::doctor) fn config(facts: &Facts) -> Answer {
    let Some(mas) = &facts.mas else { return no_mas_config() };
    match &mas.config {
        Ok(_) => pass(format!("{}: MAS's config can be read", mas.source)),
        Err(error) => fail(error.to_string(), "mend it; `mas-cli config check` says the same without a network"),
    }
}

pub(in crate::doctor) fn workload(facts: &Facts) -> Answer {
    if facts.world.is_none() {
        return no_manifests();
    }
    if let Some(subject) = &facts.resolution.subject {
        let pods = subject.pods.len();
        return pass(format!("MAS runs in namespace {} ({pods} pods or templates)", subject.namespace));
    }
    let found = facts.findings.iter().find(|finding| finding.code == Code::SubjectUnclear);
    let said = found.map_or_else(|| "MAS's pods were not found".to_owned(), |finding| finding.message.clone());
    fail(said, "deploy MAS, or name its workload as `subject` of a TrafficMatrix")
}

pub(in crate::doctor) fn image(facts: &Facts) -> Answer {
    let Some(pod) = facts.found.pods.first() else { return unknown("no pod runs MAS's image", GIVE_MANIFESTS) };
    let Some(found) = pod.tag.as_deref().and_then(version) else {
        return unknown(
            format!("{}: MAS's image has no version in its tag", pod.place),
            "pin a version: an upgrade migrates the database",
        );
    };
    let said = format!("{}: MAS {}.{}", pod.place, found.0, found.1);
    if found < MAS_MODERN {
        fail(said, "use MAS 0.20 or newer: older ones cannot talk to `matrix_authentication_service`")
    } else {
        pass(said)
    }
}

/// The listener that serves people, and MAS's defaults when the config names none.
fn web(mas: &MasFacts) -> Option<&ListenerFacts> {
    let listeners = mas.listeners.as_ref()?;
    let serves = |listener: &&ListenerFacts, name: &str| listener.resources.iter().any(|resource| resource == name);
    listeners.iter().find(|l| serves(l, "human")).or_else(|| listeners.iter().find(|l| serves(l, "oauth")))
}

pub(in crate::doctor) fn listener(facts: &Facts) -> Answer {
    let Some(mas) = facts.mas_facts() else { return no_mas_config() };
    if mas.listeners.is_none() {
        return pass("MAS listens on [::]:8080, its default");
    }
    let Some(web) = web(mas) else {
        return fail(
            "no listener of MAS's config serves `human` or `oauth`",
            "add a listener with discovery, human, oauth, compat, graphql and assets",
        );
    };
    match (web.open.first(), web.loopback.first()) {
        (Some(port), _) => pass(format!("{}MAS listens on {port}", at(&web.place))),
        (None, Some(port)) => fail(
            format!("{}MAS listens on port {port} of localhost: no peer reaches it", at(&web.place)),
            "bind it to [::]:8080",
        ),
        (None, None) => {
            unknown(format!("{}where MAS listens is not known", at(&web.place)), "give the port in `binds`")
        }
    }
}

pub(in crate::doctor) fn resources(facts: &Facts) -> Answer {
    const NEEDED: [&str; 6] = ["discovery", "human", "oauth", "compat", "graphql", "assets"];
    let Some(mas) = facts.mas_facts() else { return no_mas_config() };
    let Some(listeners) = &mas.listeners else { return pass("MAS's defaults serve all that is needed") };
    let open: Vec<&ListenerFacts> = listeners.iter().filter(|listener| !listener.open.is_empty()).collect();
    let missing: Vec<&str> =
        NEEDED.into_iter().filter(|name| !open.iter().any(|l| l.resources.iter().any(|r| r == name))).collect();
    if missing.is_empty() {
        return pass("discovery, human, oauth, compat, graphql and assets are served");
    }
    let place = web(mas).map_or_else(String::new, |web| at(&web.place));
    fail(
        format!("{place}no reachable listener serves {}", missing.join(", ")),
        "add them to `resources`: Synapse asks discovery and oauth, old clients compat, people the rest",
    )
}

/// The port of a probe in numbers.
fn number(pod: &MasPod, port: &PortRef) -> Option<u16> {
    match port {
        PortRef::Number(number) => Some(*number),
        PortRef::Name(name) => pod.ports.iter().find(|(known, _)| known == name).map(|(_, number)| *number),
    }
}

pub(in crate::doctor) fn health(facts: &Facts) -> Answer {
    let pods = &facts.found.pods;
    let Some((pod, probe)) = pods.iter().find_map(|pod| Some((pod, pod.probes.first()?))) else {
        if pods.is_empty() {
            return unknown("no pod runs MAS's image", GIVE_MANIFESTS);
        }
        return unknown(
            "the kubelet asks MAS's container nothing over HTTP",
            "add a readinessProbe: GET /health on the port that serves `health`",
        );
    };
    let Some(mas) = facts.mas_facts() else { return no_mas_config() };
    let Some(port) = number(pod, &probe.port) else {
        return fail(
            format!("{}{} names port {}, which the container does not declare", at(&pod.place), probe.kind, probe.port),
            "declare the port, or give its number",
        );
    };
    let said = format!("{}{} asks {} on port {port}", at(&pod.place), probe.kind, probe.path);
    let todo = "mount `health` on a listener that is bound to [::] and let the probe ask that port: MAS's default is localhost:8081";
    let Some(listeners) = &mas.listeners else {
        // MAS's defaults: web on [::]:8080 without health, internal on localhost:8081 with it.
        return fail(format!("{said}, and MAS's default serves health on localhost:8081 only"), todo);
    };
    let health = listeners.iter().filter(|listener| listener.resources.iter().any(|name| name == "health"));
    let (mut open, mut loopback) = (Vec::new(), Vec::new());
    for listener in health {
        open.extend(&listener.open);
        loopback.extend(&listener.loopback);
    }
    if open.contains(&&port) {
        pass(said)
    } else if loopback.contains(&&port) {
        fail(format!("{said}, which MAS binds to localhost: the kubelet does not reach it"), todo)
    } else {
        fail(format!("{said}, where no listener serves `health`"), todo)
    }
}

pub(in crate::doctor) fn service(facts: &Facts) -> Answer {
    let Some(world) = &facts.world else { return no_manifests() };
    let Some(subject) = &facts.resolution.subject else {
        return unknown("MAS's pods were not found", "see mas-workload");
    };
    let services = facts.mas_services();
    let Some(service) = services.first() else {
        return fail(
            format!("no Service in {} selects MAS's pods", subject.namespace),
            "add a ClusterIP Service with MAS's labels, port 8080 to targetPort 8080",
        );
    };
    let pod_ports = |target: &PortRef| match target {
        PortRef::Number(number) => Some(*number),
        PortRef::Name(name) => subject.pods.iter().find_map(|pod| {
            world.pod(*pod).ports.iter().find(|port| port.name.as_deref() == Some(name)).map(|port| port.number)
        }),
    };
    let reached: Vec<u16> = services.iter().flat_map(|s| &s.ports).filter_map(|port| pod_ports(&port.target)).collect();
    let listens: Vec<u16> = match facts.mas_facts().map(|mas| (&mas.listeners, web(mas))) {
        Some((None, _)) => vec![8080],
        Some((Some(_), Some(web))) => web.open.clone(),
        Some((Some(_), None)) | None => Vec::new(),
    };
    if listens.is_empty() {
        return unknown(
            format!("{}: {} leads to MAS's pods; where MAS listens is not known", service.place, service.name.name),
            GIVE_MAS_CONFIG,
        );
    }
    if listens.iter().any(|port| reached.contains(port)) {
        return pass(format!("{}: {} leads to MAS's listener", service.place, service.name.name));
    }
    let say = |ports: &[u16]| ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    fail(
        format!(
            "{}: {} leads to port {}, MAS listens on {}",
            service.place,
            service.name.name,
            say(&reached),
            say(&listens)
        ),
        "set targetPort to the port of MAS's listener",
    )
}

/// Whether a path of an Ingress or a Traefik rule covers a suffix such as `login` below the client API.
fn covers(path: &str, what: &str) -> bool {
    let v3 = format!("/_matrix/client/v3/{what}");
    let rule = path.contains("_matrix/client") && path.contains(what);
    path == v3 || rule || (path.len() > 1 && v3.starts_with(path.trim_end_matches('/')))
}

pub(in crate::doctor) fn compat(facts: &Facts) -> Answer {
    if facts.world.is_none() {
        return no_manifests();
    }
    let services = facts.mas_services();
    if services.is_empty() {
        return unknown("MAS's Service was not found", "see mas-service");
    }
    let to_mas: Vec<_> =
        facts.found.paths.iter().filter(|path| services.iter().any(|s| s.name.name == path.service)).collect();
    let missing: Vec<&str> = ["login", "logout", "refresh"]
        .into_iter()
        .filter(|what| !to_mas.iter().any(|path| covers(&path.path, what)))
        .collect();
    if missing.is_empty() {
        return pass("login, logout and refresh of the Matrix host go to MAS");
    }
    let paths: Vec<String> = missing.iter().map(|what| format!("/_matrix/client/v3/{what}")).collect();
    if to_mas.is_empty() && facts.world.as_ref().is_some_and(|world| entrances(facts, world).is_empty()) {
        return unknown("no route to MAS was found", "see ingress-host");
    }
    fail(
        format!("no route leads {} to MAS: older clients cannot log in, out, or refresh", paths.join(", ")),
        "route /_matrix/client/*/(login|logout|refresh) of the Matrix host to MAS's Service (MAS's docs/setup/reverse-proxy.md)",
    )
}

pub(in crate::doctor) fn public_base(facts: &Facts) -> Answer {
    let Some(mas) = facts.mas_facts() else { return no_mas_config() };
    let Some(text) = mas.public_base.text() else {
        return match mas.public_base {
            crate::doctor::tree::Said::No => {
                fail("http.public_base is missing: MAS does not start without it", "set it to https://<auth host>/")
            }
            _ => hidden("http.public_base", &mas.public_base, "set it to https://<auth host>/"),
        };
    };
    let Some(base) = facts.public_base() else {
        return fail("http.public_base is no URL", "set it to https://<auth host>/");
    };
    if base.scheme != Scheme::Https {
        return fail(
            format!("http.public_base is {text}"),
            "use https: issuers must, and browsers refuse the cookies otherwise",
        );
    }
    let path = text.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map_or("", |(_, path)| path);
    let prefix = web(mas).and_then(|web| web.prefix.text());
    if !path.trim_matches('/').is_empty()
        && prefix.is_none_or(|prefix| prefix.trim_matches('/') != path.trim_matches('/'))
    {
        return fail(
            format!("http.public_base has the path /{path}, and MAS's listener has no such prefix"),
            "set http.listeners[].prefix to the path, or use a host of MAS's own",
        );
    }
    pass(format!("http.public_base is {base}"))
}

/// `default_trusted_proxies` of `http.rs`; 10.0.0.0/10 and not /8, whatever the docs say.
const TRUSTED: [&str; 6] = ["192.168.0.0/16", "172.16.0.0/12", "10.0.0.0/10", "127.0.0.0/8", "fd00::/8", "::1/128"];

pub(in crate::doctor) fn proxies(facts: &Facts) -> Answer {
    let Some(mas) = facts.mas_facts() else { return no_mas_config() };
    let Some(world) = &facts.world else { return no_manifests() };
    let given = mas.trusted_proxies.clone();
    let trusted: Vec<String> = given.clone().unwrap_or_else(|| TRUSTED.map(str::to_owned).to_vec());
    let nets: Vec<ipnet::IpNet> = trusted.iter().filter_map(|net| net.parse().ok()).collect();
    let edge = facts
        .resolution
        .edges
        .iter()
        .find(|edge| edge.edge.name.ends_with("-to-mas") && edge.edge.name != "synapse-to-mas");
    let pods = edge.iter().flat_map(|edge| &edge.from).filter_map(|peer| match &peer.kind {
        PeerKind::Pods { pods, .. } => Some(pods),
        _ => None,
    });
    let mut addresses = pods.flatten().flat_map(|pod| &world.pod(*pod).addresses).peekable();
    if addresses.peek().is_none() {
        return unknown("the ingress controller's pods have no address here", "give a dump with pods and their status");
    }
    match addresses.find(|address| !nets.iter().any(|net| net.contains(*address))) {
        None => pass("MAS trusts what the ingress controller says of its clients"),
        Some(address) => fail(
            format!(
                "MAS does not trust the ingress controller at {address} ({}): one rate limit counts for everybody",
                if given.is_some() { "http.trusted_proxies" } else { "its default is 10.0.0.0/10, not /8" }
            ),
            "name the pods' range in http.trusted_proxies",
        ),
    }
}
