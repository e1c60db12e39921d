"""The agents on the guide's deployment: put there as their users put them, asked as they ask, and measured."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

import world
from edges import MATRIX
from world import MAS, Failed, kubectl, run

DEPLOY = world.ROOT / "deploy"
KUSTOMIZE = DEPLOY / "kustomize"
AGENT = "portreeve-agent-mas"


class Agents:
    """`program` is the static binary that is shipped; image and command line are both of it."""

    def __init__(self, program: pathlib.Path, scratch: pathlib.Path):
        self.scratch = scratch
        # A copy that everybody may run: the checkout may lie where only its owner looks.
        self.program = scratch / "portreeve"
        shutil.copy(program, self.program)
        self.matrix = scratch / "traffic-matrix.yaml"
        self.matrix.write_text(MATRIX.read_text())
        self.ca = scratch / "ca.crt"
        self.applied = ""

    # As docs/agent.md says.

    def load_image(self) -> int:
        """Of the static binary, by the script of deploy/. Gives its size in bytes."""
        archive = self.scratch / "portreeve.tar"
        with open(archive, "wb") as out:
            subprocess.run([DEPLOY / "image.py", self.program], stdout=out, check=True)
        run(world.CLUSTER, "load", archive)
        return archive.stat().st_size

    def put(self, *components: str) -> None:
        """MAS with the sidecar, and the stranger, by kustomize."""
        folder = self.scratch / "overlay"
        folder.mkdir(exist_ok=True)
        shutil.copy(world.MANIFESTS / "matrix_mas.yaml", folder / "mas.yaml")
        above = pathlib.Path(os.path.relpath(KUSTOMIZE, folder.resolve()))
        kustomization = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": "matrix",
            "resources": ["mas.yaml", str(above / "stranger")],
            "components": [str(above / "components" / name) for name in ["sidecar", *components]],
        }
        (folder / "kustomization.yaml").write_text(json.dumps(kustomization))
        kubectl("apply", "--server-side", "--force-conflicts", "--kustomize", folder)

    def tell(self, interval: str = "") -> None:
        """The policy of the matrix, and what the agents are to probe; with another interval than the default one."""
        probe = f"  mode: Enforce\n  probe: {{interval: {interval}}}\n" if interval else "  mode: Enforce\n"
        self.matrix.write_text(MATRIX.read_text().replace("  mode: Enforce\n", probe))
        self.ca.write_text(json.loads(kubectl("-n", "matrix", "get", "configmap", "waadoo-ca", "--output=json"))["data"]["ca.crt"])
        cluster = ["--cluster", "--kubeconfig", world.KUBECONFIG]
        self.applied = run(self.program, "render", *cluster, "--matrix", self.matrix, "--agent", "--ca", self.ca)
        world.apply(self.applied)

    def status(self, *words: str) -> dict:
        """What somebody at night sees."""
        whole = [self.program, "status", "--direct", *words, "--kubeconfig", world.KUBECONFIG, "--matrix", self.matrix, "--output", "json"]
        done = subprocess.run([str(word) for word in whole], capture_output=True, text=True, check=False)
        if done.returncode > 1:
            raise Failed(f"status: {done.stderr}")
        return json.loads(done.stdout)

    def rows(self) -> dict[str, dict]:
        """By name, each with what the agents say of it."""
        status = self.status()
        told = {edge["name"]: [p["detail"] for p in status["probes"] if p["edge"] == edge["name"]] for edge in status["edges"]}
        return {edge["name"]: {**edge, "told": told[edge["name"]]} for edge in status["edges"]}


def restart(workload: str, *change: str) -> float:
    """Puts a new pod in the old one's place, by taking that away or by changing the Deployment. Gives the seconds until it is Ready."""
    namespace, old = workload.split("/")[0], world.pod(workload)["metadata"]["name"]
    begun = time.monotonic()
    # The Deployment makes the new one at once, while the old one ends.
    kubectl("-n", namespace, *(change or ["delete", "pod", old, "--wait=false"]))
    world.until(f"{workload} is Ready again", lambda: ready(workload, old), 90)
    return time.monotonic() - begun


def ready(workload: str, but: str = "") -> bool:
    for pod in world.pods(workload):
        conditions = {c["type"]: c["status"] for c in pod["status"].get("conditions", [])}
        if pod["metadata"]["name"] != but and conditions.get("Ready") == "True":
            return True
    return False


class Used:
    """The processor time and memory of the agent's process in a pod of MAS."""

    def __init__(self):
        uid = world.pod(MAS)["metadata"]["uid"]
        found = [entry for entry in pathlib.Path("/proc").iterdir() if entry.name.isdigit() and belongs(entry, uid)]
        world.expect("agents in MAS's pod", len(found), 1)
        self.process = found[0]
        self.begun, self.before = time.monotonic(), self.nanoseconds()

    def nanoseconds(self) -> int:
        """Of all its threads: the first field of schedstat."""
        return sum(int((thread / "schedstat").read_text().split()[0]) for thread in (self.process / "task").iterdir())

    def since(self) -> tuple[float, float]:
        """Seconds that it was watched, and thousandths of a processor that it took."""
        seconds = time.monotonic() - self.begun
        return seconds, (self.nanoseconds() - self.before) / seconds / 1e6

    def memory(self) -> dict[str, float]:
        """In MiB: what is resident now, and the most that ever was."""
        lines = dict(line.split(":", 1) for line in (self.process / "status").read_text().splitlines())
        return {name: int(lines[name].split()[0]) / 1024 for name in ["VmRSS", "VmHWM"]}


def belongs(process: pathlib.Path, uid: str) -> bool:
    try:
        return (process / "comm").read_text().strip() == "portreeve" and uid in (process / "cgroup").read_text()
    except OSError:
        return False  # it has ended
