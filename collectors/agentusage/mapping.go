package agentusage

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/leastwise/leastwise/collectors/jsonrecord"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/valyala/fastjson"
)

// Mapping tells where the fields stand in JSON lines of a form of the site's own. A field is a path of names with dots
// between them, such as caller.token.accessor, or a text that holds for every record, written with = before it, such as
// =vault_accessor.
type Mapping struct {
	Version int           `yaml:"version"`
	Fields  MappingFields `yaml:"fields"`
	// Outcomes say what the log's own words mean: success, failure, denied or unknown.
	Outcomes map[string]string `yaml:"outcomes"`
	// Kinds say which kind of credential the log's own words mean, such as vault: vault_accessor.
	Kinds map[string]string `yaml:"credential_kinds"`

	outcomes map[string]outcome
	paths    mappingPaths
}

// MappingFields are the paths. time is needed, and agent_id, credential_id or action.
type MappingFields struct {
	RecordID       string `yaml:"record_id"`
	Time           string `yaml:"time"`
	AgentID        string `yaml:"agent_id"`
	CredentialKind string `yaml:"credential_kind"`
	CredentialID   string `yaml:"credential_id"`
	Action         string `yaml:"action"`
	Permission     string `yaml:"permission"`
	Resource       string `yaml:"resource"`
	Outcome        string `yaml:"outcome"`
	Error          string `yaml:"error"`
	Owner          string `yaml:"owner"`
}

type mappingPaths struct {
	id, time, agent, kind, credential, action, permission, resource, outcome, failure, owner path
}

// path leads to a field, or is a constant.
type path struct {
	names    []string
	constant []byte
}

func newPath(text string) (path, error) {
	if constant, ok := strings.CutPrefix(text, "="); ok {
		return path{constant: []byte(constant)}, nil
	}
	if text == "" {
		return path{}, nil
	}
	names := strings.Split(text, ".")
	for _, name := range names {
		if name == "" {
			return path{}, fmt.Errorf("%q is no path: a name between dots is empty", text)
		}
	}
	return path{names: names}, nil
}

func (p path) value(root *fastjson.Value) *fastjson.Value {
	if len(p.names) == 0 {
		return nil
	}
	return root.Get(p.names...)
}

// text of a field: a text, or a number or a boolean as it is written.
func (p path) text(root *fastjson.Value) []byte {
	if p.constant != nil {
		return p.constant
	}
	v := p.value(root)
	if v == nil {
		return nil
	}
	switch v.Type() {
	case fastjson.TypeString:
		return v.GetStringBytes()
	case fastjson.TypeNumber, fastjson.TypeTrue, fastjson.TypeFalse:
		return v.MarshalTo(nil)
	}
	return nil
}

// LoadMapping reads a mapping file.
func LoadMapping(file string) (*Mapping, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read mapping: %w", err)
	}
	m, err := ParseMapping(text)
	if err != nil {
		return nil, fmt.Errorf("read mapping %s: %w", file, err)
	}
	return m, nil
}

// ParseMapping reads a mapping and refuses one that could never give an event.
func ParseMapping(text []byte) (*Mapping, error) {
	m := &Mapping{}
	if err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(m); err != nil {
		return nil, errors.New(yaml.FormatError(err, false, false))
	}
	if m.Version != 1 {
		return nil, fmt.Errorf("version: %d is not known; this release reads version 1", m.Version)
	}
	f := m.Fields
	if f.Time == "" {
		return nil, errors.New("fields: time is missing")
	}
	if f.AgentID == "" && f.CredentialID == "" && f.Action == "" {
		return nil, errors.New("fields: set agent_id, credential_id or action")
	}
	for _, pair := range []struct {
		name, text string
		to         *path
	}{{"record_id", f.RecordID, &m.paths.id}, {"time", f.Time, &m.paths.time}, {"agent_id", f.AgentID, &m.paths.agent},
		{"credential_kind", f.CredentialKind, &m.paths.kind}, {"credential_id", f.CredentialID, &m.paths.credential},
		{"action", f.Action, &m.paths.action}, {"permission", f.Permission, &m.paths.permission},
		{"resource", f.Resource, &m.paths.resource}, {"outcome", f.Outcome, &m.paths.outcome},
		{"error", f.Error, &m.paths.failure}, {"owner", f.Owner, &m.paths.owner}} {
		p, err := newPath(pair.text)
		if err != nil {
			return nil, fmt.Errorf("fields: %s: %w", pair.name, err)
		}
		*pair.to = p
	}
	if m.paths.time.constant != nil || m.paths.id.constant != nil {
		return nil, errors.New("fields: time and record_id can not be the same for every record")
	}
	m.outcomes = map[string]outcome{"success": success, "failure": failure, "denied": denied, "ok": success, "error": failure}
	for word, means := range m.Outcomes {
		switch outcome(means) {
		case success, failure, denied, unknownOutcome:
			m.outcomes[word] = outcome(means)
		default:
			return nil, fmt.Errorf("outcomes: %s: %q is none of success, failure, denied, unknown", word, means)
		}
	}
	return m, nil
}

// mapped reads a record by the mapping.
func (d *Decoder) mapped(dst []*leastwisev1.Event, root *fastjson.Value, rec source.Record) ([]*leastwisev1.Event, error) {
	m := d.opts.Mapping
	p := &m.paths
	u := usage{form: "mapping"}
	var ok bool
	if u.at, ok = jsonrecord.Time(p.time.value(root)); !ok {
		return dst, jsonrecord.Malformed("the record has no time that can be read where the mapping says; RFC 3339 or unix time")
	}
	u.agent, u.kind, u.credential = p.agent.text(root), p.kind.text(root), p.credential.text(root)
	u.action, u.permission, u.resource = p.action.text(root), p.permission.text(root), p.resource.text(root)
	u.failure = p.failure.text(root)
	if kind, ok := m.Kinds[string(u.kind)]; ok {
		u.kind = []byte(kind)
	}
	if u.outcome, ok = m.outcomes[string(p.outcome.text(root))]; !ok {
		u.outcome = unknownOutcome
	}
	if owner := p.owner.text(root); len(owner) > 0 {
		u.labels = append(u.labels, fact{"owner", owner})
	}
	return d.told(dst, &u, root, rec, p.id.text(root)), nil
}
