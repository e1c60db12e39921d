//! Identity providers: one edge per provider that is switched on, matched across sources by issuer.

use super::table::{MAS_TO_PROVIDER, Row};
use super::{
    Ask, CONFIG, Context, Draft, Exchange, Party, Port, Said, Setting, Settled, Target, party, said_url, says, unique,
};
use crate::finding::{Code, Finding};
use crate::guide::mas_config::{Discovery, ProviderConfig};
use crate::guide::values::ProviderValues;
use crate::guide::{Cite, Scheme, Url};

const ISSUER: Party = Party::Unknown { peer: "issuer" };

/// One provider as one source has it.
struct Provider<'s> {
    section: &'static str,
    cite: &'s Cite,
    id: &'s Setting<String>,
    name: &'s Setting<String>,
    issuer: &'s Setting<Url>,
    discovery: Discovery,
    /// What MAS asks besides discovery, as suffix and URL. The authorization endpoint is the browser's business.
    endpoints: Vec<(&'static str, &'s Setting<Url>)>,
}

impl<'s> Provider<'s> {
    fn of_values(values: &'s ProviderValues) -> Self {
        Self {
            section: MAS_TO_PROVIDER.section,
            cite: &values.cite,
            id: &values.id,
            name: &values.name,
            issuer: &values.issuer,
            discovery: Discovery::Asked,
            endpoints: Vec::new(),
        }
    }

    fn of_config(config: &'s ProviderConfig) -> Self {
        let mut endpoints = vec![("token", &config.token_endpoint), ("jwks", &config.jwks_uri)];
        // MAS asks for the profile only when told to (`fetch_userinfo`).
        if config.fetch_userinfo.known() == Some(&true) {
            endpoints.push(("userinfo", &config.userinfo_endpoint));
        }
        Self {
            section: CONFIG,
            cite: &config.cite,
            id: &config.id,
            name: &config.name,
            issuer: &config.issuer,
            discovery: config.discovery.known().copied().unwrap_or(Discovery::Asked),
            endpoints,
        }
    }

    fn same_issuer(&self, other: &Self) -> bool {
        matches!((self.issuer.known(), other.issuer.known()), (Some(a), Some(b)) if a.same_place(b))
    }

    fn same_name(&self, other: &Self) -> bool {
        self.slug().is_some() && self.slug() == other.slug()
    }

    /// Its own name for the edge: id unless that is a ULID, name, issuer's host.
    fn slug(&self) -> Option<String> {
        let id = self.id.known().filter(|id| !is_ulid(id)).map(String::as_str);
        let host = || self.issuer.known().map(|issuer| issuer.host.as_str());
        id.and_then(slug).or_else(|| self.name.known().and_then(|name| slug(name))).or_else(|| host().and_then(slug))
    }

    /// The URLs that are known, without those that stay inside the pod.
    fn known_endpoints(&self) -> impl Iterator<Item = (&'static str, &'s Url, &'s Cite)> + '_ {
        self.endpoints.iter().filter_map(|(suffix, url)| match url {
            Setting::Known(url, cite) => Some((*suffix, url, cite)),
            Setting::Absent | Setting::Hidden(_) => None,
        })
    }

    /// Where the main edge goes: the issuer, or without discovery the first endpoint.
    fn main(&self) -> Said {
        let unknown = |cite: &Cite| {
            Said::Somewhere(Ask::new(ISSUER, Port::Unknown { default: Some(443) }, says(self.section, cite)))
        };
        if self.discovery == Discovery::Disabled {
            return match self.known_endpoints().next() {
                Some((_, url, cite)) => said_url(self.section, url, cite),
                None => unknown(self.cite),
            };
        }
        match self.issuer {
            Setting::Known(url, cite) => said_url(self.section, url, cite),
            Setting::Hidden(cite) => unknown(cite),
            Setting::Absent => unknown(self.cite),
        }
    }

    fn exchange(&self) -> Option<Exchange> {
        if self.discovery == Discovery::Disabled {
            return self.known_endpoints().next().map(|(_, url, _)| http(url));
        }
        self.issuer.known().map(|issuer| Exchange::Oidc { issuer: issuer.as_str().to_owned() })
    }
}

pub(super) fn http(url: &Url) -> Exchange {
    Exchange::Http { tls: url.scheme == Scheme::Https, host: url.host.clone() }
}

pub(super) fn derive(context: &Context<'_>, draft: &mut Draft) {
    let groups = groups(context, draft);
    // The only way to log in, as far as the sources say: a password form that nobody mentions may have no passwords behind it.
    let passwords = context.config.is_some_and(|config| config.passwords_enabled.known() == Some(&true));
    let tier = u8::from(groups.len() != 1 || passwords);
    let row = Row { tier, ..MAS_TO_PROVIDER };
    for group in &groups {
        let name = edges(group, &row, draft);
        report_ids(group, &name, draft);
    }
}

/// Providers that are switched on, each group one provider as several sources have it.
fn groups<'s>(context: &Context<'s>, draft: &mut Draft) -> Vec<Vec<Provider<'s>>> {
    let mut groups: Vec<Vec<Provider<'s>>> = Vec::new();
    for guide in &context.guides {
        if let Setting::Known(false, cite) = &guide.oidc_enabled {
            if !guide.providers.is_empty() {
                draft.notes.push(format!("`{}` is false, so its providers need no edge ({})", cite.key, cite.place));
            }
            continue;
        }
        let on = |provider: &&ProviderValues| provider.enabled.known() != Some(&false);
        join(&mut groups, guide.providers.iter().filter(on).map(Provider::of_values).collect());
    }
    if let Some(config) = context.config {
        let on = |provider: &&ProviderConfig| provider.enabled.known() != Some(&false);
        join(&mut groups, config.providers.iter().filter(on).map(Provider::of_config).collect());
    }
    groups
}

