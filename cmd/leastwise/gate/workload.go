package gate

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Workload is one thing that will run, with the identities it will have.
type Workload struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	// Where is file:line; empty at admission.
	Where      string     `json:"where,omitempty"`
	Identities []Identity `json:"-"`
	// Notes say what could not be seen.
	Notes []string `json:"-"`
}

func (w *Workload) String() string {
	name := shorten(w.Name)
	if w.Namespace != "" {
		name = shorten(w.Namespace) + "/" + name
	}
	return shorten(w.Kind) + " " + name
}

// add keeps the first mention of each identity.
func (w *Workload) add(id Identity) {
	if !slices.ContainsFunc(w.Identities, func(known Identity) bool { return known.Key == id.Key && known.Invalid == id.Invalid }) {
		w.Identities = append(w.Identities, id)
	}
}

func (w *Workload) note(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(w.Notes, text) {
		w.Notes = append(w.Notes, text)
	}
}

// reader takes documents apart. It belongs to one run over all files: a workload's service account may stand in another.
type reader struct {
	cfg *Config
	// namespace of objects that name none.
	namespace string
	// places: fields are told with file and line.
	places bool
	// accounts by namespace/name, with what their annotations give.
	accounts map[string][]Identity
	seen     map[string]bool // accounts that are among the files

	issuances []*Issuance
	stored    map[string]*pb.Grant // Vault policies among the files, by id
	workloads []*Workload
	runsAs    []string // account of the workload of the same index; "" if it runs outside of Kubernetes
	others    int      // documents of kinds that hold no identity
	errs      []error
}

func newReader(cfg *Config, namespace string, places bool) *reader {
	return &reader{cfg: cfg, namespace: namespace, places: places, accounts: map[string][]Identity{}, seen: map[string]bool{}, stored: map[string]*pb.Grant{}}
}

func (r *reader) at(file string, line int, field string) origin {
	o := origin{field: field}
	if r.places {
		o.where = file + ":" + strconv.Itoa(line)
	}
	return o
}

// document takes one document; problems are kept, so that the author of the files sees all of them.
func (r *reader) document(file string, n *yaml.Node) {
	if err := r.take(file, n, 0); err != nil {
		bad := yamlError(file, err)
		bad.Line = max(bad.Line, n.Line) // where the decoder says none, the document's
		r.errs = append(r.errs, bad)
	}
}

func (r *reader) take(file string, n *yaml.Node, lists int) error {
	var h header
	if n.Kind != yaml.MappingNode && n.Kind != yaml.AliasNode {
		return &ManifestError{Line: n.Line, Text: describe(n) + "; expected an object with apiVersion and kind"}
	}
	if r.places && lists == 0 && isPlan(n) {
		return r.plan(file, n)
	}
	if err := n.Decode(&h); err != nil {
		return err
	}
	switch {
	case h.Kind.Value == "" || h.APIVersion.Value == "":
		return &ManifestError{Line: n.Line, Text: "no apiVersion or no kind; expected a Kubernetes object, a Terraform plan as JSON, or one of apiVersion " + ownVersion}
	case h.APIVersion.Value == ownVersion:
		return r.own(file, n, h.Kind)
	case strings.HasSuffix(h.Kind.Value, "List") && h.Items.Kind == yaml.SequenceNode:
		if lists >= maxLists {
			return &ManifestError{Line: n.Line, Text: "lists within lists within lists; expected objects"}
		}
		for _, item := range h.Items.Content {
			if len(r.workloads)+r.others > maxDocuments {
				return &ManifestError{Line: item.Line, Text: fmt.Sprintf("more than %d objects", maxDocuments)}
			}
			if err := r.take(file, item, lists+1); err != nil {
				r.errs = append(r.errs, yamlError(file, err))
			}
		}
		return nil
	}
	return r.kubernetes(file, n, h.Kind.Value)
}

