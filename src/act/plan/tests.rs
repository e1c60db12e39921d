use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::judge::audit::audit;
use crate::judge::audit::fixture::{guide, guide_files, load, name};
use crate::policy::Engine;
use crate::source::{InputError, Place, Position};
use crate::world::NotCovered;

/// A policy that isolates MAS and opens nothing.
const DENY: &str = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: deny, namespace: matrix}\nspec: {podSelector: {}, policyTypes: [Ingress, Egress]}\n";

/// The guide's world with these policies and no others.
fn world_with(policies: &[&str]) -> (World, PolicySet) {
    let (world, _) = load(&guide_files());
    let files: Vec<_> = policies.iter().map(|text| ("more.yaml".to_owned(), (*text).to_owned())).collect();
    let (_, policies) = load(&files);
    (world, policies)
}

fn orders(mode: Mode) -> Orders {
    Orders { mode, ..Orders::default() }
}

fn made(world: &World, policies: &PolicySet, orders: &Orders) -> Plan {
    let intended = guide(world);
    plan_for(&intended, world, policies, orders)
}

fn plan_for(intended: &Resolution, world: &World, policies: &PolicySet, orders: &Orders) -> Plan {
    let (name, intent, dialect) = (name(), Intent::default(), Dialect::default());
    plan(&Situation { name: &name, intent: &intent, intended, world, policies, dialect }, orders)
}

/// The policies once a plan is carried out.
fn carried_out(plan: &Plan, policies: &PolicySet) -> PolicySet {
    match &plan.step {
        Step::Nothing => policies.clone(),
        Step::Remove => policies.without(&plan.policy),
        Step::Create(policy) | Step::Replace(policy) => policies.with(manifest::read(policy, "live").unwrap()),
    }
}

#[track_caller]
fn check(plan: &Plan, step: &str, writes: bool, held: &[&str]) {
    let said: Vec<String> = plan
        .held
        .iter()
        .map(|held| match held {
            Held::Audit { frozen: true } => "frozen".to_owned(),
            Held::Audit { frozen: false } => "audit".to_owned(),
            Held::Git => "git".to_owned(),
            Held::Unread(key) => format!("unread {key}"),
            Held::Unseen(gap) => format!("unseen {gap}"),
            Held::NoEdge => "no edge".to_owned(),
            Held::Wrong(finding) => format!("{} {}", finding.code.name(), finding.edge.as_deref().unwrap_or("-")),
        })
        .collect();
    assert_eq!((plan.step.as_str(), plan.writes()), (step, writes), "{said:?}");
    assert_eq!(said, held);
}

#[test]
fn what_is_carried_out_is_not_planned_again() {
    let (world, none) = world_with(&[]);
    let first = made(&world, &none, &orders(Mode::Enforce));
    check(&first, "create", true, &[]);
    assert!(first.effects.iter().all(|effect| effect.after == Declared::Allowed), "{:#?}", first.effects);
    let after = carried_out(&first, &none);
    check(&made(&world, &after, &orders(Mode::Enforce)), "nothing", false, &[]);
}

/// Somebody else's policy of that name may stand in what the source does not show.
#[test]
fn what_may_stand_under_the_name_holds_it_back() {
    let (mut world, none) = world_with(&[]);
    let error = InputError::new(Place::new(&"x.yaml".into(), Position { line: 2, column: 1 }), "broken");
    world.not_covered.push(NotCovered::unread(&error));
    let unseen = "unseen x.yaml:2:1 cannot be read";
    let plan = made(&world, &none, &orders(Mode::Enforce));
    check(&plan, "create", false, &[unseen]);
    let after = carried_out(&plan, &none);
    check(&made(&world, &after, &orders(Mode::Enforce)), "nothing", false, &[unseen]);
    check(&made(&world, &none, &orders(Mode::Off)), "nothing", false, &[unseen]);
}

#[test]
fn an_edit_by_hand_is_put_back() {
    let (world, none) = world_with(&[]);
    let right = made(&world, &none, &orders(Mode::Enforce));
    let edits = [
        ("/spec/egress", json!([])),
        ("/spec/policyTypes", json!(["Ingress"])),
        ("/spec/podSelector", json!({"matchLabels": {"a": "b"}})),
        ("/spec/ingress/0", json!({})),
        ("/metadata/annotations", json!({})),
        ("/metadata/labels/portreeve.io~1matrix", json!("another")),
    ];
    for (what, value) in edits {
        let mut edited = right.step.policy().unwrap().clone();
        *edited.pointer_mut(what).unwrap() = value;
        let set = none.with(manifest::read(&edited, "live").unwrap());
        let plan = made(&world, &set, &orders(Mode::Enforce));
        assert_eq!(plan.step, Step::Replace(right.step.policy().unwrap().clone()), "{what}");
    }
    // What others write on it is theirs.
    let mut signed = right.step.policy().unwrap().clone();
    signed["metadata"]["labels"]["team"] = "matrix".into();
    let set = none.with(manifest::read(&signed, "live").unwrap());
    check(&made(&world, &set, &orders(Mode::Enforce)), "nothing", false, &[]);
}