/// Adds a source's providers: first to the group with the same issuer, then to one of the same name, else as a group of its own.
fn join<'s>(groups: &mut Vec<Vec<Provider<'s>>>, source: Vec<Provider<'s>>) {
    // A group takes one provider of each source: two entries of one source are two providers.
    let mut open: Vec<bool> = vec![true; groups.len()];
    let mut rest: Vec<Option<Provider<'s>>> = source.into_iter().map(Some).collect();
    let rules: [fn(&Provider<'s>, &Provider<'s>) -> bool; 2] = [Provider::same_issuer, Provider::same_name];
    for same in rules {
        for slot in &mut rest {
            let Some(provider) = slot.as_ref() else {
                continue;
            };
            let found = (0..open.len()).find(|&index| open[index] && groups[index].iter().any(|p| same(p, provider)));
            if let (Some(index), Some(provider)) = (found, found.and_then(|_| slot.take())) {
                open[index] = false;
                groups[index].push(provider);
            }
        }
    }
    groups.extend(rest.into_iter().flatten().map(|provider| vec![provider]));
}

/// Returns the name of the provider's main edge.
fn edges(group: &[Provider<'_>], row: &Row, draft: &mut Draft) -> String {
    let name = format!("mas-to-{}", name_of(group));
    let Some(settled) = draft.settle(&name, group.iter().map(Provider::main).collect()) else {
        return name;
    };
    // The last source, MAS's config, is the one that runs.
    let exchange = group.iter().rev().find_map(Provider::exchange).unwrap_or(Exchange::Tcp);
    let mut reached: Vec<(Party, Port)> = settled.to.iter().map(|t| (t.party.clone(), t.port.clone())).collect();
    draft.outward(&name, row, settled, exchange);
    let main = draft.edges.last().map_or(name, |edge| edge.name.clone());
    for provider in group {
        for (suffix, url, cite) in provider.known_endpoints() {
            let Some(party) = party(&url.host) else {
                continue;
            };
            let port = Port::Client(crate::world::PortRef::Number(url.port_or_default()));
            if reached.contains(&(party.clone(), port.clone())) {
                continue;
            }
            reached.push((party.clone(), port.clone()));
            let ask = Ask::new(party.clone(), port.clone(), says(provider.section, cite));
            let to = vec![Target { party, port, place: Some(cite.place.clone()) }];
            let settled = Settled { to, provenance: unique(vec![ask]) };
            draft.outward(&format!("{main}-{suffix}"), row, settled, http(url));
        }
    }
    main
}

/// The first name that any source has for the provider, in the order id, name, host.
fn name_of(group: &[Provider<'_>]) -> String {
    let id = group.iter().find_map(|p| p.id.known().filter(|id| !is_ulid(id)).and_then(|id| slug(id)));
    let name = || group.iter().find_map(|p| p.name.known().and_then(|name| slug(name)));
    let host = || group.iter().find_map(|p| p.issuer.known().and_then(|issuer| slug(&issuer.host)));
    let slug = id.or_else(name).or_else(host).unwrap_or_else(|| "provider".to_owned());
    if NOT_PROVIDERS.contains(&slug.as_str()) { format!("{slug}-idp") } else { slug }
}

/// What follows `mas-to-` in the names of other edges; a provider must not take one of them.
const NOT_PROVIDERS: [&str; 10] =
    ["postgres", "synapse", "dns", "dns-udp", "dns-tcp", "smtp", "otlp", "sentry", "captcha", "stranger"];

/// MAS parses a provider's id as a ULID and does not start on another one (`crates/config/src/sections/upstream_oauth2.rs`).
fn report_ids(group: &[Provider<'_>], edge: &str, draft: &mut Draft) {
    for provider in group {
        if let Setting::Known(id, cite) = provider.id
            && !is_ulid(id)
        {
            let finding = Finding::new(
                Code::GuideUnsound,
                &cite.key,
                format!("`{}` is no ULID: MAS refuses a config with it and does not start", cite.key),
                "give the provider a ULID of its own, and put it into its redirect URI: /upstream/callback/<ULID>",
            );
            draft.findings.push(finding.at(cite.place.clone()).on(edge));
        }
    }
}

/// 26 characters of Crockford's base32, at most 128 bits (github.com/ulid/spec).
fn is_ulid(text: &str) -> bool {
    let crockford = |b: u8| b.is_ascii_alphanumeric() && !matches!(b.to_ascii_uppercase(), b'I' | b'L' | b'O' | b'U');
    text.len() == 26 && text.bytes().all(crockford) && text.as_bytes()[0] <= b'7'
}

/// Lower-case letters, digits and single hyphens, at most 40; `None` when nothing is left.
fn slug(text: &str) -> Option<String> {
    let mut slug = String::new();
    for c in text.chars().map(|c| c.to_ascii_lowercase()) {
        if c.is_ascii_alphanumeric() {
            slug.push(c);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
        if slug.len() == 40 {
            break;
        }
    }
    let slug = slug.trim_end_matches('-');
    (!slug.is_empty()).then(|| slug.to_owned())
}
