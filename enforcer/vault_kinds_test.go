package enforcer

import (
	"crypto/x509"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/enforcer/target/vault"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Leases and certificates of a real Vault go to the ladder's proven end, as tokens do.
func TestRealVaultLeasesAndCertificatesAreRevokedAndProven(t *testing.T) {
	v := startVault(t)
	v.do(t, "sys/mounts/pki", map[string]any{"type": "pki"})
	v.do(t, "pki/root/generate/internal", map[string]any{"common_name": "test", "ttl": "8760h"})
	v.do(t, "pki/roles/plain", map[string]any{"allow_any_name": true, "ttl": "1h"})
	v.do(t, "pki/roles/leased", map[string]any{"allow_any_name": true, "ttl": "1h", "generate_lease": true})
	issue := func(role string) (serial, lease string) {
		answer := v.do(t, "pki/issue/"+role, map[string]any{"common_name": "a.example"})
		lease, _ = answer["lease_id"].(string)
		return answer["data"].(map[string]any)["serial_number"].(string), lease
	}
	plain, _ := issue("plain")
	leased, lease := issue("leased")
	if lease == "" {
		t.Fatal("Vault gave no lease")
	}
	onCRL := func(serial string) bool {
		resp, err := http.Get(v.addr + "/v1/pki/crl")
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
		for _, revoked := range list.RevokedCertificateEntries {
			if revoked.SerialNumber.Text(16) == strings.TrimLeft(strings.ReplaceAll(serial, ":", ""), "0") {
				return true
			}
		}
		return false
	}
	if onCRL(plain) || onCRL(leased) {
		t.Fatal("the CRL lists what nobody revoked")
	}
	for credential, serial := range map[string]string{"vault/default/certificate/" + plain: plain, "vault/default/lease/" + lease: leased} {
		s := newSite(t)
		cfg := fastConfig()
		cfg.Vault = []vault.Config{v.config(t, v.addr, t.TempDir())}
		s.start(cfg, nil)
		d := scaled(credential)
		d.Ladder.Reissue, d.Proposal = false, nil
		d.Subject.Labels = map[string]string{"mount_point": "pki/"}
		end := s.until(d, pb.LadderState_REVOKED, pb.LadderState_CLOSED)
		if end.Proof == "" || !onCRL(serial) {
			t.Errorf("%s: proof %q, on the CRL %v", credential, end.Proof, onCRL(serial))
		}
		entries := s.journal(credential)
		for i := range entries {
			if i > 0 {
				if err := checkEntry(entries[i-1], entries[i]); err != nil {
					t.Errorf("%v\n%v", err, entries[i])
				}
			}
		}
	}
}
