package gate

import (
	"fmt"

	"go.yaml.in/yaml/v3"
)

// The parts of Kubernetes objects that carry identities. Everything else in them is left alone, as the API server judges
// it: https://kubernetes.io/docs/reference/kubernetes-api/.

// text is a text and its line. Numbers and booleans are refused, as the API server refuses them where a text belongs.
type text struct {
	Value string
	Line  int
}

func (t *text) UnmarshalYAML(n *yaml.Node) error {
	switch {
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null":
		t.Line = n.Line
		return nil
	case n.Kind == yaml.ScalarNode && (n.ShortTag() == "!!str" || n.ShortTag() == "!!timestamp"):
		t.Value, t.Line = n.Value, n.Line
		return nil
	case n.Kind == yaml.ScalarNode:
		return &ManifestError{Line: n.Line, Text: fmt.Sprintf("%s; expected a text in quotes", shorten(n.Value))}
	}
	return &ManifestError{Line: n.Line, Text: fmt.Sprintf("%s; expected a text", describe(n))}
}

func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	return "a single value"
}

type header struct {
	APIVersion text      `yaml:"apiVersion"`
	Kind       text      `yaml:"kind"`
	Items      yaml.Node `yaml:"items"`
}

type metadata struct {
	Name         text            `yaml:"name"`
	GenerateName text            `yaml:"generateName"`
	Namespace    text            `yaml:"namespace"`
	Labels       map[string]text `yaml:"labels"`
	Annotations  map[string]text `yaml:"annotations"`
	// Set while an object goes away.
	DeletionTimestamp text `yaml:"deletionTimestamp"`
}

func (m *metadata) name() string {
	if m.Name.Value == "" && m.GenerateName.Value != "" {
		return m.GenerateName.Value + "*"
	}
	return m.Name.Value
}

type object struct {
	Metadata metadata `yaml:"metadata"`
}

type podSpec struct {
	ServiceAccountName text        `yaml:"serviceAccountName"`
	ServiceAccount     text        `yaml:"serviceAccount"` // its deprecated alias
	Containers         []container `yaml:"containers"`
	InitContainers     []container `yaml:"initContainers"`
}

type container struct {
	Env []struct {
		Name  text `yaml:"name"`
		Value text `yaml:"value"`
	} `yaml:"env"`
}

type podTemplate struct {
	Metadata metadata `yaml:"metadata"`
	Spec     podSpec  `yaml:"spec"`
}

// template is a pod template and the path to it.
type template struct {
	podTemplate
	path string // with its dot at the end; empty for a Pod
}

// podOf finds the pods that an object makes: as a Pod, below spec.template as workloads have it, or below
// spec.jobTemplate as a CronJob has it. A kind that is not known is taken for a workload if its spec.template holds
// containers; nil if it makes no pods as far as one can see.
func podOf(kind string, n *yaml.Node) (*template, error) {
	t := &template{}
	switch kind {
	case "Pod":
		var pod struct {
			Metadata metadata `yaml:"metadata"`
			Spec     *podSpec `yaml:"spec"`
		}
		if err := n.Decode(&pod); err != nil {
			return nil, err
		}
		if pod.Spec == nil {
			return nil, missing(n, "spec")
		}
		t.Metadata, t.Spec = pod.Metadata, *pod.Spec
		return t, nil
	case "CronJob":
		t.path = "spec.jobTemplate.spec.template."
	case "PodTemplate":
		t.path = "template."
	default:
		t.path = "spec.template."
	}
	var found *yaml.Node
	switch kind {
	case "CronJob":
		found = child(n, "spec", "jobTemplate", "spec", "template")
	case "PodTemplate":
		found = child(n, "template")
	default:
		found = child(n, "spec", "template")
	}
	if found == nil || !workloadKinds[kind] && child(found, "spec", "containers") == nil {
		if workloadKinds[kind] {
			return nil, missing(n, t.path[:len(t.path)-1])
		}
		return nil, nil
	}
	return t, found.Decode(&t.podTemplate)
}

// workloadKinds make pods; a closed set that metrics use as a label.
var workloadKinds = map[string]bool{"Pod": true, "Deployment": true, "StatefulSet": true, "DaemonSet": true, "ReplicaSet": true,
	"ReplicationController": true, "Job": true, "CronJob": true, "PodTemplate": true}

func missing(n *yaml.Node, what string) error {
	return &ManifestError{Line: n.Line, Text: what + " is missing"}
}

// child walks down a path of mappings; nil if it ends early.
func child(n *yaml.Node, path ...string) *yaml.Node {
	for _, key := range path {
		n = value(n, key)
		if n == nil {
			return nil
		}
	}
	return n
}

func value(n *yaml.Node, key string) *yaml.Node {
	for hops := 0; n.Kind == yaml.AliasNode; hops++ {
		if n = n.Alias; hops > 10 || n == nil {
			return nil
		}
	}
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}
