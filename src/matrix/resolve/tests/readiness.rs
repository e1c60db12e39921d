//! Pods that come and go.

use super::*;

/// 2026-11-23T12:00:00Z.
const THEN: i64 = 1_795_435_200;

/// A Service `ns/db` with pods: name, address, status of Ready, deleted or not. All conditions changed at [`THEN`].
fn world(pods: &[(&str, &str, &str, bool)]) -> World {
    let mut text = "{apiVersion: v1, kind: Service, metadata: {name: db, namespace: ns}, spec: {selector: {app: db}, ports: [{port: 5432}]}}\n".to_owned();
    for (name, address, ready, leaving) in pods {
        let leaving = if *leaving { "deletionTimestamp: '2026-11-23T12:00:00Z', " } else { "" };
        writeln!(
            text,
            "---\n{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: ns, {leaving}labels: {{app: db}}}}, spec: {{containers: [{{name: c, image: i}}]}}, status: {{phase: Running, podIP: {address}, conditions: [{{type: Ready, status: '{ready}', lastTransitionTime: '2026-11-23T12:00:00Z'}}]}}}}"
        )
        .unwrap();
    }
    small_world(&text)
}

/// Pods → whether one is Ready, which addresses do not serve, and whether it is settling 0, 119, 121, 301 and −1 seconds after.
#[track_caller]
fn check(pods: &[(&str, &str, &str, bool)], up: bool, unready: &[&str], settling: [bool; 5]) {
    let world = world(pods);
    let out = edge("mas-to-postgres", Party::Subject, service("ns", "db"), client(5432));
    let resolution = resolve(&intent(vec![out]), Some(&world));
    let resolved = &resolution.edges[0];
    assert_eq!(resolved.readiness(&world), Some(up));
    assert_eq!(resolved.ready_since(&world), up.then_some(THEN));
    let got: Vec<String> = resolved.unready(&world).iter().map(ToString::to_string).collect();
    assert_eq!(got, unready);
    assert_eq!([0, 119, 121, 301, -1].map(|after| resolved.is_settling(&world, THEN + after)), settling);
}

#[test]
fn who_serves_and_since_when_nobody_does() {
    const NEVER: [bool; 5] = [false; 5];
    check(&[("a", "10.0.0.1", "True", false)], true, &[], NEVER);
    check(&[("a", "10.0.0.1", "True", false), ("b", "10.0.0.2", "False", false)], true, &["10.0.0.2"], NEVER);
    // One that is deleted is still Ready for a while, but no Service leads to it.
    check(&[("a", "10.0.0.1", "True", false), ("b", "10.0.0.2", "True", true)], true, &["10.0.0.2"], NEVER);
    check(&[("a", "10.0.0.1", "False", false)], false, &["10.0.0.1"], [true, true, false, false, false]);
    // While one is seen to leave, a roll-out may take longer.
    check(
        &[("a", "10.0.0.1", "False", false), ("b", "10.0.0.2", "True", true)],
        false,
        &["10.0.0.1", "10.0.0.2"],
        [true, true, true, false, false],
    );
}

#[test]
fn endpoints_say_it_where_no_pod_does() {
    let text = "{apiVersion: v1, kind: Service, metadata: {name: db, namespace: ns}, spec: {ports: [{port: 5432}]}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: db-1, namespace: ns, labels: {kubernetes.io/service-name: db}}, addressType: IPv4, ports: [{port: 5432}], endpoints: [{addresses: [10.0.0.1], conditions: {ready: false}}, {addresses: [10.0.0.2]}]}
";
    let world = small_world(text);
    let out = edge("mas-to-postgres", Party::Subject, service("ns", "db"), client(5432));
    let resolution = resolve(&intent(vec![out]), Some(&world));
    let unready = resolution.edges[0].unready(&world);
    assert_eq!(unready.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.1"]);
    assert!(!resolution.edges[0].is_settling(&world, THEN), "nobody says since when");
    // One that does not say that it is not Ready is (the API's own default); where all say it, or there is none, nobody serves.
    let readiness = |endpoints: &str| {
        let (begin, _) = text.split_once("endpoints: [").unwrap();
        let world = small_world(&format!("{begin}endpoints: [{endpoints}]}}\n"));
        resolution.edges[0].readiness(&world)
    };
    assert_eq!(readiness("{addresses: [10.0.0.1], conditions: {ready: false}}, {addresses: [10.0.0.2]}"), Some(true));
    assert_eq!(readiness("{addresses: [10.0.0.1], conditions: {ready: false}}"), Some(false));
    assert_eq!(readiness(""), Some(false));
    assert_eq!(resolution.edges[0].readiness(&small_world(text.split_once("---").unwrap().0)), None);
}
