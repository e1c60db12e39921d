"""The lab's enforcer on every node (tests/lab)."""

import json
import pathlib
import subprocess

import world
from world import CLUSTER, kubectl, run, until


class Lab:
    def __init__(self, program: pathlib.Path, scratch: pathlib.Path, nodes: list[str]):
        self.program, self.nodes = program, nodes
        self.style = scratch / "style"
        self.states = {node: scratch / f"{node}.state" for node in nodes}
        self.logs = {node: scratch / f"{node}.log" for node in nodes}
        self.running: list[subprocess.Popen] = []

    def start(self, style: str = "drop") -> None:
        self.style.write_text(style)
        for node in self.nodes:
            # Linux sends a receiver one ICMP error a second; MAS's own attempts would use them up before ours.
            self.limit(node, 0)
            words = [CLUSTER, "exec", node, self.program, "--kubeconfig", world.KUBECONFIG, "--style-file", self.style, "--state", self.states[node]]
            with open(self.logs[node], "wb") as log:
                self.running.append(subprocess.Popen([str(word) for word in words], stdout=log, stderr=log))
        self.enforce(style)

    def enforce(self, style: str) -> None:
        """Refuses in this way, and waits until the policies of now are enforced on all nodes."""
        self.style.write_text(style)
        policies = json.loads(kubectl("get", "networkpolicies", "--all-namespaces", "--output=json"))["items"]
        now = {f"NetworkPolicy {p['metadata']['namespace']}/{p['metadata']['name']}": p["metadata"]["resourceVersion"] for p in policies}
        until(f"policies enforced as {style}", lambda: all(self.stands(node, style, now) for node in self.nodes), 30)

    def stands(self, node: str, style: str, policies: dict) -> bool:
        if any(process.poll() is not None for process in self.running):
            raise world.Failed("an enforcer ended:\n" + "\n".join(log.read_text() for log in self.logs.values()))
        if not self.states[node].exists():
            return False
        state = json.loads(self.states[node].read_text())
        enforced = {name: version for name, version in state["objects"].items() if name.startswith("NetworkPolicy ")}
        return state["style"] == style and enforced == policies

    def limit(self, node: str, mask: int) -> None:
        run(CLUSTER, "exec", node, "sysctl", "--quiet", f"net.ipv4.icmp_ratemask={mask}")

    def stop(self) -> None:
        for process in self.running:
            process.terminate()
        for process in self.running:
            process.wait(timeout=30)
        if self.running:
            for node in self.nodes:
                self.limit(node, 6168)  # as Linux has it
        self.running = []
