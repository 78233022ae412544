package admit

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/leastwise/leastwise/collectors/awsiam/policy"
	"github.com/leastwise/leastwise/collectors/vault"
	"github.com/leastwise/leastwise/console/contract"
	"github.com/leastwise/leastwise/processor/scope/gcp"
	"github.com/leastwise/leastwise/rego"
	"github.com/leastwise/leastwise/rego/strictyaml"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// ErrRequest is wrapped by errors of a request that can not be read: who asks mends it.
var ErrRequest = errors.New("request")

// Sources as a request names them, and the system that they are in keys.
var systems = map[string]string{"vault": "vault", "spire": "spire", "aws": "cloudtrail", "gcp": "gcpaudit", "jwt": "jwtregistry"}

// capabilities of Vault that a rule may name.
var capabilities = []string{"create", "delete", "deny", "list", "patch", "read", "recover", "subscribe", "sudo", "update"}

// Request is a credential that somebody wants issued.
type Request struct {
	Agent, Principal string
	Labels           map[string]string
	Type, Source     string // Source as in keys: vault, spire, cloudtrail, gcpaudit, jwtregistry
	Instance         string
	Lifetime         *time.Duration // nil: not known, or it never expires
	NeverExpires     bool
	Scope            Scope
	Reason           string
}

// Scope is what the credential shall be allowed.
type Scope struct {
	// Given: the request says it. Otherwise it is unknown, except of a credential that only says who somebody is.
	Given bool
	// Policies of Vault whose rules are stored, and rules beside them.
	Policies []string
	Vault    []*pb.Rule
	AWS      []*pb.Rule
	GCP      []gcp.Binding
	// Incomplete says what of it is not shown; empty if nothing is.
	Incomplete string
}

