//! Whom MAS calls: database, Synapse, DNS, mail.

use super::table::{
    MAS_TO_DNS_TCP, MAS_TO_DNS_UDP, MAS_TO_POSTGRES, MAS_TO_SMTP, MAS_TO_SYNAPSE, POSTGRES_PORT, Row, SYNAPSE_PORT,
};
use super::{
    Ask, CONFIG, Context, Draft, Exchange, Party, Port, Provenance, Said, Setting, Settled, Target, client_port, party,
    said_url, says,
};
use crate::finding::{Code, Finding};
use crate::guide::values::{MailHost, MailTransport};
use crate::guide::{Cite, Database, DatabaseServer, GuideValues, MasConfig, Url};
use crate::matrix::{SmtpMode, SslNegotiation};
use crate::world::PortRef;

const POSTGRES: Party = Party::Unknown { peer: "postgres" };
const SYNAPSE: Party = Party::Unknown { peer: "synapse" };
const SMTP: Party = Party::Unknown { peer: "smtp" };

/// The edge is there, its source does not say where it goes.
fn somewhere(row: &Row, party: Party, port: Port, cite: Option<&Cite>, says: &str) -> Said {
    let place = cite.map(|cite| cite.place.clone());
    let says = cite.map_or(says, |cite| &cite.key).to_owned();
    Said::Somewhere(Ask::new(party, port, Provenance { place, section: row.section.to_owned(), says }))
}

/// For a TrafficMatrix with peers alone.
fn by_peers(context: &Context<'_>, row: &Row, party: Party, default: u16) -> Said {
    if !context.only_peers() {
        return Said::Silent;
    }
    somewhere(row, party, Port::Unknown { default: Some(default) }, None, "spec.peers")
}

pub(super) fn postgres(context: &Context<'_>, draft: &mut Draft) {
    let row = &MAS_TO_POSTGRES;
    let mut said: Vec<Said> = Vec::new();
    for guide in &context.guides {
        let cite = guide.database.section.as_ref().unwrap_or(&guide.block);
        said.push(database(row.section, &guide.database, Some(cite), row));
    }
    if let Some(config) = context.config {
        let section = config.database.section.as_ref();
        // Without a section MAS asks `PGHOST` or a local socket; another source may know better.
        let silent = section.is_none() && !context.guides.is_empty();
        said.push(if silent { Said::Silent } else { database(CONFIG, &config.database, section, row) });
    }
    said.push(by_peers(context, row, POSTGRES, POSTGRES_PORT));
    if let Some(settled) = draft.settle(row.name, said) {
        let sections =
            || context.config.map(|c| &c.database).into_iter().chain(context.guides.iter().map(|g| &g.database));
        let ssl_mode = sections().find_map(|database| database.ssl_mode.known().copied()).unwrap_or_default();
        let login = sections().find_map(Database::login);
        let negotiation = SslNegotiation::Postgres;
        draft.outward(row.name, row, settled, Exchange::Postgres { ssl_mode, negotiation, login });
    }
}

fn database(section: &str, database: &Database, cite: Option<&Cite>, row: &Row) -> Said {
    let unsaid = || {
        let port = match &database.port {
            Setting::Known(port, _) => Port::Client(PortRef::Number(*port)),
            Setting::Absent | Setting::Hidden(_) => Port::Unknown { default: Some(POSTGRES_PORT) },
        };
        let cite = database.server.cite().or(cite);
        let row = Row { section: if section == CONFIG { CONFIG } else { row.section }, ..*row };
        somewhere(&row, POSTGRES, port, cite, "database (not given: PGHOST or a local socket decides)")
    };
    let (server, cite) = match &database.server {
        Setting::Known(server, cite) => (server, cite),
        Setting::Absent | Setting::Hidden(_) => return unsaid(),
    };
    match server {
        DatabaseServer::Unsaid => unsaid(),
        DatabaseServer::Socket => Said::Nowhere { why: format!("`{}` is a Unix socket", cite.key), cite: cite.clone() },
        DatabaseServer::Host(host) => match party(host) {
            Some(party) => {
                let port = client_port(&database.port, POSTGRES_PORT);
                Said::Targets(vec![Ask::new(party, port, says(section, cite))])
            }
            None => Said::Nowhere { why: format!("`{}` stays inside the pod ({host})", cite.key), cite: cite.clone() },
        },
    }
}

