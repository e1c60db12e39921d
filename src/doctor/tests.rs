use std::collections::BTreeSet;

use super::found::Collector;
use super::*;
use crate::source::yaml;
use crate::world::objects;

#[test]
fn ids_are_unique_and_the_order_is_the_guides() {
    let ids: BTreeSet<_> = CATALOGUE.iter().map(|check| check.id).collect();
    assert_eq!(ids.len(), CATALOGUE.len());
    assert!(CATALOGUE.is_sorted_by_key(|check| check.phase));
    let phases: Vec<Phase> = Phase::ALL.to_vec();
    assert!(phases.iter().all(|phase| CATALOGUE.iter().any(|check| check.phase == *phase)));
}

#[test]
fn without_any_fact_nothing_passes_and_nothing_fails() {
    for item in examine(&Facts::default()) {
        assert!(matches!(item.outcome, Outcome::Unknown | Outcome::Manual), "{item:?}");
        assert!(!item.evidence.is_empty() && !item.todo.is_empty(), "{item:?}");
        assert!(!item.decisive, "{item:?}");
    }
}

/// Everything that is kept of these manifests, as `Debug` prints it.
fn kept(manifests: &str) -> String {
    let mut collector = Collector::new(std::hash::RandomState::new());
    let (documents, error) = yaml::parse(&std::sync::Arc::from("f.yaml"), manifests);
    assert_eq!(error, None);
    for object in documents.into_iter().flat_map(|document| objects(document, &mut Vec::new())) {
        collector.add(&object);
    }
    let before = format!("{collector:?}");
    format!("{before} {:?}", collector.finish())
}

#[test]
fn nothing_that_is_kept_can_show_a_secret() {
    let manifests = r#"
apiVersion: v1
kind: Secret
metadata: {name: s, namespace: matrix}
stringData:
  encryption-secret: CANARY-encryption
  unknown-key: CANARY-unknown
  homeserver.yaml: |
    server_name: example.org
    experimental_features: {msc3861: {client_secret: CANARY-old, admin_token: CANARY-admin}}
    matrix_authentication_service: {enabled: true, secret: CANARY-shared}
  config.yaml: |
    http: {public_base: "https://user:CANARY-url@auth.example.org/"}
    database: {uri: "postgresql://mas:CANARY-uri@db/mas"}
    matrix: {homeserver: example.org, secret: CANARY-shared}
    secrets: {encryption: CANARY-key, keys: [{key: "CANARY-pem"}]}
    upstream_oauth2: {providers: [{id: x, client_secret: CANARY-client}]}
  authelia.yml: |
    identity_providers: {oidc: {hmac_secret: CANARY-hmac, clients: [{client_id: mas, client_secret: CANARY-hash}]}}
  init.sql: |
    CREATE USER mas WITH PASSWORD 'CANARY-sql'; CREATE DATABASE mas OWNER mas;
---
apiVersion: v1
kind: Secret
metadata: {name: t}
type: kubernetes.io/tls
data: {tls.key: Q0FOQVJZLXRscw==, synapse-shared-secret: Q0FOQVJZLXNoYXJlZA==}
"#;
    let kept = kept(manifests);
    assert!(kept.contains("encryption-secret") && kept.contains("auth.example.org"), "{kept}");
    assert!(!kept.contains("CANARY") && !kept.contains("Q0FOQVJZ"), "{kept}");
}

/// Facts about a MAS at `https://auth.example.org/` whose name and certificate were asked for.
fn asked(
    addresses: Result<Vec<std::net::IpAddr>, crate::judge::Reason>,
    reason: crate::judge::Reason,
    days: i64,
) -> Facts {
    const NOW: i64 = 1_800_000_000;
    let attempt = crate::judge::Attempt {
        edge: "auth-host".to_owned(),
        address: None,
        reason,
        offender: None,
        phases: crate::judge::Phases::default(),
        detail: "as seen".to_owned(),
        tls: Some(crate::judge::TlsFacts {
            not_after: Some(NOW + days * 24 * 3600),
            ..crate::judge::TlsFacts::default()
        }),
    };
    let place = crate::source::Place::whole("config.yaml");
    let facts = found::MasFacts {
        public_base: found::Said::Text("https://auth.example.org/".to_owned(), place),
        ..found::MasFacts::default()
    };
    let addresses = addresses.map_err(|reason| (reason, "as seen".to_owned()));
    let auth = Some(AuthHost { addresses, attempts: vec![attempt] });
    Facts {
        mas: Some(MasConfigRead {
            source: "config.yaml".to_owned(),
            config: Ok(crate::guide::MasConfig::default()),
            facts,
        }),
        network: Some(Network { edges: Vec::new(), attempts: Vec::new(), auth, now: NOW }),
        ..Facts::default()
    }
}

