package enforcer

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/enforcer/control"
	"github.com/leastwise/leastwise/enforcer/notify"
	"github.com/leastwise/leastwise/enforcer/target/vault"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// roleOf is an AppRole of the real Vault with its ways in.
type roleOf struct {
	t      *testing.T
	v      *realServer
	name   string
	id     any
	secret any
}

func (v *realServer) role(t *testing.T, name string) *roleOf {
	t.Helper()
	v.do(t, "auth/approle/role/"+name, map[string]any{"token_policies": "broad", "token_ttl": "24h", "token_max_ttl": "48h"})
	r := &roleOf{t: t, v: v, name: name}
	answer, _, err := v.call("root-for-setup", http.MethodGet, "auth/approle/role/"+name+"/role-id", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.id = answer["data"].(map[string]any)["role_id"]
	r.secret = v.do(t, "auth/approle/role/"+name+"/secret-id", nil)["data"].(map[string]any)["secret_id"]
	return r
}

// login gives a token, its accessor and its holder as keys show it.
func (r *roleOf) login() (token, accessor, principal string) {
	r.t.Helper()
	auth := r.v.do(r.t, "auth/approle/login", map[string]any{"role_id": r.id, "secret_id": r.secret})["auth"].(map[string]any)
	return auth["client_token"].(string), auth["accessor"].(string), "vault/default/entity/" + auth["entity_id"].(string)
}

// settings of the role that a correction may change.
func (r *roleOf) settings() string {
	r.t.Helper()
	answer, code, err := r.v.call("root-for-setup", http.MethodGet, "auth/approle/role/"+r.name, nil)
	if err != nil || code != http.StatusOK {
		r.t.Fatal(code, err)
	}
	data := answer["data"].(map[string]any)
	return fmt.Sprintln(data["token_policies"], data["token_ttl"], data["token_max_ttl"], data["token_period"])
}

func (r *roleOf) decision(accessor, principal string) *pb.Decision {
	d := scaled("vault/default/token/" + r.v.hash(r.t, accessor))
	d.Violations[0].Metric, d.Violations[0].Threshold = "lifetime", "2h"
	d.Subject.Labels = map[string]string{"mount_type": "approle", "mount_point": "auth/approle/", "role_name": r.name}
	d.Subject.Principal, d.Subject.Policies = principal, []string{"broad", "default"}
	d.Proposal.Rules = []*pb.Rule{{Resource: "secret/data/used", Capabilities: []string{"read"}}}
	return d
}

// denied is the decision that follows from what Vault's audit log shows of the
// calls that it refused to the holder of accessor.
func (r *roleOf) denied(accessor, principal string) *pb.Decision {
	r.t.Helper()
	raw, err := os.ReadFile(r.v.audit)
	if err != nil {
		r.t.Fatal(err)
	}
	hashed := r.v.hash(r.t, accessor)
	d := &pb.Decision{Credential: "vault/default/token/" + hashed,
		Subject: &pb.Subject{Type: "token", Source: "vault", Instance: "default", Principal: principal, State: "active"}}
	for line := range strings.Lines(string(raw)) {
		var e struct {
			Time  time.Time `json:"time"`
			Type  string    `json:"type"`
			Error string    `json:"error"`
			Auth  struct {
				Accessor string   `json:"accessor"`
				Policies []string `json:"policies"`
			} `json:"auth"`
			Request struct {
				Operation string `json:"operation"`
				Path      string `json:"path"`
			} `json:"request"`
		}
		if json.Unmarshal([]byte(line), &e) != nil || e.Type != "response" || e.Auth.Accessor != hashed || !strings.Contains(e.Error, "permission denied") {
			continue
		}
		d.Subject.Policies = e.Auth.Policies
		at := timestamppb.New(e.Time)
		d.Denials = append(d.Denials, &pb.Denial{Permission: e.Request.Operation + " " + e.Request.Path, Count: 1, FirstAt: at, LastAt: at})
	}
	return d
}

func kindsOf(e *Enforcer, channel string) []notify.Kind {
	return e.lines[channel].Channel.(*inbox).kinds()
}

// An agent whose role was narrowed is denied what it formerly had: that is told,
// and by policy the former scope comes back. What it never had does nothing.
func TestRealVaultADenialThatANarrowedRoleCausesIsToldAndPutBack(t *testing.T) {
	v := startVault(t)
	for _, path := range []string{"used", "needed"} {
		v.do(t, "secret/data/"+path, map[string]any{"data": map[string]string{"k": "v"}})
	}
	r := v.role(t, "ingest")
	before := r.settings()
	_, accessor, principal := r.login()
	s := newSite(t)
	cfg := fastConfig()
	cfg.Vault = []vault.Config{v.config(t, v.addr, t.TempDir())}
	e, _ := s.begin(cfg, nil)
	d := r.decision(accessor, principal)
	undo(d)
	s.until(d, reissued)
	if r.settings() == before {
		t.Fatal("the role was not narrowed")
	}
	token, accessor, principal := r.login()
	for path, want := range map[string]int{"secret/data/used": 200, "secret/data/needed": 403, "sys/policies/acl/broad": 403, "other/probed": 403} {
		if _, code, err := v.call(token, http.MethodGet, path, nil); err != nil || code != want {
			t.Fatalf("%s: %d, %v", path, code, err)
		}
	}
	refused := r.denied(accessor, principal)
	if len(refused.Denials) != 3 {
		t.Fatalf("Vault's log shows %v", refused)
	}
	s.say(refused)
	end := s.until(d, rolledBack)
	if got := end.Correction.GetDenials(); len(got) != 1 || got[0].Permission != "read secret/data/needed" || !strings.Contains(end.Reason, "put back by policy") {
		t.Errorf("%v", end)
	}
	for _, channel := range []string{"owner", "oncall"} {
		for deadline := time.Now().Add(20 * time.Second); !slices.Contains(kindsOf(e, channel), notify.Denied); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s was told %v", channel, kindsOf(e, channel))
			}
		}
	}
	if got := r.settings(); got != before {
		t.Errorf("the role is %s, it was %s", got, before)
	}
	token, _, _ = r.login()
	if _, code, err := v.call(token, http.MethodGet, "secret/data/needed", nil); err != nil || code != http.StatusOK {
		t.Errorf("the former scope does not work: %d, %v", code, err)
	}
}

