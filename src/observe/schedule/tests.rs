//! The scheduler against a model that keeps a plain list and looks at all of it each time.

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn plan(target: &str, seconds: u64) -> Plan {
    Plan {
        target: target.to_owned(),
        interval: SECOND * u32::try_from(seconds).unwrap(),
        deep_interval: None,
        deny: None,
    }
}

/// Runs for `seconds` with probes that end at once; the times at which each edge began.
fn run(scheduler: &mut Scheduler, from: Duration, seconds: u64) -> Vec<(Duration, Start)> {
    let end = from + Duration::from_secs(seconds);
    let (mut now, mut seen) = (from, Vec::new());
    while let Some(wake) = scheduler.wake().filter(|wake| *wake < end) {
        now = now.max(wake);
        while let Some(start) = scheduler.start(now) {
            scheduler.finish(&start.edge, Hint::None, now);
            seen.push((now, start));
        }
    }
    seen
}

#[test]
fn each_edge_keeps_its_interval_and_edges_keep_apart() {
    let mut scheduler = Scheduler::new(Limits::default());
    for edge in 0..100 {
        assert!(scheduler.insert(&format!("edge-{edge}"), plan("t", 15), Duration::ZERO));
    }
    let seen = run(&mut scheduler, Duration::ZERO, 1500);
    for edge in 0..100 {
        let times: Vec<_> = seen.iter().filter(|(_, s)| s.edge == format!("edge-{edge}")).map(|(at, _)| *at).collect();
        assert!((98..=102).contains(&times.len()), "edge-{edge} ran {} times", times.len());
        assert!(times[0] < SECOND * 15);
        for pair in times.windows(2) {
            let gap = pair[1].checked_sub(pair[0]).unwrap();
            assert!((13_500..=16_500).contains(&gap.as_millis()), "{gap:?}");
        }
    }
    // Nowhere do they come in a crowd: 100 edges in 15 s are about 7 a second.
    for second in 0..1500 {
        let at = |(at, _): &&(Duration, Start)| at.as_secs() == second;
        assert!(seen.iter().filter(at).count() < 25, "a crowd in second {second}");
    }
}

#[test]
fn the_same_names_give_the_same_times() {
    let times = || {
        let mut scheduler = Scheduler::new(Limits::default());
        for edge in ["a", "b", "c"] {
            assert!(scheduler.insert(edge, plan("t", 15), SECOND));
        }
        run(&mut scheduler, SECOND, 100)
    };
    assert_eq!(times(), times());
}

#[test]
fn deep_probes_are_few() {
    let mut scheduler = Scheduler::new(Limits::default());
    scheduler.insert("a", Plan { deep_interval: Some(SECOND * 300), ..plan("t", 15) }, Duration::ZERO);
    let seen = run(&mut scheduler, Duration::ZERO, 900);
    assert!(seen[0].1.deep, "the first probe of all is deep");
    assert_eq!(seen.iter().filter(|(_, start)| start.deep).count(), 3);
    assert!(seen.len() > 55);
}

#[test]
fn a_deep_probe_that_failed_is_followed_by_a_deep_one() {
    let mut scheduler = Scheduler::new(Limits { jitter: 0, ..Limits::default() });
    scheduler.insert("a", Plan { deep_interval: Some(Duration::from_hours(1)), ..plan("t", 15) }, Duration::ZERO);
    let mut deep = Vec::new();
    for failed in [true, true, false, false] {
        let now = scheduler.wake().unwrap();
        deep.push(scheduler.start(now).unwrap().deep);
        if failed {
            scheduler.deepen("a");
        }
        scheduler.finish("a", Hint::None, now);
    }
    assert_eq!(deep, [true, true, true, false]);
    scheduler.deepen("stranger");
    // Without a deeper step there is none.
    let mut scheduler = Scheduler::new(Limits { jitter: 0, ..Limits::default() });
    scheduler.insert("b", Plan { deep_interval: None, ..plan("t", 15) }, Duration::ZERO);
    scheduler.deepen("b");
    assert!(!scheduler.start(scheduler.wake().unwrap()).unwrap().deep);
}

#[test]
fn backing_off_doubles_and_ends() {
    let mut scheduler = Scheduler::new(Limits { jitter: 0, ..Limits::default() });
    scheduler.insert("a", plan("t", 60), Duration::ZERO);
    let mut now = scheduler.wake().unwrap();
    let mut gaps = Vec::new();
    for hint in [Hint::BackOff, Hint::BackOff, Hint::BackOff, Hint::BackOff, Hint::BackOff, Hint::None, Hint::None] {
        assert!(scheduler.start(now).is_some());
        scheduler.finish("a", hint, now);
        let next = scheduler.wake().unwrap();
        gaps.push(next.checked_sub(now).unwrap().as_secs());
        assert_eq!(scheduler.pace("a"), next.checked_sub(now));
        now = next;
    }
    assert_eq!(gaps, [120, 240, 480, 900, 900, 60, 60]);
}

