package vault

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leastwise/leastwise/enforcer/target"
	"github.com/leastwise/leastwise/enforcer/target/targettest"
)

var made atomic.Int64 // names that were made

// world is what all kinds have in common: the target stands behind a proxy.
func (s *server) world(t *testing.T, change func(c *Config)) targettest.World {
	t.Helper()
	b := newBetween(t, s.addr)
	c := s.config(t)
	c.Address = b.URL
	if change != nil {
		change(&c)
	}
	return targettest.World{Target: open(t, c), Foreign: target.Credential{Key: "vault/elsewhere/token/x"}, Lose: b.lose, Busy: b.busy}
}

// agent is an AppRole with an entity: it logged in once.
type agent struct {
	s                *server
	role, entity     string
	token, accessor  string
	roleID, secretID string
}

func (s *server) agent(t *testing.T) *agent {
	t.Helper()
	a := &agent{s: s, role: fmt.Sprintf("agent-%d", made.Add(1))}
	s.write(t, "auth/approle/role/"+a.role, map[string]any{"token_policies": []string{"broad"}, "token_ttl": "1h"})
	id, err := s.root.Logical().Read("auth/approle/role/" + a.role + "/role-id")
	if err != nil {
		t.Fatal(err)
	}
	a.roleID = id.Data["role_id"].(string)
	a.secretID = s.write(t, "auth/approle/role/"+a.role+"/secret-id", nil).Data["secret_id"].(string)
	auth := a.login(t)
	a.token, a.accessor, a.entity = auth[0], auth[1], auth[2]
	return a
}

// login gives token, accessor and entity; empty ones when Vault refuses.
func (a *agent) login(*testing.T) (auth [3]string) {
	secret, err := a.s.root.Logical().Write("auth/approle/login", map[string]any{"role_id": a.roleID, "secret_id": a.secretID})
	if err != nil {
		return auth
	}
	return [3]string{secret.Auth.ClientToken, secret.Auth.Accessor, secret.Auth.EntityID}
}

func (a *agent) works(t *testing.T, token string) bool {
	if token == "" {
		return false
	}
	_, err := a.s.as(t, token).Auth().Token().LookupSelf()
	return err == nil
}

func (a *agent) key() target.Credential {
	return target.Credential{Key: "vault/default/entity/" + a.entity}
}

// listed reads the mount's CRL as those who accept certificates do.
func (s *server) listed(t *testing.T, serial string) bool {
	t.Helper()
	resp, err := http.Get(s.addr + "/v1/pki/crl")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	list, err := x509.ParseRevocationList(raw)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list.RevokedCertificateEntries {
		if fmt.Sprintf("%x", e.SerialNumber) == strings.TrimLeft(strings.ReplaceAll(serial, ":", ""), "0") {
			return true
		}
	}
	return false
}

// issue gives a certificate of a role, with its PEM.
func (s *server) issue(t *testing.T, role string) (c target.Credential, serial, pem string) {
	t.Helper()
	secret := s.write(t, "pki/issue/"+role, map[string]any{"common_name": "a.example"})
	serial = secret.Data["serial_number"].(string)
	return target.Credential{Key: "vault/default/certificate/" + serial, Labels: map[string]string{"mount_point": "pki/"}}, serial, secret.Data["certificate"].(string)
}

