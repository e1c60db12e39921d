use std::collections::BTreeSet;

use super::*;

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