pub(super) fn synapse(context: &Context<'_>, draft: &mut Draft) {
    let row = &MAS_TO_SYNAPSE;
    let default = Port::Unknown { default: Some(SYNAPSE_PORT) };
    let mut said: Vec<Said> = Vec::new();
    for guide in &context.guides {
        said.push(match &guide.synapse_endpoint {
            Setting::Known(url, cite) => said_url(row.section, url, cite),
            Setting::Hidden(cite) => somewhere(row, SYNAPSE, default.clone(), Some(cite), ""),
            Setting::Absent => somewhere(row, SYNAPSE, default.clone(), Some(&guide.block), ""),
        });
    }
    if let Some(config) = context.config {
        said.push(match &config.endpoint {
            Setting::Known(url, cite) => said_url(CONFIG, url, cite),
            // MAS's own default, localhost:8008, is of no use in a cluster: the value comes from elsewhere.
            Setting::Absent if !context.guides.is_empty() => Said::Silent,
            Setting::Hidden(_) | Setting::Absent => {
                let cite = config.endpoint.cite().or(config.matrix.as_ref());
                somewhere(&Row { section: CONFIG, ..*row }, SYNAPSE, default, cite, "matrix.endpoint (not given)")
            }
        });
    }
    said.push(by_peers(context, row, SYNAPSE, SYNAPSE_PORT));
    if let Some(settled) = draft.settle(row.name, said) {
        let configured = context.config.and_then(|config| config.endpoint.known());
        let endpoint = configured.or_else(|| context.guides.iter().find_map(|guide| guide.synapse_endpoint.known()));
        let exchange = endpoint.map_or(Exchange::Tcp, |url| Exchange::Synapse { endpoint: url.as_str().to_owned() });
        draft.outward(row.name, row, settled, exchange);
        report_port_trap(context, draft);
    }
}

/// The guide's URL names the pod port, but its own chart's Service listens on 80 (facts/mas-edges.md §1.4).
fn report_port_trap(context: &Context<'_>, draft: &mut Draft) {
    let confirmed = |url: &Url| context.config.and_then(|c| c.endpoint.known()).is_some_and(|c| c.same_place(url));
    for guide in &context.guides {
        let Setting::Known(url, cite) = &guide.synapse_endpoint else {
            continue;
        };
        let own_chart = url.host.split('.').next().is_some_and(|name| name.ends_with("matrix-synapse-synapse"));
        if own_chart && url.port == Some(SYNAPSE_PORT) && !confirmed(url) {
            let finding = Finding::new(
                Code::GuideUnsound,
                &cite.key,
                format!("`{}` dials port 8008, but the Service of the guide's own chart listens on 80", cite.key),
                "look at the Service: if it has no port 8008, drop the port from the URL; policies need 8008 either way",
            );
            draft.findings.push(finding.at(cite.place.clone()).on(MAS_TO_SYNAPSE.name));
        }
    }
}

pub(super) fn dns(context: &Context<'_>, draft: &mut Draft) {
    let mut provenance: Vec<Provenance> = Vec::new();
    for guide in &context.guides {
        // The first name that MAS has to look up.
        let cite = first_name(guide).unwrap_or(&guide.block);
        provenance.push(says(MAS_TO_DNS_UDP.section, cite));
    }
    if let Some(config) = context.config {
        let cite = config_name(config);
        provenance.push(Provenance {
            place: cite.map(|cite| cite.place.clone()),
            section: CONFIG.to_owned(),
            says: cite.map_or("names of servers", |cite| &cite.key).to_owned(),
        });
    }
    if context.only_peers() {
        let section = MAS_TO_DNS_UDP.section.to_owned();
        provenance.push(Provenance { place: None, section, says: "names of peers".to_owned() });
    }
    for (row, exchange) in [(&MAS_TO_DNS_UDP, Exchange::DnsUdp), (&MAS_TO_DNS_TCP, Exchange::DnsTcp)] {
        let place = provenance.iter().find_map(|provenance| provenance.place.clone());
        let to = vec![Target { party: Party::ClusterDns, port: Port::Client(PortRef::Number(53)), place }];
        draft.outward(row.name, row, Settled { to, provenance: provenance.clone() }, exchange);
    }
}

