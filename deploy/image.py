#!/usr/bin/env python3
"""Writes an image as an OCI archive: the static program, and nothing else. Needs no Docker and no base image; the same program gives the same bytes.

    deploy/image.py [--name NAME:TAG] PROGRAM >portreeve.tar

`ctr -n k8s.io images import`, `podman load -i`, `skopeo copy oci-archive:` and `crane push` read it. The name is that of the manifests unless another is given.
"""

import argparse
import hashlib
import io
import json
import pathlib
import struct
import sys
import tarfile

# As deploy/kustomize has it.
NAME = "ghcr.io/portreeve/portreeve:0.1.0"
# Nobody's; manifests say another. A number, so that `runAsNonRoot` can be checked.
USER = "65532:65532"
# e_machine of an ELF file → the architecture's name in images.
MACHINES = {62: "amd64", 183: "arm64"}
# A segment that names a dynamic linker: `PT_INTERP`.
INTERPRETER = 3


class Unfit(Exception):
    """A program that an image of it alone cannot run."""


def reference(name: str) -> str:
    """The full name, as the kubelet asks for it: `portreeve:test` is docker.io/library/portreeve:test."""
    first, slash, _ = name.partition("/")
    if not slash:
        name = f"docker.io/library/{name}"
    elif not any(mark in first for mark in ".:") and first != "localhost":
        name = f"docker.io/{name}"
    return name if ":" in name.rsplit("/", 1)[-1] else f"{name}:latest"


def architecture(program: bytes) -> str:
    """That of a static 64-bit ELF program."""
    if program[:6] != b"\x7fELF\x02\x01":
        raise Unfit("it is no 64-bit ELF program")
    machine, = struct.unpack_from("<H", program, 18)
    if machine not in MACHINES:
        raise Unfit(f"it is for a machine of number {machine}; known are {', '.join(MACHINES.values())}")
    table, = struct.unpack_from("<Q", program, 32)
    size, count = struct.unpack_from("<HH", program, 54)
    kinds = [struct.unpack_from("<I", program, table + size * number)[0] for number in range(count)]
    if INTERPRETER in kinds:
        raise Unfit("it is not static: build it for x86_64-unknown-linux-musl (tests/run ship)")
    return MACHINES[machine]


def entry(path: str, mode: int, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    """Owned by root, and as old as 1970."""
    info = tarfile.TarInfo(path)
    info.mode, info.type, info.linkname, info.size = mode, kind, link, size
    return info


def program_layer(name: str, program: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.addfile(entry(name, 0o755, size=len(program)), io.BytesIO(program))
    return out.getvalue()


def archive(out, name: str, layer: bytes, machine: str, settings: dict) -> None:
    """An image of one layer: https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md"""
    blobs = {}

    def blob(kind: str, data: bytes, **more) -> dict:
        digest = hashlib.sha256(data).hexdigest()
        blobs[digest] = data
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}", "size": len(data), **more}

    def document(kind: str, value: dict, **more) -> dict:
        return blob(kind, json.dumps(value).encode(), **more)

    layers = [blob("layer.v1.tar", layer)]
    config = document("config.v1+json", {
        "architecture": machine,
        "os": "linux",
        "config": settings,
        "rootfs": {"type": "layers", "diff_ids": [layers[0]["digest"]]},
    })
    manifest = document(
        "manifest.v1+json",
        {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": layers},
        annotations={"io.containerd.image.name": reference(name), "org.opencontainers.image.ref.name": reference(name)},
        platform={"architecture": machine, "os": "linux"},
    )
    files = {
        "oci-layout": json.dumps({"imageLayoutVersion": "1.0.0"}).encode(),
        "index.json": json.dumps({"schemaVersion": 2, "manifests": [manifest]}).encode(),
        **{f"blobs/sha256/{digest}": data for digest, data in blobs.items()},
    }
    with tarfile.open(fileobj=out, mode="w|") as tar:
        for path, data in files.items():
            tar.addfile(entry(path, 0o644, size=len(data)), io.BytesIO(data))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default=NAME, metavar="NAME:TAG")
    parser.add_argument("program", type=pathlib.Path, metavar="PROGRAM")
    arguments = parser.parse_args()
    if sys.stdout.isatty():
        parser.error("the archive goes to standard output: send it into a file")
    try:
        program = arguments.program.read_bytes()
        machine = architecture(program)
    except (OSError, Unfit) as error:
        sys.exit(f"image: {arguments.program}: {error}")
    settings = {"User": USER, "Entrypoint": ["/portreeve"], "Labels": {"org.opencontainers.image.source": "https://github.com/portreeve/portreeve"}}
    archive(sys.stdout.buffer, arguments.name, program_layer("portreeve", program), machine, settings)


if __name__ == "__main__":
    main()
