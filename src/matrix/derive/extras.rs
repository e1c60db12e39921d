//! Edges that the guide leaves out and MAS's config asks for: telemetry and captcha (facts/mas-edges.md §2).

use super::providers::http;
use super::table::{MAS_TO_CAPTCHA, MAS_TO_OTLP, MAS_TO_SENTRY, PROMETHEUS_TO_MAS};
use super::{
    Ask, CONFIG, Context, Draft, Exchange, Expect, Party, Port, Said, Setting, Settled, party, said_url, says,
};
use crate::finding::{Code, Finding};
use crate::guide::Url;
use crate::guide::mas_config::{Bind, Exporter, MasConfig, Resource, Telemetry};
use crate::world::PortRef;

pub(super) fn derive(context: &Context<'_>, draft: &mut Draft) {
    let Some(config) = context.config else {
        return;
    };
    prometheus(config, draft);
    let traces = otlp("mas-to-otlp", &config.tracing, None, draft);
    let name = if traces.is_some() { "mas-to-otlp-metrics" } else { "mas-to-otlp" };
    otlp(name, &config.metrics, traces.as_ref(), draft);
    if let Setting::Known(url, cite) = &config.sentry
        && let Some(settled) = draft.settle(MAS_TO_SENTRY.name, vec![said_url(CONFIG, url, cite)])
    {
        draft.outward(MAS_TO_SENTRY.name, &MAS_TO_SENTRY, settled, http(url));
    }
    if let Setting::Known(service, cite) = &config.captcha
        && let Some(party) = party(service.host())
    {
        let ask = Ask::new(party, Port::Client(PortRef::Number(443)), says(CONFIG, cite));
        let settled = draft.settle(MAS_TO_CAPTCHA.name, vec![Said::Targets(vec![ask])]);
        let exchange = Exchange::Http { tls: true, host: service.host().to_owned() };
        if let Some(settled) = settled {
            draft.outward(MAS_TO_CAPTCHA.name, &MAS_TO_CAPTCHA, settled, exchange);
        }
    }
}

/// Prometheus fetches from whichever listener mounts `prometheus`, if the exporter is on.
fn prometheus(config: &MasConfig, draft: &mut Draft) {
    let (Setting::Known(Exporter::Prometheus, cite), Setting::Known(listeners, _)) =
        (&config.metrics.exporter, &config.listeners)
    else {
        return;
    };
    let mounts = listeners.iter().filter(|listener| {
        matches!(&listener.resources, Setting::Known(resources, _) if resources.contains(&Resource::Prometheus))
    });
    let (mut asks, mut hidden): (Vec<Ask>, _) = (Vec::new(), None);
    for bind in mounts.flat_map(|listener| &listener.binds) {
        match bind {
            Bind::Port(port, cite) => {
                let port = Port::Pod(PortRef::Number(*port));
                if !asks.iter().any(|ask| ask.port == port) {
                    asks.push(Ask::new(Party::Subject, port, says(CONFIG, cite)));
                }
            }
            Bind::Loopback(_, cite) | Bind::Unix(cite) => hidden = Some(cite),
            Bind::Unknown(_) => {}
        }
    }
    if let (true, Some(bind)) = (asks.is_empty(), hidden) {
        let finding = Finding::new(
            Code::UnreachableBind,
            &bind.key,
            "the listener with `prometheus` listens inside the pod only: Prometheus cannot reach it",
            "bind it to `[::]:8081`",
        );
        draft.findings.push(finding.at(bind.place.clone()).on(PROMETHEUS_TO_MAS.name));
    }
    for ask in &mut asks {
        ask.provenance.push(says(CONFIG, cite));
    }
    if let Some(settled) = draft.settle(PROMETHEUS_TO_MAS.name, vec![Said::Targets(asks)]) {
        let from = vec![Party::Unknown { peer: "prometheus" }];
        draft.add(PROMETHEUS_TO_MAS.name, &PROMETHEUS_TO_MAS, from, settled, Exchange::Tcp, Expect::Allow);
    }
}

/// Returns where it goes, unless there is no such edge. A second edge to the same collector is not made.
fn otlp(name: &str, telemetry: &Telemetry, reached: Option<&Url>, draft: &mut Draft) -> Option<Url> {
    let Setting::Known(Exporter::Otlp, exporter) = &telemetry.exporter else {
        return None;
    };
    let said = match &telemetry.endpoint {
        Setting::Known(url, _) if reached.is_some_and(|known| same_server(known, url)) => return None,
        Setting::Known(url, cite) => said_url(CONFIG, url, cite),
        Setting::Absent => {
            let why = format!("`{}` sends to MAS's default, https://localhost:4318, inside the pod", exporter.key);
            Said::Nowhere { why, cite: exporter.clone() }
        }
        Setting::Hidden(cite) => {
            let port = Port::Unknown { default: Some(4318) };
            Said::Somewhere(Ask::new(Party::Unknown { peer: "otlp" }, port, says(CONFIG, cite)))
        }
    };
    let settled: Settled = draft.settle(name, vec![said])?;
    let exchange = telemetry.endpoint.known().map_or(Exchange::Tcp, http);
    draft.outward(name, &MAS_TO_OTLP, settled, exchange);
    telemetry.endpoint.known().cloned()
}

fn same_server(a: &Url, b: &Url) -> bool {
    (&a.host, a.port_or_default()) == (&b.host, b.port_or_default())
}
