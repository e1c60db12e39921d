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
