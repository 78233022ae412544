package hostile

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
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
	run := exec.CommandContext(ctx, program, "--no-color", "run", absolute(t, "console/openapi.json"), "--url", s.base,
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

func absolute(t *testing.T, path string) string {
	t.Helper()
	out, err := filepath.Abs(filepath.Join(top, filepath.FromSlash(path)))
	if err != nil {
		t.Fatal(err)
	}
	return out
}
