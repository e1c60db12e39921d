"""The wire that joins nodes, host and the world outside, and the routes between pods.

`outside` is a network namespace that holds the wire (a bridge) and is the nodes' default gateway: what a pod sends to an
address that is neither node nor pod ends up there, and nowhere else.
"""

import json
import subprocess

from layout import CLUSTER, HOST, HOST_LINK, OUTSIDE, OUTSIDE_NAME, RUN, WIRE, Node
from life import Refused

FORWARDING = "echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding"


def holder(name: str) -> int:
    """The process that holds the network of a node or of `outside`."""
    try:
        return int((RUN / f"{name}.pid").read_text())
    except FileNotFoundError:
        raise Refused(f"no network {name!r} is there: is the cluster up?") from None


def inside(name: str, *command: str) -> list[str]:
    """The command, in the network of node or `outside`."""
    return ["nsenter", f"--net=/proc/{holder(name)}/ns/net", "--", *command]


def ip(lines: list[str], name: str | None = None) -> None:
    command = ["ip", "-batch", "-"]
    subprocess.run(inside(name, *command) if name else command, input="\n".join(lines), text=True, check=True)


def own_addresses(link: str, addresses: list[str]) -> list[str]:
    """Without duplicate address detection, which takes a second or two."""
    pairs = zip(addresses, WIRE, strict=True)
    return [f"address add {address}/{network.prefixlen} dev {link}" + (" nodad" if network.version == 6 else "") for address, network in pairs]


def connect() -> None:
    ip(["link set lo up", "link add wire type bridge", *own_addresses("wire", OUTSIDE), "link set wire up"], OUTSIDE_NAME)
    ip([
        f"link add {HOST_LINK} type veth peer name host netns {holder(OUTSIDE_NAME)}",
        *own_addresses(HOST_LINK, HOST),
        f"link set {HOST_LINK} up",
    ])
    ip(["link set host master wire up"], OUTSIDE_NAME)
    subprocess.run(inside(OUTSIDE_NAME, "sh", "-c", FORWARDING), check=True)
    for node in CLUSTER:
        ip([
            f"link add {node.name} type veth peer name eth0 netns {holder(node.name)}",
            f"link set {node.name} master wire up",
        ], OUTSIDE_NAME)
        ip([
            "link set lo up",
            *own_addresses("eth0", node.addresses),
            "link set eth0 up",
            *(f"route add default via {address}" for address in OUTSIDE),
        ], node.name)
        subprocess.run(inside(node.name, "sh", "-c", FORWARDING), check=True)


def attach_pods(ranges: dict[Node, list[str]]) -> None:
    """Gives each node the addresses of its pods, and everybody else the way to them.

    The plugin is `ptp`, not `bridge`: each packet of a pod is routed, so it passes the node's nftables `forward` hook even
    where both pods are on one node.
    """
    for node, networks in ranges.items():
        ways = [f"route add {network} via {address}" for network, address in zip(networks, node.addresses, strict=True)]
        for name in [OUTSIDE_NAME, *(other.name for other in CLUSTER if other != node)]:
            ip(ways, name)
        plugin = {
            "type": "ptp",
            "ipMasq": False,
            "ipam": {
                "type": "host-local",
                "dataDir": str(node.folder / "addresses"),
                "ranges": [[{"subnet": network}] for network in networks],
                "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
            },
        }
        node.cni.mkdir(exist_ok=True)
        # In one step: containerd watches the folder.
        new = node.cni / "new"
        new.write_text(json.dumps({"cniVersion": "1.0.0", "name": "pods", "plugins": [plugin]}))
        new.rename(node.cni / "pods.conflist")
