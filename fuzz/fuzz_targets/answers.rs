//! Any bytes as what peers and agents answer: nothing panics, and what is kept of them is bounded. The first byte chooses the parser.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portreeve::agent::report::Report;
use portreeve::observe::PARSERS;

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, answer)) = bytes.split_first() else { return };
    match PARSERS.get(usize::from(*choice) % (PARSERS.len() + 1)) {
        Some((_, parser)) => parser(answer),
        // The report of an agent, which travels as an answer, too.
        None => drop(Report::parse(answer)),
    }
});
