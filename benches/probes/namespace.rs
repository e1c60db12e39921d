//! A network, a process and a mount namespace of the benchmark's own.
//!
//! 10,000 connections a second would fill the connection table of the host, and a namespace of processes takes everything in it along when it ends,
//! also after a panic or a kill.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Set for the copy of this program that runs inside.
const INSIDE: &str = "PORTREEVE_PROBES_INSIDE";

/// What the inner program finds: loopback only, a folder in memory, a route that the kernel itself refuses.
const SETUP: &str = r#"set -e
mount -t tmpfs tmpfs /mnt
ip link set lo up
ip route add prohibit 10.97.13.0/24
exec "$@"
"#;

pub(crate) fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// For files that vanish with the namespace.
pub(crate) fn folder() -> PathBuf {
    PathBuf::from("/mnt")
}

/// Runs this program again inside, with the same arguments.
pub(crate) fn enter(args: &[String]) {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    assert!(is_root, "the probe benchmark makes a network namespace of its own: run it as root");
    for (program, package) in [("ip", "iproute2"), ("unshare", "util-linux"), ("setpriv", "util-linux")] {
        let found = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].iter().any(|at| Path::new(at).join(program).is_file());
        assert!(found, "{program} is not installed: apt-get install {package}");
    }
    let status = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .args(["sh", "-c", SETUP, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(args)
        .env(INSIDE, "1")
        .status()
        .unwrap();
    assert!(status.success(), "the benchmark failed inside its namespace: {status}");
}
