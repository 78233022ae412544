package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/cmd/leastwise/demo"
	"github.com/leastwise/leastwise/enforcer/notify"
	vaulttarget "github.com/leastwise/leastwise/enforcer/target/vault"
	"github.com/leastwise/leastwise/internal/storetest"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/schemas"
	site "github.com/leastwise/leastwise/simulator/demo"
	"github.com/leastwise/leastwise/simulator/fleet"
	"github.com/leastwise/leastwise/simulator/vaultserver"
)

func TestRealVaultSecretsAreNowhere(t *testing.T) {
	if _, err := vaultserver.Find(); err != nil {
		t.Skip(err)
	}
	for _, log := range []struct {
		name   string
		device string
	}{{"the log is hashed", fleet.AuditDevice}, {"the log is raw", rawDevice}} {
		t.Run(log.name, func(t *testing.T) { secretsAreNowhere(t, log.device) })
	}
}

// rawDevice writes every secret in clear. The product collects from it in one of the tests; in both it tells the test
// what there is to look for.
const rawDevice = "raw"

// marker is in the path of the last call: what the log told before has arrived with it.
const marker = "ingest/marker"

func secretsAreNowhere(t *testing.T, device string) {
	vaultDir := t.TempDir()
	server, err := vaultserver.Start(t.Context(), vaultserver.Options{Dir: vaultDir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop() })
	rights := vaulttarget.Config{AuditDevice: device}
	vault, err := fleet.Setup(t.Context(), fleet.SetupOptions{Addr: server.Addr, RootToken: server.RootToken,
		AuditFile: server.AuditFile, Dir: filepath.Join(vaultDir, "approle"), Day: site.Day,
		EnforcerPolicy: rights.PolicyHCL(), CollectorPolicy: rights.CollectorPolicyHCL()})
	if err != nil {
		t.Fatal(err)
	}
	user := vaultUser{t, server.Addr}
	logs := map[string]string{fleet.AuditDevice: server.AuditFile, rawDevice: filepath.Join(vaultDir, "raw.log")}
	user.must(server.RootToken, http.MethodPut, "sys/audit/"+rawDevice, map[string]any{"type": "file",
		"options": map[string]any{"file_path": logs[rawDevice], "log_raw": "true"}}, false)

	stdout := divert(t)
	p := newProduct(t, 4)
	p.log = logs[device]
	p.demo(vault, device)
	p.kafka.start()
	p.start()
	p.untilReady()

	playing, stopPlaying := context.WithCancel(t.Context())
	played := make(chan error, 1)
	// The agents look for what is given back elsewhere, so it stays where the enforcer left it.
	go func() { played <- vault.Run(playing, fleet.RunOptions{Seed: 1, DeliveryDir: t.TempDir()}) }()
	t.Cleanup(func() {
		stopPlaying()
		if err := <-played; err != nil {
			t.Error(err)
		}
	})

	hidden := secrets{}
	hidden.add("root token", server.RootToken)
	for _, file := range []string{vault.Collector.SecretIDFile, vault.Enforcer.SecretIDFile} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		hidden.add("the product's own secret id", string(text))
	}
	broken := plant(user, server.RootToken, hidden, p)
	delivered := p.untilDelivered(fleet.Ingest)
	hidden.add("delivered wrapping token", delivered)
	taken := user.must(delivered, http.MethodPut, "sys/wrapping/unwrap", nil, false)
	hidden.add("delivered token", taken.Auth.ClientToken)
	user.must(taken.Auth.ClientToken, http.MethodGet, "secret/data/ingest/0", nil, false)
	user.call(taken.Auth.ClientToken, http.MethodGet, "secret/data/"+marker, nil, false)
	p.until(func() string {
		if n, _ := p.number("SELECT count() FROM events WHERE endsWith(resource, ?)", marker); n == 0 {
			return "the last call has not arrived"
		}
		if n, _ := p.number("SELECT count() FROM v_dead_letters"); n < broken {
			return fmt.Sprintf("%d of %d broken records have arrived", n, broken)
		}
		if n, _ := p.number("SELECT count() FROM v_ladder WHERE state = 'CLOSED'"); n == 0 {
			return "no ladder has come to its end"
		}
		return ""
	})
	_, metrics, err := p.get("/metrics")
	if err != nil {
		t.Fatal(err)
	}
	_, health, err := p.get("/healthz")
	if err != nil {
		t.Fatal(err)
	}
	p.stop()

	known := len(hidden)
	for _, log := range logs { // the hashes of tokens in the other log are not to be copied either
		hidden.spy(t, log)
	}
	t.Logf("looking for %d secrets, %d of them planted", len(hidden), known)
	if len(hidden) < known+20 {
		t.Error("the raw log told hardly any secret: the test looks for too little")
	}
	p.lookInKafka(hidden)
	p.lookInClickHouse(hidden)
	p.lookInFiles(hidden, p.dir)
	p.lookInFiles(hidden, storetest.Engine(t).Dir())
	p.look(hidden, "the log", p.output.bytes(), "partition taken over")
	p.look(hidden, "/metrics", metrics, "leastwise_")
	p.look(hidden, "/healthz", health, "kafka")
	p.look(hidden, "stdout and stderr", stdout(), fleet.Ingest)
	p.lookAtDelivery(delivered)
}