fn first_name(guide: &GuideValues) -> Option<&Cite> {
    let issuers = guide.providers.iter().map(|provider| &provider.issuer);
    std::iter::once(&guide.synapse_endpoint).chain(issuers).find_map(|url| match url {
        Setting::Known(url, cite) => matches!(party(&url.host), Some(Party::Host { .. })).then_some(cite),
        Setting::Absent | Setting::Hidden(_) => None,
    })
}

fn config_name(config: &MasConfig) -> Option<&Cite> {
    match (&config.database.server, &config.endpoint) {
        (Setting::Known(DatabaseServer::Host(_), cite), _) | (_, Setting::Known(_, cite)) => Some(cite),
        _ => None,
    }
}

/// A mail section, of the guide's values or of MAS's config.
struct Mail<'s> {
    enabled: Option<&'s Setting<bool>>,
    transport: &'s Setting<MailTransport>,
    mode: &'s Setting<SmtpMode>,
    hostname: &'s Setting<MailHost>,
    port: &'s Setting<u16>,
    logs_in: bool,
    cite: &'s Cite,
}

pub(super) fn smtp(context: &Context<'_>, draft: &mut Draft) {
    let row = &MAS_TO_SMTP;
    let mut said: Vec<Said> = Vec::new();
    let mut mails: Vec<Mail<'_>> = Vec::new();
    for guide in &context.guides {
        let mail = Mail {
            enabled: Some(&guide.email.enabled),
            transport: &guide.email.transport,
            mode: &guide.email.mode,
            hostname: &guide.email.hostname,
            port: &guide.email.port,
            logs_in: guide.email.logs_in,
            // Mail is on unless values say otherwise: the guide's default.
            cite: guide.email.section.as_ref().unwrap_or(&guide.block),
        };
        said.push(relay(row.section, &mail));
        mails.push(mail);
    }
    // MAS sends no mail without the section (`transport` defaults to blackhole).
    if let Some(config) = context.config
        && let Some(cite) = &config.email.section
    {
        let email = &config.email;
        let (mode, hostname, port) = (&email.mode, &email.hostname, &email.port);
        let logs_in = email.logs_in;
        let mail = Mail { enabled: None, transport: &email.transport, mode, hostname, port, logs_in, cite };
        said.push(relay(CONFIG, &mail));
        mails.push(mail);
    }
    if context.has_peer("smtp") {
        said.push(by_peers(context, row, SMTP, SmtpMode::StartTls.default_port()));
    }
    report_two_minds(&mails, &said, draft);
    let settled = draft.settle(row.name, said);
    let sendmail = mails.iter().any(|mail| mail.transport.known() == Some(&MailTransport::Sendmail));
    if settled.is_none() && !sendmail {
        report_missing_mail(context, draft);
    }
    if let Some(settled) = settled {
        // The last source, MAS's config, is the one that runs.
        let mode = mails.iter().rev().find_map(|mail| mail.mode.known().copied());
        let mode = mode.unwrap_or_else(|| mode_by_port(&settled.to));
        let auth = mails.last().is_some_and(|mail| mail.logs_in);
        draft.outward(row.name, row, settled, Exchange::Smtp { mode, auth });
    }
}

