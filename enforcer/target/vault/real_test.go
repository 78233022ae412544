package vault

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/enforcer/target"
	"github.com/leastwise/leastwise/enforcer/target/targettest"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

func TestRealVaultHoldsTheContract(t *testing.T) {
	s := realVault(t)
	t.Run("tokens by accessor", func(t *testing.T) {
		targettest.Run(t, func(t *testing.T) targettest.World {
			w := s.world(t, nil)
			w.New = func(t *testing.T) (target.Credential, func() bool) {
				accessor, works := s.token(t)
				return target.Credential{Key: "vault/default/token/" + accessor}, works
			}
			return w
		})
	})
	t.Run("tokens by hashed accessor", func(t *testing.T) {
		targettest.Run(t, func(t *testing.T) targettest.World {
			w := s.world(t, nil)
			w.Unknown = target.Credential{Key: "vault/default/token/hmac-sha256:00"}
			w.New = func(t *testing.T) (target.Credential, func() bool) {
				accessor, works := s.token(t)
				return target.Credential{Key: "vault/default/token/" + s.hash(t, accessor)}, works
			}
			return w
		})
	})
	t.Run("leases", func(t *testing.T) {
		targettest.Run(t, func(t *testing.T) targettest.World {
			w := s.world(t, nil)
			w.NotCounted = true
			w.New = func(t *testing.T) (target.Credential, func() bool) {
				secret := s.write(t, "pki/issue/leased", map[string]any{"common_name": "a.example"})
				return target.Credential{Key: "vault/default/lease/" + secret.LeaseID}, func() bool {
					_, err := s.root.Logical().Write("sys/leases/lookup", map[string]any{"lease_id": secret.LeaseID})
					return err == nil
				}
			}
			return w
		})
	})
	t.Run("certificates", func(t *testing.T) {
		targettest.Run(t, func(t *testing.T) targettest.World {
			w := s.world(t, nil)
			w.NotCounted = true
			w.Unknown = target.Credential{Key: "vault/default/certificate/11:22", Labels: map[string]string{"mount_point": "pki/"}}
			w.New = func(t *testing.T) (target.Credential, func() bool) {
				c, serial, _ := s.issue(t, "plain")
				return c, func() bool { return !s.listed(t, serial) }
			}
			return w
		})
	})
}

