"""The first process of a node: makes the mounts its own, starts the parts, starts again what ends, and reaps.

    node.py NUMBER      in new mount, process, network and host name namespaces
"""

import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import time

from layout import CLUSTER, Node
from parts import Part, parts

# What a kubelet wants of the kernel. It would change the machine's settings, so it gets files of its own with these values instead.
MASKS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


def mount(*words: object) -> None:
    subprocess.run(["mount", *map(str, words)], check=True)


def own_mounts(node: Node) -> None:
    """Paths that are fixed in kubelet and containerd lead into the node's folder; all vanishes with the node."""
    mount("--make-rshared", "/")
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    for path in ("/var/lib", "/var/log"):
        own = node.folder / pathlib.Path(path).name
        own.mkdir()
        mount("--bind", own, path)
    masks = node.folder / "sysctl"
    masks.mkdir()
    for path, value in MASKS.items():
        mask = masks / path.replace("/", ".")
        mask.write_text(value)
        mount("--bind", mask, f"/proc/sys/{path}")


def start(node: Node, part: Part) -> int:
    log = str(node.folder / f"{part.name}.log")
    files = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    # Not by `subprocess`, which reaps children on its own.
    return os.posix_spawn(part.program, part.command, {**os.environ, **part.environment}, file_actions=files)


def serves(where: int | pathlib.Path) -> bool:
    path = isinstance(where, pathlib.Path)
    with socket.socket(socket.AF_UNIX if path else socket.AF_INET) as client:
        return client.connect_ex(str(where) if path else ("127.0.0.1", where)) == 0


def wait(what: str, ready) -> None:
    for _ in range(1200):
        if ready():
            return
        time.sleep(0.1)
    sys.exit(f"{what} not within 2 min; the logs of the parts are in this node's folder")


def main(number: str) -> None:
    node = CLUSTER[int(number) - 1]
    for descriptor in range(3, 64):  # the cluster's lock is for this process, not for what it starts
        with contextlib.suppress(OSError):
            os.set_inheritable(descriptor, False)
    own_mounts(node)
    socket.sethostname(node.name)
    sys.stdin.read()  # ends when the network is there
    running = {}
    for part in parts(node):
        wait(f"{part.name} needs {part.needs}, which came", lambda part=part: part.needs is None or part.needs.exists())
        running[start(node, part)] = part
        wait(f"{part.name} served", lambda part=part: part.serves is None or serves(part.serves))
    print(f"{node.name}: all parts started", flush=True)
    while True:
        pid, status = os.wait()
        if part := running.pop(pid, None):
            print(f"{node.name}: {part.name} ended ({os.waitstatus_to_exitcode(status)}), starting it again", flush=True)
            time.sleep(1)
            running[start(node, part)] = part


if __name__ == "__main__":
    main(sys.argv[1])
