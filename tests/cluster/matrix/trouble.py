"""What can befall the edges of the guide's deployment, and what the status must say of it."""

import json
import subprocess

import world
from edges import FORBIDDEN, OURS, RELAYED, STYLES, TCP, UDP, no_rule, replace
from vantage import restart
from watch import Wanted
from world import MAS, inside, kubectl

# MAS answers its readiness probe by its database, so all that leads to it depends on that.
TO_MAS = ("traefik-to-mas", "synapse-to-mas", "stranger-to-mas")

# Lost of a hundred packets, and for how many seconds.
LOSS, LOSSY = 5, 60
# How long a new pod is looked at, in seconds.
LATE = 20

# Cut at the same time: edge, the policy that is broken and how, how that looks. Then the edges that may suffer from it.
CUTS = [
    ([
        ("mas-to-smtp", OURS, no_rule("egress", 2525), TCP),
        ("mas-to-authelia", OURS, no_rule("egress", 8443), TCP),
        ("mas-to-dns-tcp", OURS, no_rule("egress", 53), TCP),
        ("traefik-to-mas", OURS, no_rule("ingress", 8080, label="traefik"), RELAYED),
        ("synapse-to-mas", OURS, no_rule("ingress", 8080, label="synapse"), RELAYED),
    ], ()),
    ([
        ("mas-to-postgres", "postgres/matrix-db", no_rule("ingress", 5432), TCP),
        ("mas-to-synapse", "matrix/synapse", no_rule("ingress", "http"), TCP),
    ], TO_MAS),
    ([("mas-to-dns-udp", OURS, no_rule("egress", 53, "UDP"), UDP)], TO_MAS),
]


def cut(stage, cuts: tuple) -> None:
    rows, may_suffer = cuts
    names = {policy for _, policy, _, _ in rows}
    whole = {policy: policy_of(policy) for policy in names}
    broken = {policy: policy_of(policy) for policy in names}
    for _, policy, change, _ in rows:
        change(broken[policy]["spec"])
    for policy in broken.values():
        replace(policy)
    try:
        for style in STYLES:
            stage.lab.enforce(style)
            end_connections()
            wanted = {edge: Wanted("violated", reasons[style], "PolicyBlocks", policy) for edge, policy, _, reasons in rows}
            stage.seen(f"cut, {style}", wanted, may_suffer)
    finally:
        for policy in whole.values():
            replace(policy)
    stage.lab.enforce(STYLES[0])
    # What was seen before a policy was repaired stands until the next probe.
    stage.watch.until_ok([edge for edge, *_ in rows])


def policy_of(name: str) -> dict:
    namespace, name = name.split("/")
    return json.loads(kubectl("-n", namespace, "get", "networkpolicy", name, "--output=json"))


def end_connections() -> None:
    """Open ones outlive a policy, and Traefik and Synapse keep theirs to MAS for as long as somebody asks for it."""
    subprocess.run([*inside(MAS), "ss", "--kill", "-tn", "state", "established", "sport = :8080"], check=True, capture_output=True)


def metric(series: str) -> float | None:
    """Of the agent beside MAS."""
    text = world.run(*inside(MAS), "curl", "--silent", "--max-time", "5", "http://127.0.0.1:9690/metrics")
    return next((float(line.removeprefix(series)) for line in text.splitlines() if line.startswith(series + " ")), None)


def dead_peer_and_wrong_certificate(stage) -> None:
    """The relay is gone, and in the identity provider's place stands a certificate for another name."""
    right = json.loads(kubectl("-n", "authentif", "get", "secret", "authelia-tls", "--output=json"))["data"]
    scale("mail/exim-relay", 0)
    world.make_certificate("authentif", "authelia-tls", "other.waadoo.ovh", [])
    wanted = {
        "mas-to-smtp": Wanted("violated", "connect_timeout", "TargetDown", "mail/svc/smtp"),
        "mas-to-authelia": Wanted("violated", "tls_untrusted", "TlsInvalid", "Traefik's default certificate"),
    }
    stage.seen("a peer without a pod, and a certificate for another name", wanted)
    kubectl("-n", "authentif", "patch", "secret", "authelia-tls", f"--patch={json.dumps({'data': right})}")
    scale("mail/exim-relay", 1)
    world.rolled_out("mail/exim-relay")
    stage.watch.until_ok([*wanted])


def dead_dns(stage) -> None:
    """No DNS pod is left. What needs a name is unknown, and the names are no cause."""
    scale("kube-system/coredns", 0)
    wanted = {"mas-to-dns-udp": Wanted("violated", "dns_timeout", "NameNotResolved", "kube-dns")}
    stage.seen("no DNS", wanted, ("mas-to-dns-tcp", *TO_MAS))


