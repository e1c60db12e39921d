//go:build never

// Package e2e names the upstream end-to-end tests, so that go.sum knows what they need.
package e2e

import _ "k8s.io/kubernetes/test/e2e"
