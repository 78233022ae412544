// Package gcptest is a fake of Google's wire for tests: its paths, methods and
// the fields that requests may have come from Google's own discovery documents,
// which the client library carries. What the documents do not have is answered
// 404 or 400.
package gcptest

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Google is one project with two service accounts.
type Google struct {
	URL    string
	routes []route

	Mu      sync.Mutex                // guards what follows
	keys    map[string]map[string]any // by resource name
	etag    int
	Policy  map[string]any
	Roles   map[string][]string
	Lose    bool   // the next answer to a change
	Busy    bool   // the next request is one too many
	Between func() // runs once before a policy is written
	Denied  []string
	Done    map[string]int // changes that were carried out, by the method's id
}

type route struct {
	id, method string
	path       *regexp.Regexp
	fields     map[string]bool // nil: no body
}

// document is the part of a discovery document that is used.
type document struct {
	Resources map[string]resource
	Schemas   map[string]struct{ Properties map[string]any }
}

type resource struct {
	Methods   map[string]method
	Resources map[string]resource
}

type method struct {
	ID, HTTPMethod, Path string
	Request              *struct {
		Ref string `json:"$ref"`
	}
}

// New starts one. It skips the test where the client library's source is not
// at hand.
func New(t *testing.T) *Google {
	t.Helper()
	g := &Google{Done: map[string]int{}, keys: map[string]map[string]any{}, Roles: map[string][]string{}}
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "google.golang.org/api").Output()
	if err != nil {
		t.Skipf("the client library's discovery documents are not at hand: %v", err)
	}
	for _, name := range []string{"iam/v1/iam-api.json", "cloudresourcemanager/v1/cloudresourcemanager-api.json"} {
		raw, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), name))
		if err != nil {
			t.Fatal(err)
		}
		var doc document
		if err := json.Unmarshal(raw, &doc); err != nil {
			t.Fatal(err)
		}
		g.learn(doc, doc.Resources)
	}
	server := httptest.NewServer(g)
	t.Cleanup(server.Close)
	g.URL = server.URL + "/"
	return g
}

func (g *Google) learn(doc document, resources map[string]resource) {
	for _, r := range resources {
		for _, m := range r.Methods {
			pattern := regexp.QuoteMeta(m.Path)
			pattern = regexp.MustCompile(`\\\{(\\\+)?[a-zA-Z]+\\\}`).ReplaceAllStringFunc(pattern, func(p string) string {
				if strings.Contains(p, "+") {
					return "(" + shape(m.ID) + ")"
				}
				return "([^/:]+)"
			})
			one := route{id: m.ID, method: m.HTTPMethod, path: regexp.MustCompile("^/" + pattern + "$")}
			if m.Request != nil {
				one.fields = map[string]bool{}
				for field := range doc.Schemas[m.Request.Ref].Properties {
					one.fields[field] = true
				}
			}
			g.routes = append(g.routes, one)
		}
		g.learn(doc, r.Resources)
	}
}

// shape of a resource name in a path: what tells methods apart that differ in
// nothing else.
func shape(id string) string {
	switch {
	case strings.Contains(id, "serviceAccounts.keys.list"):
		return "projects/[^/]+/serviceAccounts/[^/]+"
	case strings.Contains(id, "serviceAccounts.keys."):
		return "projects/[^/]+/serviceAccounts/[^/]+/keys/[^/:]+"
	case strings.Contains(id, "serviceAccounts.list"):
		return "projects/[^/]+"
	case strings.HasPrefix(id, "iam.roles."):
		return "roles/[^/]+"
	default:
		return "never/" + regexp.QuoteMeta(id)
	}
}

// ServeHTTP answers as Google would.
func (g *Google) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.Mu.Lock()
	defer g.Mu.Unlock()
	if g.Busy {
		g.Busy = false
		fail(w, 429, "Quota exceeded")
		return
	}
	for _, one := range g.routes {
		match := one.path.FindStringSubmatch(r.URL.Path)
		if one.method != r.Method || match == nil {
			continue
		}
		body := map[string]any{}
		if raw, _ := io.ReadAll(r.Body); len(raw) > 0 && json.Unmarshal(raw, &body) != nil {
			fail(w, 400, "Invalid JSON payload")
			return
		}
		for field := range body {
			if !one.fields[field] {
				fail(w, 400, "Unknown name "+field)
				return
			}
		}
		name := ""
		if len(match) > 1 {
			name = match[1]
		}
		status, answer := g.answer(one.id, name, body)
		if status == 200 {
			g.Done[one.id]++
		}
		if g.Lose && r.Method != http.MethodGet {
			g.Lose = false
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				conn.Close()
			}
			return
		}
		if status != 200 {
			fail(w, status, fmt.Sprint(answer))
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(answer)
		return
	}
	fail(w, 404, "no such method: "+r.Method+" "+r.URL.Path)
}

