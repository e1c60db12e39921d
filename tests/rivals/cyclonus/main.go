// Asks the matcher library of cyclonus 0.5.6 what the corpus asks.
//
//	rival CASE.yaml...       one JSON line a case: its answers, or that it panics
//	rival -bench FOLDER      every pair and port of FOLDER/world.json: {"verdicts":N,"seconds":S,"allowed":M}
//
// The library takes traffic with everything resolved. What it does not do itself is done here as its own prober does it: labels and addresses come
// from the pods, and the name of a port is that of the destination's container port with this number and protocol. Namespaces get their name label,
// which a live cluster would give them.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/mattfenwick/cyclonus/pkg/matcher"
	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	netv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"
)

type world struct {
	namespaces map[string]map[string]string
	pods       map[string]*corev1.Pod
	policies   []*netv1.NetworkPolicy
	// Addresses of Services, which the library has no notion of.
	services map[string]bool
}

type assertion struct {
	From, To string
	Port     any
	Protocol string
	Expect   string
}

type answer struct {
	From     string `json:"from"`
	To       string `json:"to"`
	Port     string `json:"port"`
	Protocol string `json:"protocol"`
	Expect   string `json:"expect"`
	// allow, deny, panics, or none where the library has no notion of an end.
	Says string `json:"says"`
	Note string `json:"note,omitempty"`
}

type result struct {
	Case string `json:"case"`
	// Of the file as it is.
	AsIs []answer `json:"asIs"`
	// With policyTypes filled in as the API server does, where the library panics without.
	Defaulted []answer `json:"defaulted,omitempty"`
}

