package tokenissuer

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func started(t *testing.T) *Issuer {
	t.Helper()
	i, err := Start(filepath.Join(t.TempDir(), "token"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := i.Stop(); err != nil {
			t.Error(err)
		}
	})
	return i
}

func get(t *testing.T, url, token string, to any) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusOK {
		if err := json.NewDecoder(answer.Body).Decode(to); err != nil {
			t.Fatal(err)
		}
	}
	return answer.StatusCode
}

func TestATokenIsSignedByTheKeyThatTheIssuerShows(t *testing.T) {
	i := started(t)
	token, jti, err := i.Issue(Grant{Subject: "steady", Audience: "aud", Life: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	var set struct{ Keys []struct{ X, Kid string } }
	if status := get(t, i.URL+"/jwks", "", &set); status != http.StatusOK || len(set.Keys) != 1 {
		t.Fatalf("status %d, keys %v", status, set.Keys)
	}
	key, err := base64.RawURLEncoding.DecodeString(set.Keys[0].X)
	if err != nil {
		t.Fatal(err)
	}
	signed, signature, _ := cutLast(token)
	raw, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil || !ed25519.Verify(key, []byte(signed), raw) {
		t.Errorf("the signature is not of that key: %v", err)
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil || !strings.Contains(string(payload), jti) || !strings.Contains(string(payload), Name) {
		t.Errorf("claims %s, %v", payload, err)
	}
}

func cutLast(token string) (signed, signature string, ok bool) {
	at := strings.LastIndexByte(token, '.')
	return token[:at], token[at+1:], at > 0
}

func TestTheRegistryIsReadPageByPageOnceEach(t *testing.T) {
	i := started(t)
	const n = 2*pageSize + 3
	for range n {
		if _, _, err := i.Issue(Grant{Subject: "s", AgentID: "a", Life: time.Minute}); err != nil {
			t.Fatal(err)
		}
	}
	token, err := os.ReadFile(i.TokenFile)
	if err != nil {
		t.Fatal(err)
	}
	var page struct {
		Records []struct {
			JTI     string `json:"jti"`
			AgentID string `json:"agent_id"`
		}
		Next string `json:"next_cursor"`
	}
	if status := get(t, i.URL+"/registry", "guess", &page); status != http.StatusUnauthorized {
		t.Errorf("status %d for a wrong token", status)
	}
	seen := map[string]bool{}
	pages := 0
	for cursor := ""; ; pages++ {
		page.Records = nil
		if status := get(t, i.URL+"/registry?cursor="+cursor, string(token), &page); status != http.StatusOK {
			t.Fatalf("status %d", status)
		}
		if len(page.Records) == 0 {
			break
		}
		for _, r := range page.Records {
			if seen[r.JTI] || r.AgentID != "a" {
				t.Errorf("record %+v, seen before %v", r, seen[r.JTI])
			}
			seen[r.JTI] = true
		}
		cursor = page.Next
	}
	if len(seen) != n || pages != 3 {
		t.Errorf("%d records on %d pages", len(seen), pages)
	}
	if status := get(t, i.URL+"/registry?cursor=999", string(token), &page); status != http.StatusGone {
		t.Errorf("status %d for a cursor that never was", status)
	}
}
