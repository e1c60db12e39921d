//! The demo's cluster: its pods, its manifests, its names.
//!
//! The demo's network is the loopback: pods are 127.77.*lab*.0/24, Services 127.96.0.0/16, and no packet leaves the machine.

use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use crate::world::{ObjectName, Protocol};

/// The demo's pods; each has a stand-in that speaks its protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LabPod {
    /// The subject.
    Mas,
    /// Synapse.
    Synapse,
    /// PostgreSQL.
    Postgres,
    /// The ingress controller.
    Traefik,
    /// The identity provider.
    Authelia,
    /// CoreDNS.
    Dns,
    /// The mail relay.
    Smtp,
    /// The pod that must neither reach MAS nor be reached by it.
    Stranger,
}

impl LabPod {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Mas,
        Self::Synapse,
        Self::Postgres,
        Self::Traefik,
        Self::Authelia,
        Self::Dns,
        Self::Smtp,
        Self::Stranger,
    ];

    /// Its short name, for the command line and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mas => "mas",
            Self::Synapse => "synapse",
            Self::Postgres => "postgres",
            Self::Traefik => "traefik",
            Self::Authelia => "authelia",
            Self::Dns => "dns",
            Self::Smtp => "smtp",
            Self::Stranger => "stranger",
        }
    }

    /// The pod of a short name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|pod| pod.name() == name)
    }

    /// Its name in the manifests.
    pub fn object(self) -> ObjectName {
        let (namespace, name) = match self {
            Self::Mas => ("matrix", "mas-6d5f9c7b8-q8w4z"),
            Self::Synapse => ("matrix", "matrix-synapse-synapse-5b7d4f6c9-m2c7d"),
            Self::Postgres => ("postgres", "matrix-db-1"),
            Self::Traefik => ("traefik", "traefik-7f8b6d5c4-t5r9k"),
            Self::Authelia => ("authentif", "authelia-84c6f7d9b-h3n6v"),
            Self::Dns => ("kube-system", "coredns-697968c856-d4s8g"),
            Self::Smtp => ("mail", "exim-relay-59d8c7f6b-e6j2y"),
            Self::Stranger => ("matrix", "portreeve-stranger-6c8d7f9b5-s9f3b"),
        };
        ObjectName::new(namespace, name)
    }

    /// The name that its certificate is for, where MAS knows it by a Service name.
    pub fn host_name(self) -> Option<&'static str> {
        match self {
            Self::Postgres => Some("matrix-db-rw.postgres.svc.cluster.local"),
            Self::Smtp => Some("smtp.mail.svc.cluster.local"),
            Self::Mas | Self::Synapse | Self::Traefik | Self::Authelia | Self::Dns | Self::Stranger => None,
        }
    }

    /// The pod ports on which its stand-in serves.
    pub fn ports(self) -> &'static [(u16, Protocol)] {
        match self {
            Self::Mas => &[(8080, Protocol::Tcp)],
            Self::Synapse => &[(8008, Protocol::Tcp)],
            Self::Postgres => &[(5432, Protocol::Tcp)],
            Self::Traefik => &[(8443, Protocol::Tcp)],
            Self::Authelia => &[(9091, Protocol::Tcp)],
            Self::Dns => &[(5353, Protocol::Udp), (5353, Protocol::Tcp)],
            Self::Smtp => &[(2525, Protocol::Tcp)],
            Self::Stranger => &[(9691, Protocol::Tcp)],
        }
    }

    /// Its address in a lab, as the manifests have it.
    pub fn address(self, lab: Lab) -> Ipv4Addr {
        Ipv4Addr::new(127, POD_NET, lab.0, self.host())
    }

    /// The pod that has this address in a lab.
    pub fn at(address: IpAddr, lab: Lab) -> Option<Self> {
        Self::ALL.into_iter().find(|pod| IpAddr::V4(pod.address(lab)) == address)
    }

    /// The last octet of its address.
    pub(super) fn host(self) -> u8 {
        match self {
            Self::Mas => 20,
            Self::Synapse => 21,
            Self::Postgres => 30,
            Self::Traefik => 10,
            Self::Authelia => 40,
            Self::Dns => 2,
            Self::Smtp => 50,
            Self::Stranger => 60,
        }
    }
}

impl fmt::Display for LabPod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The third octet of all pod addresses: two demos on one machine need different labs, since each binds its pods' ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lab(pub u8);

/// The second octet of pod addresses.
pub(super) const POD_NET: u8 = 77;

/// The manifests, by file name: namespaces, a node, pods with their owners, Services, EndpointSlices, Ingresses, and the peers' own policies.
/// Addresses are those of lab 0.
pub const MANIFESTS: [(&str, &str); 10] = [
    ("cluster.yaml", include_str!("../../policies/cluster/cluster.yaml")),
    ("matrix_mas.yaml", include_str!("../../policies/cluster/matrix_mas.yaml")),
    ("matrix_synapse.yaml", include_str!("../../policies/cluster/matrix_synapse.yaml")),
    ("matrix_stranger.yaml", include_str!("../../policies/cluster/matrix_stranger.yaml")),
    ("postgres_matrix-db.yaml", include_str!("../../policies/cluster/postgres_matrix-db.yaml")),
    ("traefik_traefik.yaml", include_str!("../../policies/cluster/traefik_traefik.yaml")),
    ("authentif_authelia.yaml", include_str!("../../policies/cluster/authentif_authelia.yaml")),
    ("kube-system_coredns.yaml", include_str!("../../policies/cluster/kube-system_coredns.yaml")),
    ("mail_smtp.yaml", include_str!("../../policies/cluster/mail_smtp.yaml")),
    ("policies.yaml", include_str!("../../policies/cluster/policies.yaml")),
];

