// Package catalog knows who answers for which agent: owners, systems of record and agents, as a site writes them in YAML,
// and finds the agent of a credential by what its issuer says of it.
//
// It promises that a catalog is taken whole or refused with file, line and key; that a credential which two owners could
// claim is given to neither; and that Resolve costs under a microsecond and allocates nothing where an agent is found
// without conflict. A Catalog never changes once it is loaded; Watch makes new ones. Names, user agents and the text of a
// session are never evidence: a match rests on entity, role, metadata that the issuer keeps, SPIFFE ID, ARN or service
// account.
package catalog

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Owner is a team or person that answers for agents.
type Owner struct {
	ID, Name string
	// Channels are names of the enforcer's configuration.
	Channels []string
	// Contacts for a reader of reports; nothing is sent there.
	Email, Slack string
	// Where is file:line.
	Where string
}

// System is a system of record: where an agent's existence is decided.
type System struct {
	ID, Name, URL string
	Where         string
}

// Sensitive is a thing that somebody who leaks a credential must not reach.
type Sensitive struct {
	ID, Name string
	// System and Instance of the issuer whose permissions lead to it.
	System, Instance string
	// Resource is an ARN, a full resource name of GCP or a path of Vault; * stands for anything.
	Resource string
	// Permissions of which any gives access.
	Permissions []string
	// Opens is the key of a principal that whoever reads it can act as; empty: none.
	Opens string
	Where string
}

// Agent is a workload that holds credentials.
type Agent struct {
	ID, Name string
	Owner    *Owner
	System   *System // nil if none is named
	// ExpectedPerHour is the declared rate of use; 0 if it is not declared.
	ExpectedPerHour float64
	Labels          map[string]string
	// Protected: its credentials are never revoked.
	Protected bool
	Where     string

	rules []rule
}

// Catalog is what the files say. The zero value is an empty one.
type Catalog struct {
	owners   map[string]*Owner
	systems  map[string]*System
	agents   map[string]*Agent
	things   map[string]*Sensitive
	revision string
	anchors  map[anchor][]*rule
	labels   []string // the labels that some rule is looked up by
	accounts bool     // some rule names a Kubernetes service account
	agentIDs bool     // some rule names an agent id
}

// Load reads one YAML file, or all of a directory. Its errors name file, line, key and what was expected.
func Load(path string) (*Catalog, error) {
	files, err := read(path)
	if err != nil {
		return nil, err
	}
	return parse(files)
}

type file struct {
	name     string
	data     []byte
	modified time.Time // when it was last written, known after it was read
}

func read(path string) ([]file, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("catalog: %w", err)
	}
	names := []string{path}
	if info.IsDir() {
		names = nil
		entries, err := os.ReadDir(path)
		if err != nil {
			return nil, fmt.Errorf("catalog: %w", err)
		}
		for _, e := range entries {
			ext := filepath.Ext(e.Name())
			if (ext == ".yaml" || ext == ".yml") && !strings.HasPrefix(e.Name(), ".") {
				names = append(names, filepath.Join(path, e.Name()))
			}
		}
		if len(names) == 0 {
			return nil, fmt.Errorf("catalog %s: no .yaml file; expected at least one", path)
		}
	}
	var files []file
	for _, name := range names {
		data, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) && info.IsDir() {
			continue // gone between the two calls
		}
		if err != nil {
			return nil, fmt.Errorf("catalog: %w", err)
		}
		now, err := os.Stat(name)
		if err != nil {
			return nil, fmt.Errorf("catalog: %w", err)
		}
		files = append(files, file{name, data, now.ModTime()})
	}
	return files, nil
}

func hash(files []file) string {
	h := sha256.New()
	for _, f := range files {
		fmt.Fprintf(h, "%d %d %s", len(f.name), len(f.data), f.name)
		h.Write(f.data)
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}

// Revision names the content: twelve hexadecimal digits.
func (c *Catalog) Revision() string { return c.revision }

// Agents lists all agents, by id.
func (c *Catalog) Agents() []*Agent { return sorted(c.agents) }

// Owners lists all owners, by id.
func (c *Catalog) Owners() []*Owner { return sorted(c.owners) }

// Systems lists all systems of record, by id.
func (c *Catalog) Systems() []*System { return sorted(c.systems) }

func sorted[T any](m map[string]*T) []*T {
	ids := make([]string, 0, len(m))
	for id := range m {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	out := make([]*T, 0, len(ids))
	for _, id := range ids {
		out = append(out, m[id])
	}
	return out
}

// Agent finds an agent by its id.
func (c *Catalog) Agent(id string) (*Agent, bool) {
	a, ok := c.agents[id]
	return a, ok
}

// Message is the owner as decisions carry it; nil for nobody.
func (o *Owner) Message(evidence string) *leastwisev1.Owner {
	if o == nil {
		return nil
	}
	return &leastwisev1.Owner{Id: o.ID, Name: o.Name, Channels: o.Channels, Evidence: evidence}
}

// Sensitive things, sorted by id.
func (c *Catalog) Sensitive() []*Sensitive {
	return slices.SortedFunc(maps.Values(c.things), func(a, b *Sensitive) int { return strings.Compare(a.ID, b.ID) })
}
