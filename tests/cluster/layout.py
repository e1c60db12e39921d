"""Where the cluster keeps its files, and which addresses it uses."""

import ipaddress
import os
import pathlib
from dataclasses import dataclass

# One machine can hold several clusters; each has a number (0 to 99), which makes its folder and its wire its own.
NUMBER = int(os.environ.get("PORTREEVE_CLUSTER_NUMBER") or 0)
# On disk, because the images lie here too; not below /run, /var/lib or /var/log, which are each node's own.
RUN = pathlib.Path("/var/tmp/portreeve-cluster" + (f"-{NUMBER}" if NUMBER else ""))
KUBECONFIG = RUN / "kubeconfig"
# All processes of a cluster carry its identity in this variable; that is how `down` knows them.
MARK = "PORTREEVE_CLUSTER"
CGROUP = RUN.name
NODES = 2
DOMAIN = "cluster.local"

# 198.18.0.0/15 is set apart for test networks (RFC 2544) and no public address; the IPv6 prefix is unique-local.
WIRE = [ipaddress.ip_network(f"198.18.{NUMBER}.0/24"), ipaddress.ip_network(f"fd70:6f72:7472:{NUMBER}::/64")]
PODS = [ipaddress.ip_network("10.244.0.0/16"), ipaddress.ip_network("fd70:6f72:7472:f400::/56")]
SERVICES = [ipaddress.ip_network("10.96.0.0/16"), ipaddress.ip_network("fd70:6f72:7472:6000::/112")]
DNS_SERVICE = str(SERVICES[0][10])
HOST_LINK = f"portreeve{NUMBER}"


def on_wire(number: int) -> list[str]:
    """The addresses, IPv4 and IPv6, of the number-th machine on the wire that joins nodes, host and outside."""
    return [str(network[number]) for network in WIRE]


HOST = on_wire(1)
OUTSIDE = on_wire(254)


@dataclass(frozen=True)
class Node:
    """A node: one process tree with network, mounts, process ids and host name of its own."""

    number: int

    @property
    def name(self) -> str:
        return f"node-{self.number}"

    @property
    def folder(self) -> pathlib.Path:
        return RUN / self.name

    @property
    def addresses(self) -> list[str]:
        return on_wire(10 + self.number)

    @property
    def controls(self) -> bool:
        """Whether the control plane runs here."""
        return self.number == 1

    @property
    def containerd(self) -> pathlib.Path:
        return self.folder / "containerd.sock"

    @property
    def cni(self) -> pathlib.Path:
        return self.folder / "cni"


CLUSTER = [Node(number) for number in range(1, NODES + 1)]
API = f"https://{CLUSTER[0].addresses[0]}:6443"
OUTSIDE_NAME = "outside"


def listed(networks: list) -> str:
    return ",".join(str(network) for network in networks)