/// The demo's TrafficMatrix. No manifest: it is what `--matrix` takes.
pub const TRAFFIC_MATRIX: &str = include_str!("../../policies/traffic-matrix.yaml");

/// The public host of MAS.
pub const AUTH_HOST: &str = "auth.waadoo.ovh";
/// The public host of Authelia; its issuer is `https://` and this, without a trailing slash.
pub const AUTHELIA_HOST: &str = "authelia.waadoo.ovh";

/// Names that the demo's DNS answers for besides `kubernetes.default`: Services lead to their cluster address, public hosts to Traefik's load balancer.
pub const NAMES: [(&str, Ipv4Addr); 10] = [
    ("kubernetes.default.svc.cluster.local", Ipv4Addr::new(127, 96, 0, 1)),
    ("kube-dns.kube-system.svc.cluster.local", Ipv4Addr::new(127, 96, 0, 10)),
    ("mas.matrix.svc.cluster.local", Ipv4Addr::new(127, 96, 10, 20)),
    ("matrix-synapse-synapse.matrix.svc.cluster.local", Ipv4Addr::new(127, 96, 10, 21)),
    ("matrix-db-rw.postgres.svc.cluster.local", Ipv4Addr::new(127, 96, 20, 30)),
    ("traefik.traefik.svc.cluster.local", Ipv4Addr::new(127, 96, 30, 10)),
    ("authelia.authentif.svc.cluster.local", Ipv4Addr::new(127, 96, 40, 40)),
    ("smtp.mail.svc.cluster.local", Ipv4Addr::new(127, 96, 50, 50)),
    (AUTH_HOST, Ipv4Addr::new(127, 96, 30, 1)),
    (AUTHELIA_HOST, Ipv4Addr::new(127, 96, 30, 1)),
];

/// Writes the manifests into a folder that exists, with a lab's addresses.
pub fn write_world(folder: &Path, lab: Lab) -> io::Result<()> {
    for (name, text) in MANIFESTS {
        fs::write(folder.join(name), text.replace("127.77.0.", &format!("127.{POD_NET}.{}.", lab.0)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::source::{Document, InputError};
    use crate::world::objects;

    /// Kind, namespace/name and text of every manifest's object.
    fn written() -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        write_world(folder.path(), Lab(9)).unwrap();
        let mut labels = Vec::new();
        for (name, _) in MANIFESTS {
            let text = fs::read_to_string(folder.path().join(name)).unwrap();
            let mut problems: Vec<InputError> = Vec::new();
            for document in parse(name, &text) {
                labels.extend(objects(document, &mut problems).into_iter().map(|object| object.label()));
            }
            assert!(problems.is_empty(), "{name}: {problems:?}");
        }
        labels
    }

    fn parse(name: &str, text: &str) -> Vec<Document> {
        let (documents, problem) = crate::source::yaml::parse(&Arc::from(name), text);
        assert!(problem.is_none(), "{name}: {problem:?}");
        documents
    }

    #[test]
    fn manifests_are_objects_and_hold_every_pod() {
        let labels = written();
        for pod in LabPod::ALL {
            let label = format!("Pod/{}", pod.object());
            assert!(labels.contains(&label), "{label} is missing in {labels:?}");
        }
        for name in ["matrix/default-deny", "postgres/default-deny", "matrix/synapse", "postgres/matrix-db"] {
            assert!(labels.contains(&format!("NetworkPolicy/{name}")), "{name}");
        }
    }

    #[test]
    fn addresses_and_ports_are_those_of_the_manifests() {
        let all: String = MANIFESTS.iter().map(|(_, text)| *text).collect();
        for pod in LabPod::ALL {
            let address = format!("podIP: {}\n", pod.address(Lab(0)));
            assert!(all.contains(&address), "{pod}: {address}");
            for (port, _) in pod.ports() {
                assert!(all.contains(&format!("containerPort: {port}")), "{pod}: {port}");
            }
            assert_eq!(LabPod::from_name(pod.name()), Some(pod));
            assert_eq!(LabPod::at(IpAddr::V4(pod.address(Lab(3))), Lab(3)), Some(pod));
        }
        for (name, address) in &NAMES[1..] {
            assert!(all.contains(&address.to_string()), "{name} {address}");
        }
    }

    #[test]
    fn a_lab_moves_pods_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        write_world(folder.path(), Lab(9)).unwrap();
        for (name, text) in MANIFESTS {
            let moved = fs::read_to_string(folder.path().join(name)).unwrap();
            assert!(!moved.contains("127.77.0."), "{name}");
            assert_eq!(moved.replace("127.77.9.", "127.77.0."), text);
        }
    }

    #[test]
    fn the_matrix_holds_the_guides_values() {
        let documents = parse("matrix.yaml", TRAFFIC_MATRIX);
        let root = &documents[0].root;
        let text = |path: &str| root.at_path(path).and_then(|node| node.text()).map(str::to_owned);
        assert_eq!(text("/spec/guide/values/mas/ingress/host").as_deref(), Some(AUTH_HOST));
        assert_eq!(text("/spec/peers/smtp/service").as_deref(), Some("mail/smtp"));
        assert_eq!(text("/spec/mode").as_deref(), Some("Enforce"));
    }

    #[test]
    fn the_matrix_follows_the_published_guide_values() {
        let guide = include_str!("../../policies/guide-values.yaml");
        let (_, block) = guide.split_once("\nmas:").unwrap();
        let (_, ours) = TRAFFIC_MATRIX.split_once("\n      mas:").unwrap();
        assert_eq!(ours.replace("\n      ", "\n").trim_end(), block.trim_end());
    }
}