def scale(workload: str, replicas: int) -> None:
    namespace, name = workload.split("/")
    kubectl("-n", namespace, "scale", f"deployment/{name}", f"--replicas={replicas}")
    world.until(f"{workload} has {replicas} pods", lambda: len(world.pods(workload)) == replicas)


def lost_packets(stage) -> None:
    """Of MAS's pod, each way. The kernel's own netem is not everywhere."""
    node, rules = world.pod(MAS)["spec"]["nodeName"], "table inet portreeve-loss"
    matches = [f"{'ip6' if ':' in ip else 'ip'} {way} {ip}" for ip in addresses(MAS) for way in ("saddr", "daddr")]
    chain = "".join(f"{match} numgen random mod 100 < {LOSS} counter drop; " for match in matches)
    on_node = [world.CLUSTER, "exec", node, "nft"]
    world.run(*on_node, f"{rules} {{ chain forward {{ type filter hook forward priority 10; {chain} }}; }}")
    before = attempts()
    try:
        looks = stage.watch.steady(LOSSY, ("ok",))
    finally:
        listed = world.run(*on_node, "list", rules)
        world.run(*on_node, "delete", rules)
    world.expect("something was lost each way", listed.count("counter packets 0 ") <= len(matches) - 2, True)
    print(f"agent: figure: {LOSS} % of packets lost each way: {attempts() - before} attempts, {looks}")
    stage.steps.done("no flapping while packets are lost")


def attempts() -> int:
    """That the agent beside MAS has made."""
    return json.loads(world.run(*inside(MAS), "curl", "--silent", "--max-time", "5", "http://127.0.0.1:9690/v1/report"))["seq"]


def addresses(workload: str) -> list[str]:
    return [entry["ip"] for entry in world.pod(workload)["status"]["podIPs"]]


def not_enforced(stage) -> None:
    """By a plug-in that ignores policies; then by one that is 5 s late for a new pod, which is nobody's fault."""
    stage.lab.enforce("off")
    stage.seen("policies ignored", {edge: Wanted("violated", "ok", "NotEnforced", "") for edge in FORBIDDEN})
    stage.lab.enforce("late=5")
    stage.watch.until_ok(FORBIDDEN)
    opened = restart(MAS)
    looks = stage.watch.steady(LATE, ("ok", "pending", "unknown"))
    print(f"agent: figure: enforced 5 s late: MAS Ready after {opened:.1f} s, then {looks}")
    stage.lab.enforce(STYLES[0])
    stage.steps.done("a plug-in that is late for a new pod alarms nobody")


def scraped(stage) -> None:
    """Under a foreign default-deny: by Prometheus and the controller with the component of deploy/, and by nobody else."""
    readers = {"monitoring/prometheus": {}, "portreeve/portreeve": {"app.kubernetes.io/component": "controller"}, "monitoring/other": {}}
    for workload, labels in readers.items():
        run_reader(workload, labels)
    for workload in readers:
        world.rolled_out(workload)
    kubectl("-n", "matrix", "delete", "networkpolicy", "portreeve-mas")
    stage.lab.enforce(STYLES[0])
    world.expect("who reads the agent under default-deny", [workload for workload in readers if reads(workload)], [])
    stage.agents.put("scrape")
    stage.lab.enforce(STYLES[0])
    world.expect("who reads it with the component", [workload for workload in readers if reads(workload)], list(readers)[:2])
    stage.steps.done("components/scrape lets Prometheus and the controller in, and nobody else")
    kubectl("-n", "matrix", "delete", "networkpolicy", "portreeve-scrape")
    stage.agents.tell(stage.interval)
    stage.lab.enforce(STYLES[0])


def run_reader(workload: str, more: dict) -> None:
    namespace, name = workload.split("/")
    labels = {"app.kubernetes.io/name": name, **more}
    world.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    world.until("its service account", lambda: "default" in kubectl("-n", namespace, "get", "serviceaccounts", "--output=name"))
    container = {"name": "reader", "image": world.PAUSE, "imagePullPolicy": "Never"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container], "terminationGracePeriodSeconds": 0}}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    world.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace}, "spec": spec})


def reads(workload: str) -> bool:
    """Whether a pod gets the metrics and the report of the agent beside MAS."""
    where = f"http://{addresses(MAS)[0]}:9690"
    got = [subprocess.run([*inside(workload), "curl", "--silent", "--fail", "--max-time", "3", where + path], capture_output=True, check=False)
           for path in ("/metrics", "/v1/report")]
    return all(done.returncode == 0 and done.stdout for done in got)