func TestRealVaultRevokedCertificateSaysUntilWhenItIsAccepted(t *testing.T) {
	s := realVault(t)
	v := s.target(t)
	serial := s.write(t, "pki/issue/plain", map[string]any{"common_name": "a.example"}).Data["serial_number"].(string)
	c := target.Credential{Key: "vault/default/certificate/" + serial, Labels: map[string]string{"mount_point": "pki/"}}
	if err := v.Revoke(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	p, err := v.Verify(t.Context(), c)
	if left := time.Until(p.WorksUntil); err != nil || left < 50*time.Minute || left > 70*time.Minute {
		t.Errorf("Verify = %+v, %v", p, err)
	}
}

// After a crash nothing but the journal is left: a hashed accessor that is gone
// is proven gone by the name the intent kept, and by nothing else.
func TestRealVaultHashedAccessorIsProvenGoneByWhatTheIntentKept(t *testing.T) {
	s := realVault(t)
	accessor, works := s.token(t)
	c := target.Credential{Key: "vault/default/token/" + s.hash(t, accessor)}
	first := s.target(t)
	seen, err := first.Lookup(t.Context(), c)
	if err != nil || seen.Found != accessor {
		t.Fatalf("%+v, %v", seen, err)
	}
	if err := first.Revoke(t.Context(), c); err != nil || works() {
		t.Fatal(err)
	}
	second := s.target(t)
	if p, err := second.Verify(t.Context(), c); err != nil || p.Gone {
		t.Errorf("a hash that resolves to nothing is taken as proof: %+v, %v", p, err)
	}
	c.Found = seen.Found
	if p, err := second.Verify(t.Context(), c); err != nil || !p.Gone {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestRealVaultChildrenAndLeasesEndWithTheToken(t *testing.T) {
	s := realVault(t)
	s.policy(t, "parent", "path \"auth/token/create\" { capabilities = [\"update\"] }\npath \"pki/issue/leased\" { capabilities = [\"update\"] }")
	parent := s.write(t, "auth/token/create", map[string]any{"policies": []string{"parent"}, "ttl": "1h"}).Auth
	child, err := s.as(t, parent.ClientToken).Logical().Write("auth/token/create", map[string]any{"ttl": "30m"})
	if err != nil {
		t.Fatal(err)
	}
	leased, err := s.as(t, parent.ClientToken).Logical().Write("pki/issue/leased", map[string]any{"common_name": "a.example"})
	if err != nil {
		t.Fatal(err)
	}
	v := s.target(t)
	if err := v.Revoke(t.Context(), target.Credential{Key: "vault/default/token/" + parent.Accessor}); err != nil {
		t.Fatal(err)
	}
	// Vault ends children before it answers, and leases with them or at once after.
	for _, key := range []string{"token/" + child.Auth.Accessor, "lease/" + leased.LeaseID} {
		gone := false
		for deadline := time.Now().Add(10 * time.Second); !gone && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			p, err := v.Verify(t.Context(), target.Credential{Key: "vault/default/" + key})
			if err != nil {
				t.Fatal(err)
			}
			gone = p.Gone
		}
		if !gone {
			t.Errorf("%s outlives the token", key)
		}
	}
}

// Each line of the policy is needed, and all of them together are enough: what
// breaks without a line names that line's path and capability.
func TestRealVaultPolicyIsExactlyWhatIsNeeded(t *testing.T) {
	s := realVault(t)
	for _, n := range (Config{}).withDefaults().needs() {
		t.Run(n.path, func(t *testing.T) {
			var kept []need
			for _, other := range (Config{}).withDefaults().needs() {
				if other.path != n.path {
					kept = append(kept, other)
				}
			}
			s.policy(t, "the-enforcer", render("all but one", kept))
			defer s.policy(t, "the-enforcer", PolicyHCL())
			err := everyStep(t, s)
			switch n.path {
			case "pki/cert/+":
				// Vault serves certificates to anybody; the line is for servers that do not.
			case "sys/policies/acl/" + PolicyPrefix + "*", "sys/audit", "sys/mounts/auth/token/tune", "auth/token/roles/leastwise":
				if err == nil {
					t.Error("nothing breaks without it")
				}
			default:
				if target.KindOf(err) != target.Permission {
					t.Errorf("without it: %v", err)
				} else if !strings.Contains(err.Error(), "capability") {
					t.Errorf("the error does not name the capability: %v", err)
				}
			}
			if n.path == "sys/capabilities-self" || n.path == "auth/token/lookup-self" {
				return
			}
			v := s.target(t)
			missing, err := v.Capabilities(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range missing {
				if m.Path != n.path {
					t.Errorf("also said to be missing: %v", m)
				}
			}
			if len(missing) == 0 {
				t.Error("its lack is not seen by Capabilities")
			}
		})
	}
	if err := everyStep(t, s); err != nil {
		t.Errorf("with the whole policy: %v", err)
	}
}

// everyStep does everything that the enforcer does at Vault and gives the
// first thing that fails.
func everyStep(t *testing.T, s *server) error {
	t.Helper()
	ctx := t.Context()
	c := s.config(t)
	v := open(t, c)
	if _, err := v.Capabilities(ctx); err != nil {
		return err
	}
	if _, err := v.Protected(ctx); err != nil {
		return err
	}
	accessor, _ := s.token(t)
	leased := s.write(t, "pki/issue/leased", map[string]any{"common_name": "a.example"})
	cert := s.write(t, "pki/issue/plain", map[string]any{"common_name": "a.example"})
	a := s.agent(t)
	secretIDs, err := s.root.Logical().List("auth/approle/role/" + a.role + "/secret-id")
	if err != nil {
		return err
	}
	for _, cred := range []target.Credential{
		{Key: "vault/default/token/" + s.hash(t, accessor), Found: ""},
		{Key: "vault/default/lease/" + leased.LeaseID},
		{Key: "vault/default/certificate/" + cert.Data["serial_number"].(string)},
		a.key(),
		{Key: "vault/default/secret_id/approle/" + a.role + "/" + secretIDs.Data["keys"].([]any)[0].(string)},
	} {
		seen, err := v.Lookup(ctx, cred)
		if err != nil {
			return err
		}
		cred.Found = seen.Found
		if err := v.Revoke(ctx, cred); err != nil {
			return err
		}
		if _, err := v.Verify(ctx, cred); err != nil {
			return err
		}
	}
	d := decision(s.login(t).Auth.Accessor)
	d.Violations = []*pb.Violation{{Metric: "lifetime", Condition: "greater_than", Threshold: "1h"}}
	plan, refused, err := v.Plan(ctx, d)
	if err != nil || refused != "" {
		if refused != "" {
			t.Errorf("refused: %s", refused)
		}
		return err
	}
	done, err := v.Reissue(ctx, "l1", d, plan)
	if err != nil {
		return err
	}
	if err := v.Rollback(ctx, done); err != nil {
		return err
	}
	v.auth.renewAt = time.Now().Add(-time.Second)
	if err := v.auth.refresh(ctx, v); err != nil {
		return err
	}
	if v.auth.renewAt.Before(time.Now()) {
		t.Error("not renewed")
	}
	report, err := v.Doctor(ctx)
	if err != nil {
		return err
	}
	if !report.OK() {
		return &target.Error{Kind: target.Permission, Op: "doctor: capability " + report.String()}
	}
	return nil
}

// decision is what a processor proposes for an agent that only read what it
// ingests, but may do much more.
func decision(accessor string) *pb.Decision {
	now := time.Now()
	return &pb.Decision{
		Credential: "vault/default/token/" + accessor,
		Subject: &pb.Subject{Type: "token", Agent: "ingest", IssuedAt: timestamppb.New(now.Add(-time.Hour)), ExpiresAt: timestamppb.New(now.Add(3 * time.Hour)),
			Policies: []string{"broad", "default"}, Labels: map[string]string{"mount_type": "approle", "mount_point": "auth/approle/", "role_name": "ingest"}},
		Proposal: &pb.Proposal{Rules: []*pb.Rule{{Resource: "secret/data/*", Capabilities: []string{"read"}}}, Granted: 6, Proposed: 1,
			ObservedFrom: timestamppb.New(now.Add(-time.Hour)), ObservedUntil: timestamppb.New(now)},
	}
}

func TestRealVaultReissueGivesLessAndTheRealCallsPass(t *testing.T) {
	s := realVault(t)
	s.write(t, "secret/data/ingest/a", map[string]any{"data": map[string]string{"k": "v"}})
	s.write(t, "secret/data/admin/a", map[string]any{"data": map[string]string{"k": "v"}})
	s.write(t, "secret/data/other/a", map[string]any{"data": map[string]string{"k": "v"}})
	c := s.config(t)
	v := open(t, c)
	old := s.login(t).Auth
	d := decision(old.Accessor)
	d.Subject.ExpiresAt = timestamppb.New(d.Subject.IssuedAt.AsTime().Add(10 * time.Minute))
	plan, refused, err := v.Plan(t.Context(), d)
	if err != nil || refused != "" {
		t.Fatal(refused, err)
	}
	if plan.GrantedAfter >= plan.GrantedBefore || !strings.HasPrefix(plan.PolicyName, "leastwise-ingest-") {
		t.Errorf("plan %v", plan)
	}
	if role, err := v.rolePolicies(t.Context(), "approle", "ingest"); err != nil || !slices.Equal(role, []string{"broad"}) {
		t.Fatalf("the plan changed the role to %v, %v", role, err)
	}
	if _, err := v.Reissue(t.Context(), "l1", d, plan); err != nil {
		t.Fatal(err)
	}
	// Done again after a crash: the role's former policies are not lost.
	done, err := v.Reissue(t.Context(), "l1", d, plan)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(c.Reissue.Directory, "ingest.json")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("delivery file: %v, %v", info, err)
	}
	p := readJSON(t, path)
	unwrapped, err := s.as(t, p.WrappingToken).Logical().Unwrap("")
	if err != nil {
		t.Fatal(err)
	}
	if unwrapped.Auth.Accessor != p.Accessor || done.Credential != "vault/default/token/"+p.Accessor || !unwrapped.Auth.Orphan {
		t.Errorf("unwrapped %v, delivered %v", unwrapped.Auth.Accessor, p.Accessor)
	}
	if unwrapped.Auth.LeaseDuration > 600 {
		t.Errorf("TTL %d s is more than the old token had", unwrapped.Auth.LeaseDuration)
	}
	fresh := s.login(t).Auth
	for name, token := range map[string]string{"delivered token": unwrapped.Auth.ClientToken, "next login": fresh.ClientToken} {
		agent := s.as(t, token)
		if _, err := agent.Logical().Read("secret/data/ingest/a"); err != nil {
			t.Errorf("%s: the real call fails: %v", name, err)
		}
		if _, err := agent.Logical().Write("secret/data/ingest/a", map[string]any{"data": map[string]string{"k": "w"}}); err == nil {
			t.Errorf("%s: may still write", name)
		}
		for _, other := range []string{"secret/data/admin/a", "secret/data/other/a"} {
			if _, err := agent.Logical().Read(other); err == nil {
				t.Errorf("%s: may read %s", name, other)
			}
		}
	}
	if err := v.Rollback(t.Context(), done); err != nil {
		t.Fatal(err)
	}
	if err := v.Rollback(t.Context(), done); err != nil {
		t.Errorf("a second time: %v", err)
	}
	if !slices.Contains(s.login(t).Auth.Policies, "broad") {
		t.Error("the role did not get its policies back")
	}
	s.write(t, "auth/approle/role/ingest", map[string]any{"token_policies": []string{"somebody-elses"}})
	if err := v.Rollback(t.Context(), done); target.KindOf(err) != target.Impossible || err == nil {
		t.Errorf("overwrote a later change: %v", err)
	}
	secrets := []string{p.WrappingToken, unwrapped.Auth.ClientToken, old.ClientToken}
	for _, secret := range secrets {
		if strings.Contains(done.String(), secret) {
			t.Error("the result holds a secret")
		}
	}
}

func TestRealVaultDoctor(t *testing.T) {
	s := realVault(t)
	report, err := s.target(t).Doctor(t.Context())
	if err != nil || !report.OK() {
		t.Fatalf("%v\n%v", report, err)
	}
	broken := func(change func(c *Config)) string {
		t.Helper()
		c := s.config(t)
		change(&c)
		report, err := open(t, c).Doctor(t.Context())
		if err != nil || report.OK() {
			t.Errorf("nothing found: %v", err)
			return ""
		}
		return report.String()
	}
	if text := broken(func(c *Config) { c.AuditDevice = "socket" }); !strings.Contains(text, `no device "socket" (there are: file)`) {
		t.Error(text)
	}
	if text := broken(func(c *Config) { c.Reissue.TokenRole = "nonesuch" }); !strings.Contains(text, "vault write auth/token/roles/nonesuch") {
		t.Error(text)
	}
	if text := broken(func(c *Config) {
		c.AppRole = nil
		c.TokenFile = filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(c.TokenFile, []byte("root-for-setup"), 0o600); err != nil {
			t.Fatal(err)
		}
	}); !strings.Contains(text, "it is root") {
		t.Error(text)
	}
}

func TestRealVaultOwnTokenThatEndsIsReplaced(t *testing.T) {
	s := realVault(t)
	v := s.target(t)
	before, err := v.Protected(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, "auth/token/revoke-accessor", map[string]any{"accessor": v.auth.accessor})
	if _, err := v.Live(t.Context()); err != nil {
		t.Fatalf("after its token was revoked: %v", err)
	}
	after, err := v.Protected(t.Context())
	if err != nil || len(after) != 5 || !slices.Contains(after, before[0]) {
		t.Errorf("protected %v, then %v, %v", before, after, err)
	}
}
