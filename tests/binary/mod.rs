//! Runs the real binary, as the tests of its commands do.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::io::Write;
use std::process::{Command, Output, Stdio};

/// Runs in the repository's root, with nothing on standard input.
pub(crate) fn portreeve(args: &[&str]) -> Output {
    with_input(args, b"")
}

/// The same with something on standard input.
pub(crate) fn with_input(args: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_portreeve"))
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The command may end without reading its input.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

/// Runs, expects an exit code, gives standard output and standard error.
#[track_caller]
pub(crate) fn expect(code: i32, args: &[&str]) -> (String, String) {
    let output = portreeve(args);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert_eq!(output.status.code(), Some(code), "{args:?}\n--- stdout\n{out}\n--- stderr\n{err}");
    (out, err)
}
