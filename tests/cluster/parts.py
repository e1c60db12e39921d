"""The programs of a node and their settings."""

import json
import pathlib
from dataclasses import dataclass, field

from layout import CGROUP, CLUSTER, DNS_SERVICE, DOMAIN, PODS, RUN, SERVICES, Node, listed
from modules import CNI, CONTAINERD, KUBERNETES, RUNC

PKI = RUN / "pki"
# What all trust; the API server writes it, with the certificate that it makes for itself.
CA = PKI / "apiserver.crt"
PAUSE = "portreeve.test/pause:1"


@dataclass
class Part:
    """A program, the file that must be there first, and what tells that it serves: a TCP port or the path of a socket."""

    name: str
    program: pathlib.Path
    flags: dict[str, object]
    needs: pathlib.Path | None = None
    serves: int | pathlib.Path | None = None
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def command(self) -> list[str]:
        return [str(self.program), *(f"--{key}={value}" for key, value in self.flags.items())]


def kubeconfig(user: str) -> pathlib.Path:
    return PKI / f"{user.replace(':', '-')}.kubeconfig"


def parts(node: Node) -> list[Part]:
    """In the order in which they start."""
    control = [etcd(node), api_server(node)] if node.controls else []
    managers = [controller_manager(), scheduler()] if node.controls else []
    return [containerd(node), *control, *managers, kubelet(node), kube_proxy(node)]


def etcd(node: Node) -> Part:
    client, peer = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
    return Part("etcd", KUBERNETES.bin / "etcd", {
        "data-dir": node.folder / "etcd",
        # A cluster of a test need not survive a power cut.
        "unsafe-no-fsync": "true",
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"default={peer}",
    }, serves=2379)


def api_server(node: Node) -> Part:
    return Part("kube-apiserver", KUBERNETES.bin / "kube-apiserver", {
        "etcd-servers": "http://127.0.0.1:2379",
        "advertise-address": node.addresses[0],
        "cert-dir": PKI,
        "token-auth-file": PKI / "tokens.csv",
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "service-account-issuer": f"https://kubernetes.default.svc.{DOMAIN}",
        "service-account-key-file": PKI / "service-accounts.key",
        "service-account-signing-key-file": PKI / "service-accounts.key",
        "service-cluster-ip-range": listed(SERVICES),
        "allow-privileged": "true",
        "kubelet-preferred-address-types": "InternalIP",
    }, serves=6443)


def controller_manager() -> Part:
    return Part("kube-controller-manager", KUBERNETES.bin / "kube-controller-manager", {
        "kubeconfig": kubeconfig("system:kube-controller-manager"),
        "leader-elect": "false",
        "use-service-account-credentials": "true",
        "service-account-private-key-file": PKI / "service-accounts.key",
        "root-ca-file": CA,
        "allocate-node-cidrs": "true",
        "cluster-cidr": listed(PODS),
        "service-cluster-ip-range": listed(SERVICES),
    })


def scheduler() -> Part:
    return Part("kube-scheduler", KUBERNETES.bin / "kube-scheduler", {
        "kubeconfig": kubeconfig("system:kube-scheduler"),
        "leader-elect": "false",
    })


def containerd(node: Node) -> Part:
    config = node.folder / "containerd.toml"
    config.write_text(f"""\
version = 3
root = '{node.folder}/containerd'
state = '/run/containerd'
# It would make a folder in the machine's /opt.
disabled_plugins = ['io.containerd.internal.v1.opt']

[grpc]
  address = '{node.containerd}'

[plugins.'io.containerd.cri.v1.images']
  snapshotter = 'overlayfs'
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = '{PAUSE}'

[plugins.'io.containerd.cri.v1.runtime']
  # Without CAP_SYS_RESOURCE, as in many a virtual machine, nobody may lower it.
  restrict_oom_score_adj = true
  # Its profile would stay in the kernel.
  disable_apparmor = true
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = 'io.containerd.runc.v2'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
  BinaryName = '{RUNC.bin}/runc'
[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ['{CNI.bin}']
  conf_dir = '{node.cni}'
""")
    # containerd finds its shim in the PATH.
    return Part(
        "containerd", CONTAINERD.bin / "containerd", {"config": config}, serves=node.containerd,
        environment={"PATH": f"{CONTAINERD.bin}:/usr/sbin:/usr/bin:/sbin:/bin"},
    )


def kubelet(node: Node) -> Part:
    config = node.folder / "kubelet.json"
    config.write_text(json.dumps({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{node.containerd}",
        # Only the API server and this host reach the port; pods' policies do not depend on it.
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "clusterDNS": [DNS_SERVICE],
        "clusterDomain": DOMAIN,
        "resolvConf": "",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{CGROUP}/{node.name}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": [],
        "localStorageCapacityIsolation": False,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%", "nodefs.inodesFree": "1%"},
        # The kernel's settings are the machine's: see the masks in node.py.
        "protectKernelDefaults": True,
        "makeIPTablesUtilChains": False,
    }))
    return Part("kubelet", KUBERNETES.bin / "kubelet", {
        "config": config,
        "kubeconfig": kubeconfig(f"system:node:{node.name}"),
        "hostname-override": node.name,
        "node-ip": ",".join(node.addresses),
    }, needs=CA)


def kube_proxy(node: Node) -> Part:
    return Part("kube-proxy", KUBERNETES.bin / "kube-proxy", {
        "kubeconfig": kubeconfig("system:kube-proxy"),
        "hostname-override": node.name,
        "proxy-mode": "nftables",
        # Pods' addresses stay as they are, so that policies see them.
        "detect-local-mode": "ClusterCIDR",
        "cluster-cidr": listed(PODS),
        # These are settings of the whole machine: left as they are.
        "conntrack-max-per-core": 0,
        "conntrack-tcp-timeout-established": 0,
        "conntrack-tcp-timeout-close-wait": 0,
    }, needs=CA)


def users() -> dict[str, str]:
    """Those who speak to the API server, and their groups."""
    managers = ["system:kube-controller-manager", "system:kube-scheduler", "system:kube-proxy"]
    return {"admin": "system:masters", **{f"system:node:{n.name}": "system:nodes" for n in CLUSTER}, **{m: "" for m in managers}}