#[test]
fn audit_writes_nothing_and_git_is_told() {
    let (world, none) = world_with(&[]);
    check(&made(&world, &none, &orders(Mode::Audit)), "create", false, &["audit"]);
    let ours = carried_out(&made(&world, &none, &orders(Mode::Enforce)), &none);
    check(&made(&world, &ours, &orders(Mode::Audit)), "nothing", false, &[]);
    let narrower = Orders { directions: Directions::Ingress, ..orders(Mode::Audit) };
    check(&made(&world, &ours, &narrower), "replace", false, &["frozen"]);
    let git = Orders { owner: Owner::Git, ..orders(Mode::Enforce) };
    check(&made(&world, &none, &git), "create", false, &["git"]);
}

#[test]
fn off_removes_ours_and_nothing_else() {
    let (world, none) = world_with(&[]);
    check(&made(&world, &none, &orders(Mode::Off)), "nothing", false, &[]);
    let ours = carried_out(&made(&world, &none, &orders(Mode::Enforce)), &none);
    let plan = made(&world, &ours, &orders(Mode::Off));
    check(&plan, "remove", true, &[]);
    assert!(carried_out(&plan, &ours).policies.is_empty());
    let (_, foreign) = world_with(&[&DENY.replace("name: deny", "name: portreeve-mas")]);
    check(&made(&world, &foreign, &orders(Mode::Off)), "nothing", false, &[]);
}

#[test]
fn a_removal_that_locks_out_is_held_back() {
    let (world, deny) = world_with(&[DENY]);
    let ours = carried_out(&made(&world, &deny, &orders(Mode::Enforce)), &deny);
    let plan = made(&world, &ours, &orders(Mode::Off));
    assert!(!plan.writes());
    let locked: Vec<_> = plan.wrong().filter(|finding| finding.code == Code::LockOut).collect();
    // Synapse's own side is isolated in either case.
    assert_eq!(locked.len(), 6, "{locked:#?}");
    assert!(locked[0].message.contains("matrix/deny"), "{}", locked[0].message);
}

#[test]
fn what_somebody_else_wrote_is_left_alone() {
    let (world, foreign) = world_with(&[&DENY.replace("name: deny", "name: portreeve-mas")]);
    check(&made(&world, &foreign, &orders(Mode::Enforce)), "replace", false, &["NotOurs -"]);
    let adopting = Orders { adopt: vec!["portreeve-mas".to_owned()], ..orders(Mode::Enforce) };
    check(&made(&world, &foreign, &adopting), "replace", true, &[]);
}

#[test]
fn an_edge_without_a_known_peer_is_never_cut() {
    let (world, none) = world_with(&[]);
    let mut intended = guide(&world);
    let smtp = intended.edges.iter_mut().find(|edge| edge.edge.name == "mas-to-smtp").unwrap();
    smtp.to[0].kind = crate::matrix::PeerKind::Unresolved;
    let plan = plan_for(&intended, &world, &none, &orders(Mode::Enforce));
    check(&plan, "create", false, &["PeerUnknown mas-to-smtp"]);
    intended.subject = None;
    check(&plan_for(&intended, &world, &none, &orders(Mode::Enforce)), "nothing", false, &["SubjectUnclear -"]);
}

#[test]
fn dns_is_needed_even_where_nobody_asks_for_it() {
    let (world, none) = world_with(&[]);
    let mut intended = guide(&world);
    intended.edges.retain(|edge| edge.edge.name == "mas-to-postgres");
    let plan = plan_for(&intended, &world, &none, &orders(Mode::Enforce));
    check(&plan, "create", false, &["LockOut mas-to-dns-udp", "LockOut mas-to-dns-tcp"]);
    // Where it does not work anyway, nothing is lost.
    let (world, deny) = world_with(&[DENY]);
    check(&plan_for(&intended, &world, &deny, &orders(Mode::Enforce)), "create", true, &[]);
}