// A lease is revoked, the role that issued it is brought within policy, and put
// back when a person asks for it.
func TestRealVaultTheLadderCorrectsTheRoleOfALeaseAndARecordRollsItBack(t *testing.T) {
	v := startVault(t)
	v.do(t, "sys/mounts/pki", map[string]any{"type": "pki"})
	v.do(t, "pki/root/generate/internal", map[string]any{"common_name": "test", "ttl": "700h"})
	v.do(t, "pki/roles/work", map[string]any{"allow_any_name": true, "ttl": "24h", "max_ttl": "48h", "generate_lease": true})
	limits := vault.RoleTTLs{PKIMounts: []string{"pki"}}
	v.do(t, "sys/policies/acl/the-enforcer", map[string]any{"policy": vault.Config{RoleTTLs: limits}.PolicyHCL()})
	role := func() string {
		answer, code, err := v.call("root-for-setup", http.MethodGet, "pki/roles/work", nil)
		if err != nil || code != http.StatusOK {
			t.Fatal(code, err)
		}
		data := answer["data"].(map[string]any)
		return fmt.Sprint(data["ttl"], " ", data["max_ttl"], " ", data["generate_lease"])
	}
	lease := v.do(t, "pki/issue/work", map[string]any{"common_name": "a.example"})["lease_id"].(string)
	s := newSite(t)
	cfg := fastConfig()
	cfg.Vault = []vault.Config{v.config(t, v.addr, t.TempDir())}
	cfg.Vault[0].RoleTTLs = limits
	s.start(cfg, nil)
	d := scaled("vault/default/lease/" + lease)
	d.Subject.Type, d.Subject.Labels = "lease", map[string]string{"mount_point": "pki/"}
	d.Violations[0].Metric, d.Violations[0].Threshold = "lifetime", "2h"
	end := s.until(d, reissued)
	if role() != "7200 7200 true" || end.Proof == "" {
		t.Errorf("the role is %s: %v", role(), end)
	}
	if err := control.Rollback(t.Context(), s.c, end.LadderId, control.Who{Name: "operator", Reason: "it is needed"}, time.Now()); err != nil {
		t.Fatal(err)
	}
	s.until(d, rolledBack)
	if role() != "86400 172800 true" {
		t.Errorf("rolled back to %s", role())
	}
}

// A role's policies and TTLs are brought within policy by the ladder, and put
// back when a person asks for it.
func TestRealVaultTheLadderNarrowsARoleAndARecordRollsItBack(t *testing.T) {
	v := startVault(t)
	r := v.role(t, "ingest")
	before := r.settings()
	broad, accessor, principal := r.login()
	s := newSite(t)
	cfg := fastConfig()
	cfg.Vault = []vault.Config{v.config(t, v.addr, t.TempDir())}
	s.start(cfg, nil)
	d := r.decision(accessor, principal)
	s.until(d, reissued)
	gone := r.decision(accessor, principal)
	gone.Violations, gone.Subject.State = nil, "revoked"
	end := s.until(gone, closed)
	if v.works(broad) || end.Proof == "" {
		t.Errorf("the token works, or nothing proves that it does not: %v", end)
	}
	if want := fmt.Sprintf("[%s] 7200 7200 0\n", end.Reissue.PolicyName); r.settings() != want {
		t.Errorf("the role is %s, want %s", r.settings(), want)
	}
	token, _, _ := r.login()
	read := func(token string) int {
		_, code, err := v.call(token, http.MethodGet, "secret/data/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		return code
	}
	if read(token) != http.StatusForbidden {
		t.Error("the next login is as broad as before")
	}
	if err := control.Rollback(t.Context(), s.c, end.LadderId, control.Who{Name: "operator", Reason: "it is needed"}, time.Now()); err != nil {
		t.Fatal(err)
	}
	s.until(gone, rolledBack)
	if r.settings() != before {
		t.Errorf("rolled back to %s, it was %s", r.settings(), before)
	}
	token, _, _ = r.login()
	if read(token) != http.StatusNotFound { // permitted, and not there
		t.Error("the former scope does not work")
	}
	var last *pb.LadderState
	for _, entry := range s.journal(d.Credential) {
		if err := checkEntry(last, entry); err != nil {
			t.Errorf("%v\n%v", err, entry)
		}
		last = entry
	}
}