#[test]
fn what_was_missed_is_not_made_up_for() {
    let mut scheduler = Scheduler::new(Limits::default());
    scheduler.insert("a", plan("t", 15), Duration::ZERO);
    // A laptop slept for a day.
    let morning = SECOND * 86_400;
    assert!(scheduler.start(morning).is_some());
    assert!(scheduler.lag() > SECOND * 86_000);
    scheduler.finish("a", Hint::None, morning);
    assert!(scheduler.start(morning).is_some(), "one that is due now");
    scheduler.finish("a", Hint::None, morning);
    let seen = run(&mut scheduler, morning, 150);
    assert!((9..=12).contains(&seen.len()), "{}", seen.len());
    // And a clock that jumps back moves nothing.
    let before = scheduler.wake();
    assert_eq!(scheduler.start(SECOND), None);
    assert_eq!(scheduler.wake(), before);
    assert_eq!(scheduler.lag(), Duration::ZERO);
}

#[test]
fn there_is_a_limit_to_edges() {
    let mut scheduler = Scheduler::new(Limits { edges: 2, ..Limits::default() });
    let inserted = ["a", "a", "b", "c"].map(|edge| scheduler.insert(edge, plan("t", 1), Duration::ZERO));
    assert_eq!(inserted, [true, false, true, false]);
    scheduler.remove("a");
    assert!(scheduler.insert("c", plan("t", 1), Duration::ZERO));
}

#[derive(Debug, Clone)]
enum Step {
    Insert {
        edge: u8,
        target: u8,
        millis: u64,
        deny: bool,
    },
    Remove(u8),
    /// Forward, or back by as much.
    Clock {
        millis: u64,
        back: bool,
    },
    Start,
    Finish {
        edge: u8,
        back_off: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0u8..8, 0u8..3, 0u64..3000, any::<bool>())
            .prop_map(|(edge, target, millis, deny)| Step::Insert { edge, target, millis, deny }),
        1 => (0u8..8).prop_map(Step::Remove),
        3 => (0u64..2000, prop::bool::weighted(0.1)).prop_map(|(millis, back)| Step::Clock { millis, back }),
        6 => Just(Step::Start),
        4 => (0u8..8, any::<bool>()).prop_map(|(edge, back_off)| Step::Finish { edge, back_off }),
    ]
}

/// One edge of the model.
#[derive(Debug, Clone)]
struct Known {
    edge: String,
    plan: Plan,
    due: Duration,
    beat: u64,
    pauses: u32,
    running: bool,
    removed: bool,
}

#[derive(Debug, Default)]
struct Model {
    known: Vec<Known>,
    now: Duration,
}

impl Model {
    fn may_run(&self, candidate: &Known, limits: &Limits) -> bool {
        let running = || self.known.iter().filter(|known| known.running);
        running().count() < limits.at_once
            && running().filter(|known| known.plan.target == candidate.plan.target).count() < limits.per_target
            && (candidate.plan.deny.is_none() || running().all(|known| known.plan.deny != candidate.plan.deny))
    }

    fn start(&mut self, limits: &Limits) -> Option<String> {
        let ready = |known: &&Known| !known.running && known.due <= self.now && self.may_run(known, limits);
        let chosen = self.known.iter().filter(ready).min_by_key(|known| (known.due, known.edge.clone()))?.edge.clone();
        self.known.iter_mut().find(|known| known.edge == chosen)?.running = true;
        Some(chosen)
    }

    fn finish(&mut self, edge: &str, back_off: bool, jitter: u32) {
        let now = self.now;
        let Some(known) = self.known.iter_mut().find(|known| known.edge == edge && known.running) else { return };
        known.running = false;
        known.beat += 1;
        known.pauses = if back_off { known.pauses + 1 } else { 0 };
        let longest = Duration::from_mins(15).max(known.plan.interval);
        let mut pause = known.plan.interval;
        (0..known.pauses).for_each(|_| pause = (pause * 2).min(longest));
        known.due = (known.due + jittered(pause, jitter, spread(edge, known.beat))).max(now);
        self.known.retain(|known| !known.removed || known.running);
    }
}