// demo gives the product the demo's configuration, with its own engines and an audit device.
func (p *product) demo(vault *fleet.Site, device string) {
	p.t.Helper()
	if err := site.Write(filepath.Join(p.dir, "site")); err != nil {
		p.t.Fatal(err)
	}
	cfg := demo.Config(demo.Options{Dir: p.dir}, vault)
	cfg.Kafka, cfg.ClickHouse = p.cfg.Kafka, p.cfg.ClickHouse
	cfg.VaultCollector.File, cfg.VaultCollector.Inventory.Device = p.log, device
	cfg.Enforcer.Vault[0].AuditDevice = device
	cfg.Channels = notify.Section{site.OwnersChannel: {Type: "stdout"}, site.SecurityChannel: {Type: "stdout"}}
	if err := os.MkdirAll(cfg.Enforcer.Vault[0].Reissue.Directory, 0o700); err != nil {
		p.t.Fatal(err)
	}
	p.cfg = cfg
}

// plant makes calls in which secrets stand wherever one can stand, and writes broken records with secrets in them.
func plant(user vaultUser, root string, hidden secrets, p *product) (broken uint64) {
	const get, put = http.MethodGet, http.MethodPut
	type body = map[string]any
	value := func(what string) string {
		return hidden.add(what, "CANARY-"+strings.ReplaceAll(what, " ", "-")+"-6f1d0c2b")
	}
	create := func(extra body) answer {
		b := body{"policies": []string{fleet.Ingest}, "ttl": "10m"}
		for k, v := range extra {
			b[k] = v
		}
		a := user.must(root, put, "auth/token/create", b, false)
		hidden.add("created token", a.Auth.ClientToken)
		return a
	}
	read := func(token string) { user.must(token, get, "secret/data/ingest/0", nil, false) }

	// What is stored.
	user.must(root, put, "secret/data/ingest/canary", body{"data": body{"password": value("kv value"), "deep": body{"a": []string{value("kv list value")}}}}, false)
	user.must(root, get, "secret/data/ingest/canary", nil, false)
	user.must(root, get, "secret/data/ingest/canary", nil, true) // wrapped
	user.call(root, put, "secret/data/ingest/canary", body{"data": value("kv value of a wrong type")}, false)

	// Tokens: made, used, renewed, looked up, ended; in headers, bodies and paths.
	own := create(nil).Auth.ClientToken
	read(own)
	named := create(body{"id": value("chosen token id")}).Auth.ClientToken
	read(named)
	user.must(own, put, "auth/token/renew-self", nil, false)
	user.must(root, put, "auth/token/renew", body{"token": own}, false)
	user.must(root, put, "auth/token/lookup", body{"token": own}, false)
	for _, path := range []string{"auth/token/lookup/", "auth/token/renew/", "auth/token/revoke/", "auth/token/revoke-orphan/", "secret/data/"} {
		user.call(root, get, path+own, nil, false)
		user.call(root, put, path+own, body{"data": body{}}, false)
	}
	for _, path := range []string{"auth/token/lookup/", "auth/token/renew/", "auth/token/revoke/", "auth/token/revoke-orphan/"} {
		user.call(root, put, path+named, nil, false)
	}
	user.call(root, put, "auth/token/revoke", body{"token": create(nil).Auth.ClientToken}, false)
	user.call(hidden.add("unknown token", "hvs.CANARYunknowntoken6f1d0c2b"), get, "secret/data/ingest/0", nil, false)
	user.call(root, put, "auth/token/create", body{"ttl": value("value that Vault quotes in its error")}, false)

	// Wrapping.
	for range 2 {
		wrapped := user.must(root, put, "auth/token/create", body{"policies": []string{fleet.Ingest}}, true).WrapInfo.Token
		hidden.add("wrapping token", wrapped)
		user.must(root, put, "sys/wrapping/lookup", body{"token": wrapped}, false)
		inside := user.must(root, put, "sys/wrapping/unwrap", body{"token": wrapped}, false)
		read(hidden.add("wrapped token", inside.Auth.ClientToken))
		user.call(wrapped, put, "sys/wrapping/unwrap", nil, false) // spent
	}
	hidden.add("wrapping token", user.must(root, put, "sys/wrapping/wrap", body{"k": value("wrapped value")}, true).WrapInfo.Token)

	// Secret ids and passwords.
	role := user.must(root, get, "auth/approle/role/"+fleet.Ingest+"/role-id", nil, false).text("role_id")
	secret := hidden.add("secret id", user.must(root, put, "auth/approle/role/"+fleet.Ingest+"/secret-id", nil, false).text("secret_id"))
	chosen := value("chosen secret id")
	user.must(root, put, "auth/approle/role/"+fleet.Ingest+"/custom-secret-id", body{"secret_id": chosen}, false)
	for _, id := range []string{secret, chosen} {
		user.must(root, put, "auth/approle/role/"+fleet.Ingest+"/secret-id/lookup", body{"secret_id": id}, false)
		read(hidden.add("token of a login", user.must("", put, "auth/approle/login", body{"role_id": role, "secret_id": id}, false).Auth.ClientToken))
	}
	user.call("", put, "auth/approle/login", body{"role_id": role, "secret_id": value("wrong secret id")}, false)
	hidden.add("wrapping token", user.must(root, put, "auth/approle/role/"+fleet.Ingest+"/secret-id", nil, true).WrapInfo.Token)
	if user.call(root, put, "sys/auth/userpass", body{"type": "userpass"}, false).status < 300 {
		password := value("password")
		user.must(root, put, "auth/userpass/users/kim", body{"password": password, "token_policies": fleet.Ingest}, false)
		read(hidden.add("token of a login", user.must("", put, "auth/userpass/login/kim", body{"password": password}, false).Auth.ClientToken))
		user.call("", put, "auth/userpass/login/kim", body{"password": value("wrong password")}, false)
	}
	key := user.must(root, put, "pki/issue/admin", body{"common_name": "kim.example.org"}, false).text("private_key")
	hidden.add("private key", strings.Split(key, "\n")[1])

	// Records that break off, or are none, with secrets in them.
	lines := []string{
		`{"type":"request","auth":{"client_token":"` + value("token of a broken record") + `","accessor":"x`,
		"password=" + value("value in a line that is no record"),
		`{"type":"response","request":{"id":"1","data":{"` + value("key of a broken record") + `":"` + value("value of a broken record") + "\xff\"}}}",
		strings.Repeat(`{"a":`, 200) + `"` + value("value deep in a record") + `"` + strings.Repeat("}", 200),
	}
	p.append([]byte(strings.Join(lines, "\n") + "\n"))
	return uint64(len(lines))
}

