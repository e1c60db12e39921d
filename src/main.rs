//! The `portreeve` command: parse, dispatch, exit code.

use std::process::ExitCode;

/// musl's own allocator is slow, most of all with several threads.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    portreeve::cli::run()
}
