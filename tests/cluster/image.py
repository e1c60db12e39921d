"""Writes images as OCI archives, of which one layer with a few files is all that the tests need.

    image.py NAME[:TAG] PROGRAM [ARGUMENT...] >IMAGE.tar
"""

import hashlib
import io
import json
import os
import pathlib
import platform
import sys
import tarfile

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def reference(name: str) -> str:
    """The full name, as the kubelet asks for it: `portreeve:test` is docker.io/library/portreeve:test."""
    first, slash, _ = name.partition("/")
    if not slash:
        name = f"docker.io/library/{name}"
    elif not any(mark in first for mark in ".:") and first != "localhost":
        name = f"docker.io/{name}"
    return name if ":" in name.rsplit("/", 1)[-1] else f"{name}:latest"


def entry(path: str, mode: int, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(path)
    info.mode, info.type, info.linkname, info.size = mode, kind, link, size
    return info


def program_layer(program: pathlib.Path) -> bytes:
    """One static program, and a /tmp."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.addfile(entry("tmp", 0o1777, tarfile.DIRTYPE))
        data = program.read_bytes()
        tar.addfile(entry(program.name, 0o755, size=len(data)), io.BytesIO(data))
    return out.getvalue()


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
    """https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md"""
    blobs = {}

    def blob(kind: str, data: bytes, **more) -> dict:
        digest = hashlib.sha256(data).hexdigest()
        blobs[digest] = data
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}", "size": len(data), **more}

    def document(kind: str, value: dict, **more) -> dict:
        return blob(kind, json.dumps(value).encode(), **more)

    layers = [blob("layer.v1.tar", layer)]
    config = document("config.v1+json", {
        "architecture": ARCHITECTURE,
        "os": "linux",
        "config": {"Entrypoint": entrypoint, "Cmd": list(cmd), "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [layers[0]["digest"]]},
    })
    manifest_type = "application/vnd.oci.image.manifest.v1+json"
    manifest = document(
        "manifest.v1+json",
        {"schemaVersion": 2, "mediaType": manifest_type, "config": config, "layers": layers},
        annotations={"io.containerd.image.name": reference(name), "org.opencontainers.image.ref.name": reference(name)},
        platform={"architecture": ARCHITECTURE, "os": "linux"},
    )
    files = {
        "oci-layout": json.dumps({"imageLayoutVersion": "1.0.0"}).encode(),
        "index.json": json.dumps({"schemaVersion": 2, "manifests": [manifest]}).encode(),
        **{f"blobs/sha256/{digest}": data for digest, data in blobs.items()},
    }
    with tarfile.open(fileobj=out, mode="w|") as tar:
        for path, data in files.items():
            tar.addfile(entry(path, 0o644, size=len(data)), io.BytesIO(data))


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.stdout.isatty():
        sys.exit(__doc__)
    program = pathlib.Path(sys.argv[2])
    archive(sys.stdout.buffer, sys.argv[1], program_layer(program), [f"/{program.name}", *sys.argv[3:]])
