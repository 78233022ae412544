package gate

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/leastwise/leastwise/processor/catalog"
)

// Directory knows who answers for an identity. The catalog is one, the identity graph of a running server another; what
// several say is put together, so that each may find the second owner that the others do not know.
type Directory interface {
	// Name is how reports speak of it: "catalog".
	Name() string
	// Claims lists everybody who claims the identity; nobody is an empty list. An error means that it can not be read
	// now, and nothing else.
	Claims(ctx context.Context, id Identity) ([]Claim, error)
}

// Claim is one side's hold on an identity.
type Claim struct {
	// Agent is the id of the agent, Owner of who answers for it, System of the system of record; empty where the
	// directory names none.
	Agent  string `json:"agent,omitempty"`
	Owner  string `json:"owner,omitempty"`
	System string `json:"system,omitempty"`
	// Evidence says where it stands, such as catalog.yaml:20, or the chain of links.
	Evidence string `json:"evidence"`
}

// ErrNoCatalog: none was ever read.
var ErrNoCatalog = errors.New("no catalog has been read yet")

// Catalog is the directory over the catalog's files, and the list of what is in them for those who have to add to it.
// Its catalog may be replaced at any time.
type Catalog struct {
	Path    string
	current atomic.Pointer[catalog.Catalog]
	problem atomic.Pointer[error]
}

// LoadCatalog reads the catalog at path. One that can not be read is no error here: the directory then answers with the
// reason, and Config.Fail decides.
func LoadCatalog(path string) *Catalog {
	c := &Catalog{Path: path}
	loaded, err := catalog.Load(path)
	if err != nil {
		c.refuse(err)
		return c
	}
	c.take(loaded)
	return c
}

func (c *Catalog) take(next *catalog.Catalog) {
	c.current.Store(next)
	c.problem.Store(nil)
}

// refuse notes why the files are not in force; the last good catalog stays.
func (c *Catalog) refuse(err error) {
	if err == nil {
		c.problem.Store(nil)
		return
	}
	c.problem.Store(&err)
}

// InForce is the catalog that answers; nil if none could be read.
func (c *Catalog) InForce() *catalog.Catalog { return c.current.Load() }

// Problem says why the files as they are now can not be read; nil if they can.
func (c *Catalog) Problem() error {
	if err := c.problem.Load(); err != nil {
		return *err
	}
	return nil
}

// Name implements Directory.
func (c *Catalog) Name() string { return "catalog" }

// Claims implements Directory.
func (c *Catalog) Claims(_ context.Context, id Identity) ([]Claim, error) {
	inForce := c.current.Load()
	if inForce == nil {
		if err := c.Problem(); err != nil {
			return nil, err
		}
		return nil, ErrNoCatalog
	}
	query := catalog.Query{Principal: id.Key}
	switch id.Kind {
	case VaultRole:
		query = catalog.Query{Labels: map[string]string{"role_name": id.Role, "mount_point": id.Mount}}
	case Agent:
		query = catalog.Query{Labels: map[string]string{"agent_id": id.Name}}
	}
	found := inForce.Claims(query)
	if id.Kind == Agent {
		found = ownName(inForce, id.Name, found)
	}
	claims := make([]Claim, 0, len(found))
	for _, f := range found {
		claim := Claim{Agent: f.Agent.ID, Owner: f.Agent.Owner.ID, Evidence: f.Where}
		if f.Agent.System != nil {
			claim.System = f.Agent.System.ID
		}
		claims = append(claims, claim)
	}
	return claims, nil
}

// ownName adds the agent that has the id as its name in the catalog.
func ownName(c *catalog.Catalog, id string, found []catalog.Claim) []catalog.Claim {
	agent, ok := c.Agent(id)
	if !ok {
		return found
	}
	for _, f := range found {
		if f.Agent == agent {
			return found
		}
	}
	return append(found, catalog.Claim{Agent: agent, Where: agent.Where})
}

// unreadable is what a directory's error becomes in a report.
func unreadable(d Directory, err error) string {
	return fmt.Sprintf("the %s can not be read: %v", d.Name(), err)
}
