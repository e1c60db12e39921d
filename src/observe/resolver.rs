//! Name → addresses, with a deadline of our own. libc's is 5 s × 2 for every query of the search list, longer than any probe, so that a blocked DNS would look like a blocked target.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::time::Instant;

use super::dns::{self, Question};
use super::failure::{Failure, quoted};
use crate::judge::Reason;
use crate::matrix::SearchList;

/// glibc's `MAXNS`; further lines are not used.
const MOST_NAMESERVERS: usize = 3;
/// Kubernetes allows 32 search domains (`validation.MaxDNSSearchPaths`).
const MOST_SEARCHES: usize = 32;
/// glibc's `RES_MAXNDOTS`.
const MOST_NDOTS: usize = 15;
/// Each server is asked at most so often, as `options attempts` of resolv.conf(5) has it by default. A lookup is no probe: one lost datagram must not lose the name.
const ROUNDS: usize = 2;
/// More aliases than this are a loop.
const MOST_ALIASES: usize = 16;

/// Where and how to look names up: the parts of resolv.conf(5) that matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvConf {
    /// In the order in which they are asked.
    pub nameservers: Vec<SocketAddr>,
    /// Domains put behind names, in order.
    pub search: Vec<String>,
    /// Names with fewer dots try the search list first.
    pub ndots: usize,
}

impl ResolvConf {
    /// These servers, no search list: names are taken as they are.
    pub fn servers(nameservers: Vec<SocketAddr>) -> Self {
        Self { nameservers, search: Vec::new(), ndots: 1 }
    }

    /// These servers on DNS's own port, no search list.
    pub fn of(servers: &[IpAddr]) -> Self {
        Self::servers(servers.iter().map(|server| SocketAddr::new(*server, 53)).collect())
    }

    /// Reads the text of a resolv.conf. Lines that make no sense are passed over, as the C library does.
    pub fn parse(text: &str) -> Self {
        let mut conf = Self::servers(Vec::new());
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                    conf.nameservers.extend(address.map(|address| SocketAddr::new(address, 53)));
                }
                // The last of these lines counts (resolv.conf(5)).
                Some("search") => conf.search = words.take(MOST_SEARCHES).map(str::to_owned).collect(),
                Some("domain") => conf.search = words.take(1).map(str::to_owned).collect(),
                Some("options") => {
                    let ndots = words.filter_map(|word| word.strip_prefix("ndots:")?.parse().ok()).next_back();
                    conf.ndots = ndots.unwrap_or(conf.ndots).min(MOST_NDOTS);
                }
                _ => {}
            }
        }
        conf.nameservers.truncate(MOST_NAMESERVERS);
        if conf.nameservers.is_empty() {
            // resolv.conf(5): "the default is to use the name server on the local machine".
            conf.nameservers.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 53));
        }
        conf
    }

    /// This machine's, or pod's, `/etc/resolv.conf`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn system() -> std::io::Result<Self> {
        std::fs::read_to_string("/etc/resolv.conf").map(|text| Self::parse(&text))
    }

    /// Its search list.
    pub fn search_list(&self) -> SearchList {
        SearchList { domains: self.search.clone(), ndots: self.ndots }
    }
}

/// The IPv4 and IPv6 addresses of a name, sorted; never an empty list. An address is its own answer.
///
/// # Errors
/// With `dns_timeout` (also when the servers cannot be reached at all: that is about DNS, not about the name's owner), `dns_nxdomain` (also for a name without addresses), `dns_servfail`, `dns_refused`, or `prober_error` for what is no name; and a sentence.
pub async fn resolve(name: &str, conf: &ResolvConf, deadline: Duration) -> Result<Vec<IpAddr>, (Reason, String)> {
    if let Ok(address) = name.parse() {
        return Ok(vec![address]);
    }
    let end = Instant::now() + deadline.min(super::FAR);
    let mut unsure: Option<Failure> = None;
    for candidate in conf.search_list().candidates(name) {
        let Ok(asked) = Name::from_ascii(&candidate) else {
            return Err((Reason::ProberError, format!("{} is no DNS name", quoted(name))));
        };
        match both(&asked, conf, end).await {
            Ok(addresses) if !addresses.is_empty() => return Ok(addresses),
            Ok(_) => {}
            Err(failure) if failure.reason == Reason::DnsNxdomain => {}
            // As glibc: a server's failure for one candidate does not end the search, but it is remembered, for the name may exist.
            Err(failure) if matches!(failure.reason, Reason::DnsServfail | Reason::DnsRefused) => {
                unsure.get_or_insert(failure);
            }
            Err(failure) => return Err((failure.reason, format!("{}: {}", quoted(name), failure.detail))),
        }
    }
    match unsure {
        Some(failure) => Err((failure.reason, format!("{}: {}", quoted(name), failure.detail))),
        None => Err((Reason::DnsNxdomain, format!("{} does not exist, or has no address", quoted(name)))),
    }
}

