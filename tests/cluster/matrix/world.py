"""The guide's deployment on a real cluster: what `deploy` and `check` both need."""

import base64
import json
import os
import pathlib
import secrets
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(HERE.parent))

import image  # noqa: E402
from layout import CLUSTER as NODES, DNS_SERVICE, KUBECONFIG  # noqa: E402, F401
from parts import PAUSE  # noqa: E402, F401

CLUSTER = HERE.parent / "cluster"
MANIFESTS = HERE / "manifests"
MAS_IMAGE = "portreeve.test/stand-in/matrix-authentication-service:1.22.0"
NAMESPACES = ["matrix", "postgres", "traefik", "authentif", "mail"]
# TEST-NET-3 (RFC 5737): the address that a load balancer would have. No packet carries it further than kube-proxy on the node.
PUBLIC = "203.0.113.10"
# The node that takes in what is sent there from outside.
GATE = NODES[0].addresses[0]
MAS, STRANGER = "matrix/mas", "matrix/portreeve-stranger"
WORKLOADS = ["mail/exim-relay", "traefik/traefik", "authentif/authelia", "matrix/matrix-synapse-synapse", STRANGER, MAS]
# Secret, namespace, names in the certificate.
CERTIFICATES = [
    ("mas-tls", "matrix", "auth.waadoo.ovh"),
    ("matrix-tls", "matrix", "matrix.waadoo.ovh"),
    ("authelia-tls", "authentif", "authelia.waadoo.ovh"),
    ("smtp-tls", "mail", "smtp.mail.svc.cluster.local"),
]


NEW_KEY = ["openssl", "req", "-x509", "-nodes", "-days", "30", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]


class Failed(Exception):
    """A step that did not work, with what is known about it."""


class Steps:
    """Says what is done, and how long each took."""

    def __init__(self, name: str):
        self.name = name
        self.first = self.last = time.monotonic()

    def done(self, what: str) -> None:
        now = time.monotonic()
        print(f"{self.name}: {what:<80}{now - self.last:6.1f} s", flush=True)
        self.last = now

    def all(self) -> float:
        return time.monotonic() - self.first


