package enforcer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/enforcer/target/vault"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/stream"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// vaultWorld is a partition of an enforcer over a journal in memory and a real
// Vault behind a proxy, with a clock of its own: hours pass in no time.
type vaultWorld struct {
	t        *testing.T
	v        *realServer
	proxy    *httptest.Server
	delivery string
	cfg      vault.Config
	d        *pb.Decision
	now      time.Time
	e        *Enforcer
	p        *partition

	mu      sync.Mutex // guards what follows: the proxy's goroutines ask
	journal []*pb.LadderState
	done    map[string]int // requests that Vault carried out, by path
	// kill is the moment at which the process dies, of those between the intent
	// and the last result; negative: never. moment counts them.
	kill, moment int
	dead         bool
}

var vaultNames int

func newVaultWorld(t *testing.T, v *realServer, kill int) *vaultWorld {
	t.Helper()
	w := &vaultWorld{t: t, v: v, delivery: t.TempDir(), now: time.Now().UTC().Truncate(time.Second), kill: kill, done: map[string]int{}}
	to, err := url.Parse(v.addr)
	if err != nil {
		t.Fatal(err)
	}
	forward := httputil.NewSingleHostReverseProxy(to)
	w.proxy = httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if w.dies() { // before the request is sent
			panic(http.ErrAbortHandler)
		}
		rec := httptest.NewRecorder()
		forward.ServeHTTP(rec, r)
		w.mu.Lock()
		if rec.Code/100 == 2 && r.Method != http.MethodGet {
			w.done[strings.TrimPrefix(r.URL.Path, "/v1/")]++
		}
		w.mu.Unlock()
		if w.dies() { // it is done, and nobody is there to hear the answer
			panic(http.ErrAbortHandler)
		}
		for name, values := range rec.Header() {
			out.Header()[name] = values
		}
		out.WriteHeader(rec.Code)
		_, _ = io.Copy(out, rec.Body) // the client went away
	}))
	t.Cleanup(w.proxy.Close)
	w.cfg = v.config(t, w.proxy.URL, w.delivery)
	return w
}

// dies counts a moment between the intent and the last result, and tells
// whether the process is dead by then.
func (w *vaultWorld) dies() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.journal) == 0 || w.journal[len(w.journal)-1].State < revokeIntended {
		return w.dead
	}
	if w.moment == w.kill {
		w.dead = true
	}
	w.moment++
	return w.dead
}

func (w *vaultWorld) isDead() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dead
}