func keep(t *testing.T, dir, serial, pem string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(dir, strings.ReplaceAll(serial, ":", "-")+".pem")
	if err := os.WriteFile(path, []byte(pem), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRealVaultHoldsTheContractForItsOtherKinds(t *testing.T) {
	s := realVault(t)
	s.write(t, "pki/roles/unstored", map[string]any{"allow_any_name": true, "ttl": "1h", "no_store": true})
	t.Run("certificates that Vault does not store", func(t *testing.T) {
		targettest.Run(t, func(t *testing.T) targettest.World {
			dir := t.TempDir()
			w := s.world(t, func(c *Config) { c.CertificateDirectory = dir })
			w.NotCounted = true
			w.Unknown, _, _ = s.issue(t, "unstored")
			w.New = func(t *testing.T) (target.Credential, func() bool) {
				c, serial, pem := s.issue(t, "unstored")
				keep(t, dir, serial, pem, 0o600)
				return c, func() bool { return !s.listed(t, serial) }
			}
			return w
		})
	})
	t.Run("entities", func(t *testing.T) {
		targettest.Run(t, func(t *testing.T) targettest.World {
			w := s.world(t, nil)
			w.NotCounted = true
			agents := map[string]*agent{}
			w.New = func(t *testing.T) (target.Credential, func() bool) {
				a := s.agent(t)
				agents[a.key().Key] = a
				return a.key(), func() bool { return a.works(t, a.token) || a.works(t, a.login(t)[0]) }
			}
			w.Beside = func(t *testing.T, c target.Credential) target.Credential {
				return target.Credential{Key: "vault/default/token/" + s.hash(t, agents[c.Key].login(t)[1])}
			}
			return w
		})
	})
	t.Run("secret ids", func(t *testing.T) {
		targettest.Run(t, func(t *testing.T) targettest.World {
			w := s.world(t, nil)
			w.NotCounted = true
			w.New = func(t *testing.T) (target.Credential, func() bool) {
				a := s.agent(t)
				more := s.write(t, "auth/approle/role/"+a.role+"/secret-id", nil).Data
				a.secretID = more["secret_id"].(string)
				return target.Credential{Key: "vault/default/secret_id/approle/" + a.role + "/" + more["secret_id_accessor"].(string)},
					func() bool { return a.login(t)[0] != "" }
			}
			return w
		})
	})
}

func TestRealVaultDisabledEntityKeepsNothingThatItHeld(t *testing.T) {
	s := realVault(t)
	s.policy(t, "broad", `path "pki/issue/leased" { capabilities = ["update"] }`)
	a := s.agent(t)
	leased, err := s.as(t, a.token).Logical().Write("pki/issue/leased", map[string]any{"common_name": "a.example"})
	if err != nil {
		t.Fatal(err)
	}
	other := s.agent(t)
	// What the FACT is about: disabling alone leaves the lease.
	s.write(t, "identity/entity/id/"+a.entity, map[string]any{"disabled": true})
	v := s.target(t)
	seen, err := v.Lookup(t.Context(), a.key())
	if err != nil || seen.Status != target.Alive || !strings.Contains(seen.Detail, "1 of its tokens live on") {
		t.Errorf("disabled by hand: %+v, %v", seen, err)
	}
	if p, err := v.Verify(t.Context(), a.key()); err != nil || p.Gone {
		t.Errorf("disabled by hand: %+v, %v", p, err)
	}
	if err := v.Revoke(t.Context(), a.key()); err != nil {
		t.Fatal(err)
	}
	if p, err := v.Verify(t.Context(), a.key()); err != nil || !p.Gone {
		t.Errorf("%+v, %v", p, err)
	}
	gone := false
	for deadline := time.Now().Add(10 * time.Second); !gone && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		p, err := v.Verify(t.Context(), target.Credential{Key: "vault/default/lease/" + leased.LeaseID})
		if err != nil {
			t.Fatal(err)
		}
		gone = p.Gone
	}
	if !gone {
		t.Error("the lease outlives the entity")
	}
	if !other.works(t, other.token) {
		t.Error("another entity's token ended")
	}
	// Who was disabled before is not enabled by giving back.
	c := a.key()
	c.Restore = seen.Restore
	if err := v.Restore(t.Context(), c); target.KindOf(err) != target.Impossible || err == nil {
		t.Errorf("Restore of what somebody else disabled = %v", err)
	}
	got, err := s.root.Logical().Read("identity/entity/id/" + a.entity)
	if err != nil || got.Data["disabled"] != true || len(got.Data["aliases"].([]any)) != 1 {
		t.Errorf("the entity is %v, %v", got, err)
	}
}

func TestRealVaultRefusesItsOwnEntityAndSecretID(t *testing.T) {
	s := realVault(t)
	v := s.target(t)
	me, err := v.auth.self(t.Context(), v)
	if err != nil || me.entity == "" || me.role != "enforcer" {
		t.Fatalf("%+v, %v", me, err)
	}
	list, err := s.root.Logical().List("auth/approle/role/enforcer/secret-id")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"entity/" + me.entity, "secret_id/approle/enforcer/" + list.Data["keys"].([]any)[0].(string)} {
		if err := v.Revoke(t.Context(), target.Credential{Key: "vault/default/" + key}); !errors.Is(err, target.ErrOwn) {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func TestRealVaultIdentityTokensAndAliasesSayWhatToDo(t *testing.T) {
	s := realVault(t)
	v := s.target(t)
	for key, want := range map[string]string{"identity_token/x": "identity/oidc/key/NAME/rotate", "entity_alias/x": "disable its entity"} {
		err := v.Revoke(t.Context(), target.Credential{Key: "vault/default/" + key})
		if err == nil || target.KindOf(err) != target.Impossible || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func TestRealVaultCertificateIsProvenByTheSignedWordsOfItsIssuer(t *testing.T) {
	s := realVault(t)
	b := newBetween(t, s.addr)
	cfg := s.config(t)
	cfg.Address = b.URL
	v := open(t, cfg)
	revoke := func(role string) (target.Credential, target.Proof) {
		t.Helper()
		c, _, _ := s.issue(t, role)
		if err := v.Revoke(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		p, err := v.Verify(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		return c, p
	}
	has := func(p target.Proof, gone bool, words ...string) {
		t.Helper()
		for _, word := range words {
			if !strings.Contains(p.Text, word) {
				t.Errorf("no %q in %q", word, p.Text)
			}
		}
		if p.Gone != gone {
			t.Errorf("%+v", p)
		}
	}
	c, p := revoke("plain")
	has(p, true, "CRL number ", "lists serial", "OCSP (pki/ocsp) says revoked since")
	t.Log(p.Text)

	// Somebody in between answers with a CRL of his own.
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	forged, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(9), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour)},
		&x509.Certificate{Subject: pkix.Name{CommonName: "test"}, KeyUsage: x509.KeyUsageCRLSign, SubjectKeyId: []byte{1}}, key)
	if err != nil {
		t.Fatal(err)
	}
	for path, body := range map[string][]byte{"/v1/pki/crl": forged, "/v1/pki/ocsp": []byte("nonsense")} {
		b.next(func(r *http.Request) bool {
			return r.URL.Path == path || strings.HasSuffix(r.URL.Path, "/crl/der") && path == "/v1/pki/crl"
		},
			func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { _, _ = w.Write(body) })
		if p, err := v.Verify(t.Context(), c); err == nil || p.Gone || target.KindOf(err) != target.Retryable {
			t.Errorf("%s forged: %+v, %v", path, p, err)
		}
	}

	// Another issuer of the mount has a CRL of its own.
	second := s.write(t, "pki/root/generate/internal", map[string]any{"common_name": "second", "ttl": "8760h", "issuer_name": "second"}).Data["issuer_id"].(string)
	s.write(t, "pki/roles/second", map[string]any{"allow_any_name": true, "ttl": "1h", "issuer_ref": second})
	_, p = revoke("second")
	has(p, true, `of "second"`, "/crl/der) lists serial")

	// The CRL is built later; OCSP knows at once.
	s.write(t, "pki/config/crl", map[string]any{"auto_rebuild": true, "auto_rebuild_grace_period": "1h", "expiry": "72h"})
	_, p = revoke("plain")
	has(p, true, "does not list it", "says revoked")
	// And nobody at all is told.
	s.write(t, "pki/config/crl", map[string]any{"auto_rebuild": true, "ocsp_disable": true})
	_, p = revoke("plain")
	has(p, false, "nobody who accepts it can know")
}

func TestRealVaultPEMOfAnotherCertificateIsRefused(t *testing.T) {
	s := realVault(t)
	s.write(t, "pki/roles/unstored", map[string]any{"allow_any_name": true, "ttl": "1h", "no_store": true})
	dir := t.TempDir()
	cfg := s.config(t)
	cfg.CertificateDirectory = dir
	v := open(t, cfg)
	c, serial, pem := s.issue(t, "unstored")
	_, otherSerial, other := s.issue(t, "unstored")
	path := keep(t, dir, serial, other, 0o600)
	if err := v.Revoke(t.Context(), c); err == nil || target.KindOf(err) != target.Impossible || !strings.Contains(err.Error(), "another certificate") {
		t.Errorf("%v", err)
	}
	if s.listed(t, otherSerial) {
		t.Error("another certificate was revoked")
	}
	keep(t, dir, serial, pem, 0o600)
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := v.Revoke(t.Context(), c); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("%v", err)
	}
	c.Key = "vault/default/certificate/../../x"
	if _, err := v.Lookup(t.Context(), c); err == nil {
		t.Error("a path was taken for a serial")
	}
}