/// Both families at once. One family's addresses are good without the other's answer.
async fn both(name: &Name, conf: &ResolvConf, end: Instant) -> Result<Vec<IpAddr>, Failure> {
    let (v4, v6) = tokio::join!(one(name, RecordType::A, conf, end), one(name, RecordType::AAAA, conf, end));
    let mut addresses = match (v4, v6) {
        (Ok(v4), Ok(v6)) => [v4, v6].concat(),
        (Ok(found), Err(_)) | (Err(_), Ok(found)) if !found.is_empty() => found,
        (Err(failure), _) | (_, Err(failure)) => return Err(failure),
    };
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses)
}

/// One family. Servers are asked in turn; each try gets its share of the time that is left.
async fn one(name: &Name, kind: RecordType, conf: &ResolvConf, end: Instant) -> Result<Vec<IpAddr>, Failure> {
    let mut refused: Option<Failure> = None;
    let mut silent = Failure::new(Reason::DnsTimeout, "there is no DNS server to ask");
    let tries = ROUNDS * conf.nameservers.len();
    for (index, server) in conf.nameservers.iter().cycle().take(tries).enumerate() {
        let now = Instant::now();
        let left = u32::try_from(tries - index).unwrap_or(u32::MAX);
        let share = end.saturating_duration_since(now) / left;
        match dns::ask(*server, &Question::new(name, kind)?, now + share).await {
            Ok(answer) => match answer.metadata.response_code {
                ResponseCode::NoError => return Ok(addresses(name, &answer)),
                ResponseCode::NXDomain => return Err(dns::refusal(ResponseCode::NXDomain)),
                code => refused = Some(as_dns(dns::refusal(code), Reason::DnsServfail)),
            },
            Err(failure) => silent = as_dns(failure, Reason::DnsTimeout),
        }
    }
    Err(refused.unwrap_or(silent))
}

/// A failure on the way to the DNS server says nothing about the way to the name's owner, so it keeps no reason of the network.
fn as_dns(failure: Failure, instead: Reason) -> Failure {
    match failure.reason {
        Reason::DnsServfail | Reason::DnsRefused | Reason::DnsTimeout | Reason::ProberError => failure,
        _ => Failure::new(instead, format!("no use of the DNS server: {}", failure.detail)),
    }
}

/// The addresses of `name` itself, through its aliases; other records of the answer are not about it.
pub(super) fn addresses(name: &Name, answer: &Message) -> Vec<IpAddr> {
    // Names compare without case.
    let mut owner = name.clone();
    owner.set_fqdn(true);
    for _ in 0..MOST_ALIASES {
        let alias = answer.answers.iter().find_map(|record| match &record.data {
            RData::CNAME(alias) if record.name == owner => Some(&alias.0),
            _ => None,
        });
        match alias {
            Some(alias) => owner = alias.clone(),
            None => break,
        }
    }
    answer.answers.iter().filter(|record| record.name == owner).filter_map(|record| record.data.ip_addr()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str = "nameserver 10.43.0.10\nsearch matrix.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5 timeout:1\n";

    #[test]
    fn texts() {
        let conf = ResolvConf::parse(POD);
        assert_eq!(conf.nameservers, ["10.43.0.10:53".parse().unwrap()]);
        assert_eq!(conf.search_list(), SearchList::cluster_first("matrix"));
        let conf = ResolvConf::parse(
            "# c\nnameserver 1.1.1.1 ; c\nnameserver x\nnameserver ::1\nnameserver 2.2.2.2\nnameserver 3.3.3.3\ndomain a\nsearch b c\noptions ndots:99\n",
        );
        assert_eq!(conf.nameservers.len(), 3);
        assert_eq!(conf.search, ["b", "c"]);
        assert_eq!(conf.ndots, 15);
        assert_eq!(ResolvConf::parse("").nameservers, ["127.0.0.1:53".parse().unwrap()]);
    }
}