func main() {
	bench := flag.String("bench", "", "a folder with world.json")
	sources := flag.Int("sources", 0, "of the pods, how many ask; 0 is all")
	flag.Parse()
	logrus.SetOutput(io.Discard)
	var err error
	if *bench != "" {
		err = runBench(filepath.Join(*bench, "world.json"), *sources)
	} else {
		err = runCases(flag.Args())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

func runCases(files []string) error {
	out := json.NewEncoder(os.Stdout)
	for _, file := range files {
		w, err := load(file)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		text, err := os.ReadFile(strings.TrimSuffix(file, ".yaml") + ".expect.yaml")
		if err != nil {
			return err
		}
		var assertions []assertion
		if err := yaml.Unmarshal(text, &assertions); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		area := filepath.Base(filepath.Dir(file))
		name := area + "/" + strings.TrimSuffix(filepath.Base(file), ".yaml")
		r := result{Case: name, AsIs: w.ask(assertions)}
		if w.fillTypes() {
			r.Defaulted = w.ask(assertions)
		}
		if err := out.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

func load(file string) (*world, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	w := &world{namespaces: map[string]map[string]string{}, pods: map[string]*corev1.Pod{}, services: map[string]bool{}}
	for _, document := range strings.Split(string(text), "\n---\n") {
		var head struct{ Kind, APIVersion string }
		if err := yaml.Unmarshal([]byte(document), &head); err != nil {
			return nil, err
		}
		switch {
		case head.Kind == "Namespace":
			var namespace corev1.Namespace
			if err := yaml.Unmarshal([]byte(document), &namespace); err != nil {
				return nil, err
			}
			w.namespaces[namespace.Name] = namespace.Labels
		case head.Kind == "Pod":
			var pod corev1.Pod
			if err := yaml.Unmarshal([]byte(document), &pod); err != nil {
				return nil, err
			}
			w.pods[namespaceOf(pod.Namespace)+"/"+pod.Name] = &pod
		case head.Kind == "NetworkPolicy" && head.APIVersion == "networking.k8s.io/v1":
			var policy netv1.NetworkPolicy
			if err := yaml.Unmarshal([]byte(document), &policy); err != nil {
				// Refused while reading: the policy does not exist for the library either.
				continue
			}
			w.policies = append(w.policies, &policy)
		case head.Kind == "Service":
			var service corev1.Service
			if err := yaml.Unmarshal([]byte(document), &service); err != nil {
				return nil, err
			}
			w.services[service.Spec.ClusterIP] = true
		}
	}
	for _, pod := range w.pods {
		namespace := namespaceOf(pod.Namespace)
		if w.namespaces[namespace] == nil {
			w.namespaces[namespace] = map[string]string{}
		}
	}
	for name, labels := range w.namespaces {
		if labels == nil {
			labels = map[string]string{}
			w.namespaces[name] = labels
		}
		labels["kubernetes.io/metadata.name"] = name
	}
	return w, nil
}

func namespaceOf(name string) string {
	if name == "" {
		return "default"
	}
	return name
}

// fillTypes does what SetDefaults_NetworkPolicy does; false if there was nothing to do.
func (w *world) fillTypes() bool {
	changed := false
	for _, policy := range w.policies {
		if len(policy.Spec.PolicyTypes) != 0 {
			continue
		}
		changed = true
		policy.Spec.PolicyTypes = []netv1.PolicyType{netv1.PolicyTypeIngress}
		if len(policy.Spec.Egress) != 0 {
			policy.Spec.PolicyTypes = append(policy.Spec.PolicyTypes, netv1.PolicyTypeEgress)
		}
	}
	return changed
}

func (w *world) ask(assertions []assertion) []answer {
	policy, built := w.build()
	answers := make([]answer, 0, len(assertions))
	for _, a := range assertions {
		protocol := a.Protocol
		if protocol == "" {
			protocol = "TCP"
		}
		given := answer{From: a.From, To: a.To, Port: fmt.Sprint(a.Port), Protocol: protocol, Expect: a.Expect}
		if built != "" {
			given.Says, given.Note = "panics", built
		} else {
			given.Says, given.Note = w.one(policy, given)
		}
		answers = append(answers, given)
	}
	return answers
}

func (w *world) build() (policy *matcher.Policy, panicked string) {
	defer func() {
		if r := recover(); r != nil {
			panicked = fmt.Sprint(r)
		}
	}()
	return matcher.BuildNetworkPolicies(false, w.policies), ""
}

func (w *world) one(policy *matcher.Policy, a answer) (says, note string) {
	defer func() {
		if r := recover(); r != nil {
			says, note = "panics", fmt.Sprint(r)
		}
	}()
	from, _, ok := w.peer(a.From)
	if !ok {
		return "none", "it knows pods and addresses only"
	}
	to, pod, ok := w.peer(a.To)
	if !ok {
		return "none", "it knows pods and addresses only"
	}
	port, err := strconv.Atoi(a.Port)
	if err != nil {
		return "none", "it takes port numbers"
	}
	traffic := &matcher.Traffic{
		Source: from, Destination: to, ResolvedPort: port, ResolvedPortName: portName(pod, port, a.Protocol), Protocol: corev1.Protocol(a.Protocol),
	}
	if policy.IsTrafficAllowed(traffic).IsAllowed() {
		return "allow", ""
	}
	return "deny", ""
}

func (w *world) peer(text string) (*matcher.TrafficPeer, *corev1.Pod, bool) {
	if pod := w.pods[text]; pod != nil {
		return w.podPeer(pod), pod, true
	}
	if net.ParseIP(text) == nil || w.services[text] {
		return nil, nil, false
	}
	for _, pod := range w.pods {
		finished := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
		if finished || pod.Spec.HostNetwork || !hasAddress(pod, text) {
			continue
		}
		peer := w.podPeer(pod)
		peer.IP = text
		return peer, pod, true
	}
	return &matcher.TrafficPeer{IP: text}, nil, true
}

func hasAddress(pod *corev1.Pod, text string) bool {
	for _, ip := range pod.Status.PodIPs {
		if ip.IP == text {
			return true
		}
	}
	return pod.Status.PodIP == text
}

func (w *world) podPeer(pod *corev1.Pod) *matcher.TrafficPeer {
	namespace := namespaceOf(pod.Namespace)
	return &matcher.TrafficPeer{
		Internal: &matcher.InternalPeer{PodLabels: pod.Labels, NamespaceLabels: w.namespaces[namespace], Namespace: namespace},
		IP:       pod.Status.PodIP,
	}
}

func portName(pod *corev1.Pod, port int, protocol string) string {
	if pod == nil {
		return ""
	}
	containers := pod.Spec.Containers
	for _, init := range pod.Spec.InitContainers {
		if init.RestartPolicy != nil && *init.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			containers = append(containers, init)
		}
	}
	for _, container := range containers {
		for _, declared := range container.Ports {
			same := declared.Protocol == corev1.Protocol(protocol) || (declared.Protocol == "" && protocol == "TCP")
			if int(declared.ContainerPort) == port && same {
				return declared.Name
			}
		}
	}
	return ""
}

// The bench's world. Labels of namespaces are taken as they are.
type benchWorld struct {
	Namespaces []struct {
		Name   string            `json:"name"`
		Labels map[string]string `json:"labels"`
	} `json:"namespaces"`
	Pods []struct {
		Namespace string            `json:"namespace"`
		Name      string            `json:"name"`
		Labels    map[string]string `json:"labels"`
		IP        string            `json:"ip"`
	} `json:"pods"`
	Ports []struct {
		Port     int    `json:"port"`
		Name     string `json:"name"`
		Protocol string `json:"protocol"`
	} `json:"ports"`
	Policies []*netv1.NetworkPolicy `json:"policies"`
}

func runBench(file string, sources int) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var w benchWorld
	if err := json.Unmarshal(text, &w); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	namespaces := map[string]map[string]string{}
	for _, namespace := range w.Namespaces {
		namespaces[namespace.Name] = namespace.Labels
	}
	peers := make([]*matcher.TrafficPeer, 0, len(w.Pods))
	for _, pod := range w.Pods {
		internal := &matcher.InternalPeer{PodLabels: pod.Labels, NamespaceLabels: namespaces[pod.Namespace], Namespace: pod.Namespace}
		peers = append(peers, &matcher.TrafficPeer{Internal: internal, IP: pod.IP})
	}
	asking := peers
	if sources > 0 && sources < len(peers) {
		asking = peers[:sources]
	}
	start := time.Now()
	policy := matcher.BuildNetworkPolicies(false, w.Policies)
	verdicts, allowed := 0, 0
	for _, from := range asking {
		for _, to := range peers {
			if from == to {
				continue
			}
			for _, port := range w.Ports {
				traffic := &matcher.Traffic{Source: from, Destination: to, ResolvedPort: port.Port, ResolvedPortName: port.Name, Protocol: corev1.Protocol(port.Protocol)}
				verdicts++
				if policy.IsTrafficAllowed(traffic).IsAllowed() {
					allowed++
				}
			}
		}
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"verdicts": verdicts, "seconds": time.Since(start).Seconds(), "allowed": allowed,
	})
}