func (r *reader) kubernetes(file string, n *yaml.Node, kind string) error {
	if kind == "ServiceAccount" {
		return r.account(file, n)
	}
	var all any // finds keys given twice: of two specs the API server would take the last
	if err := n.Decode(&all); err != nil {
		return err
	}
	if r.places && kind == "ClusterSPIFFEID" {
		return r.clusterSPIFFEID(file, n)
	}
	pod, err := podOf(kind, n)
	if err != nil {
		return err
	}
	if pod == nil {
		r.others++
		return nil
	}
	var whole object
	if err := n.Decode(&whole); err != nil {
		return err
	}
	w := &Workload{Kind: kind, Namespace: r.namespaceOf(&whole.Metadata), Name: whole.Metadata.name()}
	w.Where = r.at(file, n.Line, "").where
	account := r.runAs(w, pod, file, n.Line)
	r.spiffe(w, &whole.Metadata, pod, account, file, n.Line)
	r.environment(w, pod, file)
	r.injector(w, pod, file)
	for _, m := range []struct {
		meta *metadata
		path string
	}{{&whole.Metadata, ""}, {&pod.Metadata, pod.path}} {
		r.agents(w, m.meta, m.path, file)
	}
	r.workloads = append(r.workloads, w)
	r.runsAs = append(r.runsAs, w.Namespace+"/"+account)
	return nil
}

func (r *reader) namespaceOf(m *metadata) string { return cmp.Or(m.Namespace.Value, r.namespace) }

// runAs adds the service account. A pod that names none runs as the namespace's `default`
// (https://kubernetes.io/docs/concepts/security/service-accounts/#default-service-accounts).
func (r *reader) runAs(w *Workload, pod *template, file string, line int) string {
	given, field := pod.Spec.ServiceAccountName, "serviceAccountName"
	if given.Value == "" {
		given, field = pod.Spec.ServiceAccount, "serviceAccount"
	}
	if given.Value == "" {
		given = text{Value: "default", Line: line}
		field = "serviceAccountName (not given, so the namespace's default)"
	}
	w.add(serviceAccount(r.cfg, w.Namespace, given.Value, r.at(file, given.Line, pod.path+"spec."+field)))
	return given.Value
}

// account keeps what the annotations of a ServiceAccount give to whoever runs as it.
func (r *reader) account(file string, n *yaml.Node) error {
	var whole object
	if err := n.Decode(&whole); err != nil {
		return err
	}
	m := &whole.Metadata
	if m.name() == "" {
		return missing(n, "metadata.name")
	}
	name := r.namespaceOf(m) + "/" + m.name()
	r.seen[name] = true
	for _, a := range []struct {
		key  string
		make func(string, origin) Identity
	}{
		// https://docs.aws.amazon.com/eks/latest/userguide/associate-service-account-role.html
		{"eks.amazonaws.com/role-arn", awsRole},
		// https://cloud.google.com/kubernetes-engine/docs/how-to/workload-identity
		{"iam.gke.io/gcp-service-account", gcpServiceAccount},
	} {
		if v, ok := m.Annotations[a.key]; ok {
			r.accounts[name] = append(r.accounts[name], a.make(v.Value, r.at(file, v.Line, annotation("", a.key))))
		}
	}
	w := &Workload{Kind: "ServiceAccount", Namespace: r.namespaceOf(m), Name: m.name(), Where: r.at(file, n.Line, "").where}
	r.agents(w, m, "", file)
	r.accounts[name] = append(r.accounts[name], w.Identities...)
	if len(r.accounts[name]) == 0 {
		r.others++ // it is nobody until something runs as it
		return nil
	}
	w.Identities = append([]Identity{serviceAccount(r.cfg, w.Namespace, w.Name, r.at(file, m.Name.Line, "metadata.name"))}, r.accounts[name]...)
	r.workloads = append(r.workloads, w)
	r.runsAs = append(r.runsAs, "")
	return nil
}

func annotation(path, key string) string { return path + "metadata.annotations[" + key + "]" }