// Parse reads one request. Files that it names are taken from below dir; with dir empty a request may name none. Errors
// wrap ErrRequest and have one line for each problem, with file and line.
func Parse(file string, data []byte, dir string) (*Request, error) {
	docs, err := strictyaml.Parse(file, data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	if len(docs) != 1 {
		return nil, fmt.Errorf("%w: %w", ErrRequest, &strictyaml.Error{File: file, Line: 1, Text: fmt.Sprintf("%d documents; expected one request", len(docs))})
	}
	r := reader{dir: dir}
	request := r.request(docs[0])
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	return request, nil
}

// Of gives the request that the API's is.
func Of(in *contract.AdmissionRequest) (*Request, error) {
	text, err := json.Marshal(in) // every JSON document is YAML: there is one reader
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	return Parse("request", text, "")
}

// reader collects what is wrong.
type reader struct {
	strictyaml.Problems
	dir string
}

func (r *reader) request(n strictyaml.Node) *Request {
	keys := r.Mapping(n, "agent", "principal", "labels", "type", "source", "instance", "lifetime", "never_expires", "scope", "reason")
	out := &Request{Instance: "default", Labels: map[string]string{}}
	for key, into := range map[string]*string{"agent": &out.Agent, "principal": &out.Principal, "type": &out.Type, "instance": &out.Instance, "reason": &out.Reason} {
		if v, ok := keys[key]; ok {
			*into = r.Text(v)
		}
	}
	for _, key := range []string{"type", "source", "reason"} {
		if _, ok := keys[key]; !ok {
			r.Addf(n, "no %s; expected one", key)
		}
	}
	if v, ok := keys["source"]; ok {
		out.Source = systems[r.OneOf(v, "vault", "spire", "aws", "gcp", "jwt")]
	}
	if v, ok := keys["principal"]; ok && out.Principal != "" {
		if _, err := schemas.ParseKey(out.Principal); err != nil {
			r.Addf(v, "%v", err)
		}
	}
	if v, ok := keys["instance"]; ok && strings.Contains(out.Instance, "/") {
		r.Addf(v, "%q; expected a name without a slash", out.Instance)
	}
	if v, ok := keys["labels"]; ok {
		for name, value := range r.Mapping(v, "*") {
			out.Labels[name] = r.Scalar(value)
		}
	}
	if out.Agent == "" && out.Principal == "" && len(out.Labels) == 0 {
		r.Addf(n, "nobody; expected agent, principal or labels")
	}
	r.lifetime(n, keys, out)
	if v, ok := keys["scope"]; ok {
		out.Scope = r.scope(v, out.Source)
	}
	return out
}

func (r *reader) lifetime(n strictyaml.Node, keys map[string]strictyaml.Node, out *Request) {
	if v, ok := keys["never_expires"]; ok {
		out.NeverExpires = r.Bool(v)
	}
	v, ok := keys["lifetime"]
	switch {
	case ok && out.NeverExpires:
		r.Addf(v, "given beside never_expires; expected one of them")
	case ok:
		text := r.Text(v)
		life, err := rego.ParseDuration(text)
		if err != nil || life <= 0 {
			r.Addf(v, "%q; expected a duration above 0, such as 1h or 30d", text)
			return
		}
		out.Lifetime = &life
	case !out.NeverExpires:
		r.Addf(n, "no lifetime; expected one, or never_expires: true")
	}
}

func (r *reader) scope(n strictyaml.Node, source string) Scope {
	out := Scope{Given: true}
	own := map[string]string{"vault": "vault", "cloudtrail": "aws", "gcpaudit": "gcp"}[source]
	for name, v := range r.Mapping(n, "vault", "aws", "gcp") {
		if name != own && source != "" {
			r.Addf(v, "a scope of another issuer than the request's source")
			continue
		}
		switch name {
		case "vault":
			r.vault(v, &out)
		case "aws":
			r.aws(v, &out)
		case "gcp":
			for _, item := range r.List(v) {
				keys := r.Mapping(item, "role", "resource")
				out.GCP = append(out.GCP, gcp.Binding{Role: r.needed(item, keys, "role"), Resource: r.needed(item, keys, "resource")})
			}
		}
	}
	return out
}

func (r *reader) needed(n strictyaml.Node, keys map[string]strictyaml.Node, key string) string {
	v, ok := keys[key]
	if !ok {
		r.Addf(n, "no %s; expected one", key)
		return ""
	}
	return r.Text(v)
}

func (r *reader) vault(n strictyaml.Node, out *Scope) {
	keys := r.Mapping(n, "policies", "rules", "file")
	if len(keys) == 0 {
		r.Addf(n, "empty; expected policies, rules or file")
	}
	if v, ok := keys["policies"]; ok {
		out.Policies = r.Texts(v)
		slices.Sort(out.Policies)
		out.Policies = slices.Compact(out.Policies)
	}
	if v, ok := keys["rules"]; ok {
		for _, item := range r.List(v) {
			keys := r.Mapping(item, "path", "capabilities")
			rule := &pb.Rule{Resource: strings.TrimPrefix(r.needed(item, keys, "path"), "/")}
			if c, ok := keys["capabilities"]; ok {
				rule.Capabilities = r.Texts(c)
			}
			if len(rule.Capabilities) == 0 {
				r.Addf(item, "no capabilities; expected some of %s", strings.Join(capabilities, ", "))
			}
			for _, c := range rule.Capabilities {
				if !slices.Contains(capabilities, c) {
					r.Addf(item, "capability %q; expected some of %s", c, strings.Join(capabilities, ", "))
				}
			}
			if strings.Contains(rule.Resource, "{{") {
				out.Incomplete = "a path is templated and depends on who calls"
			}
			out.Vault = append(out.Vault, rule)
		}
	}
	if v, ok := keys["file"]; ok {
		if text, ok := r.file(v); ok {
			rules, incomplete, err := vault.ParsePolicy(text)
			if err != nil {
				r.Addf(v, "%v", err)
			}
			out.Vault = append(out.Vault, rules...)
			if incomplete != "" {
				out.Incomplete = incomplete
			}
		}
	}
}

func (r *reader) aws(n strictyaml.Node, out *Scope) {
	keys := r.Mapping(n, "file", "document", "statements")
	if len(keys) != 1 {
		r.Addf(n, "%d of file, document and statements; expected one", len(keys))
	}
	var where strictyaml.Node
	var document string
	for key, v := range keys {
		where = v
		switch key {
		case "file":
			text, ok := r.file(v)
			if !ok {
				return
			}
			document = text
		case "document":
			document = r.Text(v)
		case "statements":
			document = r.statements(v)
		}
	}
	if document == "" {
		return
	}
	rules, err := policy.Parse([]byte(document))
	if err != nil {
		r.Addf(where, "%v", err)
	}
	out.AWS = rules
}

// statements gives the document that a list of statements is; whoever needs a Condition writes a document.
func (r *reader) statements(n strictyaml.Node) string {
	var list []map[string]any
	for _, item := range r.List(n) {
		statement := map[string]any{}
		for name, v := range r.Mapping(item, "Sid", "Effect", "Action", "NotAction", "Resource", "NotResource") {
			if name == "Sid" || name == "Effect" {
				statement[name] = r.Text(v)
			} else {
				statement[name] = r.Texts(v)
			}
		}
		list = append(list, statement)
	}
	text, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": list})
	if err != nil {
		r.Addf(n, "%v", err)
	}
	return string(text)
}

// file reads a file that the request names, beside or below it.
func (r *reader) file(n strictyaml.Node) (string, bool) {
	name := r.Text(n)
	if name == "" {
		return "", false
	}
	if r.dir == "" {
		r.Addf(n, "names a file; expected its text, since the server reads no files for who asks")
		return "", false
	}
	if !filepath.IsLocal(name) {
		r.Addf(n, "%q; expected a file beside the request or below it", name)
		return "", false
	}
	text, err := os.ReadFile(filepath.Join(r.dir, name))
	if err != nil {
		r.Addf(n, "%v", err)
		return "", false
	}
	return string(text), true
}
