//! Host names as URLs have them: a Service, a public name that leads back into the cluster, or the outside.

use std::net::IpAddr;

use ipnet::IpNet;

use super::ingress::TRAEFIK;
use super::{Lookup, unresolved};
use crate::finding::Code;
use crate::matrix::{Exchange, Peer, Port};
use crate::world::{Entrance, EntranceKind, ObjectName, PortRef};

/// The Service that a host name may mean.
pub(super) struct ServiceName {
    pub(super) name: ObjectName,
    /// It cannot be an outside host: one label, or with `svc`.
    certain: bool,
}

/// Reads a host as cluster DNS would (`name`, `name.ns`, `name.ns.svc…`, `pod.name.ns.svc…`), relative to a namespace.
pub(super) fn service_name(host: &str, namespace: Option<&str>) -> Option<ServiceName> {
    let labels: Vec<&str> = host.split('.').collect();
    let (name, namespace, certain) = match labels[..] {
        [name] => (name, namespace?, true),
        [name, namespace] => (name, namespace, false),
        [name, namespace, "svc", ..] | [_, name, namespace, "svc", ..] => (name, namespace, true),
        _ => return None,
    };
    let named = !name.is_empty() && !namespace.is_empty();
    named.then(|| ServiceName { name: ObjectName::new(namespace, name), certain })
}

impl<'a> Lookup<'a> {
    /// What a URL's host means.
    pub(super) fn host(&mut self, host: &str, allow_private: &[IpNet], port: Option<&Port>) -> Vec<Peer> {
        if let Ok(ip) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
            return self.address(ip, port);
        }
        if host == "localhost" {
            let message = "localhost is the pod itself: no policy sees that connection".to_owned();
            let fix = format!("if a sidecar passes it on, write where to: `peers: {{{}: {{host: …}}}}`", self.key());
            self.report(Code::PeerUnknown, host, message, fix);
            return vec![unresolved(port)];
        }
        let namespace = self.subject.map(|subject| subject.namespace.as_str());
        let Some(map) = self.map else {
            return self.host_unseen(host, allow_private, port);
        };
        let meant = service_name(host, namespace);
        let service = meant.as_ref().and_then(|meant| map.world.services.get(&meant.name));
        if let Some(service) = service.or_else(|| self.alone(host, namespace)) {
            return self.service(service, port);
        }
        match meant {
            // A second label that is a namespace here, or may be one that is not shown, is no top-level domain.
            Some(meant)
                if meant.certain
                    || map.world.namespaces.contains_key(&meant.name.namespace)
                    || (self.is_usually_inside() && self.unseen("Service", &meant.name.namespace).is_some()) =>
            {
                self.service_named(&meant.name, port)
            }
            None if !host.contains('.') => {
                let message = format!("`{host}` is a Service of the subject's namespace, which is not known");
                self.report(
                    Code::PeerUnknown,
                    host,
                    message,
                    format!("write `peers: {{{}: {{service: <ns>/{host}}}}}`", self.key()),
                );
                vec![unresolved(port)]
            }
            _ => {
                if let Some(port) = port
                    && self.entrances(host).next().is_some()
                {
                    return self.hairpin(host, port);
                }
                let mut peers = self.outside(host, allow_private, port);
                if port.is_some() && !self.has_controller() {
                    peers.extend(self.unseen_hairpin());
                }
                peers
            }
        }
    }

    /// Without the subject's namespace a short name is certain only if one Service has it.
    fn alone(&self, host: &str, namespace: Option<&str>) -> Option<&'a crate::world::Service> {
        if namespace.is_some() || host.contains('.') {
            return None;
        }
        let mut named = self.map?.world.services.values().filter(|service| service.name.name == host);
        let only = named.next();
        only.filter(|_| named.next().is_none())
    }

    /// Databases and Synapse are usually inside the cluster, issuers and relays outside.
    fn is_usually_inside(&self) -> bool {
        matches!(self.edge.exchange, Exchange::Postgres { .. } | Exchange::Synapse { .. })
    }

    /// Without a world.
    fn host_unseen(&mut self, host: &str, allow_private: &[IpNet], port: Option<&Port>) -> Vec<Peer> {
        let inside = match service_name(host, Some("-")) {
            Some(meant) if meant.certain => true,
            // `db.postgres` or `example.org`?
            Some(_) => self.is_usually_inside(),
            None => false,
        };
        if inside {
            let message = format!("`{host}` is a Service, and without manifests or a cluster its pods are not known");
            let fix = format!(
                "give --manifests or --cluster, or write `peers: {{{}: {{selector: …, port: …}}}}`",
                self.key()
            );
            self.report(Code::PeerUnknown, host, message, fix);
            return vec![unresolved(port)];
        }
        let mut peers = self.outside(host, allow_private, port);
        if port.is_some() {
            peers.extend(self.unseen_hairpin());
        }
        peers
    }

    /// An https issuer's public name usually leads back to the cluster's own ingress controller, also where none is seen.
    fn unseen_hairpin(&mut self) -> Option<Peer> {
        let https = matches!(&self.edge.exchange, Exchange::Oidc { issuer } if issuer.starts_with("https:"));
        https.then(|| self.default_controller(&TRAEFIK, Some(&[TRAEFIK.https])))
    }

    /// Entrances that answer for a host by name.
    pub(super) fn entrances(&self, host: &str) -> impl Iterator<Item = &'a Entrance> {
        let host = host.to_owned();
        let entrances = self.map.map(|map| map.world.entrances.as_slice()).unwrap_or_default();
        entrances.iter().filter(move |entrance| entrance.hosts.iter().any(|own| answers(entrance.kind, own, &host)))
    }

    /// A host outside the cluster whose addresses are not known here (the controller resolves them; promise 10).
    pub(super) fn outside(&mut self, host: &str, allow_private: &[IpNet], port: Option<&Port>) -> Vec<Peer> {
        let mut peer = self.outside_peer(Some(host), port);
        peer.by_default = true;
        let key = self.key();
        let message = format!("the addresses of {host} are not known, so every public address stands in for them");
        let fix = format!(
            "narrow it with `peers: {{{key}: {{cidrs: [\"<address>/32\"]}}}}`; a private address is not covered, it needs that or `{{host: {host}, allowPrivate: [\"<range>\"]}}`"
        );
        self.report(Code::DefaultUsed, host, message, fix);
        let mut peers = vec![peer];
        if !allow_private.is_empty() {
            peers.push(self.blocks(allow_private.to_vec(), Vec::new(), Some(host), port));
        }
        peers
    }
}

/// Whether an entrance's host answers for another. A catch-all is no evidence that a host is served here.
pub(super) fn answers(kind: EntranceKind, own: &str, host: &str) -> bool {
    match own.strip_prefix("*.") {
        None => own == host,
        Some(parent) => host.strip_suffix(parent).and_then(|rest| rest.strip_suffix('.')).is_some_and(|first| {
            // Ingress wildcards cover one label; those of the Gateway API any number (API texts of `host` and `Hostname`).
            !first.is_empty() && (kind == EntranceKind::HttpRoute || !first.contains('.'))
        }),
    }
}

/// The number a client dials.
pub(super) fn dialled(port: &Port) -> Option<u16> {
    match port {
        Port::Client(PortRef::Number(number)) | Port::Pod(PortRef::Number(number)) => Some(*number),
        Port::Unknown { default } => *default,
        _ => None,
    }
}
