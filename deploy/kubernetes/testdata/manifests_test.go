// Package kubernetes checks the manifests beside it against the types of the
// Kubernetes API, where a field that is misspelt, or not where it belongs, fails, and
// starts the built program as they and the image say.
package kubernetes

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	policy "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

// object is what all have.
type object struct {
	Kind     string
	Metadata struct{ Name string }
}

// manifests are all of them, by kind and name.
func manifests(t *testing.T) map[string]any {
	t.Helper()
	raw, err := os.ReadFile("../pushd.yaml")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]any{}
	for _, doc := range bytes.Split(raw, []byte("\n---\n")) {
		var o object
		if err := yaml.Unmarshal(doc, &o); err != nil {
			t.Fatal(err)
		}
		var into any
		switch o.Kind {
		case "ConfigMap":
			into = &core.ConfigMap{}
		case "Service":
			into = &core.Service{}
		case "StatefulSet":
			into = &apps.StatefulSet{}
		case "PodDisruptionBudget":
			into = &policy.PodDisruptionBudget{}
		default:
			t.Fatalf("a manifest of kind %q is not checked", o.Kind)
		}
		if err := yaml.UnmarshalStrict(doc, into); err != nil {
			t.Errorf("%s %s: %v", o.Kind, o.Metadata.Name, err)
		}
		all[o.Kind+" "+o.Metadata.Name] = into
	}
	return all
}

func TestManifests(t *testing.T) {
	all := manifests(t)
	set := all["StatefulSet pushd"].(*apps.StatefulSet)
	pod := set.Spec.Template
	for _, s := range []map[string]string{set.Spec.Selector.MatchLabels, all["Service pushd"].(*core.Service).Spec.Selector,
		all["Service pushd-nodes"].(*core.Service).Spec.Selector, all["PodDisruptionBudget pushd"].(*policy.PodDisruptionBudget).Spec.Selector.MatchLabels} {
		if fmt.Sprint(s) != fmt.Sprint(pod.Labels) {
			t.Errorf("a selector %v does not find the pods, which have %v", s, pod.Labels)
		}
	}
	if set.Spec.ServiceName != "pushd-nodes" {
		t.Errorf("the set is governed by %q", set.Spec.ServiceName)
	}
	c := pod.Spec.Containers[0]
	ports := map[string]bool{}
	for _, p := range c.Ports {
		ports[p.Name] = true
	}
	for _, p := range []*core.Probe{c.ReadinessProbe, c.LivenessProbe, c.StartupProbe} {
		if p == nil || p.HTTPGet == nil || !ports[p.HTTPGet.Port.StrVal] {
			t.Errorf("a probe asks no port of the container: %+v", p)
		}
	}
	if *pod.Spec.TerminationGracePeriodSeconds <= 60 {
		t.Error("pods are killed before drain, which is 60 s there, is over")
	}
	volumes := map[string]bool{}
	for _, v := range pod.Spec.Volumes {
		volumes[v.Name] = true
	}
	for _, m := range c.VolumeMounts {
		if !volumes[m.Name] {
			t.Errorf("there is no volume %q", m.Name)
		}
	}
	if config := all["ConfigMap pushd"].(*core.ConfigMap).Data["pushd.toml"]; !strings.Contains(config, "[cluster]") || !strings.Contains(config, `drain = "60s"`) {
		t.Errorf("config %q", config)
	}
}
