package reach

import (
	"cmp"
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

	seen       map[string][]Seen
	principals map[string][]*target // by system/instance and kind, sorted by short name
	byName     map[string]*target
	possible   *possible
	rules      []*Rule
}

// target is a principal that can be reached.
type target struct {
	key      string // of the principal, in its canonical form
	name     string // as its issuer writes it
	short    string // what comes after the kind: what patterns of principals mostly differ in
	kind     string
	system   string
	instance string
	grant    *pb.Grant
	role     *Role
}

// NewMap indexes what is known. grants must not change while the Map is used.
func NewMap(grants *scope.Grants, roles []Role, seen []Seen, sensitive []Sensitive) *Map {
	m := &Map{Grants: grants, Sensitive: sensitive, seen: map[string][]Seen{}, principals: map[string][]*target{},
		byName: map[string]*target{}, possible: newPossible(Rules(), sensitive), rules: Rules()}
	for _, s := range seen {
		m.seen[Canonical(s.From)] = append(m.seen[Canonical(s.From)], s)
	}
	grants.Principals("cloudtrail", m.cloud)
	grants.Principals("gcpaudit", m.cloud)
	for i := range roles {
		m.put(roleTarget(&roles[i]))
	}
	for _, list := range m.principals {
		slices.SortFunc(list, func(a, b *target) int { return cmp.Or(cmp.Compare(a.short, b.short), cmp.Compare(a.name, b.name)) })
	}
	return m
}

func (m *Map) cloud(grant *pb.Grant) bool {
	key, err := schemas.ParseKey(grant.Id)
	if err != nil {
		return true
	}
	t := &target{key: Canonical(grant.Id), name: key.ID, system: key.System, instance: key.Instance, grant: grant}
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
	m.put(t)
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

func roleTarget(r *Role) *target {
	key := schemas.Key{System: "vault", Instance: r.Instance, Type: "role", ID: r.Mount + r.Name}
	return &target{key: key.String(), name: r.Mount + "role/" + r.Name, short: r.Name, kind: kindVaultRole,
		system: "vault", instance: r.Instance, role: r}
}

func (m *Map) put(t *target) {
	if t.kind == "" || m.byName[t.key] != nil {
		return
	}
	list := t.system + "/" + t.instance + "/" + t.kind
	m.principals[list] = append(m.principals[list], t)
	m.byName[t.key] = t
}

// named gives a principal of a place's issuer by its name, as written or in its canonical form.
func (m *Map) named(p *place, name string) *target {
	key := p.system + "/" + p.instance + "/principal/" + name
	if t := m.byName[key]; t != nil {
		return t
	}
	return m.byName[Canonical(key)]
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
func (m *Map) Principals() int { return len(m.byName) }
