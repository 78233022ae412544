package gate

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// ownVersion marks manifests for deployers other than Kubernetes: one Deployment with a list of identities, as
// docs/gate.md describes it. It is read strictly, since nobody else reads it.
const ownVersion = "leastwise.dev/v1"

type ownDeployment struct {
	Metadata   ownMetadata   `yaml:"metadata"`
	Agent      text          `yaml:"agent"`
	Identities []ownIdentity `yaml:"identities"`
}

type ownMetadata struct {
	Name      text `yaml:"name"`
	Namespace text `yaml:"namespace"`
}

type ownIdentity struct {
	SPIFFE         text        `yaml:"spiffe_id"`
	AWSRole        text        `yaml:"aws_role"`
	GCP            text        `yaml:"gcp_service_account"`
	Vault          *ownRole    `yaml:"vault_role"`
	ServiceAccount *ownAccount `yaml:"kubernetes_service_account"`
	Key            text        `yaml:"identity"`
}

type ownRole struct {
	Mount text `yaml:"mount"`
	Role  text `yaml:"role"`
}

type ownAccount struct {
	Namespace text `yaml:"namespace"`
	Name      text `yaml:"name"`
}

func (r *reader) own(file string, n *yaml.Node, kind text) error {
	if kind.Value != "Deployment" {
		return &ManifestError{Line: kind.Line, Text: fmt.Sprintf("kind %q of %s; expected Deployment", shorten(kind.Value), ownVersion)}
	}
	if err := known(n, "", "apiVersion", "kind", "metadata", "agent", "identities"); err != nil {
		return err
	}
	var d ownDeployment
	if err := n.Decode(&d); err != nil {
		return err
	}
	if d.Metadata.Name.Value == "" {
		return missing(n, "metadata.name")
	}
	if err := known(child(n, "metadata"), "metadata.", "name", "namespace", "labels", "annotations"); err != nil {
		return err
	}
	w := &Workload{Kind: "Deployment", Namespace: d.Metadata.Namespace.Value, Name: d.Metadata.Name.Value,
		Where: r.at(file, n.Line, "").where}
	if d.Agent.Line > 0 {
		w.add(agentID(d.Agent.Value, r.at(file, d.Agent.Line, "agent")))
	}
	list := child(n, "identities")
	if list != nil && list.Kind != yaml.SequenceNode && len(d.Identities) > 0 {
		return &ManifestError{Line: list.Line, Text: "identities: expected a list, written out"}
	}
	for i := range d.Identities {
		item := list.Content[i]
		path := fmt.Sprintf("identities[%d]", i)
		id, err := r.ownIdentity(&d.Identities[i], item, path, file)
		if err != nil {
			return err
		}
		w.add(id)
	}
	if len(w.Identities) == 0 {
		return &ManifestError{Line: n.Line, Text: "no identities; expected agent, or a list of what the deployment authenticates as"}
	}
	r.workloads = append(r.workloads, w)
	r.runsAs = append(r.runsAs, "")
	return nil
}

func (r *reader) ownIdentity(given *ownIdentity, n *yaml.Node, path, file string) (Identity, error) {
	keys := []string{"spiffe_id", "aws_role", "gcp_service_account", "vault_role", "kubernetes_service_account", "identity"}
	if err := known(n, path+".", keys...); err != nil {
		return Identity{}, err
	}
	if len(n.Content) != 2 {
		return Identity{}, &ManifestError{Line: n.Line, Text: path + ": expected one of " + strings.Join(keys, ", ") + " in each entry"}
	}
	o := r.at(file, n.Line, path)
	switch n.Content[0].Value {
	case "spiffe_id":
		return spiffeID(given.SPIFFE.Value, o), nil
	case "aws_role":
		return awsRole(given.AWSRole.Value, o), nil
	case "gcp_service_account":
		return gcpServiceAccount(given.GCP.Value, o), nil
	case "vault_role":
		if err := known(n.Content[1], path+".vault_role.", "mount", "role"); err != nil || given.Vault == nil {
			return Identity{}, orMissing(err, n, path+".vault_role.role")
		}
		return vaultRole(r.cfg, or(given.Vault.Mount.Value, or(r.cfg.Vault.AuthPath, "auth/kubernetes")), given.Vault.Role.Value, o), nil
	case "kubernetes_service_account":
		if err := known(n.Content[1], path+".kubernetes_service_account.", "namespace", "name"); err != nil || given.ServiceAccount == nil ||
			given.ServiceAccount.Name.Value == "" {
			return Identity{}, orMissing(err, n, path+".kubernetes_service_account.name")
		}
		return serviceAccount(r.cfg, or(given.ServiceAccount.Namespace.Value, r.namespace), given.ServiceAccount.Name.Value, o), nil
	default:
		return otherIdentity(given.Key.Value, o), nil
	}
}

func orMissing(err error, n *yaml.Node, what string) error {
	if err != nil {
		return err
	}
	return missing(n, what)
}

// known refuses keys that nobody reads, as a misspelt one would be an identity not judged.
func known(n *yaml.Node, path string, keys ...string) error {
	if n == nil || n.Kind != yaml.MappingNode {
		line := 0
		if n != nil {
			line = n.Line
		}
		return &ManifestError{Line: line, Text: fmt.Sprintf("%s: expected a mapping of %s", strings.TrimSuffix(path, "."), strings.Join(keys, ", "))}
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if key := n.Content[i]; !slices.Contains(keys, key.Value) {
			return &ManifestError{Line: key.Line, Text: fmt.Sprintf("key %q: unknown; expected one of %s", path+shorten(key.Value), strings.Join(keys, ", "))}
		}
	}
	return nil
}
