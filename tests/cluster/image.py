"""Images for the tests, written as deploy/image.py writes the product's: one layer with a few files is all that they need.

    image.py NAME[:TAG] PROGRAM [ARGUMENT...] >IMAGE.tar
"""

import importlib.util
import io
import os
import pathlib
import platform
import subprocess
import sys
import tarfile

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def load_writer():
    path = pathlib.Path(__file__).resolve().parents[2] / "deploy/image.py"
    spec = importlib.util.spec_from_file_location("portreeve_image", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


WRITER = load_writer()
entry = WRITER.entry


def program_layer(program: pathlib.Path) -> bytes:
    """One static program, and a /tmp."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.addfile(entry("tmp", 0o1777, tarfile.DIRTYPE))
        add_file(tar, program.name, program, 0o755)
    return out.getvalue()


def linked_program_layer(program: pathlib.Path, name: str) -> bytes:
    """A program that is linked to libraries of this host, and those, where it looks for them."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        add_file(tar, name, program, 0o755)
        listed = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
        for word in sorted({word for word in listed.split() if word.startswith("/")}):
            add_file(tar, word.lstrip("/"), pathlib.Path(word), 0o755)
    return out.getvalue()


def add_file(tar: tarfile.TarFile, name: str, file: pathlib.Path, mode: int) -> None:
    data = file.read_bytes()
    tar.addfile(entry(name, mode, size=len(data)), io.BytesIO(data))


def host_layer() -> bytes:
    """Empty folders where a pod mounts the host's /usr and /etc, and the links among them that this host has."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for folder in ("dev", "etc", "proc", "root", "run", "sys", "usr", "var", "var/lib", "var/log"):
            tar.addfile(entry(folder, 0o755, tarfile.DIRTYPE))
        for folder in ("tmp", "var/tmp"):
            tar.addfile(entry(folder, 0o1777, tarfile.DIRTYPE))
        for folder in ("bin", "sbin", "lib", "lib64"):
            link = os.path.islink(f"/{folder}")
            kind = tarfile.SYMTYPE if link else tarfile.DIRTYPE
            tar.addfile(entry(folder, 0o755, kind, os.readlink(f"/{folder}") if link else ""))
    return out.getvalue()


def archive(out, name: str, layer: bytes, entrypoint: list[str], cmd: tuple[str, ...] = ()) -> None:
    WRITER.archive(out, name, layer, ARCHITECTURE, {"Entrypoint": entrypoint, "Cmd": list(cmd), "Env": [PATH]})


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.stdout.isatty():
        sys.exit(__doc__)
    program = pathlib.Path(sys.argv[2])
    archive(sys.stdout.buffer, sys.argv[1], program_layer(program), [f"/{program.name}", *sys.argv[3:]])