#[track_caller]
fn check(facts: &Facts, expect: &[(&str, Outcome)]) {
    let items = examine(facts);
    for (id, outcome) in expect {
        let item = items.iter().find(|item| item.id == *id).unwrap();
        assert_eq!(item.outcome, *outcome, "{item:?}");
    }
}

#[test]
fn name_and_certificate_of_the_auth_host() {
    use crate::judge::Reason;
    let here = || Ok(vec![std::net::IpAddr::from([203, 0, 113, 10])]);
    check(&asked(here(), Reason::Ok, 60), &[("tls-expiry", Outcome::Pass), ("test-public", Outcome::Pass)]);
    check(&asked(here(), Reason::Ok, 13), &[("tls-expiry", Outcome::Fail), ("test-public", Outcome::Pass)]);
    check(&asked(here(), Reason::TlsExpired, -3), &[("tls-expiry", Outcome::Fail), ("test-public", Outcome::Fail)]);
    check(&asked(here(), Reason::TlsNameMismatch, 60), &[("tls-expiry", Outcome::Fail)]);
    check(&asked(here(), Reason::HttpStatus, 60), &[("tls-expiry", Outcome::Pass), ("test-public", Outcome::Fail)]);
    // Silence proves nothing from a place that policies may cut off.
    check(&asked(here(), Reason::ConnectTimeout, 60), &[("test-public", Outcome::Unknown)]);
    // Without manifests nobody knows where the record should lead.
    check(&asked(here(), Reason::Ok, 60), &[("dns-record", Outcome::Unknown)]);
    check(&asked(Err(Reason::DnsNxdomain), Reason::Ok, 60), &[("dns-record", Outcome::Fail)]);
    check(&asked(Err(Reason::DnsTimeout), Reason::Ok, 60), &[("dns-record", Outcome::Unknown)]);
}

/// What may be in a Secret is looked for among files, or in a cluster whose Secrets are never read: the words say which.
#[test]
fn what_secrets_may_hold_is_told_as_it_was_looked_for() {
    use crate::source::Place;
    use crate::world::{NotCovered, Scope, Uncovered, World};
    const ABOUT: [&str; 7] = [
        "synapse-msc3861",
        "authelia-client",
        "shared-secret-matches",
        "synapse-shared-secret",
        "database-password",
        "signing-keys",
        "oidc-client-secret",
    ];
    let mas = || {
        let place = || Place::whole("config.yaml");
        let provider = found::ProviderFacts {
            enabled: true,
            id: found::Said::No,
            issuer: found::Said::No,
            client_id: found::Said::No,
            client_secret: found::Given::No,
            auth_method: found::Said::No,
            scope: found::Said::No,
            fetch_userinfo: false,
            place: place(),
        };
        let password = found::Given::File("db-password".to_owned(), place());
        let facts =
            found::MasFacts { providers: vec![provider], database_password: password, ..found::MasFacts::default() };
        Some(MasConfigRead { source: "config.yaml".to_owned(), config: Ok(crate::guide::MasConfig::default()), facts })
    };
    let words = |facts: &Facts| {
        let items = examine(facts).into_iter().filter(|item| ABOUT.contains(&item.id));
        items.map(|item| (item.id, item.outcome, item.evidence, item.todo)).collect::<Vec<_>>()
    };
    let gap = NotCovered {
        subject: Uncovered::Kinds {
            kinds: vec!["Secret".to_owned()],
            words: vec!["secrets".to_owned()],
            scope: Scope::Cluster,
        },
        why: "are never read from a cluster".to_owned(),
        fix: "give a dump".to_owned(),
        place: Place::whole(Place::CLUSTER),
    };
    let live = World { not_covered: vec![gap], ..World::default() };
    let told = words(&Facts { mas: mas(), world: Some(live), ..Facts::default() });
    assert_eq!(told.len(), ABOUT.len());
    for (id, outcome, evidence, todo) in told {
        assert_eq!(outcome, Outcome::Unknown, "{id}: {evidence}");
        assert!(evidence.contains("portreeve does not read the Secrets of a cluster"), "{id}: {evidence}");
        assert!(!evidence.contains("files") && !todo.is_empty(), "{id}: {evidence}: {todo}");
    }
    for (id, _, evidence, _) in words(&Facts { mas: mas(), world: Some(World::default()), ..Facts::default() }) {
        assert!(!evidence.contains("cluster"), "{id}: {evidence}");
    }
}
