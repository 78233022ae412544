package e2e

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
)

// vaultUser talks to Vault as somebody with a token would.
type vaultUser struct {
	t    *testing.T
	addr string
}

// answer is what of Vault's answers the tests read.
type answer struct {
	status int
	Auth   struct {
		ClientToken string `json:"client_token"`
		Accessor    string `json:"accessor"`
	} `json:"auth"`
	WrapInfo struct {
		Token string `json:"token"`
	} `json:"wrap_info"`
	Data map[string]any `json:"data"`
}

func (a answer) text(key string) string {
	s, _ := a.Data[key].(string)
	return s
}

// call makes a call whatever Vault answers to it. wrap asks for a wrapped answer.
func (v vaultUser) call(token, method, path string, body map[string]any, wrap bool) answer {
	v.t.Helper()
	var payload io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			v.t.Fatal(err)
		}
		payload = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(v.t.Context(), method, v.addr+"/v1/"+path, payload)
	if err != nil {
		v.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("X-Vault-Token", token)
	}
	if wrap {
		req.Header.Set("X-Vault-Wrap-TTL", "5m")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		v.t.Fatal(err)
	}
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode}
	raw, err := io.ReadAll(resp.Body)
	if err == nil && len(raw) > 0 {
		err = json.Unmarshal(raw, &a)
	}
	if err != nil {
		v.t.Fatalf("%s: %v", method, err)
	}
	return a
}

// must is call for what Vault has to do.
func (v vaultUser) must(token, method, path string, body map[string]any, wrap bool) answer {
	v.t.Helper()
	a := v.call(token, method, path, body, wrap)
	if a.status >= 300 {
		v.t.Fatalf("%s %s: Vault answers %d", method, path, a.status)
	}
	return a
}

// secrets are values that may stand nowhere, with a word on what each is. The values themselves are not told in
// failures either.
type secrets map[string]string

func (s secrets) add(what, value string) string {
	if len(value) < 12 {
		panic("a secret so short is found everywhere: " + what)
	}
	s[value] = what
	return value
}

// in names the secrets that stand in text.
func (s secrets) in(text []byte) (found []string) {
	for value, what := range s {
		if bytes.Contains(text, []byte(value)) {
			found = append(found, what)
		}
	}
	return found
}

// telling are the keys whose values in an audit log are secrets.
var telling = map[string]bool{"client_token": true, "token": true, "secret_id": true, "password": true, "private_key": true}

// spy adds the secrets that stand in an audit log: with log_raw all that anybody ever held,
// without it the hashes of tokens, which nobody needs either.
func (s secrets) spy(t *testing.T, path string) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var record map[string]any
		if json.Unmarshal(lines.Bytes(), &record) == nil {
			s.walk(record, "")
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
}

func (s secrets) walk(value any, path string) {
	switch v := value.(type) {
	case map[string]any:
		for key, inner := range v {
			text, isText := inner.(string)
			if isText && telling[key] && len(text) >= 12 {
				hash := strings.HasPrefix(text, "hmac-sha256:")
				switch {
				case hash && key == "client_token":
					s.add("hash of "+path+"."+key, text)
				case !hash:
					_, body, _ := strings.Cut("\n"+text, "\n-----") // of a PEM, what its first line is followed by
					_, body, _ = strings.Cut(body, "\n")
					s.add(path+"."+key, cmp.Or(strings.Split(body, "\n")[0], text))
				}
				continue
			}
			s.walk(inner, path+"."+key)
		}
	case []any:
		for i, inner := range v {
			s.walk(inner, fmt.Sprintf("%s[%d]", path, i))
		}
	}
}