// spiffe adds the SPIFFE IDs: those in annotations, and the one that the site's template gives.
func (r *reader) spiffe(w *Workload, whole *metadata, pod *template, account, file string, line int) {
	for _, key := range r.cfg.spiffeAnnotations() {
		v, ok := pod.Metadata.Annotations[key]
		if !ok {
			continue
		}
		name := v.Value
		if !strings.Contains(name, "://") && r.cfg.SPIFFE.TrustDomain != "" {
			name = "spiffe://" + r.cfg.SPIFFE.TrustDomain + "/" + strings.TrimPrefix(name, "/")
		}
		w.add(spiffeID(name, r.at(file, v.Line, annotation(pod.path, key))))
	}
	template := r.cfg.SPIFFE.Template
	if template == "none" || template == "" && r.cfg.SPIFFE.TrustDomain == "" {
		return
	}
	name, err := expand(or(template, defaultTemplate), func(word string) (string, error) {
		switch word {
		case "trust_domain":
			return r.cfg.SPIFFE.TrustDomain, nil
		case "cluster":
			return r.cfg.cluster(), nil
		case "namespace":
			return w.Namespace, nil
		case "service_account":
			return account, nil
		case "name":
			return whole.name(), nil
		}
		key := strings.TrimPrefix(word, "label:")
		if v := pod.Metadata.Labels[key].Value; v != "" {
			return v, nil
		}
		return "", errors.New("the pod has no label " + key)
	})
	if err != nil {
		w.note("no SPIFFE ID by the site's template: %v", err)
		return
	}
	w.add(spiffeID(name, r.at(file, line, "the site's SPIFFE template")))
}

// environment finds the role that EKS's webhook, or a person, put into the containers
// (https://github.com/aws/amazon-eks-pod-identity-webhook).
func (r *reader) environment(w *Workload, pod *template, file string) {
	for _, list := range []struct {
		name  string
		items []container
	}{{"initContainers", pod.Spec.InitContainers}, {"containers", pod.Spec.Containers}} {
		for i, c := range list.items {
			for _, env := range c.Env {
				switch env.Name.Value {
				case "AWS_ROLE_ARN":
					field := fmt.Sprintf("%sspec.%s[%d].env AWS_ROLE_ARN", pod.path, list.name, i)
					if env.Value.Value == "" {
						w.note("%s takes its value from elsewhere; the role is not visible here", field)
						continue
					}
					w.add(awsRole(env.Value.Value, r.at(file, env.Value.Line, field)))
				case "AWS_CONTAINER_CREDENTIALS_FULL_URI":
					w.note("EKS Pod Identity gives it an AWS role that only the EKS API knows; it is not judged here")
				}
			}
		}
	}
}

// injector adds the Vault role of the agent injector
// (https://developer.hashicorp.com/vault/docs/platform/k8s/injector/annotations).
func (r *reader) injector(w *Workload, pod *template, file string) {
	const prefix = "vault.hashicorp.com/"
	given := pod.Metadata.Annotations
	inject, ok := given[prefix+"agent-inject"]
	if on, err := strconv.ParseBool(inject.Value); !ok || err == nil && !on {
		return
	}
	role, ok := given[prefix+"role"]
	if !ok {
		if v, ok := given[prefix+"agent-configmap"]; ok {
			w.note("the Vault agent's role stands in ConfigMap %s; it is not judged here", shorten(v.Value))
		} else {
			w.note("Vault's injector is asked for without %srole; no Vault role is judged", prefix)
		}
		return
	}
	mount := or(given[prefix+"auth-path"].Value, or(r.cfg.Vault.AuthPath, "auth/kubernetes"))
	w.add(vaultRole(r.cfg, mount, role.Value, r.at(file, role.Line, annotation(pod.path, prefix+"role"))))
}

// agents adds the agent ids that labels and annotations claim.
func (r *reader) agents(w *Workload, m *metadata, path, file string) {
	for _, key := range r.cfg.agentKeys() {
		if v, ok := m.Labels[key]; ok {
			w.add(agentID(v.Value, r.at(file, v.Line, path+"metadata.labels["+key+"]")))
		}
		if v, ok := m.Annotations[key]; ok {
			w.add(agentID(v.Value, r.at(file, v.Line, annotation(path, key))))
		}
	}
}

// finish gives each workload what the service account it runs as brings with it, and returns all of them.
func (r *reader) finish() []*Workload {
	for i, w := range r.workloads {
		name := r.runsAs[i]
		if name == "" {
			continue
		}
		for _, id := range r.accounts[name] {
			w.add(id)
		}
		if r.places && !r.seen[name] {
			w.note("ServiceAccount %s is not among the files: an AWS role or a Google service account in its annotations is not judged here", shorten(name))
		}
	}
	return r.workloads
}
