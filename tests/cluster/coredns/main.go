// CoreDNS with the plugins that manifests/coredns.yaml and matrix/manifests/kube-system_coredns.yaml use. The full program brings the clients of four clouds.
// This is the way of https://coredns.io/2017/07/25/compile-time-enabling-or-disabling-plugins/ ("Build With External main()").
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/hosts"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/loadbalance"
	_ "github.com/coredns/coredns/plugin/metrics"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/coredns/coredns/plugin/reload"
)

func main() {
	// In the order of upstream's plugin.cfg.
	dnsserver.Directives = []string{"reload", "ready", "health", "prometheus", "errors", "loadbalance", "hosts", "kubernetes"}
	coremain.Run()
}
