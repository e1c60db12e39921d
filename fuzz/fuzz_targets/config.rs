//! Any text as guide values, MAS config, TrafficMatrix and assertions: nothing panics, edges keep their promises.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use portreeve::guide::{mas_config, values};
use portreeve::judge::verify;
use portreeve::matrix::{Sources, derive, traffic_matrix};
use portreeve::source::yaml;

fuzz_target!(|text: &str| {
    let file = Arc::from("fuzz.yaml");
    let _ = verify::read(&file, text);
    let (documents, _) = yaml::parse(&file, text);
    let Some(document) = documents.first() else { return };
    let sources = Sources {
        values: values::read(document).ok().map(|(values, _)| values),
        mas_config: mas_config::read(&documents).ok().map(|(config, _)| config),
        matrix: traffic_matrix::read(document).ok().map(|(matrix, _)| matrix),
    };
    let intent = derive(&sources);
    let mut names: Vec<&str> = intent.edges.iter().map(|edge| edge.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), intent.edges.len(), "two edges of one name");
});
