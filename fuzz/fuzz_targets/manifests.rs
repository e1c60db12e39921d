//! Any text as manifests, and as an answer of an API server: nothing panics, and what is lowered can be resolved, evaluated and audited.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use portreeve::matrix::{Intent, resolve::resolve};
use portreeve::policy::{End, Engine, PolicyBuilder};
use portreeve::source::{Document, Node, json, yaml};
use portreeve::world::{Protocol, lower::WorldBuilder, objects};

/// Every node of a live object knows its path.
fn places(document: &Document, node: &Node) {
    let _ = document.place(node).to_string();
    node.items().iter().for_each(|item| places(document, item));
    node.entries().iter().for_each(|(_, value)| places(document, value));
}

fuzz_target!(|text: &str| {
    for root in json::page(text.as_bytes()).map(|page| page.items).unwrap_or_default() {
        let document = Document { file: "cluster:Kind/name".into(), root };
        places(&document, &document.root);
    }
    let (mut world, mut policies) = (WorldBuilder::default(), PolicyBuilder::default());
    let mut problems = Vec::new();
    let _ = yaml::parse_each(&Arc::from("fuzz.yaml"), text, |document| {
        for object in objects(document, &mut problems) {
            world.add(&object);
            policies.add(&object);
        }
    });
    let (world, _) = world.finish();
    let (policies, _) = policies.finish();
    let _ = resolve(&Intent::default(), Some(&world));
    let engine = Engine::new(&world, &policies);
    for (from, _) in world.pods().take(4) {
        for (to, _) in world.pods().take(4) {
            let answer = engine.verdict(End::Pod(from), End::Pod(to), 80, Protocol::Tcp);
            let admitted = engine.admitted(End::Pod(from), End::Pod(to));
            assert_eq!(answer.declared, admitted.traffic.declared(Protocol::Tcp, 80), "the two answers differ");
        }
    }
});
