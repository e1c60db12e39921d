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
    package: str = "tool"

    @property
    def version(self) -> str:
        text = (HERE / self.name / "go.mod").read_text()
        return re.search(rf"{re.escape(self.requires)} (v\S+)", text).group(1)

    @property
    def bin(self) -> pathlib.Path:
        return self._folder("bin")

    def _folder(self, kind: str) -> pathlib.Path:
        parts = [repr(self).encode(), *(file.read_bytes() for file in sorted((HERE / self.name).iterdir()))]
        return CACHE / f"cluster-{self.name}-{self.version}-{hashlib.sha256(b''.join(parts)).hexdigest()[:12]}" / kind

    def _go(self, *words: str, into: pathlib.Path) -> None:
        # Kubernetes reports these, and refuses to work with versions that it takes for v0.0.0.
        major, minor, _ = KUBERNETES.version.lstrip("v").split(".")
        stamps = {"gitVersion": KUBERNETES.version, "gitMajor": major, "gitMinor": minor}
        ldflags = " ".join(["-s -w", *(f"-X k8s.io/component-base/version.{k}={v}" for k, v in stamps.items())])
        subprocess.run(
            ["go", *words[:-1], "-trimpath", "-buildvcs=false", f"-tags={self.tags}", f"-ldflags={ldflags}", "-o", into, words[-1]],
            cwd=HERE / self.name,
            env={**os.environ, "CGO_ENABLED": str(int(self.cgo)), "GOFLAGS": "-mod=readonly"},
            check=True,
        )

    def build(self) -> None:
        def make(folder):
            self._go("build", self.package, into=f"{folder}/")
            if self is KUBERNETES:
                (folder / "server").rename(folder / "etcd")
                compile_pause(folder / "pause")

        once(self._folder("bin"), f"{self.name} {self.version}, about {self.minutes} min", make)

    def build_test(self, package: str, minutes: int) -> pathlib.Path:
        """A test suite that other programs ship, as a program."""
        name = package.rsplit("/", 1)[-1]
        folder = self._folder(name)
        once(folder, f"{package} {self.version}, about {minutes} min", lambda new: self._go("test", "-c", package, into=new / name))
        return folder / name


KUBERNETES = Module("kubernetes", "k8s.io/kubernetes", minutes=8)
CONTAINERD = Module("containerd", "github.com/containerd/containerd/v2", minutes=1, tags="no_btrfs,no_devmapper")
RUNC = Module("runc", "github.com/opencontainers/runc", minutes=1, tags="seccomp", cgo=True)
CNI = Module("cni", "github.com/containernetworking/plugins", minutes=1)
COREDNS = Module("coredns", "github.com/coredns/coredns", minutes=1, package=".")
MODULES = (KUBERNETES, CONTAINERD, RUNC, CNI, COREDNS)


def compile_pause(target: pathlib.Path) -> None:
    """The program that holds a pod's namespaces, from upstream's C source."""
    listed = subprocess.run(
        ["go", "list", "-m", "-f", "{{.Dir}}", KUBERNETES.requires],
        cwd=HERE / KUBERNETES.name, check=True, capture_output=True, text=True,
    )
    source = f"{listed.stdout.strip()}/build/pause/linux/pause.c"
    subprocess.run(["gcc", "-Os", "-static", f"-DVERSION={KUBERNETES.version}", "-o", target, source], check=True)


def once(folder: pathlib.Path, what: str, make) -> None:
    """Makes the folder, whole or not at all, unless it is there."""
    if folder.exists():
        return
    print(f"cluster: building {what}, once", flush=True)
    start = time.monotonic()
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = pathlib.Path(tempfile.mkdtemp(prefix=f"{folder.name}.new-", dir=folder.parent))
    try:
        make(new)
        new.chmod(0o755)
        if not folder.exists():  # somebody else may have been quicker
            new.rename(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    print(f"cluster: built in {time.monotonic() - start:.0f} s", flush=True)
