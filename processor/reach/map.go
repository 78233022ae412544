package reach

import (
	"slices"
	"strings"

	"github.com/leastwise/leastwise/processor/scope"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Role of Vault: what a login by it is granted.
type Role struct {
	Instance string
	// Mount with a slash at its end, such as auth/approle/, and its type; token roles: auth/token/ and "token".
	Mount, Type, Name string
	Policies          []string
	// Evidence says where the policies come from.
	Evidence string
}

// Sensitive is a thing that somebody said matters.
type Sensitive struct {
	ID, Name         string
	System, Instance string
	// Resource is an ARN, a full resource name of GCP or a path of Vault; * stands for anything.
	Resource string
	// Permissions of which any gives access: s3:GetObject, storage.objects.get, read.
	Permissions []string
	// Opens is the key of a principal that whoever reads it can act as; empty: none.
	Opens string
}

// Seen is a step that a log shows: somebody who holds From got a credential of To.
type Seen struct {
	From, To string // keys of principals
	Evidence string
}

// Map is everything the paths lead through.
type Map struct {
	Grants    *scope.Grants
	Sensitive []Sensitive
	// Used tells with what evidence a principal was seen using a sensitive thing; "": it was not seen. nil: nothing was.
	Used func(principal string, s Sensitive) string

	seen     map[string][]Seen
	lists    map[listID]*list
	issuers  map[issuer]map[string]*target // by name
	targets  int
	possible *possible
	rules    []*Rule
}

// listID says which principals are in one list: those that one kind of step may reach.
type listID struct{ system, instance, kind string }

// list of principals, sorted by short name.
type list struct {
	number int // among all lists
	all    []*target
}

// issuer names principals: a name is unique in it.
type issuer struct{ system, instance, kind string }

// target is a principal that can be reached.
type target struct {
	key      string // of the principal, in its canonical form
	name     string // as its issuer writes it
	short    string // what comes after the kind: what patterns of principals mostly differ in
	kind     string
	system   string
	instance string
	grant    *pb.Grant
	trust    *pb.Grant // trust policy of a role of AWS; nil: not known
	role     *Role
	number   int // among all targets
	list     *list
	at       int // its place in the list
}

// NewMap indexes what is known. grants must not change while the Map is used.
func NewMap(grants *scope.Grants, roles []Role, seen []Seen, sensitive []Sensitive) *Map {
	m := &Map{Grants: grants, Sensitive: sensitive, seen: map[string][]Seen{}, lists: map[listID]*list{},
		issuers: map[issuer]map[string]*target{}, possible: newPossible(Rules(), sensitive), rules: Rules()}
	for _, s := range seen {
		m.seen[Canonical(s.From)] = append(m.seen[Canonical(s.From)], s)
	}
	grants.Principals("cloudtrail", m.cloud)
	grants.Principals("gcpaudit", m.cloud)
	for i := range roles {
		t, key := roleTarget(&roles[i])
		m.put(t, issuer{key.System, key.Instance, key.Type}, key.ID)
	}
	for _, l := range m.lists {
		slices.SortFunc(l.all, func(a, b *target) int {
			if c := strings.Compare(a.short, b.short); c != 0 {
				return c
			}
			return strings.Compare(a.name, b.name)
		})
		for i, t := range l.all {
			t.at = i
			if t.system == "cloudtrail" && t.kind == kindRole {
				t.trust = grants.Grant(schemas.Key{System: t.system, Instance: t.instance, Type: "trust", ID: t.name}.String())
			}
		}
	}
	return m
}

func (m *Map) cloud(grant *pb.Grant) bool {
	key, err := schemas.ParseKey(grant.Id)
	if err != nil {
		return true
	}
	t := &target{name: key.ID, system: key.System, instance: key.Instance, grant: grant}
	switch key.System {
	case "cloudtrail":
		_, path, _ := strings.Cut(key.ID, ":iam::")
		_, path, _ = strings.Cut(path, ":")
		t.kind, t.short, _ = strings.Cut(path, "/")
	case "gcpaudit":
		kind, address, typed := strings.Cut(key.ID, ":")
		if !typed {
			address = key.ID
		}
		if kind == "serviceAccount" || strings.HasSuffix(address, ".gserviceaccount.com") {
			t.kind = kindAccount
			t.name = accountName(address)
			_, t.short, _ = strings.Cut(t.name, "projects/")
		}
	}
	m.put(t, issuer{key.System, key.Instance, key.Type}, scope.Canonical(key.System, key.ID))
	return true
}

// accountName is a service account's full resource name; its project is written in most addresses.
func accountName(address string) string {
	project := "-"
	if _, domain, ok := strings.Cut(address, "@"); ok {
		if p, own := strings.CutSuffix(domain, ".iam.gserviceaccount.com"); own {
			project = p
		}
	}
	return "//iam.googleapis.com/projects/" + project + "/serviceAccounts/" + address
}

func roleTarget(r *Role) (*target, schemas.Key) {
	key := schemas.Key{System: "vault", Instance: r.Instance, Type: "role", ID: r.Mount + r.Name}
	return &target{name: r.Mount + "role/" + r.Name, short: r.Name, kind: kindVaultRole,
		system: "vault", instance: r.Instance, role: r}, key
}

func (m *Map) put(t *target, by issuer, id string) {
	names := m.issuers[by]
	if names == nil {
		names = map[string]*target{}
		m.issuers[by] = names
	}
	if t.kind == "" || names[id] != nil {
		return
	}
	in := listID{t.system, t.instance, t.kind}
	if m.lists[in] == nil {
		m.lists[in] = &list{number: len(m.lists)}
	}
	t.key = schemas.Key{System: by.system, Instance: by.instance, Type: by.kind, ID: id}.String()
	t.list, t.number = m.lists[in], m.targets
	m.targets++
	t.list.all = append(t.list.all, t)
	names[id] = t
}

// named gives a principal of a place's issuer by its name, as written or in its canonical form.
func (m *Map) named(p *place, name string) *target {
	if t := p.siblings[name]; t != nil {
		return t
	}
	if canonical := scope.Canonical(p.system, name); canonical != name {
		return p.siblings[canonical]
	}
	return nil
}

// find gives a principal by its key, however a source writes it.
func (m *Map) find(key string) *target {
	k, err := schemas.ParseKey(key)
	if err != nil {
		return nil
	}
	return m.issuers[issuer{k.System, k.Instance, k.Type}][scope.Canonical(k.System, k.ID)]
}

// Canonical is one key for a principal, however a source writes it.
func Canonical(key string) string {
	k, err := schemas.ParseKey(key)
	if err != nil {
		return key
	}
	k.ID = scope.Canonical(k.System, k.ID)
	return k.String()
}

// Principals counts those that can be reached at all.
func (m *Map) Principals() int { return m.targets }
