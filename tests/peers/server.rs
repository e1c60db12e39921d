//! Real servers as children: found, started as the user they insist on, awaited, and ended by their id.

use std::fs::{self, Permissions};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long a server may take to listen, and to end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// A server that ends with this value.
pub(crate) struct Server {
    child: Child,
    signal: &'static str,
}

impl Server {
    /// Starts it and waits until it listens. `signal` is what it takes for a prompt and clean end.
    pub(crate) fn start(command: &mut Command, signal: &'static str, address: SocketAddr, log: &Path) -> Self {
        let output = fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let mut server = Self { child, signal };
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            let ended = server.child.try_wait().unwrap();
            if ended.is_some() || Instant::now() > end {
                let log = fs::read_to_string(log).unwrap_or_default();
                panic!("{command:?} does not listen on {address}, ended: {ended:?}, log:\n{log}");
            }
            sleep(Duration::from_millis(20));
        }
        server
    }

    /// Ends it and waits until nothing listens there any more: helpers of a server may outlive it by a moment.
    pub(crate) fn stop(self, address: SocketAddr) {
        drop(self);
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_ok() {
            assert!(Instant::now() < end, "something still listens on {address}");
            sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = Command::new("sh").args(["-c", &format!("kill -{} {}", self.signal, self.child.id())]).status();
        let end = Instant::now() + PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
            sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program in one of these folders (a last part `*` stands for any), or the package that has it.
pub(crate) fn program(name: &str, folders: &[&str], package: &str) -> PathBuf {
    let expand = |folder: &str| match folder.split_once("/*/") {
        None => vec![PathBuf::from(folder)],
        Some((above, below)) => {
            let mut found: Vec<_> =
                fs::read_dir(above).into_iter().flatten().flatten().map(|entry| entry.path().join(below)).collect();
            found.sort();
            found
        }
    };
    let mut candidates = folders.iter().flat_map(|folder| expand(folder)).map(|folder| folder.join(name));
    candidates
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("{name} is not installed: apt-get install {package}"))
}

pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// A command that runs as `user` when we are root. `setpriv` becomes the program, so the child's id is the server's.
pub(crate) fn as_user(user: &str, program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", user, "--regid", user, "--clear-groups"]).arg(program);
    command
}

/// Gives a file or folder to a user (`user` or `user:group`), when we are root.
pub(crate) fn give(path: &Path, owner: &str, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    if is_root() {
        assert!(
            Command::new("chown").arg(owner).arg(path).status().unwrap().success(),
            "chown {owner} {}",
            path.display()
        );
    }
}

/// A folder that other users may enter.
pub(crate) fn folder() -> TempDir {
    let folder = TempDir::with_prefix("portreeve-").unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    folder
}

/// A port that is free for TCP and UDP.
pub(crate) fn free() -> SocketAddr {
    (0..100)
        .find_map(|_| {
            let address = TcpListener::bind("127.0.0.1:0").ok()?.local_addr().ok()?;
            UdpSocket::bind(address).ok().map(|_| address)
        })
        .expect("no port is free")
}
