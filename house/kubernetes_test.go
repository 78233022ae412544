package house

import (
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// object is what these tests read of a Kubernetes manifest; k8s.io/api is no dependency of this module. The webhook, on
// which a cluster depends, is read strictly: see webhookConfiguration.
type object struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"`
	Metadata   struct {
		Name, Namespace string
		Labels          map[string]string
	} `yaml:"metadata"`
	Spec struct {
		Selector map[string]any `yaml:"selector"`
		Ports    []struct {
			Name       string `yaml:"name"`
			Port       int    `yaml:"port"`
			TargetPort any    `yaml:"targetPort"`
		} `yaml:"ports"`
		DNSNames   []string `yaml:"dnsNames"`
		SecretName string   `yaml:"secretName"`
		Template   struct {
			Metadata struct {
				Labels map[string]string
			} `yaml:"metadata"`
			Spec struct {
				Containers []struct {
					Args  []string
					Ports []struct {
						Name          string
						ContainerPort int `yaml:"containerPort"`
					}
					VolumeMounts []struct {
						Name      string
						MountPath string `yaml:"mountPath"`
					} `yaml:"volumeMounts"`
				}
				Volumes []struct {
					Name   string
					Secret struct {
						SecretName string `yaml:"secretName"`
					}
				}
			} `yaml:"spec"`
		} `yaml:"template"`
	} `yaml:"spec"`
}

// webhookConfiguration is a ValidatingWebhookConfiguration of admissionregistration.k8s.io/v1 with the fields that ours
// sets. Decoding refuses any other: a misspelt field would be one that the API server passes over.
type webhookConfiguration struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"`
	Metadata   struct {
		Name        string            `yaml:"name"`
		Annotations map[string]string `yaml:"annotations"`
	} `yaml:"metadata"`
	Webhooks []struct {
		Name                    string   `yaml:"name"`
		AdmissionReviewVersions []string `yaml:"admissionReviewVersions"`
		SideEffects             string   `yaml:"sideEffects"`
		FailurePolicy           string   `yaml:"failurePolicy"`
		TimeoutSeconds          int      `yaml:"timeoutSeconds"`
		MatchPolicy             string   `yaml:"matchPolicy"`
		ClientConfig            struct {
			Service struct {
				Name      string `yaml:"name"`
				Namespace string `yaml:"namespace"`
				Path      string `yaml:"path"`
				Port      int    `yaml:"port"`
			} `yaml:"service"`
		} `yaml:"clientConfig"`
		NamespaceSelector struct {
			MatchExpressions []struct {
				Key      string   `yaml:"key"`
				Operator string   `yaml:"operator"`
				Values   []string `yaml:"values"`
			} `yaml:"matchExpressions"`
		} `yaml:"namespaceSelector"`
		Rules []struct {
			APIGroups   []string `yaml:"apiGroups"`
			APIVersions []string `yaml:"apiVersions"`
			Resources   []string `yaml:"resources"`
			Operations  []string `yaml:"operations"`
			Scope       string   `yaml:"scope"`
		} `yaml:"rules"`
		MatchConditions []struct {
			Name       string `yaml:"name"`
			Expression string `yaml:"expression"`
		} `yaml:"matchConditions"`
	} `yaml:"webhooks"`
}

func manifests(t *testing.T, name string) (objects []object) {
	t.Helper()
	decoder := yaml.NewDecoder(strings.NewReader(read(t, name)))
	for {
		var o object
		switch err := decoder.Decode(&o); {
		case errors.Is(err, io.EOF):
			return objects
		case err != nil:
			t.Fatalf("%s: %v", name, err)
		}
		objects = append(objects, o)
	}
}

func one(t *testing.T, objects []object, kind, name string) object {
	t.Helper()
	i := slices.IndexFunc(objects, func(o object) bool { return o.Kind == kind && o.Metadata.Name == name })
	if i < 0 {
		t.Fatalf("there is no %s %s", kind, name)
	}
	return objects[i]
}

