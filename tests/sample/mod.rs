//! Boards as the guide's world makes them, in the states that people see.
#![allow(dead_code, unreachable_pub, reason = "each test crate compiles this file and uses its part")]

pub mod server;

use std::time::Duration;

use portreeve::finding::{Code, Finding};
use portreeve::judge::{Attempt, Board, Change, Class, Declared, EdgeReport, Phases, Reason, State, TlsFacts};
use portreeve::matrix::Expect;
use portreeve::source::{Place, Position};

pub const MATRIX: &str = "matrix/mas";

/// Eight edges that work and two that are closed.
pub fn ok() -> Board {
    let subject = "matrix/deploy/mas";
    let edges = vec![
        allow("traefik-to-mas", "traefik/deploy/traefik", subject, 8080, Some(80), 0, "nobody can log in"),
        allow("synapse-to-mas", "matrix/deploy/synapse", subject, 8080, None, 0, "every client request is refused"),
        allow("mas-to-postgres", subject, "postgres/svc/matrix-db-rw", 5432, None, 0, "nobody can log in"),
        allow("mas-to-synapse", subject, "matrix/svc/synapse", 8008, Some(80), 0, "no session can begin"),
        allow("mas-to-authelia", subject, "auth/svc/authelia", 9091, Some(80), 1, "nobody can log in with Authelia"),
        udp(allow("mas-to-dns-udp", subject, "kube-system/svc/kube-dns", 53, None, 0, "no name resolves")),
        allow("mas-to-dns-tcp", subject, "kube-system/svc/kube-dns", 53, None, 1, "large DNS answers fail"),
        allow("mas-to-smtp", subject, "smtp.example.org", 587, None, 2, "no mail is sent"),
        deny("stranger-to-mas", "any-pod", subject, 8080),
        deny("mas-to-stranger", subject, "the stranger", 9691),
    ];
    let probes = edges.iter().enumerate().map(|(index, edge)| attempt(edge, 400 + 170 * index as u64)).collect();
    let changes = vec![
        change("2026-11-23T15:20:02Z", "portreeve wrote NetworkPolicy matrix/portreeve-mas"),
        change("2026-11-23T15:19:58Z", "Deployment matrix/mas rolled out revision 4"),
    ];
    Board { matrix: MATRIX.to_owned(), edges, probes, changes, ..Board::default() }
}

/// MAS's own policy lost its rule for PostgreSQL.
pub fn blocked() -> Board {
    let mut board = ok();
    let finding = Finding::new(
        Code::PolicyBlocks,
        "NetworkPolicy/matrix/portreeve-mas",
        "The policy matrix/portreeve-mas isolates MAS for egress and none of its rules admits postgres/svc/matrix-db-rw on pod port 5432.",
        "Add to spec.egress of NetworkPolicy matrix/portreeve-mas:\n- to:\n  - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: postgres}}\n    podSelector: {matchLabels: {cnpg.io/cluster: matrix-db}}\n  ports: [{port: 5432, protocol: TCP}]",
    )
    .on("mas-to-postgres")
    .at(Place::new(&"policies/matrix_portreeve-mas.yaml".into(), Position { line: 14, column: 3 }));
    let edge = edge(&mut board, "mas-to-postgres");
    edge.declared = Some(Declared::Denied);
    edge.because =
        String::from("egress of matrix/portreeve-mas (policies/matrix_portreeve-mas.yaml:14:3): no rule admits it");
    edge.observed = Some(Class::Blocked);
    edge.reason = Some(Reason::IcmpAdminProhibited);
    edge.state = Some(State::Violated);
    edge.finding = Some(finding.clone());
    board.findings.push(finding);
    board.changes.insert(
        0,
        change("2026-11-23T15:24:31Z", "kubectl-edit changed NetworkPolicy matrix/portreeve-mas: spec.egress"),
    );
    board
}