fn relay(section: &str, mail: &Mail<'_>) -> Said {
    let nowhere = |why: &str, cite: &Cite| Said::Nowhere { why: format!("`{}` {why}", cite.key), cite: cite.clone() };
    if let Some(Setting::Known(false, cite)) = mail.enabled {
        return nowhere("is false", cite);
    }
    match mail.transport {
        Setting::Known(MailTransport::Blackhole, cite) => return nowhere("throws mails away", cite),
        Setting::Known(MailTransport::Sendmail, cite) => return nowhere("sends by a local program", cite),
        Setting::Known(MailTransport::Smtp, _) | Setting::Absent | Setting::Hidden(_) => {}
    }
    let mode = mail.mode.known().copied().unwrap_or(SmtpMode::StartTls);
    match mail.hostname {
        Setting::Known(MailHost::Empty, cite) => nowhere("is empty, so no mail is configured", cite),
        Setting::Known(MailHost::Host(host), cite) => match party(host) {
            // Without a mode the port is a guess.
            Some(party) if mail.mode.known().is_none() && mail.port.is_absent() => {
                let port = Port::Unknown { default: Some(mode.default_port()) };
                Said::Targets(vec![Ask::new(party, port, says(section, cite))])
            }
            Some(party) => {
                let port = client_port(mail.port, mode.default_port());
                Said::Targets(vec![Ask::new(party, port, says(section, cite))])
            }
            None => nowhere("stays inside the pod", cite),
        },
        Setting::Absent | Setting::Hidden(_) => {
            let port = match mail.port {
                Setting::Known(port, _) => Port::Client(PortRef::Number(*port)),
                Setting::Absent | Setting::Hidden(_) => Port::Unknown { default: Some(mode.default_port()) },
            };
            let cite = mail.hostname.cite().unwrap_or(mail.cite);
            Said::Somewhere(Ask::new(SMTP, port, says(section, cite)))
        }
    }
}

/// One source switches mail on without a relay, another switches it off: there is no edge, but somebody expects mails.
fn report_two_minds(mails: &[Mail<'_>], said: &[Said], draft: &mut Draft) {
    let on = mails.iter().find_map(|mail| match mail.enabled {
        Some(Setting::Known(true, cite)) => Some(cite),
        _ => None,
    });
    let off = said.iter().find_map(|said| match said {
        Said::Nowhere { why, cite } => Some((why, cite)),
        _ => None,
    });
    let has_target = said.iter().any(|said| matches!(said, Said::Targets(_)));
    if let (Some(on), Some((why, cite)), false, true) = (on, off, has_target, mails.len() > 1) {
        let message = format!("{} (`{}`) switches mail on, but {why} ({})", on.place, on.key, cite.place);
        draft.contradiction(MAS_TO_SMTP.name, Some(&on.place), message);
    }
}

/// Registered ports tell the mode where no source does (RFC 6409, RFC 8314).
fn mode_by_port(to: &[Target]) -> SmtpMode {
    match to.first().map(|target| &target.port) {
        Some(Port::Client(PortRef::Number(465))) => SmtpMode::Tls,
        Some(Port::Client(PortRef::Number(25))) => SmtpMode::Plain,
        _ => SmtpMode::StartTls,
    }
}

fn report_missing_mail(context: &Context<'_>, draft: &mut Draft) {
    let is_on = |setting: &Setting<bool>| match setting {
        Setting::Known(true, cite) => Some(cite.clone()),
        _ => None,
    };
    let mut wanting: Vec<Cite> = Vec::new();
    for guide in &context.guides {
        wanting.extend(is_on(&guide.features.email_verification));
        wanting.extend(is_on(&guide.features.password_reset));
    }
    if let Some(config) = context.config {
        wanting.extend(is_on(&config.password_recovery));
        // MAS asks for an address at registration unless told not to.
        if config.registration_email.known() != Some(&false) {
            wanting.extend(is_on(&config.password_registration));
        }
    }
    let Some(first) = wanting.first() else {
        return;
    };
    let keys: Vec<String> = wanting.iter().map(|cite| format!("`{}`", cite.key)).collect();
    let (is, verb) = if keys.len() == 1 { ("is", "needs") } else { ("are", "need") };
    let finding = Finding::new(
        Code::MailMissing,
        &first.key,
        format!("{} {is} on and {verb} mail, but MAS sends none", keys.join(" and ")),
        "configure a mail relay, or switch the feature off",
    );
    draft.findings.push(finding.at(first.place.clone()).on(MAS_TO_SMTP.name));
}
