package vault

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// realVault is a Vault dev server that ends with the test.
type realVault struct {
	t       *testing.T
	address string
	log     string // of the device "file"
}

const rootToken = "root-token-of-the-test"

// startVault runs the binary that LEASTWISE_VAULT names, with one file audit device.
func startVault(t *testing.T, deviceOptions map[string]string) *realVault {
	t.Helper()
	binary := os.Getenv("LEASTWISE_VAULT")
	if binary == "" {
		t.Skip("set LEASTWISE_VAULT to the path of a vault binary to test against a real server")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	command := exec.CommandContext(ctx, binary, "server", "-dev", "-dev-no-store-token", "-dev-root-token-id="+rootToken, "-dev-listen-address="+address)
	command.Env = append(os.Environ(), "HOME="+dir)
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	if err := command.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); command.Wait() })
	v := &realVault{t: t, address: "http://" + address, log: filepath.Join(dir, "audit.log")}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if answer, err := http.Get(v.address + "/v1/sys/health"); err == nil {
			answer.Body.Close()
			if answer.StatusCode == 200 {
				break
			}
		}
		if time.Now().After(end) {
			t.Fatalf("vault did not start: %s", output.String())
		}
	}
	options := map[string]string{"file_path": v.log}
	for k, value := range deviceOptions {
		options[k] = value
	}
	v.must("PUT", "sys/audit/file", rootToken, map[string]any{"type": "file", "options": options})
	return v
}

func (v *realVault) call(method, path, token string, body any, header ...string) (int, map[string]any) {
	v.t.Helper()
	var reader io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			v.t.Fatal(err)
		}
		reader = bytes.NewReader(text)
	}
	request, err := http.NewRequest(method, v.address+"/v1/"+path, reader)
	if err != nil {
		v.t.Fatal(err)
	}
	if token != "" {
		request.Header.Set("X-Vault-Token", token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		v.t.Fatal(err)
	}
	defer answer.Body.Close()
	out := map[string]any{}
	_ = json.NewDecoder(answer.Body).Decode(&out) // an empty answer is one
	return answer.StatusCode, out
}

func (v *realVault) must(method, path, token string, body any, header ...string) map[string]any {
	v.t.Helper()
	status, out := v.call(method, path, token, body, header...)
	if status >= 300 {
		v.t.Fatalf("%s %s: %d %v", method, path, status, out)
	}
	return out
}

// hash is the accessor as the log shows it.
func (v *realVault) hash(name string) string {
	v.t.Helper()
	return field(v.must("POST", "sys/audit-hash/file", rootToken, map[string]any{"input": name}), "data", "hash")
}

func field(doc map[string]any, keys ...string) string {
	var at any = doc
	for _, key := range keys {
		m, _ := at.(map[string]any)
		at = m[key]
	}
	if at == nil {
		return ""
	}
	return fmt.Sprint(at)
}

func (v *realVault) token(by, path string, body map[string]any) (token, accessor string) {
	v.t.Helper()
	auth := v.must("POST", path, by, body)
	return field(auth, "auth", "client_token"), field(auth, "auth", "accessor")
}

func (v *realVault) lines() [][]byte {
	v.t.Helper()
	text, err := os.ReadFile(v.log)
	if err != nil {
		v.t.Fatal(err)
	}
	return bytes.Split(bytes.TrimSpace(text), []byte("\n"))
}
