//! The two forms of ports: v1alpha2 `protocols` and v1alpha1 `ports`.

use super::super::{Lowering, child, is_port_name, item, port_number};
use super::{Open, set_keys};
use crate::finding::{Code, Finding};
use crate::policy::raw::tiers as raw_tiers;
use crate::policy::tiers::TierPort;
use crate::source::Node;
use crate::world::Protocol;

impl Lowering<'_> {
    /// v1alpha2 `protocols`.
    pub(super) fn protocols(
        &mut self,
        raw: Vec<raw_tiers::ByProtocol>,
        node: &Node,
        open: &mut Option<Open>,
    ) -> Vec<TierPort> {
        if raw.is_empty() {
            self.refuse(node, "protocols is empty", "leave it out to mean all ports");
        } else if raw.len() > 25 {
            self.too_many(node, "protocols");
        }
        let mut ports = Vec::new();
        for (index, raw) in raw.into_iter().enumerate() {
            let node = item(node, index);
            if set_keys(node).any(|key| !["tcp", "udp", "sctp", "destinationNamedPort"].contains(&key)) {
                self.open(open, node, "has a protocol with a field that this version of the API does not know");
                continue;
            }
            if set_keys(node).count() != 1 {
                let fix = "write exactly one of tcp, udp, sctp and destinationNamedPort";
                self.refuse(node, "an item of protocols has not exactly one field", fix);
                continue;
            }
            let raw_tiers::ByProtocol { tcp, udp, sctp, destination_named_port } = raw;
            let each = [(Protocol::Tcp, "tcp", tcp), (Protocol::Udp, "udp", udp), (Protocol::Sctp, "sctp", sctp)];
            for (protocol, key, destination) in each {
                let Some(destination) = destination else { continue };
                ports.extend(self.destination(protocol, destination, child(node, key), open));
            }
            ports.extend(destination_named_port.map(|name| self.named_port(name, node)));
        }
        ports
    }

    fn destination(
        &mut self,
        protocol: Protocol,
        raw: raw_tiers::Destination,
        node: &Node,
        open: &mut Option<Open>,
    ) -> Option<TierPort> {
        if set_keys(node).any(|key| key != "destinationPort") {
            self.open(open, node, "has a protocol with a field that this version of the API does not know");
            return None;
        }
        let Some(port) = raw.destination_port else {
            self.open(
                open,
                node,
                "has a protocol without a port, which the overview takes as all ports and the CRD refuses",
            );
            return None;
        };
        let node = child(node, "destinationPort");
        match (port.number, port.range) {
            (Some(number), None) => self.range(protocol, Some(number), Some(number), node),
            (None, Some(raw_tiers::Range { start, end })) => {
                self.growing(start, end, node);
                self.range(protocol, start, end, node)
            }
            _ => {
                self.refuse(node, "a port has not exactly one of number and range", "write one of them");
                None
            }
        }
    }

    /// v1alpha1 `ports`.
    pub(super) fn admin_ports(
        &mut self,
        raw: Vec<raw_tiers::AdminPort>,
        node: &Node,
        open: &mut Option<Open>,
    ) -> Vec<TierPort> {
        if raw.is_empty() {
            self.refuse(node, "ports is empty", "leave it out to mean all ports");
        } else if raw.len() > 100 {
            self.too_many(node, "ports");
        }
        let mut ports = Vec::new();
        for (index, raw) in raw.into_iter().enumerate() {
            let node = item(node, index);
            if set_keys(node).any(|key| !["portNumber", "portRange", "namedPort"].contains(&key)) {
                self.open(open, node, "has a port with a field that this version of the API does not know");
                continue;
            }
            let port = match (raw.port_number, raw.port_range, raw.named_port) {
                (Some(number), None, None) => {
                    let node = child(node, "portNumber");
                    let protocol = self.protocol(number.protocol.as_deref(), node);
                    protocol.and_then(|protocol| self.range(protocol, number.port, number.port, node))
                }
                (None, Some(range), None) => {
                    let node = child(node, "portRange");
                    self.growing(range.start, range.end, node);
                    let protocol = self.protocol(range.protocol.as_deref(), node);
                    protocol.and_then(|protocol| self.range(protocol, range.start, range.end, node))
                }
                (None, None, Some(name)) => Some(self.named_port(name, node)),
                _ => {
                    let fix = "write exactly one of portNumber, portRange and namedPort";
                    self.refuse(node, "an item of ports has not exactly one field", fix);
                    None
                }
            };
            ports.extend(port);
        }
        ports
    }

    /// "If not specified, this field defaults to TCP."
    fn protocol(&mut self, raw: Option<&str>, node: &Node) -> Option<Protocol> {
        let protocol = raw.map_or(Some(Protocol::Tcp), Protocol::parse);
        if protocol.is_none() {
            self.refuse(child(node, "protocol"), "the protocol is none of TCP, UDP, SCTP", "write it in capitals");
        }
        protocol
    }

    /// "Start port must be less than End port"
    fn growing(&mut self, start: Option<i64>, end: Option<i64>, node: &Node) {
        if let (Some(start), Some(end)) = (start, end)
            && start >= end
        {
            self.refuse(node, "the start of a range is not below its end", "write a single port as a number");
        }
    }

    fn range(&mut self, protocol: Protocol, from: Option<i64>, to: Option<i64>, node: &Node) -> Option<TierPort> {
        let (from, to) = (from.and_then(port_number), to.and_then(port_number));
        if let (Some(from), Some(to)) = (from, to) {
            return Some(TierPort::Range(protocol, from, to));
        }
        self.refuse(node, "a port is not from 1 to 65535", "write a port from 1 to 65535");
        None
    }

    /// The CRD takes any text; one that is no port name fits no container port.
    fn named_port(&mut self, name: String, node: &Node) -> TierPort {
        if !is_port_name(&name) {
            let place = self.place(node);
            let message = "this is no port name, so no container port has it";
            let fix = "a name has 1 to 15 lower-case letters, digits and `-`, one letter at least";
            self.findings.push(Finding::new(Code::SelectorMatchesNothing, self.object.label(), message, fix).at(place));
        }
        TierPort::Named(name)
    }
}
