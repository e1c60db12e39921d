"""A cluster's life: the lock that it holds, the mark that its processes carry, and how it is ended without remains."""

import contextlib
import fcntl
import os
import pathlib
import secrets
import shutil
import signal
import subprocess
import time

from layout import CGROUP, HOST_LINK, MARK, RUN


class Refused(Exception):
    """Cannot be done; the text says why and what to do."""


def claim(wait: float = 0) -> int:
    """Locks the folder. A cluster's first processes hold this lock as long as they live."""
    RUN.mkdir(mode=0o700, exist_ok=True)
    folder = os.open(RUN, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    if os.fstat(folder).st_uid != 0:
        raise Refused(f"{RUN} belongs to somebody else; remove it")
    until = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() >= until:
                raise Refused("a cluster is up already: use it (`cluster status`), or end it with `cluster down`") from None
            time.sleep(0.1)
    if not RUN.exists() or not os.path.samestat(os.fstat(folder), RUN.stat()):
        os.close(folder)
        return claim(wait)  # a `down` removed the folder in between
    return folder


def new_identity() -> None:
    (RUN / "identity").write_text(secrets.token_hex(16))


def identity() -> str | None:
    try:
        return (RUN / "identity").read_text()
    except FileNotFoundError:
        return None


def spawn(name: str, command: list[str], lock: int) -> subprocess.Popen:
    """Starts one of the processes that hold the cluster; its standard input is a pipe."""
    with open(RUN / f"{name}.log", "ab") as log:
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=log, stderr=log, pass_fds=[lock], start_new_session=True,
            env={**os.environ, MARK: identity() or "", "PYTHONDONTWRITEBYTECODE": "1"},
        )


def marked() -> list[int]:
    """The processes that carry this cluster's mark."""
    mine = identity()
    if not mine:
        return []
    mark, found = f"{MARK}={mine}".encode(), []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
        except OSError:
            pass  # it has just ended
    return found


def lives(pid: int) -> bool:
    # The first process of a namespace is a zombie only when all others in there have ended.
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def end() -> None:
    """Kills what carries the mark. With a node's first process the kernel ends all others of the node, and its mounts and network."""
    until = time.monotonic() + 60
    while pids := marked():
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        while any(lives(pid) for pid in pids):
            if time.monotonic() > until:
                raise Refused(f"processes {pids} do not end")
            time.sleep(0.05)


def sweep() -> None:
    """Removes what outlives the processes: the link to the host, control groups, files. Only with the lock."""
    subprocess.run(["ip", "link", "delete", HOST_LINK], stderr=subprocess.DEVNULL, check=False)
    for hierarchy in hierarchies():
        for folder, _, _ in os.walk(hierarchy / CGROUP, topdown=False):
            retry(lambda folder=folder: os.rmdir(folder))
        if (hierarchy / "cgroup.controllers").exists() and (RUN / "controllers").exists():
            with contextlib.suppress(OSError):  # somebody else uses them by now
                (hierarchy / "cgroup.subtree_control").write_text((RUN / "controllers").read_text())
    for path in RUN.iterdir():
        retry(lambda path=path: shutil.rmtree(path) if path.is_dir() else path.unlink())


def retry(action) -> None:
    """For some seconds: the kernel lets go of a control group, or a folder, a moment after the last process."""
    for _ in range(100):
        try:
            return action()
        except OSError:
            time.sleep(0.1)
    return action()


def hierarchies() -> list[pathlib.Path]:
    """The mounted trees of control groups: one, or, in version 1, one per controller."""
    mounts = [line.split() for line in pathlib.Path("/proc/self/mounts").read_text().splitlines()]
    return [pathlib.Path(path) for _, path, kind, *_ in mounts if kind in ("cgroup", "cgroup2")]


def make_control_groups(names: list[str]) -> None:
    for hierarchy in hierarchies():
        for name in names:
            (hierarchy / CGROUP / name).mkdir(parents=True)
        if (hierarchy / "cgroup.controllers").exists():
            pass_on_controllers(hierarchy)


def pass_on_controllers(root: pathlib.Path) -> None:
    """In version 2 a group has the controllers that those above it pass on, and a kubelet wants all of them."""
    there = set((root / "cgroup.controllers").read_text().split())
    passed = set((root / "cgroup.subtree_control").read_text().split())
    for folder in (root, root / CGROUP):
        (folder / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in there))
    (RUN / "controllers").write_text(" ".join(f"-{name}" for name in there - passed))