def run(*words, stdin: str | None = None) -> str:
    done = subprocess.run([str(word) for word in words], input=stdin, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"{' '.join(str(word) for word in words[:8])}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def kubectl(*words, stdin: str | None = None) -> str:
    return run(CLUSTER, "kubectl", *words, stdin=stdin)


def apply(document: dict | str) -> None:
    text = document if isinstance(document, str) else json.dumps(document)
    kubectl("apply", "--server-side", "--force-conflicts", "--filename=-", stdin=text)


def deploy(tools: pathlib.Path, mas: pathlib.Path, without: tuple[str, ...] = ()) -> None:
    """Everything but the policies, and but these workloads. `tools` is what tests/run fetched, `mas` the stand-in's program."""
    steps = Steps("deploy")
    load_stand_in(mas)
    steps.done("the stand-in's image, loaded")
    apply((MANIFESTS / "namespaces.yaml").read_text())
    for namespace in NAMESPACES:
        # The first pod of a namespace is refused before this exists.
        until("the service account of " + namespace, lambda: "default" in kubectl("-n", namespace, "get", "serviceaccounts", "--output=name"))
    make_secrets()
    apply(config_map("authentif", "identity", {"identity.mjs": (ROOT / "tests/peers/tools/identity.mjs").read_text()}))
    steps.done("namespaces, certificates, secrets")
    for path in sorted(MANIFESTS.glob("*_*.yaml")):
        if path.stem.replace("_", "/") in without:
            continue
        apply(path.read_text().replace("@TOOLS@", str(tools)))
    # As a load balancer's controller writes it.
    status = {"status": {"loadBalancer": {"ingress": [{"ip": PUBLIC, "ipMode": "VIP"}]}}}
    kubectl("-n", "traefik", "patch", "service", "traefik", "--subresource=status", "--type=merge", f"--patch={json.dumps(status)}")
    kubectl("-n", "kube-system", "rollout", "restart", "deployment/coredns")
    steps.done("objects applied")
    wait_for_pods(steps, [workload for workload in WORKLOADS if workload not in without])
    print(f"deploy: the guide's deployment is up in {steps.all():.0f} s")


def load_stand_in(program: pathlib.Path) -> None:
    with tempfile.NamedTemporaryFile(prefix="portreeve-", suffix=".tar") as out:
        image.archive(out, MAS_IMAGE, image.linked_program_layer(program, "mas"), ["/mas"])
        out.flush()
        run(CLUSTER, "load", out.name)


def make_secrets() -> None:
    """An authority of this deployment's own, certificates by it, and the Secret that the guide names. What is there stays: pods have read it."""
    if "waadoo-ca" in kubectl("-n", "matrix", "get", "configmaps", "--output=name"):
        return
    with tempfile.TemporaryDirectory(prefix="portreeve-") as folder:
        ca, key = f"{folder}/ca.crt", f"{folder}/ca.key"
        run(*NEW_KEY, "-subj", "/CN=waadoo CA", "-out", ca, "-keyout", key)
        authority = pathlib.Path(ca).read_text()
        for secret, namespace, name in CERTIFICATES:
            make_certificate(namespace, secret, name, ["-CA", ca, "-CAkey", key])
    shared = {
        "encryption-secret": secrets.token_hex(32),
        "synapse-shared-secret": secrets.token_hex(32),
        "database-password": secrets.token_hex(16),
        "oidc-client-secret": secrets.token_hex(16),
    }
    for namespace in ["matrix", "postgres"]:
        apply(secret_of(namespace, "matrix-synapse-mas-credentials", shared, "Opaque"))
    apply(config_map("matrix", "waadoo-ca", {"ca.crt": authority}))


def make_certificate(namespace: str, secret: str, name: str, issuer: list[str]) -> None:
    """A Secret with a certificate for a name; without an issuer it signs itself."""
    with tempfile.TemporaryDirectory(prefix="portreeve-") as folder:
        crt, key = f"{folder}/tls.crt", f"{folder}/tls.key"
        leaf = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-addext", "basicConstraints=critical,CA:FALSE"]
        run(*NEW_KEY, *leaf, *issuer, "-out", crt, "-keyout", key)
        data = {"tls.crt": pathlib.Path(crt).read_text(), "tls.key": pathlib.Path(key).read_text()}
        apply(secret_of(namespace, secret, data, "kubernetes.io/tls"))


def secret_of(namespace: str, name: str, data: dict, kind: str) -> dict:
    encoded = {field: base64.b64encode(text.encode()).decode() for field, text in data.items()}
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": kind, "data": encoded}


def config_map(namespace: str, name: str, data: dict) -> dict:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": data}


def until(what: str, ready, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise Failed(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.2)


def wait_for_pods(steps: Steps, workloads: list[str]) -> None:
    try:
        kubectl("-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=120s")
        kubectl("-n", "postgres", "wait", "--for=condition=Ready", "pod/matrix-db-1", "--timeout=180s")
        steps.done("cluster DNS and PostgreSQL ready")
        for workload in workloads:
            rolled_out(workload)
            steps.done(f"{workload} ready")
    except Failed as failed:
        raise Failed(f"{failed}\n{explain()}") from failed


def rolled_out(workload: str) -> None:
    namespace, name = workload.split("/")
    kubectl("-n", namespace, "rollout", "status", f"deployment/{name}", "--timeout=180s")


def explain() -> str:
    """Why pods are not ready: their states, what happened to them, their last words."""
    told = [kubectl("get", "pods", "--all-namespaces", "--output=wide")]
    for pod in json.loads(kubectl("get", "pods", "--all-namespaces", "--output=json"))["items"]:
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
        if ready or namespace not in [*NAMESPACES, "kube-system"]:
            continue
        told.append(f"--- {namespace}/{name}")
        told.append(kubectl("-n", namespace, "events", f"--for=pod/{name}"))
        told.append(subprocess.run(
            [CLUSTER, "kubectl", "-n", namespace, "logs", name, "--all-containers", "--prefix", "--tail=15"],
            capture_output=True, text=True, check=False,
        ).stdout)
    return "\n".join(told)


def remove() -> None:
    """The deployment's own objects; CoreDNS gets the cluster's own configuration back."""
    steps = Steps("deploy")
    kubectl("delete", "--ignore-not-found", "namespace", *NAMESPACES, "--timeout=120s")
    for kind in ["clusterrole", "clusterrolebinding"]:
        kubectl("delete", "--ignore-not-found", kind, "traefik-traefik")
    kubectl("delete", "--ignore-not-found", "ingressclass", "traefik")
    apply((HERE.parent / "manifests/coredns.yaml").read_text())
    kubectl("-n", "kube-system", "rollout", "restart", "deployment/coredns")
    steps.done("removed")


def expect(what: str, got, want) -> None:
    if got != want:
        raise Failed(f"{what}\n  expected {want}\n  got      {got}")


def pods(workload: str) -> list[dict]:
    namespace, name = workload.split("/")
    selector = json.loads(kubectl("-n", namespace, "get", "deployment", name, "--output=json"))["spec"]["selector"]["matchLabels"]
    labels = ",".join(f"{key}={value}" for key, value in selector.items())
    return json.loads(kubectl("-n", namespace, "get", "pods", f"--selector={labels}", "--output=json"))["items"]


def pod(workload: str) -> dict:
    """Its only one."""
    running = [pod for pod in pods(workload) if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]]
    expect(f"pods of {workload}", len(running), 1)
    return running[0]


def inside(workload: str) -> list[str]:
    """What to put before a command that is to run in the network namespace of the workload's only pod, told by its control group."""
    uid = pod(workload)["metadata"]["uid"]
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and uid in (entry / "cgroup").read_text():
                return ["nsenter", f"--net={entry}/ns/net"]
        except OSError:
            continue  # it has ended
    raise Failed(f"no process belongs to {workload}")


def setting(name: str) -> pathlib.Path:
    path = os.environ.get(name)
    if not path or not pathlib.Path(path).exists():
        raise Failed(f"{name} names nothing that is there; `tests/run cluster` sets it")
    return pathlib.Path(path)
