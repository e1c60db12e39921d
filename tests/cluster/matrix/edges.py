"""The edges of the guide's deployment, how each is cut, and how that looks to who is refused."""

import json

import world

MATRIX = world.ROOT / "policies/traffic-matrix.yaml"
STYLES = ["drop", "reject", "admin-prohibited", "tcp-reset"]
ALLOWED = [
    "traefik-to-mas", "synapse-to-mas", "mas-to-postgres", "mas-to-synapse",
    "mas-to-authelia", "mas-to-dns-udp", "mas-to-dns-tcp", "mas-to-smtp",
]
FORBIDDEN = ["stranger-to-mas", "mas-to-stranger"]
# How a refusal looks to who is refused (docs/reasons.md).
TCP = {"drop": "connect_timeout", "reject": "icmp_port_unreachable", "admin-prohibited": "icmp_admin_prohibited", "tcp-reset": "connect_refused_rst"}
UDP = {**TCP, "drop": "dns_timeout", "tcp-reset": "icmp_admin_prohibited"}
# Synapse, and Traefik by the public URL, are asked whether they reach MAS: they say no, or nothing while they wait for an answer.
RELAYED = {**dict.fromkeys(STYLES, "relay_failed"), "drop": "first_byte_timeout"}
# The policy that the product renders.
OURS = "matrix/portreeve-mas"


def no_rule(direction: str, port: int, protocol: str = "TCP", label: str = ""):
    """Takes a port out of a policy's rules, or a rule whose peer has a label's value."""

    def change(spec: dict) -> None:
        kept = []
        for rule in spec[direction]:
            ports = [p for p in rule["ports"] if (p["port"], p.get("protocol", "TCP")) != (port, protocol)]
            if label not in json.dumps(rule):
                ports = rule["ports"]
            if ports:
                kept.append({**rule, "ports": ports})
        assert kept != spec[direction], "the policy has no such rule"
        spec[direction] = kept

    return change


def replace(policy: dict) -> None:
    for field in ["resourceVersion", "uid", "creationTimestamp", "generation", "managedFields"]:
        policy["metadata"].pop(field, None)
    world.apply(policy)