// untilDelivered waits for what the enforcer gives back to an agent, and tells the wrapping token in it.
func (p *product) untilDelivered(agent string) (wrapping string) {
	p.t.Helper()
	path := filepath.Join(p.cfg.Enforcer.Vault[0].Reissue.Directory, agent+".json")
	p.until(func() string {
		text, err := os.ReadFile(path)
		if err != nil {
			return err.Error()
		}
		var d struct {
			WrappingToken string `json:"wrapping_token"`
		}
		if err := json.Unmarshal(text, &d); err != nil || d.WrappingToken == "" {
			return path + " holds no wrapping token"
		}
		wrapping = d.WrappingToken
		return ""
	})
	return wrapping
}

// look fails for each secret in text. sure must stand in it, or the look proves nothing.
func (p *product) look(hidden secrets, where string, text []byte, sure string) {
	p.t.Helper()
	for _, what := range hidden.in(text) {
		p.t.Errorf("%s: %s", where, what)
	}
	if !strings.Contains(string(text), sure) {
		p.t.Errorf("%s: %q is not there either, so nothing can be said of secrets", where, sure)
	}
}

// lookInKafka reads every record of every topic, as consumers do.
func (p *product) lookInKafka(hidden secrets) {
	p.t.Helper()
	client, err := stream.Open(p.t.Context(), p.cfg.Kafka, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	defer client.Close()
	for _, topic := range schemas.Topics() {
		partitions, err := client.Partitions(p.t.Context(), topic.Name)
		if err != nil {
			p.t.Fatal(err)
		}
		var all []byte
		for partition := range partitions {
			if _, err := client.ReadPartition(p.t.Context(), topic.Name, partition, stream.Earliest, func(m stream.Message) error {
				all = append(append(append(all, m.Key...), m.Value...), '\n')
				for _, h := range m.Headers {
					all = append(append(append(all, h.Key...), h.Value...), '\n')
				}
				return nil
			}); err != nil {
				p.t.Fatal(err)
			}
		}
		sure := ""
		if topic.Name == schemas.TopicEvents {
			sure = marker
		}
		p.look(hidden, "Kafka topic "+topic.Name, all, sure)
	}
}

// lookInClickHouse reads every column of every table.
func (p *product) lookInClickHouse(hidden secrets) {
	p.t.Helper()
	for _, table := range p.query("SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree%'") {
		sure := ""
		if table == "events" {
			sure = marker
		}
		p.look(hidden, "ClickHouse table "+table, p.raw("SELECT * FROM "+table+" FORMAT TSVRaw"), sure)
	}
}

func (p *product) lookInFiles(hidden secrets, root string) {
	p.t.Helper()
	files := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case os.IsNotExist(err):
			return nil // the engine merges and removes parts as it likes
		case err != nil:
			return err
		case d.IsDir() && path == p.cfg.Enforcer.Vault[0].Reissue.Directory:
			return filepath.SkipDir
		case !d.Type().IsRegular():
			return nil
		}
		text, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			return nil
		}
		files++
		for _, what := range hidden.in(text) {
			p.t.Errorf("file %s: %s", path, what)
		}
		return err
	})
	if err != nil {
		p.t.Fatal(err)
	}
	if files == 0 {
		p.t.Errorf("%s has no files: the test looks in the wrong place", root)
	}
}

// lookAtDelivery holds the one place where a wrapping token may stand: readable by its owner alone.
func (p *product) lookAtDelivery(wrapping string) {
	p.t.Helper()
	dir := p.cfg.Enforcer.Vault[0].Reissue.Directory
	entries, err := os.ReadDir(dir)
	if err != nil {
		p.t.Fatal(err)
	}
	found := false
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			p.t.Fatal(err)
		}
		if info.Mode() != 0o600 {
			p.t.Errorf("%s: mode %v, want a file that its owner alone may read", entry.Name(), info.Mode())
		}
		text, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			p.t.Fatal(err)
		}
		found = found || strings.Contains(string(text), wrapping)
	}
	if !found {
		p.t.Error("the wrapping token that was delivered stands in no file of the delivery")
	}
}

// divert sends what is written to standard output and error into a file, until the test ends.
func divert(t *testing.T) (read func() []byte) {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	out, errs := os.Stdout, os.Stderr
	os.Stdout, os.Stderr = file, file
	t.Cleanup(func() {
		os.Stdout, os.Stderr = out, errs
		_ = file.Close()
	})
	return func() []byte {
		text, err := os.ReadFile(file.Name())
		if err != nil {
			t.Error(err)
		}
		return text
	}
}
