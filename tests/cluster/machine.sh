# Sourced by checks that a cluster leaves nothing; `name` is that of its folder.
# shellcheck shell=bash disable=SC2154

# What a cluster could leave on this machine: names and values only, so that two listings can be compared.
machine() {
  find /run /var/lib /var/log /var/tmp /etc /opt -maxdepth 2 \( -name '*kube*' -o -name '*containerd*' -o -name 'cni*' -o -name runc \
    -o -name pods -o -name containers -o -name "$name" \) 2>/dev/null || true
  find /sys/fs/cgroup -maxdepth 3 -type d \( -name '*kube*' -o -name 'cri-*' -o -name "$name" \) 2>/dev/null || true
  grep -E "$name|kubelet|containerd|cni-" /proc/self/mountinfo || true
  ip -o link show | grep -oE "portreeve$PORTREEVE_CLUSTER_NUMBER|veth[0-9a-f]{8}|cni[0-9]+|kube[^:@]*" || true
  ip route show table all | grep -F "198.18.$PORTREEVE_CLUSTER_NUMBER." || true
  nft list tables | grep -E 'kube-proxy|portreeve-lab' || true
  (cd /proc/sys && grep -H . vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys \
    net/ipv4/ip_forward net/ipv6/conf/all/forwarding net/netfilter/nf_conntrack_max 2>/dev/null) || true
  # The programs of a node name the cluster's folder, what runs in a pod has a control group of it.
  local process
  for process in /proc/[0-9]*; do
    if [[ $(tr '\0' ' ' 2>/dev/null <"$process/cmdline") == *"/$name/"* || $(cat "$process/cgroup" 2>/dev/null) == *"/$name/"* ]]; then
      readlink "$process/exe" || true
    fi
  done
}
