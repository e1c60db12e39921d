use super::*;
use crate::finding::Finding;

fn edge(name: &str, expect: Expect, state: State, observed: Class) -> EdgeReport {
    EdgeReport {
        name: name.to_owned(),
        from: "matrix/deploy/mas".to_owned(),
        to: format!("target-of-{name}"),
        protocol: "TCP",
        pod_ports: vec![5432],
        service_port: None,
        needs: String::new(),
        expect,
        tier: 1,
        breaks: "nobody can log in".to_owned(),
        exchange: crate::matrix::Exchange::Tcp,
        provenance: Vec::new(),
        declared: None,
        because: String::new(),
        observed: Some(observed),
        reason: None,
        state: Some(state),
        finding: None,
    }
}

/// Three edges that work, one that is closed.
fn sound() -> Board {
    let allow = |name| edge(name, Expect::Allow, State::Ok, Class::Reachable);
    let edges = vec![allow("a"), allow("b"), allow("c"), edge("x", Expect::Deny, State::Ok, Class::Blocked)];
    Board { matrix: "matrix/mas".to_owned(), edges, ..Board::default() }
}

#[track_caller]
fn check(change: impl FnOnce(&mut Board), state: &str, text: &str, more: &str) {
    let mut board = sound();
    change(&mut board);
    let got = headline(&board);
    assert_eq!((got.state, got.text.as_str(), got.more.as_str()), (state, text, more));
}

fn violate(board: &mut Board, index: usize, code: Code, object: &str) {
    board.edges[index].state = Some(State::Violated);
    board.edges[index].finding = Some(Finding::new(code, object, "", "").on(board.edges[index].name.as_str()));
}

#[test]
fn one_sentence_for_every_state() {
    check(|_| {}, "ok", "All 3 edges work, 1 forbidden one is closed", "");
    check(|b| b.edges.clear(), "unknown", "No edges yet", "");
    check(|b| b.edges.iter_mut().for_each(|e| e.state = None), "unknown", "Nothing is proven yet", "");
    check(
        |b| violate(b, 1, Code::PolicyBlocks, "NetworkPolicy/matrix/portreeve-mas"),
        "violated",
        "b is blocked by matrix/portreeve-mas: nobody can log in",
        "",
    );
    check(|b| violate(b, 3, Code::ForbiddenOpen, ""), "violated", "x is open and must be closed", "");
    check(
        |b| violate(b, 0, Code::TargetDown, "Service/auth/authelia"),
        "violated",
        "target-of-a does not answer a: nobody can log in",
        "",
    );
    check(
        |b| {
            b.edges[3].state = Some(State::Pending);
            b.edges[3].observed = Some(Class::Reachable);
        },
        "pending",
        "x will be closed: open now, and nothing is enforced yet",
        "All 3 edges work",
    );
}

/// What is not proven is neither working nor closed, whatever else is fine.
#[test]
fn unknown_is_never_counted_as_good() {
    check(|b| b.edges[1].state = Some(State::Unknown), "unknown", "b is not proven", "");
    check(|b| b.edges[1].state = None, "unknown", "b is not proven", "");
    check(
        |b| {
            b.edges[1].state = Some(State::Unknown);
            b.edges[3].state = Some(State::Unknown);
        },
        "unknown",
        "2 of 4 edges are not proven",
        "b, x",
    );
    check(|b| b.edges[3].observed = None, "ok", "All 3 edges work", "");
}

/// The findings are sorted by root cause, so they decide; without them the lowest tier does.
#[test]
fn the_root_cause_comes_first() {
    let two = |b: &mut Board| {
        violate(b, 0, Code::TargetDown, "");
        violate(b, 2, Code::PolicyBlocks, "NetworkPolicy/matrix/deny");
    };
    check(
        |b| {
            two(b);
            b.edges[2].tier = 0;
        },
        "violated",
        "c is blocked by matrix/deny: nobody can log in",
        "also: target-of-a does not answer a: nobody can log in",
    );
    check(
        |b| {
            two(b);
            b.edges[2].tier = 0;
            b.findings = b.edges.iter().filter_map(|edge| edge.finding.clone()).collect();
        },
        "violated",
        "target-of-a does not answer a: nobody can log in",
        "also: c is blocked by matrix/deny: nobody can log in",
    );
}
