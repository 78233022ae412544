package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leastwise/leastwise/enforcer/target/vault"
	"github.com/leastwise/leastwise/simulator/vaultserver"
)

const (
	testDay      = 400 * time.Millisecond
	testPatience = 60 * time.Second
)

func realSite(t *testing.T) (*Site, *vaultserver.Server) {
	t.Helper()
	binary := os.Getenv(vaultserver.BinaryEnv)
	if binary == "" {
		t.Skipf("%s is not set: the fleet is not run on a real Vault (make vault builds it)", vaultserver.BinaryEnv)
	}
	server, err := vaultserver.Start(t.Context(), vaultserver.Options{Binary: binary, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	// Settings of the user's own Vault, which must not reach the fleet's clients.
	t.Setenv("VAULT_TOKEN", "not-ours")
	t.Setenv("VAULT_NAMESPACE", "not-ours")
	t.Setenv("VAULT_ADDR", "http://127.0.0.1:1")
	site, err := Setup(t.Context(), SetupOptions{
		Addr: server.Addr, RootToken: server.RootToken, AuditFile: server.AuditFile, Dir: filepath.Join(t.TempDir(), "product"), Day: testDay,
	})
	if err != nil {
		t.Fatal(err)
	}
	return site, server
}

// watch keeps the newest report of each credential, and wakes whoever waits for one.
type watch struct {
	mu      sync.Mutex
	reports []Report
	news    chan struct{}
}

func newWatch() *watch { return &watch{news: make(chan struct{}, 1)} }

func (w *watch) report(r Report) {
	w.mu.Lock()
	w.reports = append(w.reports, r)
	w.mu.Unlock()
	select {
	case w.news <- struct{}{}:
	default:
	}
}

func (w *watch) find(ok func(Report) bool) (Report, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.reports {
		if ok(r) {
			return r, true
		}
	}
	return Report{}, false
}

func (w *watch) await(t *testing.T, what string, ok func(Report) bool) Report {
	t.Helper()
	deadline := time.After(testPatience)
	for {
		if r, found := w.find(ok); found {
			return r
		}
		select {
		case <-w.news:
		case <-deadline:
			t.Fatalf("in vain: %s", what)
		}
	}
}

// last returns the last report of each credential.
func (w *watch) last() map[string]Report {
	w.mu.Lock()
	defer w.mu.Unlock()
	last := map[string]Report{}
	for _, r := range w.reports {
		last[r.Credential] = r
	}
	return last
}

// reissue does what the enforcer does to an agent: revoke, narrow, deliver response-wrapped.
func (s *Site) reissue(t *testing.T, agent, accessor, policy, dir string) {
	t.Helper()
	ctx := t.Context()
	if _, err := s.write(ctx, "auth/token/revoke-accessor", map[string]any{"accessor": accessor}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.write(ctx, "sys/policies/acl/narrow-"+agent, map[string]any{"policy": policy}); err != nil {
		t.Fatal(err)
	}
	wrapping, err := s.root.Clone()
	if err != nil {
		t.Fatal(err)
	}
	wrapping.SetToken(s.root.Token())
	wrapping.ClearNamespace()
	wrapping.SetWrappingLookupFunc(func(string, string) string { return "60s" })
	made, err := wrapping.Logical().WriteWithContext(ctx, "auth/token/create-orphan", map[string]any{
		"policies": []string{"narrow-" + agent}, "no_default_policy": true, "ttl": "10m",
	})
	if err != nil {
		t.Fatal(err)
	}
	deliver(t, dir, agent, made.WrapInfo.Token)
}

func deliver(t *testing.T, dir, agent, wrappingToken string) {
	t.Helper()
	content, err := json.Marshal(map[string]any{"wrapping_token": wrappingToken, "ttl": 60, "creation_path": "auth/token/create-orphan"})
	if err != nil {
		t.Fatal(err)
	}
	half := filepath.Join(dir, agent+".tmp")
	if err := os.WriteFile(half, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(half, filepath.Join(dir, agent+".json")); err != nil {
		t.Fatal(err)
	}
}

func TestRealVaultFleetLivesAsItsStoriesSay(t *testing.T) {
	site, server := realSite(t)
	deliveries := t.TempDir()
	w := newWatch()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- site.Run(ctx, RunOptions{Seed: 1, DeliveryDir: deliveries, Report: w.report}) }()

	working := func(agent string) Report {
		return w.await(t, agent+" working", func(r Report) bool { return r.Agent == agent && r.Event == Working && r.Calls.OK > 0 })
	}
	for _, a := range Agents() {
		working(a.Name)
	}
	child := working(DiagnosticChild)
	w.await(t, "the probing agent has tried everything", func(r Report) bool {
		return r.Agent == Probing && r.Calls.DeniedPermissions == Probes() && r.Calls.Denied > uint64(Probes())
	})
	w.await(t, "the ingest task is done", func(r Report) bool { return r.Agent == Ingest && r.Calls.OK > 40 })
	first := working(Steady).Accessor
	w.await(t, "the steady agent has taken a second token", func(r Report) bool { return r.Agent == Steady && r.Accessor != first })

	// A spent or invented wrapping token is a failure, and does not keep the agent from taking the right one.
	deliver(t, deliveries, Diagnostic, "hvs.invented")
	for agent, policy := range map[string]string{
		Ingest:     `path "secret/data/ingest/*" { capabilities = ["read"] }`,
		Diagnostic: `path "secret/data/diag/*" { capabilities = ["read"] }`,
	} {
		held := working(agent)
		if agent == Diagnostic {
			if _, err := site.write(t.Context(), "auth/token/revoke-accessor", map[string]any{"accessor": held.Accessor}); err != nil {
				t.Fatal(err)
			}
			w.await(t, "the diagnostic agent's token is gone", func(r Report) bool { return r.Agent == Diagnostic && r.Event == Lost && !r.Alive })
			waitFor(t, "the invented delivery is thrown away", func() bool {
				_, err := os.Stat(filepath.Join(deliveries, Diagnostic+".json"))
				return os.IsNotExist(err)
			})
			held.Accessor = child.Accessor // dead already: revoking is nobody's harm
			w.await(t, "the child is gone with its parent", func(r Report) bool { return r.Agent == DiagnosticChild && r.Event == Lost })
			held.Accessor = newDoomed(t, site)
		}
		site.reissue(t, agent, held.Accessor, policy, deliveries)
		w.await(t, agent+" goes on with what it was given", func(r Report) bool { return r.Agent == agent && r.Delivered && r.Calls.OK > 5 })
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}

	for _, r := range w.last() {
		alive, err := site.TokenAlive(t.Context(), r.Accessor)
		if err != nil {
			t.Fatal(err)
		}
		if r.Event == Stopped && r.Alive && !alive {
			t.Errorf("%s reports a credential as alive that Vault does not know", r.Agent)
		}
		if r.Event == Lost && alive {
			t.Errorf("%s reports a credential as lost that is alive", r.Agent)
		}
		if r.Calls.Unanswered > 0 {
			t.Errorf("%s: %d calls unanswered", r.Agent, r.Calls.Unanswered)
		}
		if denied := r.Calls.Denied > 0; denied != (r.Agent == Probing) || r.Delivered && r.Calls.Failed > 0 {
			t.Errorf("%s (delivered %v): %+v", r.Agent, r.Delivered, r.Calls)
		}
	}
	for _, agent := range []string{Excepted, Ownerless} {
		if r, ok := w.find(func(r Report) bool { return r.Agent == agent && r.Event == Stopped }); !ok || !r.Alive {
			t.Errorf("%s does not live to the end: %+v", agent, r)
		}
	}
	if left, err := os.ReadDir(deliveries); err != nil || len(left) > 0 {
		t.Errorf("what was delivered is left behind: %v %v", left, err)
	}
	checkAgainstTheLog(t, server.AuditFile, w.last())
	checkNoSecretsInFiles(t, site, server.RootToken)
}

// newDoomed makes a token for the sake of its accessor.
func newDoomed(t *testing.T, site *Site) string {
	t.Helper()
	made, err := site.root.Auth().Token().CreateOrphanWithContext(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return made.Auth.Accessor
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(testPatience); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("in vain: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// checkAgainstTheLog compares what the agents say with what Vault wrote of their credentials.
func checkAgainstTheLog(t *testing.T, file string, agents map[string]Report) {
	t.Helper()
	log, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	ok, denied := map[string]uint64{}, map[string]uint64{}
	for scanner := newScanner(log); scanner.Scan(); {
		var l auditLine
		if err := json.Unmarshal(scanner.Bytes(), &l); err != nil {
			t.Fatalf("%v: %s", err, scanner.Bytes())
		}
		if l.Type != "response" {
			continue
		}
		switch caller := l.Request.ClientTokenAccessor; {
		case strings.Contains(l.Error, "permission denied"):
			denied[caller]++
		case l.Request.Path != "auth/token/create": // the agents do not count the making of their children
			ok[caller]++
		}
	}
	for credential, r := range agents {
		if !strings.HasPrefix(credential, hashPrefix) {
			t.Errorf("%s: credential %q is not as the audit device shows it", r.Agent, credential)
		}
		// What the fleet's end cut off, Vault may have answered.
		n, d := ok[credential], denied[credential]
		if n < r.Calls.OK || d < r.Calls.Denied || n-r.Calls.OK+d-r.Calls.Denied > r.Calls.CutOff {
			t.Errorf("%s: reports %+v, the log has %d allowed and %d denied", r.Agent, r.Calls, n, d)
		}
	}
}

func checkNoSecretsInFiles(t *testing.T, site *Site, rootToken string) {
	t.Helper()
	dir := filepath.Dir(site.Enforcer.SecretIDFile)
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%s: %v %v, want mode 0700", dir, info, err)
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if info, err := d.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v, want mode 0600", path, info, err)
		}
		if content, err := os.ReadFile(path); err != nil || len(content) == 0 || bytes.Contains(content, []byte(rootToken)) {
			t.Errorf("%s: empty, unreadable (%v) or with the root token in it", path, err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestRealVaultProductsRolesAreNotRoot(t *testing.T) {
	site, _ := realSite(t)
	for name, role := range map[string]AppRoleFiles{CollectorRole: site.Collector, EnforcerRole: site.Enforcer} {
		roleID, err := os.ReadFile(role.RoleIDFile)
		if err != nil {
			t.Fatal(err)
		}
		secretID, err := os.ReadFile(role.SecretIDFile)
		if err != nil {
			t.Fatal(err)
		}
		client, err := newClient(site.Addr)
		if err != nil {
			t.Fatal(err)
		}
		login, err := client.Logical().WriteWithContext(t.Context(), "auth/approle/login", map[string]any{"role_id": string(roleID), "secret_id": string(secretID)})
		if err != nil {
			t.Fatal(err)
		}
		client.SetToken(login.Auth.ClientToken)
		if _, err := client.Logical().ListWithContext(t.Context(), "auth/token/accessors"); err != nil {
			t.Errorf("%s can not list accessors: %v", name, err)
		}
		if name == CollectorRole {
			for _, path := range []string{"auth/token/roles", "sys/policies/acl", "sys/leases/lookup/"} {
				if _, err := client.Logical().ListWithContext(t.Context(), path); err != nil {
					t.Errorf("the inventory can not list %s: %v", path, err)
				}
			}
			for _, path := range []string{"auth/token/roles/" + ReissueRole, "sys/policies/acl/" + Ingest} {
				if _, err := client.Logical().ReadWithContext(t.Context(), path); err != nil {
					t.Errorf("the inventory can not read %s: %v", path, err)
				}
			}
		}
		if _, err := client.Logical().ReadWithContext(t.Context(), "secret/data/ingest/0"); err == nil {
			t.Errorf("%s reads the agents' data", name)
		}
		for _, path := range []string{"sys/policies/acl/" + enforcerPolicyName, "auth/token/roles/" + ReissueRole} {
			if _, err := client.Logical().WriteWithContext(t.Context(), path, map[string]any{"policy": "", "orphan": false}); err == nil {
				t.Errorf("%s rewrites %s", name, path)
			}
		}
		_, err = client.Logical().WriteWithContext(t.Context(), "auth/token/revoke-accessor", map[string]any{"accessor": newDoomed(t, site)})
		if mayRevoke := err == nil; mayRevoke != (name == EnforcerRole) {
			t.Errorf("%s may revoke: %v (%v)", name, mayRevoke, err)
		}
	}
}

func TestRealVaultEnforcersDoctorFindsTheSiteInOrder(t *testing.T) {
	site, _ := realSite(t)
	target, err := vault.Open(vault.Config{
		Address: site.Addr,
		AppRole: &vault.AppRole{RoleIDFile: site.Enforcer.RoleIDFile, SecretIDFile: site.Enforcer.SecretIDFile},
		Reissue: vault.ReissueConfig{Directory: t.TempDir()},
	}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	report, err := target.Doctor(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !report.OK() || len(report.Findings) == 0 {
		t.Error(report)
	}
}

func TestRealVaultLoadKnowsWhatItDid(t *testing.T) {
	site, server := realSite(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	var tokens []LoadToken
	var err error
	go func() {
		defer close(done)
		tokens, err = site.Load(ctx, LoadOptions{Seed: 3, Tokens: 8, CallsPerSecond: 400, DeniedShare: 0.1})
	}()
	waitFor(t, "the load has begun", func() bool {
		info, err := os.Stat(server.AuditFile)
		return err == nil && info.Size() > 3<<20
	})
	cancel()
	<-done
	if err != nil || len(tokens) != 8 {
		t.Fatalf("%d tokens, error %v", len(tokens), err)
	}
	truth := map[string]Report{}
	for _, token := range tokens {
		if token.Uses == 0 || token.Denied == 0 || token.Unanswered > 0 || token.DeniedPermissions == 0 || token.DeniedPermissions > token.Denied {
			t.Errorf("%+v", token)
		}
		truth[token.Credential] = Report{Agent: "load", Calls: Calls{OK: token.Uses, Denied: token.Denied}}
	}
	checkAgainstTheLog(t, server.AuditFile, truth)
}
