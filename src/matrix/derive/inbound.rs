//! Who calls MAS: the ingress controller and Synapse.

use super::table::{MAS_PORT, SYNAPSE_TO_MAS, TRAEFIK_TO_MAS};
use super::{Ask, CONFIG, Context, Draft, Exchange, Expect, Party, Port, Provenance, Said, Setting, party, says};
use crate::finding::{Code, Finding};
use crate::guide::mas_config::{Bind, Listener, Resource};
use crate::guide::{Cite, GuideValues, MasConfig, Url};
use crate::world::PortRef;

pub(super) fn derive(context: &Context<'_>, draft: &mut Draft) {
    report_unreachable(context, draft);
    // People's pages and clients' API both come through the ingress controller.
    let public: &[&[Resource]] =
        &[&[Resource::Discovery, Resource::OAuth, Resource::Human], &[Resource::Discovery, Resource::OAuth]];
    let said = listeners(context, TRAEFIK_TO_MAS.section, public, |guide| &guide.ingress_host);
    if let Some(mut settled) = draft.settle(TRAEFIK_TO_MAS.name, said) {
        let from = ingress(context, draft);
        // The config's words for the public host belong to this edge too.
        settled.provenance.extend(context.config.and_then(|c| c.public_base.cite()).map(|cite| says(CONFIG, cite)));
        draft.add(TRAEFIK_TO_MAS.name, &TRAEFIK_TO_MAS, from, settled, by_public_url(context), Expect::Allow);
    }
    // Synapse asks `/oauth2/introspect` and the discovery document (`synapse/api/auth/mas.py`).
    let api: &[&[Resource]] = &[&[Resource::Discovery, Resource::OAuth]];
    let said = listeners(context, SYNAPSE_TO_MAS.section, api, |guide| &guide.synapse_endpoint);
    if let Some(mut settled) = draft.settle(SYNAPSE_TO_MAS.name, said) {
        let from = synapse(context);
        settled.provenance.extend(context.config.and_then(|c| c.endpoint.cite()).map(|cite| says(CONFIG, cite)));
        draft.add(SYNAPSE_TO_MAS.name, &SYNAPSE_TO_MAS, from, settled, Exchange::Whoami, Expect::Allow);
    }
}

/// MAS by its public URL, where a source has one: what answers there is the ingress controller, and behind it MAS.
fn by_public_url(context: &Context<'_>) -> Exchange {
    let config = context.config;
    let base = config.and_then(|config| config.public_base.known()).filter(|url| party(&url.host).is_some());
    let by_guide = || {
        let host = context.guides.iter().find_map(|guide| guide.ingress_host.known())?;
        Some(format!("https://{host}/"))
    };
    let issuer = config.and_then(|config| config.issuer.as_ref()).map(Url::normalized);
    match base.map(Url::normalized).or_else(by_guide) {
        Some(url) => Exchange::MasPublic { issuer: issuer.unwrap_or_else(|| url.clone()), url },
        None => Exchange::MasDiscovery { issuer },
    }
}

/// What the sources say about MAS's listener. `caller` is the guide's value about who calls.
fn listeners<T>(
    context: &Context<'_>,
    section: &'static str,
    wanted: &[&[Resource]],
    caller: impl Fn(&GuideValues) -> &Setting<T>,
) -> Vec<Said> {
    let config = context.config.map_or(Said::Silent, |config| configured(config, wanted));
    let mut said: Vec<Said> = Vec::new();
    for guide in &context.guides {
        let cite = guide.target_port.cite().unwrap_or(&guide.block);
        let mut provenance = vec![says(section, cite)];
        provenance.extend(caller(guide).cite().map(|cite| says(section, cite)));
        let ask = |port| Ask { party: Party::Subject, port, provenance: provenance.clone() };
        said.push(match &guide.target_port {
            // A container port's name says less than the number that MAS listens on.
            Setting::Known(PortRef::Name(_), _) if matches!(config, Said::Targets(_)) => Said::Somewhere(ask(UNSAID)),
            Setting::Known(port, _) => Said::Targets(vec![ask(Port::Pod(port.clone()))]),
            Setting::Absent | Setting::Hidden(_) => Said::Somewhere(ask(UNSAID)),
        });
    }
    said.push(config);
    if context.only_peers() {
        let provenance = Provenance { place: None, section: section.to_owned(), says: "MAS's listener".to_owned() };
        said.push(Said::Somewhere(Ask::new(Party::Subject, UNSAID, provenance)));
    }
    said
}

/// Of MAS itself, where its config is there and names no listener.
const DEFAULT: Port = Port::Pod(PortRef::Number(MAS_PORT));
/// Where no source says: the world's Services know better than a default.
const UNSAID: Port = Port::Unknown { default: Some(MAS_PORT) };

