//! The demo's peers: stand-ins that speak the real protocols exactly as far as a client without credentials gets.
//!
//! None of them is the real software. Each sends the bytes that the real one sends to the conversations that portreeve (or anybody without a password)
//! can have with it. Synapse and Traefik open real connections of their own, through their own gates, because whether they can is what is to be shown.

mod authelia;
mod dns;
mod http;
mod mas;
mod postgres;
mod smtp;
mod stranger;
mod synapse;
mod tls;
mod traefik;

#[cfg(test)]
mod probed;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use thiserror::Error;

use super::net::{Net, NetError, Process, Route, Serve, Source};
use super::world::{AUTH_HOST, Lab, LabPod};
use crate::world::Protocol;
use tls::Ca;

pub use mas::Mas;
pub use tls::TlsError;

/// The connections that the demo opens, besides those of the node, which reaches every port.
const ROUTES: [(Source, LabPod, u16, Protocol); 13] = [
    (Source::Mas, LabPod::Postgres, 5432, Protocol::Tcp),
    (Source::Mas, LabPod::Synapse, 8008, Protocol::Tcp),
    (Source::Mas, LabPod::Traefik, 8443, Protocol::Tcp),
    (Source::Mas, LabPod::Authelia, 9091, Protocol::Tcp),
    (Source::Mas, LabPod::Dns, 5353, Protocol::Udp),
    (Source::Mas, LabPod::Dns, 5353, Protocol::Tcp),
    (Source::Mas, LabPod::Smtp, 2525, Protocol::Tcp),
    (Source::Mas, LabPod::Stranger, 9691, Protocol::Tcp),
    (Source::Synapse, LabPod::Mas, 8080, Protocol::Tcp),
    (Source::Traefik, LabPod::Mas, 8080, Protocol::Tcp),
    (Source::Traefik, LabPod::Authelia, 9091, Protocol::Tcp),
    (Source::Stranger, LabPod::Mas, 8080, Protocol::Tcp),
    (Source::Stranger, LabPod::Traefik, 8443, Protocol::Tcp),
];

/// Why the peers could not start.
#[derive(Debug, Error)]
pub enum PeersError {
    /// A gate could not open.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The demo's certificates could not be made.
    #[error("cannot make the demo's certificates")]
    Tls(#[from] TlsError),
}

/// The running peers. Dropping it ends them.
#[derive(Debug)]
pub struct Peers {
    net: Net,
    ca: CertificateDer<'static>,
    ca_pem: String,
}

impl Peers {
    /// Starts all peers behind open gates. Needs a tokio runtime with I/O and time.
    pub async fn start(lab: Lab) -> Result<Self, PeersError> {
        let ca = Ca::new()?;
        let cast = Cast::new(&ca, lab)?;
        let mut net = Net::new(lab);
        for route in routes() {
            net.add(route, cast.service(route.dest)).await?;
        }
        Ok(Self { net, ca: ca.certificate(), ca_pem: ca.pem() })
    }

    /// The gates between them.
    pub fn net(&self) -> &Net {
        &self.net
    }

    /// The certificate that signs all certificates of the demo: put it into the prober's roots.
    pub fn ca(&self) -> CertificateDer<'static> {
        self.ca.clone()
    }

    /// The same as PEM, for other programs.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Stops a pod's process: its ports close for every source, its connections end.
    pub async fn stop(&self, pod: LabPod) -> Result<(), NetError> {
        self.set_process(pod, Process::Stopped).await
    }

    /// Starts a stopped pod's process again.
    pub async fn resume(&self, pod: LabPod) -> Result<(), NetError> {
        self.set_process(pod, Process::Runs).await
    }

    /// Ends all peers; their ports are free when it returns.
    pub async fn close(self) {
        self.net.close().await;
    }

    async fn set_process(&self, pod: LabPod, process: Process) -> Result<(), NetError> {
        for gate in self.net.gates().filter(|gate| gate.route().dest == pod) {
            gate.set_process(process).await?;
        }
        Ok(())
    }
}

/// All connections of the demo.
fn routes() -> impl Iterator<Item = Route> {
    let node = LabPod::ALL
        .into_iter()
        .flat_map(|dest| dest.ports().iter().map(move |(port, protocol)| (Source::Node, dest, *port, *protocol)));
    let all = ROUTES.into_iter().chain(node);
    all.map(|(source, dest, port, protocol)| Route { source, dest, port, protocol })
}

/// One stand-in for each pod.
struct Cast {
    mas: Arc<Mas>,
    synapse: Arc<synapse::Synapse>,
    postgres: Arc<postgres::Postgres>,
    traefik: Arc<traefik::Traefik>,
    authelia: Arc<authelia::Authelia>,
    dns: Arc<dns::Dns>,
    smtp: Arc<smtp::Smtp>,
    stranger: Arc<stranger::Stranger>,
}

impl Cast {
    fn new(ca: &Ca, lab: Lab) -> Result<Self, TlsError> {
        let to = |source, dest, port| Route { source, dest, port, protocol: Protocol::Tcp }.address(lab);
        Ok(Self {
            mas: Arc::new(Mas::new(format!("https://{AUTH_HOST}/"), synapse::SHARED)),
            synapse: Arc::new(synapse::Synapse::new(to(Source::Synapse, LabPod::Mas, 8080))),
            postgres: Arc::new(postgres::Postgres::new(ca)?),
            traefik: Arc::new(traefik::Traefik::new(
                ca,
                to(Source::Traefik, LabPod::Mas, 8080),
                to(Source::Traefik, LabPod::Authelia, 9091),
            )?),
            authelia: Arc::new(authelia::Authelia),
            dns: Arc::new(dns::Dns),
            smtp: Arc::new(smtp::Smtp::new(ca)?),
            stranger: Arc::new(stranger::Stranger),
        })
    }

    fn service(&self, pod: LabPod) -> Arc<dyn Serve> {
        match pod {
            LabPod::Mas => Arc::clone(&self.mas) as Arc<dyn Serve>,
            LabPod::Synapse => Arc::clone(&self.synapse) as Arc<dyn Serve>,
            LabPod::Postgres => Arc::clone(&self.postgres) as Arc<dyn Serve>,
            LabPod::Traefik => Arc::clone(&self.traefik) as Arc<dyn Serve>,
            LabPod::Authelia => Arc::clone(&self.authelia) as Arc<dyn Serve>,
            LabPod::Dns => Arc::clone(&self.dns) as Arc<dyn Serve>,
            LabPod::Smtp => Arc::clone(&self.smtp) as Arc<dyn Serve>,
            LabPod::Stranger => Arc::clone(&self.stranger) as Arc<dyn Serve>,
        }
    }
}