proptest! {
    #[test]
    fn does_what_the_model_does(
        steps in proptest::collection::vec(step(), 1..200),
        at_once in 1usize..5,
        per_target in 1usize..3,
        jitter in 0u32..500,
    ) {
        let limits = Limits { at_once, per_target, edges: 6, jitter };
        let mut scheduler = Scheduler::new(limits);
        let mut model = Model::default();
        let mut clock = Duration::ZERO;
        for step in steps {
            match step {
                Step::Insert { edge, target, millis, deny } => {
                    let plan = Plan {
                        target: target.to_string(),
                        interval: Duration::from_millis(millis),
                        deep_interval: None,
                        deny: deny.then(|| "source".to_owned()),
                    };
                    let edge = edge.to_string();
                    let room = model.known.len() < 6 && model.known.iter().all(|known| known.edge != edge);
                    prop_assert_eq!(scheduler.insert(&edge, plan.clone(), clock), room);
                    if room {
                        let plan = Plan { interval: plan.interval.max(SHORTEST), ..plan };
                        let due = model.now + share(plan.interval, spread(&edge, 0));
                        model.known.push(Known { edge, plan, due, beat: 0, pauses: 0, running: false, removed: false });
                    }
                }
                Step::Remove(edge) => {
                    let edge = edge.to_string();
                    scheduler.remove(&edge);
                    model.known.iter_mut().filter(|known| known.edge == edge).for_each(|known| known.removed = true);
                    model.known.retain(|known| !known.removed || known.running);
                }
                Step::Clock { millis, back } => {
                    let millis = Duration::from_millis(millis);
                    clock = if back { clock.saturating_sub(millis) } else { clock + millis };
                    model.now = model.now.max(clock);
                }
                Step::Start => {
                    let got = scheduler.start(clock).map(|start| start.edge);
                    prop_assert_eq!(got, model.start(&limits));
                }
                Step::Finish { edge, back_off } => {
                    let hint = if back_off { Hint::BackOff } else { Hint::None };
                    scheduler.finish(&edge.to_string(), hint, clock);
                    model.finish(&edge.to_string(), back_off, limits.jitter);
                }
            }
            prop_assert_eq!(scheduler.running(), model.known.iter().filter(|known| known.running).count());
            prop_assert!(scheduler.running() <= at_once);
            // Whoever sleeps until the time to wake misses nothing.
            scheduler.tick(clock);
            let ready = model.known.iter().any(|k| !k.running && k.due <= model.now && model.may_run(k, &limits));
            let woken = scheduler.wake().is_some_and(|wake| wake <= model.now);
            prop_assert_eq!(woken, ready);
        }
    }

    #[test]
    fn a_damped_value_changes_only_by_votes(values in proptest::collection::vec(0u8..3, 1..60), need in 1usize..5, more in 0usize..4) {
        let window = need + more;
        let mut damper = Damper::new(need, window);
        let mut shown = values[0];
        for (index, value) in values.iter().enumerate() {
            let newest = &values[(index + 1).saturating_sub(window)..=index];
            let votes: usize = newest.iter().map(|seen| usize::from(seen == value)).sum();
            if votes >= need {
                shown = *value;
            }
            prop_assert_eq!(damper.push(*value), shown);
        }
    }
}

#[test]
fn silence_is_asked_about_again_at_once_but_only_once() {
    let mut scheduler = Scheduler::new(Limits { jitter: 0, ..Limits::default() });
    let second = Duration::from_secs;
    let plan = Plan { target: "db".to_owned(), interval: second(15), deep_interval: None, deny: None };
    assert!(scheduler.insert("e", plan, Duration::ZERO));
    let first = scheduler.wake().unwrap();
    let mut now = first;
    // Hint, and how long after its beginning the next probe begins.
    for (hint, next) in [
        (Hint::None, second(15)),
        (Hint::Confirm, Duration::ZERO),
        (Hint::Confirm, second(15)),
        (Hint::Confirm, second(15)),
        (Hint::None, second(15)),
        (Hint::Confirm, Duration::ZERO),
    ] {
        assert!(scheduler.start(now).is_some(), "{hint:?}");
        scheduler.finish("e", hint, now);
        assert_eq!(scheduler.wake(), Some(now + next), "{hint:?}");
        now += next;
    }
}

#[test]
fn one_lost_packet_flips_nothing_and_two_do() {
    let mut damper = Damper::new(2, 3);
    assert_eq!(damper.shown(), None);
    let shown: Vec<_> = [true, true, false, true, false, false, true, true].map(|v| damper.push(v)).to_vec();
    // false, true, false: two of three say false.
    assert_eq!(shown, [true, true, true, true, false, false, false, true]);
}