/// What the config says: the ports of the listeners that serve the first of the wanted sets that any listener serves whole.
fn configured(config: &MasConfig, wanted: &[&[Resource]]) -> Said {
    let somewhere = |port, says: &str, place| {
        let provenance = Provenance { place, section: CONFIG.to_owned(), says: says.to_owned() };
        Said::Somewhere(Ask::new(Party::Subject, port, provenance))
    };
    let list = match &config.listeners {
        Setting::Absent => return somewhere(DEFAULT, "http.listeners (not given: MAS's default)", None),
        Setting::Hidden(cite) => {
            return somewhere(Port::Unknown { default: Some(MAS_PORT) }, &cite.key, Some(cite.place.clone()));
        }
        Setting::Known(list, _) => list,
    };
    let mut asks: Vec<Ask> = Vec::new();
    let mut unknown = None;
    for bind in serving(list, wanted).into_iter().flat_map(|listener| &listener.binds) {
        match bind {
            Bind::Port(port, cite) => {
                let port = Port::Pod(PortRef::Number(*port));
                match asks.iter_mut().find(|ask| ask.port == port) {
                    Some(ask) => ask.provenance.push(says(CONFIG, cite)),
                    None => asks.push(Ask::new(Party::Subject, port, says(CONFIG, cite))),
                }
            }
            Bind::Unknown(cite) => unknown = Some(cite),
            Bind::Loopback(..) | Bind::Unix(_) => {}
        }
    }
    match unknown {
        _ if !asks.is_empty() => Said::Targets(asks),
        Some(cite) => somewhere(Port::Unknown { default: Some(MAS_PORT) }, &cite.key, Some(cite.place.clone())),
        // Reported as UnreachableBind.
        None => Said::Silent,
    }
}

/// The listeners that peers mean: those that serve a whole set, or, split over several, any part of the last set.
fn serving<'l>(list: &'l [Listener], wanted: &[&[Resource]]) -> Vec<&'l Listener> {
    let has = |listener: &Listener, resource: &Resource| match &listener.resources {
        Setting::Known(resources, _) => resources.contains(resource),
        Setting::Hidden(_) => true,
        Setting::Absent => false,
    };
    for set in wanted {
        let whole: Vec<&Listener> = list.iter().filter(|l| set.iter().all(|resource| has(l, resource))).collect();
        if whole.iter().any(|listener| is_reachable(listener)) {
            return whole;
        }
    }
    let parts = wanted.last().copied().unwrap_or_default();
    list.iter().filter(|l| parts.iter().any(|resource| has(l, resource))).collect()
}

fn is_reachable(listener: &Listener) -> bool {
    listener.binds.iter().any(|bind| matches!(bind, Bind::Port(..) | Bind::Unknown(_)))
}

/// MAS listens for people and Synapse, but where no peer gets to.
fn report_unreachable(context: &Context<'_>, draft: &mut Draft) {
    let Some(Setting::Known(list, cite)) = context.config.map(|config| &config.listeners) else {
        return;
    };
    let listeners = serving(list, &[&[Resource::Discovery, Resource::OAuth]]);
    if listeners.iter().any(|listener| is_reachable(listener)) {
        return;
    }
    let bind = listeners.iter().find_map(|listener| listener.binds.first());
    let (cite, why) = match bind {
        Some(Bind::Loopback(port, cite)) => (cite, format!("MAS listens on port {port} of a loopback address only")),
        Some(Bind::Unix(cite)) => (cite, "MAS listens on a Unix socket only".to_owned()),
        _ => (cite, "no listener serves `discovery` and `oauth`".to_owned()),
    };
    let finding = Finding::new(
        Code::UnreachableBind,
        &cite.key,
        format!("{why}: neither the ingress controller nor Synapse can reach it"),
        "bind the listener with `discovery`, `oauth` and `human` to `[::]:8080`",
    );
    draft.findings.push(finding.at(cite.place.clone()));
}

/// The ingress controller by the public host; both hosts when the sources differ.
fn ingress(context: &Context<'_>, draft: &mut Draft) -> Vec<Party> {
    let mut hosts: Vec<(String, Cite)> = Vec::new();
    let guides = context.guides.iter().filter_map(|guide| match &guide.ingress_host {
        Setting::Known(host, cite) => Some((host.clone(), cite.clone())),
        _ => None,
    });
    let config = context.config.and_then(|config| match &config.public_base {
        // MAS's own default is `http://[::]:8080`, which names nobody.
        Setting::Known(url, cite) => party(&url.host).map(|_| (url.host.clone(), cite.clone())),
        _ => None,
    });
    for (host, cite) in guides.chain(config) {
        if !hosts.iter().any(|(known, _)| *known == host) {
            hosts.push((host, cite));
        }
    }
    if let [(first, first_cite), (second, second_cite), ..] = &hosts[..] {
        let say = |host: &str, cite: &Cite| format!("{} (`{}`) says {host}", cite.place, cite.key);
        let message = format!("{}, but {}; both stay allowed", say(first, first_cite), say(second, second_cite));
        draft.contradiction(TRAEFIK_TO_MAS.name, Some(&first_cite.place), message);
    }
    if hosts.is_empty() {
        return vec![Party::IngressController(None)];
    }
    hosts.into_iter().map(|(host, _)| Party::IngressController(Some(host))).collect()
}

/// Synapse's own pods are behind the endpoint that MAS calls.
fn synapse(context: &Context<'_>) -> Vec<Party> {
    let urls = context.guides.iter().map(|guide| &guide.synapse_endpoint).chain(context.config.map(|c| &c.endpoint));
    let mut from: Vec<Party> = Vec::new();
    for party in urls.filter_map(|url| party(&url.known()?.host)) {
        if !from.contains(&party) {
            from.push(party);
        }
    }
    if from.is_empty() {
        from.push(Party::Unknown { peer: "synapse" });
    }
    from
}