// From the API server to the gate: webhook, Service, port of the pod, --listen; path; name and files of the certificate.
func TestTheWebhookReachesTheGate(t *testing.T) {
	var hooks webhookConfiguration
	text := read(t, "deploy/kubernetes/webhook.yaml")
	if err := yaml.NewDecoder(bytes.NewReader([]byte(text)), yaml.Strict()).Decode(&hooks); err != nil {
		t.Fatal(err)
	}
	if hooks.APIVersion != "admissionregistration.k8s.io/v1" || hooks.Kind != "ValidatingWebhookConfiguration" || len(hooks.Webhooks) != 1 {
		t.Fatalf("it is a %s %s with %d webhooks", hooks.APIVersion, hooks.Kind, len(hooks.Webhooks))
	}
	hook := hooks.Webhooks[0]
	if strings.Count(hook.Name, ".") < 2 { // the API server refuses others
		t.Errorf("the webhook's name %q is not of three parts", hook.Name)
	}
	objects := manifests(t, "deploy/kubernetes/gate.yaml")
	to := hook.ClientConfig.Service
	service := one(t, objects, "Service", to.Name)
	if service.Metadata.Namespace != to.Namespace {
		t.Errorf("the webhook calls namespace %s, the Service is in %s", to.Namespace, service.Metadata.Namespace)
	}
	target := ""
	for _, p := range service.Spec.Ports {
		if p.Port == to.Port {
			target, _ = p.TargetPort.(string)
		}
	}
	pod := one(t, objects, "Deployment", "leastwise-gate").Spec.Template
	for label, value := range service.Spec.Selector {
		if pod.Metadata.Labels[label] != value {
			t.Errorf("the Service selects %s=%v, the pods have %v", label, value, pod.Metadata.Labels)
		}
	}
	container := pod.Spec.Containers[0]
	port := 0
	for _, p := range container.Ports {
		if p.Name == target {
			port = p.ContainerPort
		}
	}
	if _, listen, err := net.SplitHostPort(argument(t, container.Args, "listen")); err != nil || port == 0 || listen != strconv.Itoa(port) {
		t.Errorf("port %d of the Service leads to port %q, %d of the pod; the gate listens at %q (%v)", to.Port, target, port, listen, err)
	}
	if !strings.Contains(read(t, "cmd/leastwise/gate/serve.go"), `"POST `+to.Path+`"`) {
		t.Errorf("the gate answers no POST at %s", to.Path)
	}

	certificate := one(t, manifests(t, "deploy/kubernetes/certificate.yaml"), "Certificate", "leastwise-gate")
	if name := to.Name + "." + to.Namespace + ".svc"; !slices.Contains(certificate.Spec.DNSNames, name) {
		t.Errorf("the certificate is for %v, the API server calls %s", certificate.Spec.DNSNames, name)
	}
	mounts := map[string]string{}
	for _, m := range container.VolumeMounts {
		mounts[m.MountPath] = m.Name
	}
	for flag, file := range map[string]string{"tls-cert": "tls.crt", "tls-key": "tls.key"} { // as cert-manager and kubectl name them
		dir, found := strings.CutSuffix(argument(t, container.Args, flag), "/"+file)
		held := slices.ContainsFunc(pod.Spec.Volumes, func(v struct {
			Name   string
			Secret struct {
				SecretName string `yaml:"secretName"`
			}
		}) bool {
			return v.Name == mounts[dir] && v.Secret.SecretName == certificate.Spec.SecretName
		})
		if !found || !held {
			t.Errorf("--%s is not a %s of the Secret %s", flag, file, certificate.Spec.SecretName)
		}
	}
	if annotation := hooks.Metadata.Annotations["cert-manager.io/inject-ca-from"]; annotation != to.Namespace+"/leastwise-gate" {
		t.Errorf("the authority comes from %q", annotation)
	}
}

// A gate that judged its own namespace could not be started again; one that let everything pass would be none.
func TestTheWebhookLeavesOutItsOwnNamespaceAndNoneThatRunsWorkloads(t *testing.T) {
	var hooks webhookConfiguration
	if err := yaml.Unmarshal([]byte(read(t, "deploy/kubernetes/webhook.yaml")), &hooks); err != nil {
		t.Fatal(err)
	}
	own := one(t, manifests(t, "deploy/kubernetes/gate.yaml"), "Namespace", hooks.Webhooks[0].ClientConfig.Service.Namespace)
	judged := func(labels map[string]string) bool {
		for _, e := range hooks.Webhooks[0].NamespaceSelector.MatchExpressions {
			value, has := labels[e.Key]
			if e.Operator != "NotIn" {
				t.Fatalf("operator %s is not known to this test", e.Operator)
			}
			if has && slices.Contains(e.Values, value) {
				return false
			}
		}
		return true
	}
	if judged(own.Metadata.Labels) {
		t.Errorf("the gate judges its own namespace, with labels %v", own.Metadata.Labels)
	}
	if !judged(map[string]string{"kubernetes.io/metadata.name": "payments"}) || judged(map[string]string{"kubernetes.io/metadata.name": "kube-system"}) {
		t.Error("what namespaces are judged is not as it says")
	}
	judges := map[string]bool{}
	for _, rule := range hooks.Webhooks[0].Rules {
		for _, resource := range rule.Resources {
			judges[resource] = slices.Contains(rule.Operations, "CREATE")
		}
	}
	for _, resource := range []string{"pods", "deployments", "statefulsets", "daemonsets", "replicasets", "replicationcontrollers", "jobs", "cronjobs", "serviceaccounts"} {
		if !judges[resource] {
			t.Errorf("the webhook is not asked about new %s", resource)
		}
	}
}