#[test]
fn what_would_cut_everything_is_not_written() {
    let (world, deny) = world_with(&[DENY]);
    let mut intended = guide(&world);
    intended.edges.retain(|edge| edge.edge.expect == Expect::Deny);
    check(&plan_for(&intended, &world, &deny, &orders(Mode::Enforce)), "create", false, &["no edge"]);
    let (name, dialect) = (name(), Dialect::default());
    let intended = guide(&world);
    let intent = Intent { unread: vec!["spec.masConfigFrom"], ..Intent::default() };
    let situation =
        Situation { name: &name, intent: &intent, intended: &intended, world: &world, policies: &deny, dialect };
    check(&plan(&situation, &orders(Mode::Enforce)), "create", false, &["unread spec.masConfigFrom"]);
}

/// The guide's inbound edges, as if a source had named another port of MAS.
fn at_port(intended: &mut Resolution, port: u16) {
    for resolved in &mut intended.edges {
        if resolved.edge.to.iter().any(|target| target.party == crate::matrix::Party::Subject) {
            resolved.to[0].ports = vec![port];
            resolved.edge.exchange = crate::matrix::Exchange::Whoami;
        }
    }
}

#[test]
fn a_wrong_listener_does_not_cut_what_the_services_show() {
    let (world, none) = world_with(&[]);
    let mut intended = guide(&world);
    at_port(&mut intended, 9090);
    let plan = plan_for(&intended, &world, &none, &orders(Mode::Enforce));
    check(&plan, "create", false, &["LockOut traefik-to-mas", "LockOut synapse-to-mas"]);
    let told = &plan.wrong().next().unwrap().message;
    assert!(told.contains("port 8080 of its pods, which traefik/"), "{told}");
    // Where nobody gets through anyway, nothing is lost.
    let (world, deny) = world_with(&[DENY]);
    check(&plan_for(&intended, &world, &deny, &orders(Mode::Enforce)), "create", true, &[]);
}

/// A mail relay by a name whose addresses nobody knows.
fn relay_outside(intended: &mut Resolution) {
    use crate::matrix::PeerKind;
    let smtp = intended.edges.iter_mut().find(|edge| edge.edge.name == "mas-to-smtp").unwrap();
    let nets = vec!["0.0.0.0/0".parse().unwrap()];
    let except = vec!["10.0.0.0/8".parse().unwrap()];
    smtp.to[0].kind = PeerKind::Blocks { nets, except, host: Some("mail.example.org".to_owned()) };
    smtp.to[0].by_default = true;
}

#[test]
fn a_host_whose_address_may_be_private_is_not_called_allowed() {
    let (world, none) = world_with(&[]);
    let mut intended = guide(&world);
    relay_outside(&mut intended);
    let plan = plan_for(&intended, &world, &none, &orders(Mode::Enforce));
    check(&plan, "create", true, &[]);
    assert_eq!(plan.unproven, ["mas-to-smtp"]);
    let smtp = plan.effects.iter().find(|effect| effect.edge == "mas-to-smtp").unwrap();
    assert_eq!((smtp.before, smtp.after), (Declared::Allowed, Declared::Unknown));
    assert_eq!(smtp.because, "the addresses of mail.example.org are not known: a private one is not covered");
    // Where egress is not isolated, whatever address it has is allowed.
    let ingress = Orders { directions: Directions::Ingress, ..orders(Mode::Enforce) };
    assert_eq!(plan_for(&intended, &world, &none, &ingress).unproven, Vec::<String>::new());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Promises 4 and 9, whatever else isolates the pods: nothing that works by the policies is cut by a plan that writes, and the plan after it is empty.
    #[test]
    fn no_plan_locks_out(kept in prop::collection::vec(any::<bool>(), 10), deny in any::<bool>(), mode in 0..3_u8, before in any::<bool>()) {
        let (world, mut policies) = world_with(if deny { &[DENY] } else { &[] });
        if before {
            policies = carried_out(&made(&world, &policies, &orders(Mode::Enforce)), &policies);
        }
        let mut intended = guide(&world);
        let mut keep = kept.iter();
        intended.edges.retain(|_| *keep.next().unwrap());
        let orders = orders([Mode::Off, Mode::Audit, Mode::Enforce][usize::from(mode)]);
        let first = plan_for(&intended, &world, &policies, &orders);
        if first.writes() {
            let after = carried_out(&first, &policies);
            // By asking the engine anew, pair by pair, not by what the plan says of itself.
            let audited = audit(&intended, &world, &after, &Engine::new(&world, &after), &name());
            for edge in audited.edges.iter().filter(|edge| edge.expect == Expect::Allow) {
                let was = first.effects.iter().find(|effect| effect.edge == edge.name).unwrap();
                prop_assert!(was.before == Declared::Denied || edge.declared != Some(Declared::Denied), "{}", edge.name);
            }
            let again = plan_for(&intended, &world, &after, &orders);
            prop_assert_eq!(again.step, Step::Nothing);
        }
    }
}
