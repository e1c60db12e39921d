//! What the benchmarks share: each measurement in a process of its own, interleaved rounds, medians, one table.

use std::collections::BTreeMap;
use std::process::Command;

use portreeve::judge::{Class, Declared, EdgeReport, Reason, State};
use portreeve::matrix::{Exchange, Expect};

/// One row of the table: which value of which task, what it stands against, and the target.
pub(crate) struct Row {
    task: &'static str,
    key: &'static str,
    what: &'static str,
    anchor: &'static str,
    target: &'static str,
    unit: &'static str,
}

pub(crate) const fn row(
    task: &'static str,
    key: &'static str,
    what: &'static str,
    anchor: &'static str,
    target: &'static str,
    unit: &'static str,
) -> Row {
    Row { task, key, what, anchor, target, unit }
}

/// Every value of every task and key, one a round.
pub(crate) struct Found {
    rounds: usize,
    quick: bool,
    values: BTreeMap<(String, String), Vec<f64>>,
}

impl Found {
    /// Runs all tasks in turn, and that so many times.
    pub(crate) fn measure(tasks: &[&str], rounds: usize, quick: bool) -> Self {
        let mut values: BTreeMap<_, Vec<f64>> = BTreeMap::new();
        for task in (0..rounds).flat_map(|_| tasks) {
            for (key, value) in child(task, quick) {
                values.entry(((*task).to_owned(), key)).or_default().push(value);
            }
        }
        Self { rounds, quick, values }
    }

    pub(crate) fn median(&self, task: &str, key: &str) -> Option<f64> {
        let mut values = self.values.get(&(task.to_owned(), key.to_owned()))?.clone();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    }

    pub(crate) fn print(&self, rows: &[Row]) {
        let smaller = if self.quick { ", smaller: no targets" } else { "" };
        println!("medians of {} interleaved round(s){smaller}", self.rounds);
        println!("| what | anchor | target | measured |\n|---|---|---|---|");
        for Row { task, key, what, anchor, target, unit } in rows {
            let median = self.median(task, key);
            let measured = median.map_or_else(|| "not run".to_owned(), |value| format!("{} {unit}", figure(value)));
            println!("| {what} | {anchor} | {target} | {measured} |");
        }
    }
}

/// Runs one task in a process of its own; it prints `key value` lines.
fn child(task: &str, quick: bool) -> Vec<(String, f64)> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--child", task]).args(quick.then_some("quick"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{task}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.split_once(' ').unwrap()).map(|(k, v)| (k.to_owned(), v.parse().unwrap())).collect()
}

/// What a task found.
pub(crate) fn say(key: &str, value: f64) {
    println!("{key} {value}");
}

pub(crate) fn figure(value: f64) -> String {
    if value < 10.0 {
        return format!("{value:.2}");
    }
    if value < 100.0 {
        return format!("{value:.1}");
    }
    let mut digits = format!("{value:.0}");
    let mut at = digits.len();
    while at > 3 {
        at -= 3;
        digits.insert(at, ',');
    }
    digits
}

/// One edge of a board, probed with this outcome.
pub(crate) fn edge(name: String, reason: Reason) -> EdgeReport {
    EdgeReport {
        name,
        from: "subject".to_owned(),
        to: "postgres/matrix-db-0".to_owned(),
        protocol: "TCP",
        pod_ports: vec![5432],
        service_port: Some(5432),
        needs: String::new(),
        expect: Expect::Allow,
        tier: 1,
        breaks: "nobody can log in".to_owned(),
        exchange: Exchange::Tcp,
        provenance: vec![],
        declared: Some(Declared::Allowed),
        because: String::new(),
        observed: Some(if reason == Reason::Ok { Class::Reachable } else { Class::Blocked }),
        reason: Some(reason),
        state: Some(if reason == Reason::Ok { State::Ok } else { State::Violated }),
        finding: None,
    }
}