func fail(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"code": status, "message": text}})
}

func (g *Google) answer(id, name string, body map[string]any) (int, any) {
	name = strings.Replace(name, "projects/-/", "projects/"+Project+"/", 1)
	key := g.keys[name]
	switch id {
	case "iam.projects.serviceAccounts.list":
		var list []map[string]any
		for _, email := range []string{Agent, Enforcer} {
			list = append(list, map[string]any{"name": "projects/" + Project + "/serviceAccounts/" + email, "email": email})
		}
		return 200, map[string]any{"accounts": list}
	case "iam.projects.serviceAccounts.keys.list":
		var list []map[string]any
		for n, k := range g.keys {
			if strings.HasPrefix(n, name+"/keys/") {
				list = append(list, k)
			}
		}
		return 200, map[string]any{"keys": list}
	case "iam.projects.serviceAccounts.keys.get", "iam.projects.serviceAccounts.keys.disable", "iam.projects.serviceAccounts.keys.enable", "iam.projects.serviceAccounts.keys.delete":
		if key == nil {
			return 404, "Service account key does not exist."
		}
		switch id[strings.LastIndex(id, ".")+1:] {
		case "get":
			return 200, key
		case "disable":
			if slices.Contains(g.Denied, "iam.serviceAccountKeys.disable") {
				return 403, "Permission denied"
			}
			key["disabled"] = true
		case "enable":
			delete(key, "disabled")
		case "delete":
			delete(g.keys, name)
		}
		return 200, map[string]any{}
	case "iam.roles.get":
		return 200, map[string]any{"name": name, "includedPermissions": g.Roles[name]}
	case "iam.roles.queryGrantableRoles":
		var list []map[string]any
		for role, permissions := range g.Roles {
			list = append(list, map[string]any{"name": role, "includedPermissions": permissions})
		}
		return 200, map[string]any{"roles": list}
	case "cloudresourcemanager.projects.testIamPermissions":
		var got []string
		for _, p := range body["permissions"].([]any) {
			if !slices.Contains(g.Denied, p.(string)) {
				got = append(got, p.(string))
			}
		}
		return 200, map[string]any{"permissions": got}
	case "cloudresourcemanager.projects.getIamPolicy":
		options, _ := body["options"].(map[string]any)
		if options["requestedPolicyVersion"] != float64(3) {
			return 400, "the policy has conditions: ask for version 3"
		}
		g.Policy["etag"] = fmt.Sprint("etag", g.etag)
		return 200, g.Policy
	case "cloudresourcemanager.projects.setIamPolicy":
		if g.Between != nil {
			g.Between()
			g.Between = nil
			g.etag++
		}
		policy := body["policy"].(map[string]any)
		if policy["etag"] != fmt.Sprint("etag", g.etag) {
			return 409, "There were concurrent policy changes. Please retry the whole read-modify-write with exponential backoff."
		}
		if policy["version"] != float64(3) {
			return 400, "a policy with conditions needs version 3"
		}
		g.etag++
		g.Policy = policy
		return 200, policy
	}
	return 501, id
}

// The project and its accounts.
const (
	Project  = "prod-agents-1"
	Agent    = "ingest@prod-agents-1.iam.gserviceaccount.com"
	Enforcer = "leastwise@prod-agents-1.iam.gserviceaccount.com"
)

// Key makes an enabled key and tells whether it works.
func (g *Google) Key(email string) (id string, works func() bool) {
	g.Mu.Lock()
	defer g.Mu.Unlock()
	id = strings.ToLower(rand.Text())
	name := "projects/" + Project + "/serviceAccounts/" + email + "/keys/" + id
	g.keys[name] = map[string]any{"name": name, "keyType": "USER_MANAGED", "validAfterTime": "2026-01-01T00:00:00Z", "validBeforeTime": "9999-12-31T23:59:59Z"}
	return id, func() bool {
		g.Mu.Lock()
		defer g.Mu.Unlock()
		k := g.keys[name]
		return k != nil && k["disabled"] == nil
	}
}
