"""Builds the cluster's programs from Go modules, once for each version of their requirements."""

import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass

HERE = pathlib.Path(__file__).resolve().parent
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "portreeve"


@dataclass(frozen=True)
class Module:
    """A folder with a go.mod; the programs are what its `tool` lines name, or a package of its own."""

    name: str
    requires: str
    minutes: int
    tags: str = ""
    cgo: bool = False
    packages: tuple[str, ...] = ("tool",)

    @property
    def version(self) -> str:
        text = (HERE / self.name / "go.mod").read_text()
        return re.search(rf"{re.escape(self.requires)} (v\S+)", text).group(1)

    @property
    def folder(self) -> pathlib.Path:
        """Named by everything that the programs depend on."""
        sources = sorted(path for path in (HERE / self.name).rglob("*") if path.is_file())
        parts = [repr(self).encode(), *(source.read_bytes() for source in sources)]
        return CACHE / f"cluster-{self.name}-{self.version}-{hashlib.sha256(b''.join(parts)).hexdigest()[:12]}"

    @property
    def bin(self) -> pathlib.Path:
        return self.folder / "bin"

    def build(self) -> None:
        """Once: makes the folder whole or not at all."""
        if self.bin.exists():
            return
        print(f"cluster: building {self.name} {self.version}, once, about {self.minutes} min", flush=True)
        start = time.monotonic()
        self.folder.mkdir(parents=True, exist_ok=True)
        new = pathlib.Path(tempfile.mkdtemp(dir=self.folder))
        try:
            self._compile(new)
            new.chmod(0o755)
            if not self.bin.exists():  # somebody else may have been quicker
                new.rename(self.bin)
        finally:
            shutil.rmtree(new, ignore_errors=True)
        print(f"cluster: built in {time.monotonic() - start:.0f} s", flush=True)

    def _compile(self, into: pathlib.Path) -> None:
        # Kubernetes reports these, and refuses to work with versions that it takes for v0.0.0.
        major, minor, _ = KUBERNETES.version.lstrip("v").split(".")
        stamps = {"gitVersion": KUBERNETES.version, "gitMajor": major, "gitMinor": minor}
        ldflags = " ".join(["-s -w", *(f"-X k8s.io/component-base/version.{key}={value}" for key, value in stamps.items())])
        subprocess.run(
            ["go", "build", "-trimpath", "-buildvcs=false", f"-tags={self.tags}", f"-ldflags={ldflags}", "-o", f"{into}/", *self.packages],
            cwd=HERE / self.name,
            env={**os.environ, "CGO_ENABLED": str(int(self.cgo)), "GOFLAGS": "-mod=readonly"},
            check=True,
        )
        if self is KUBERNETES:
            (into / "server").rename(into / "etcd")
            compile_pause(into / "pause")


KUBERNETES = Module("kubernetes", "k8s.io/kubernetes", minutes=8, packages=("tool", "./netpol"))
CONTAINERD = Module("containerd", "github.com/containerd/containerd/v2", minutes=1, tags="no_btrfs,no_devmapper")
RUNC = Module("runc", "github.com/opencontainers/runc", minutes=1, tags="seccomp", cgo=True)
CNI = Module("cni", "github.com/containernetworking/plugins", minutes=1)
COREDNS = Module("coredns", "github.com/coredns/coredns", minutes=1, packages=(".",))
MODULES = (KUBERNETES, CONTAINERD, RUNC, CNI, COREDNS)


def compile_pause(target: pathlib.Path) -> None:
    """The program that holds a pod's namespaces, from upstream's C source."""
    listed = subprocess.run(
        ["go", "list", "-m", "-f", "{{.Dir}}", KUBERNETES.requires],
        cwd=HERE / KUBERNETES.name, check=True, capture_output=True, text=True,
    )
    source = f"{listed.stdout.strip()}/build/pause/linux/pause.c"
    subprocess.run(["gcc", "-Os", "-static", f"-DVERSION={KUBERNETES.version}", "-o", target, source], check=True)
