package hostile

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// SchemathesisEnv names the program that tools/schemathesis.sh installs.
const SchemathesisEnv = "LEASTWISE_SCHEMATHESIS"

// schemathesis makes requests from the API's description, right and wrong ones, and holds the answers against it. It may
// pull every switch there is: the site is this package's own, and no other test of it looks at switches.
func TestSchemathesisFindsNothingInTheAPI(t *testing.T) {
	program := os.Getenv(SchemathesisEnv)
	if program == "" {
		t.Skipf("%s is not set: it names the program that tools/schemathesis.sh installs", SchemathesisEnv)
	}
	s := running(t)
	cookie, csrf := s.signedIn(t, "schema thesis")
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	dir := t.TempDir()
	// Every request is signed in; invented sessions in its place would see refusals alone.
	config := filepath.Join(dir, "schemathesis.toml")
	if err := os.WriteFile(config, []byte("[generation]\nwith-security-parameters = false\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := exec.CommandContext(ctx, program, "--no-color", "--config-file", config, "run", described(t, dir), "--url", s.base,
		"--header", "Cookie: "+cookie, "--header", "X-CSRF-Token: "+csrf,
		// The cookie comes with every request, so leaving it out is never seen; and no schema says which cursors a list gave,
		// nor which policies are in force: what is refused and what is taken is for the API's own tests.
		"--checks", "all", "--exclude-checks", "negative_data_rejection,positive_data_acceptance",
		"--exclude-path", "/v1/live", // a stream that stays open
		"--exclude-path", "/v1/sign-out", // ends the session of all that follows
		"--phases", "examples,coverage,fuzzing", "--max-examples", "10", "--seed", "1", "--generation-database", "none",
		"--request-timeout", "60", "--suppress-health-check", "all", "--continue-on-failure")
	run.Dir = dir
	run.Env = append(os.Environ(), "HOME="+dir, "COLUMNS=160", "SCHEMATHESIS_HOOKS=")
	var out bytes.Buffer
	run.Stdout, run.Stderr = &out, &out
	if err := run.Run(); err != nil {
		t.Fatalf("schemathesis: %v\n%s", err, out.String())
	}
	t.Log(out.String())
}

// described writes the API's description with what this fleet really holds as examples, so that requests do not ask for
// strangers alone; the description itself names nobody's.
func described(t *testing.T, dir string) string {
	t.Helper()
	raw, err := os.ReadFile(absolute(t, "console/openapi.json"))
	if err != nil {
		t.Fatal(err)
	}
	var api struct {
		Paths map[string]map[string]map[string]any `json:"paths"`
	}
	var whole map[string]any
	if err := errors.Join(json.Unmarshal(raw, &api), json.Unmarshal(raw, &whole)); err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC()
	known := map[string]any{"key": keyOf(texts[0]), "name": holderOf(texts[0]), "/v1/policies": "old", "/v1/exceptions": "ex-0", "/v1/issuance": "iss-0", "metric": "credential_age", "threshold": "72h", "days": 3,
		"from": now.Add(-day).Format(time.RFC3339), "to": now.Format(time.RFC3339), "as_of": now.Format(time.RFC3339), "owner": "hostiles", "source": "vault", "policy": "probes", "q": texts[5]}
	bodies := map[string]any{
		"/v1/enforcement/kill":      map[string]any{"on": false, "reason": texts[0]},
		"/v1/enforcement/mode":      map[string]any{"mode": "enforce", "reason": texts[0]},
		"/v1/enforcement/approve":   map[string]any{"ladder": texts[0], "reason": texts[0]},
		"/v1/enforcement/restore":   map[string]any{"ladder": texts[0], "reason": texts[0]},
		"/v1/enforcement/rollback":  map[string]any{"ladder": texts[0], "reason": texts[0]},
		"/v1/enforcement/resume":    map[string]any{"reason": texts[0]},
		"/v1/issuance/{id}/approve": map[string]any{"reason": texts[0]},
		"/v1/issuance/{id}/refuse":  map[string]any{"reason": texts[0]},
		"/v1/exceptions":            map[string]any{"credential": keyOf(texts[0]), "policy": "old", "reason": texts[0], "until": now.Add(day).Format(time.RFC3339)},
		"/v1/admit":                 map[string]any{"type": "token", "source": "vault", "lifetime": "30d", "principal": holderOf(texts[0]), "reason": texts[0]},
		"/v1/sessions/end":          map[string]any{"name": "nobody"},
	}
	for path, methods := range api.Paths {
		for _, operation := range methods {
			parameters, _ := operation["parameters"].([]any)
			for _, p := range parameters {
				p := p.(map[string]any)
				name := p["name"].(string)
				if p["in"] == "path" {
					name = path[:strings.Index(path, "/{")]
				}
				if value := known[name]; value != nil {
					p["example"] = value
				}
			}
			if body, ok := operation["requestBody"].(map[string]any); ok {
				if bodies[path] == nil {
					t.Errorf("%s has a body, and no example stands here", path)
				}
				body["content"].(map[string]any)["application/json"].(map[string]any)["example"] = bodies[path]
			}
		}
	}
	whole["paths"] = api.Paths
	out := filepath.Join(dir, "openapi.json")
	raw, err = json.Marshal(whole)
	if err := errors.Join(err, os.WriteFile(out, raw, 0o600)); err != nil {
		t.Fatal(err)
	}
	return out
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	out, err := filepath.Abs(filepath.Join(top, filepath.FromSlash(path)))
	if err != nil {
		t.Fatal(err)
	}
	return out
}