/// A forbidden edge is open, a target is down, one edge is not proven, and the policies are wider than the edges.
pub fn mixed() -> Board {
    let mut board = ok();
    let open = Finding::new(
        Code::ForbiddenOpen,
        "NetworkPolicy/matrix/allow-all",
        "Any pod reaches MAS on pod port 8080: the policy matrix/allow-all admits every source.",
        "Delete NetworkPolicy matrix/allow-all, or give its first rule a podSelector.",
    )
    .on("stranger-to-mas")
    .at(Place::new(&"cluster/netpol.yaml".into(), Position { line: 71, column: 5 }));
    let down = Finding::new(
        Code::TargetDown,
        "Service/auth/authelia",
        "auth/svc/authelia resets every connection on pod port 9091 although the policies let it through: nothing listens there.",
        "Look at the pods of auth/svc/authelia: kubectl -n auth get pods",
    )
    .on("mas-to-authelia");
    let wide = Finding::new(
        Code::WiderThanIntended,
        "NetworkPolicy/matrix/allow-all",
        "matrix/allow-all admits every pod at MAS on every port; the edges need two sources on one port.",
        "Delete NetworkPolicy matrix/allow-all.",
    );
    let stranger = edge(&mut board, "stranger-to-mas");
    (stranger.declared, stranger.observed) = (Some(Declared::Allowed), Some(Class::Reachable));
    (stranger.reason, stranger.state, stranger.finding) = (Some(Reason::Ok), Some(State::Violated), Some(open.clone()));
    let authelia = edge(&mut board, "mas-to-authelia");
    (authelia.observed, authelia.reason) = (Some(Class::Down), Some(Reason::ConnectRefusedRst));
    (authelia.state, authelia.finding) = (Some(State::Violated), Some(down.clone()));
    let smtp = edge(&mut board, "mas-to-smtp");
    (smtp.declared, smtp.observed) = (Some(Declared::Unknown), Some(Class::Unknown));
    (smtp.reason, smtp.state) = (Some(Reason::ConnectTimeout), Some(State::Unknown));
    smtp.needs = String::from("No control proves that smtp.example.org listens, so silence says nothing.");
    board.findings = vec![open, down, wide];
    board.notes.push("mas.enabled is false in the guide's values, which changes nothing here".to_owned());
    board
}

pub fn edge<'a>(board: &'a mut Board, name: &str) -> &'a mut EdgeReport {
    board.edges.iter_mut().find(|edge| edge.name == name).expect("the sample has this edge")
}

pub fn attempt(edge: &EdgeReport, micros: u64) -> Attempt {
    let tls = edge.name == "mas-to-smtp";
    Attempt {
        edge: edge.name.clone(),
        address: Some(([10, 42, 0, 17], edge.pod_ports[0]).into()),
        reason: edge.reason.unwrap_or(Reason::ProberError),
        offender: None,
        phases: Phases {
            connect: Some(Duration::from_micros(micros)),
            tls: tls.then_some(Duration::from_millis(11)),
            exchange: (edge.expect == Expect::Allow).then_some(Duration::from_micros(micros * 2)),
            ..Phases::default()
        },
        detail: "answered as it should".to_owned(),
        tls: tls.then(|| TlsFacts { not_after: Some(1_800_000_000), ..TlsFacts::default() }),
    }
}

fn allow(name: &str, from: &str, to: &str, pod: u16, service: Option<u16>, tier: u8, breaks: &str) -> EdgeReport {
    EdgeReport {
        name: name.to_owned(),
        from: from.to_owned(),
        to: to.to_owned(),
        protocol: "TCP",
        pod_ports: vec![pod],
        service_port: service,
        needs: String::new(),
        expect: Expect::Allow,
        tier,
        breaks: breaks.to_owned(),
        exchange: portreeve::matrix::Exchange::Tcp,
        provenance: vec!["guide-values.yaml:41:7 NetworkPolicy Considerations: MAS needs it".to_owned()],
        declared: Some(Declared::Allowed),
        because: "matrix/portreeve-mas admits it (policies/matrix_portreeve-mas.yaml:20:5)".to_owned(),
        observed: Some(Class::Reachable),
        reason: Some(Reason::Ok),
        state: Some(State::Ok),
        finding: None,
    }
}

fn deny(name: &str, from: &str, to: &str, pod: u16) -> EdgeReport {
    EdgeReport {
        expect: Expect::Deny,
        declared: Some(Declared::Denied),
        because: "matrix/portreeve-mas isolates MAS and no rule admits it".to_owned(),
        observed: Some(Class::Blocked),
        reason: Some(Reason::IcmpAdminProhibited),
        ..allow(name, from, to, pod, None, 1, "")
    }
}

fn udp(edge: EdgeReport) -> EdgeReport {
    EdgeReport { protocol: "UDP", ..edge }
}

fn change(at: &str, what: &str) -> Change {
    Change { at: at.to_owned(), what: what.to_owned() }
}
