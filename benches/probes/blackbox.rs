//! Debian's blackbox_exporter, asked for each probe as Prometheus asks it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::common::say;
use crate::namespace::folder;
use crate::ours::say_errors;
use crate::process::{Process, cpu, rss};
use crate::targets::{self, address};
use crate::{Talk, bare};

const PROGRAM: &str = "/usr/bin/prometheus-blackbox-exporter";
const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9115);
/// As many as portreeve has under way at once.
const CLIENTS: usize = 16;

fn start() -> Process {
    assert!(Path::new(PROGRAM).is_file(), "it is not installed: apt-get install prometheus-blackbox-exporter");
    let config = folder().join("blackbox.yml");
    let text = format!(
        "modules:
  tcp: {{prober: tcp, timeout: 5s, tcp: {{preferred_ip_protocol: ip4}}}}
  http: {{prober: http, timeout: 5s, http: {{preferred_ip_protocol: ip4, tls_config: {{ca_file: {}, server_name: {}}}}}}}
",
        targets::ca().display(),
        targets::NAME
    );
    fs::write(&config, text).unwrap();
    let mut command = Command::new(PROGRAM);
    command.arg(format!("--config.file={}", config.display())).arg(format!("--web.listen-address={ADDRESS}"));
    let mut exporter = Process::start(command.arg("--log.level=error").stdout(Stdio::null()));
    exporter.await_ready(ADDRESS, "/-/healthy");
    exporter
}

/// The path that asks for one probe.
fn probe(talk: Talk, number: usize) -> String {
    let (module, scheme, port) = match talk {
        Talk::Tcp => ("tcp", "", targets::TCP),
        Talk::Http => ("http", "http://", targets::HTTP),
        Talk::Tls => ("http", "https://", targets::HTTPS),
    };
    format!("/probe?module={module}&target={scheme}{}:{port}", address(number))
}

pub(crate) fn rate(talk: Talk, quick: bool) {
    let exporter = start();
    let path = |number| probe(talk, number);
    // As many as the guide has edges: how little memory it can do with.
    load(Limit::Probes(10), path);
    sleep(Duration::from_secs(1));
    say("idle", rss(exporter.id()));
    load(Limit::Probes(200), path);
    let before = cpu(exporter.id());
    let answers = load(Limit::Time(bare::seconds(quick)), path);
    let spent = cpu(exporter.id()) - before;
    say("rss", rss(exporter.id()));
    say("rate", answers.len() as f64 / spent);
    say("wrong", answers.iter().filter(|answer| !answer.success).count() as f64);
}

pub(crate) fn late(quick: bool) {
    let _exporter = start();
    let path = |number| format!("/probe?module=http&target=http://{}:{}", address(number), targets::LATE);
    let answers = load(Limit::Probes(if quick { 1000 } else { 4000 }), path);
    assert!(answers.iter().all(|answer| answer.success), "blackbox_exporter failed on a target that serves");
    say_errors(&answers.iter().map(|answer| answer.seconds).collect::<Vec<_>>());
}

/// When a load ends.
#[derive(Clone, Copy)]
enum Limit {
    Probes(usize),
    Time(Duration),
}

/// What it says of one probe.
struct Answer {
    success: bool,
    seconds: f64,
}

/// Several clients, each on a connection that it keeps, as Prometheus does. They ask for plain text, which costs the exporter less than the gzip that Prometheus asks for.
fn load(limit: Limit, path: impl Fn(usize) -> String + Sync) -> Vec<Answer> {
    let (next, began) = (AtomicUsize::new(0), Instant::now());
    let (next, path) = (&next, &path);
    let client = move || {
        let mut stream = BufReader::new(TcpStream::connect(ADDRESS).unwrap());
        stream.get_ref().set_nodelay(true).unwrap();
        let mut answers = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let done = match limit {
                Limit::Probes(most) => number >= most,
                Limit::Time(time) => began.elapsed() >= time,
            };
            if done {
                return answers;
            }
            write!(stream.get_mut(), "GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", path(number)).unwrap();
            answers.push(Answer::parse(&read(&mut stream)));
        }
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    })
}

impl Answer {
    fn parse(text: &str) -> Self {
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse::<f64>().unwrap()
        };
        Self { success: value("probe_success") > 0.5, seconds: value("probe_duration_seconds") }
    }
}

/// The body of one answer on a connection that is kept.
fn read(stream: &mut BufReader<TcpStream>) -> String {
    let (mut chunked, mut length) = (false, 0);
    loop {
        let line = line(stream).to_ascii_lowercase();
        chunked |= line == "transfer-encoding: chunked";
        length = line.strip_prefix("content-length: ").map_or(length, |text| text.parse().unwrap());
        if line.is_empty() {
            break;
        }
    }
    let mut body = Vec::new();
    while chunked {
        length = usize::from_str_radix(&line(stream), 16).unwrap();
        chunked = length > 0;
        let from = body.len();
        body.resize(from + length, 0);
        stream.read_exact(&mut body[from..]).unwrap();
        line(stream);
        length = 0;
    }
    let from = body.len();
    body.resize(from + length, 0);
    stream.read_exact(&mut body[from..]).unwrap();
    String::from_utf8(body).unwrap()
}

fn line(stream: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}