// start is a process that has nothing but the journal.
func (w *vaultWorld) start() {
	w.t.Helper()
	w.mu.Lock()
	w.dead = false
	w.mu.Unlock()
	env := daemon.NewEnv("enforcer", slog.New(slog.NewTextHandler(io.Discard, nil)))
	env.Now = func() time.Time { return w.now }
	e, err := New(Config{Mode: "enforce", Budget: "20/h 100%", Escalation: []string{"oncall"}, Writer: "test", Vault: []vault.Config{w.cfg}},
		Deps{Env: env, Notify: map[string]Channel{"owner": &inbox{}, "oncall": &inbox{}}})
	if err != nil {
		w.t.Fatal(err)
	}
	e.append = func(_ context.Context, s *pb.LadderState) error {
		if w.isDead() || w.dies() {
			return errCrash
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.journal = append(w.journal, proto.CloneOf(s))
		return nil
	}
	for topic := range e.waiting {
		delete(e.waiting, topic)
	}
	w.e, w.p = e, newPartition(e)
	for _, s := range w.journal {
		raw, err := s.MarshalVT()
		if err != nil {
			w.t.Fatal(err)
		}
		if err := e.ledger.apply(stream.Message{Key: []byte(s.Credential), Value: raw}); err != nil {
			w.t.Fatal(err)
		}
		w.p.resume(proto.CloneOf(s))
	}
}

// run lets time pass, with a decision each minute, until the process dies.
func (w *vaultWorld) run(d time.Duration) {
	w.t.Helper()
	for end := w.now.Add(d); w.now.Before(end) && !w.isDead(); w.now = w.now.Add(20 * time.Second) {
		said := proto.CloneOf(w.d)
		said.DecidedAt, said.AsOf = timestamppb.New(w.now), timestamppb.New(w.now)
		w.p.decide(said)
		if err := w.p.tick(w.t.Context()); err != nil && !errors.Is(err, errCrash) {
			w.t.Fatal(err)
		}
	}
}

func (w *vaultWorld) decide(typ, id string, labels map[string]string) {
	w.d = violating()
	w.d.Credential = "vault/default/" + typ + "/" + id
	w.d.Subject.Type, w.d.Subject.Labels = typ, labels
	w.d.Subject.IssuedAt, w.d.Subject.ExpiresAt = timestamppb.New(w.now), timestamppb.New(w.now.Add(12*time.Hour))
	w.d.Proposal.Rules = []*pb.Rule{{Resource: "secret/data/x", Capabilities: []string{"read"}}}
}

// carried counts what Vault carried out at paths that begin with prefix.
func (w *vaultWorld) carried(prefix string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for path, times := range w.done {
		if strings.HasPrefix(path, prefix) {
			n += times
		}
	}
	return n
}

func (w *vaultWorld) get(path string) map[string]any {
	w.t.Helper()
	answer, code, err := w.v.call("root-for-setup", http.MethodGet, path, nil)
	if err != nil || code != http.StatusOK {
		w.t.Fatalf("%s: %d %v", path, code, err)
	}
	return answer["data"].(map[string]any)
}

// agent logs in by an AppRole of its own.
func (w *vaultWorld) agent() (auth map[string]any, role string) {
	vaultNames++
	role = fmt.Sprintf("agent-%d", vaultNames)
	w.v.do(w.t, "auth/approle/role/"+role, map[string]any{"token_policies": "broad", "token_ttl": "24h", "token_max_ttl": "48h"})
	id := w.get("auth/approle/role/" + role + "/role-id")["role_id"]
	secret := w.v.do(w.t, "auth/approle/role/"+role+"/secret-id", nil)["data"].(map[string]any)["secret_id"].(string)
	return w.v.do(w.t, "auth/approle/login", map[string]any{"role_id": id, "secret_id": secret})["auth"].(map[string]any), role
}

// login is a token of an AppRole of its own: the role is narrowed with it.
func (w *vaultWorld) login() (check func()) {
	t := w.t
	vaultNames++
	role := fmt.Sprintf("agent-%d", vaultNames)
	w.v.do(t, "auth/approle/role/"+role, map[string]any{"token_policies": "broad", "token_ttl": "24h", "token_max_ttl": "48h"})
	id := w.get("auth/approle/role/" + role + "/role-id")["role_id"]
	secret := w.v.do(t, "auth/approle/role/"+role+"/secret-id", nil)["data"].(map[string]any)["secret_id"]
	auth := w.v.do(t, "auth/approle/login", map[string]any{"role_id": id, "secret_id": secret})["auth"].(map[string]any)
	w.decide("token", auth["accessor"].(string), map[string]string{"mount_type": "approle", "mount_point": "auth/approle/", "role_name": role})
	return func() {
		if w.v.works(auth["client_token"].(string)) {
			t.Error("the token works")
		}
		if n := w.carried("auth/token/revoke-accessor"); n != 1 {
			t.Errorf("revoked %d times", n)
		}
		s := w.journal[len(w.journal)-1]
		if got := fmt.Sprint(w.get("auth/approle/role/" + role)["token_policies"]); got != "["+s.GetReissue().GetPolicyName()+"]" {
			t.Errorf("the role has %s, the ladder wrote %s", got, s.GetReissue().GetPolicyName())
		}
		if !strings.Contains(s.GetReissue().GetPrevious(), "broad") {
			t.Errorf("what the role had is lost: %s", s.GetReissue().GetPrevious())
		}
		raw, err := os.ReadFile(filepath.Join(w.delivery, "ingest.json"))
		if err != nil {
			t.Fatal(err)
		}
		var parcel struct {
			WrappingToken string `json:"wrapping_token"`
		}
		if err := json.Unmarshal(raw, &parcel); err != nil {
			t.Fatal(err)
		}
		answer, code, err := w.v.call(parcel.WrappingToken, http.MethodPost, "sys/wrapping/unwrap", map[string]string{})
		if err != nil || code != http.StatusOK {
			t.Fatalf("what was delivered can not be unwrapped: %d, %v", code, err)
		}
		if got := answer["auth"].(map[string]any)["token_policies"]; !strings.Contains(fmt.Sprint(got), s.GetReissue().GetPolicyName()) {
			t.Errorf("the new token has %v", got)
		}
	}
}

func (w *vaultWorld) lease() (check func()) {
	secret := w.v.do(w.t, "pki/issue/leased", map[string]any{"common_name": "a.example"})
	id := secret["lease_id"].(string)
	w.decide("lease", id, nil)
	return func() {
		if _, code, err := w.v.call("root-for-setup", http.MethodPost, "sys/leases/lookup", map[string]string{"lease_id": id}); err != nil || code != http.StatusBadRequest {
			w.t.Errorf("the lease lives: %d, %v", code, err)
		}
		if n := w.carried("sys/leases/revoke"); n != 1 {
			w.t.Errorf("revoked %d times", n)
		}
	}
}

func (w *vaultWorld) certificate() (check func()) {
	serial := w.v.do(w.t, "pki/issue/plain", map[string]any{"common_name": "a.example"})["data"].(map[string]any)["serial_number"].(string)
	w.decide("certificate", serial, map[string]string{"mount_point": "pki/"})
	return func() {
		if fmt.Sprint(w.get("pki/cert/" + serial)["revocation_time"]) == "0" {
			w.t.Error("the certificate is not revoked")
		}
		if n := w.carried("pki/revoke"); n != 1 {
			w.t.Errorf("revoked %d times", n)
		}
		if !slices.ContainsFunc(w.journal, func(s *pb.LadderState) bool {
			return s.State == pb.LadderState_REVOKED && strings.Contains(s.Proof, "CRL number") && strings.Contains(s.Proof, "OCSP")
		}) {
			w.t.Errorf("not proven by what the issuer signed: %v", w.journal)
		}
	}
}

// entity logged in once: it is disabled, and the token that it holds ends.
func (w *vaultWorld) entity() (check func()) {
	auth, role := w.agent()
	id := auth["entity_id"].(string)
	w.decide("entity", id, nil)
	w.d.Ladder.MaxCollateral = proto.Uint32(5) // its token
	return func() {
		if w.get("identity/entity/id/" + id)["disabled"] != true {
			w.t.Error("the entity is enabled")
		}
		if w.v.works(auth["client_token"].(string)) {
			w.t.Error("its token works")
		}
		if n := w.carried("auth/token/revoke-accessor"); n != 1 {
			w.t.Errorf("its token was revoked %d times", n)
		}
		if got := fmt.Sprint(w.get("auth/approle/role/" + role)["token_policies"]); got != "[broad]" {
			w.t.Errorf("the role has %s", got)
		}
	}
}

func (w *vaultWorld) secretID() (check func()) {
	_, role := w.agent()
	accessor := w.v.do(w.t, "auth/approle/role/"+role+"/secret-id", nil)["data"].(map[string]any)["secret_id_accessor"].(string)
	w.decide("secret_id", "approle/"+role+"/"+accessor, nil)
	return func() {
		list, code, err := w.v.call("root-for-setup", "LIST", "auth/approle/role/"+role+"/secret-id", nil)
		if err != nil || code != http.StatusOK {
			w.t.Fatalf("%d, %v", code, err)
		}
		if keys := list["data"].(map[string]any)["keys"].([]any); len(keys) != 1 || keys[0] == accessor { // the first one lives on
			w.t.Errorf("the role has %v", keys)
		}
		if n := w.carried("auth/approle/role/" + role + "/secret-id-accessor/destroy"); n != 1 {
			w.t.Errorf("destroyed %d times", n)
		}
	}
}

// The process dies at 20 moments between the intent and the last result: before
// a request is sent, after it was done and before its answer is heard, and
// before an entry is durable. What it was about happens once in effect, and
// ends verified.
func TestRealVaultDyingBetweenIntentAndResultIsOnceInEffectAndVerified(t *testing.T) {
	v := startVault(t)
	v.do(t, "sys/mounts/pki", map[string]any{"type": "pki"})
	v.do(t, "sys/mounts/pki/tune", map[string]any{"max_lease_ttl": "8760h"})
	v.do(t, "pki/root/generate/internal", map[string]any{"common_name": "test", "ttl": "8760h"})
	v.do(t, "pki/roles/plain", map[string]any{"allow_any_name": true, "ttl": "150m"})
	v.do(t, "pki/roles/leased", map[string]any{"allow_any_name": true, "ttl": "48h", "max_ttl": "48h", "generate_lease": true})
	rng := rand.New(rand.NewPCG(seed(t), 3))
	for kind, make := range map[string]func(*vaultWorld) func(){"token": (*vaultWorld).login, "lease": (*vaultWorld).lease, "certificate": (*vaultWorld).certificate,
		"entity": (*vaultWorld).entity, "secret id": (*vaultWorld).secretID} {
		t.Run(kind, func(t *testing.T) {
			whole := newVaultWorld(t, v, -1)
			check := make(whole)
			whole.start()
			whole.run(3 * time.Hour)
			whole.end()
			check()
			if whole.moment < 6 {
				t.Fatalf("only %d moments are between the intent and the end", whole.moment)
			}
			for range 20 {
				kill := rng.IntN(whole.moment)
				t.Run(fmt.Sprintf("moment %d of %d", kill, whole.moment), func(t *testing.T) {
					w := newVaultWorld(t, v, kill)
					check := make(w)
					w.start()
					w.run(3 * time.Hour)
					if !w.isDead() {
						t.Fatal("it did not die")
					}
					w.kill = -1
					w.start()
					w.run(3 * time.Hour)
					w.end()
					check()
				})
			}
		})
	}
}

func (w *vaultWorld) end() {
	w.t.Helper()
	s := w.journal[len(w.journal)-1]
	if s.State != closed || s.Proof == "" {
		w.t.Errorf("it ends in %v", s)
	}
	var last *pb.LadderState
	for i, s := range w.journal {
		if err := checkEntry(last, s); err != nil {
			w.t.Errorf("journal entry %d: %v\n%v", i, err, s)
		}
		last = s
	}
}
