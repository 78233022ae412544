package house

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// profiles are what does not run unless it is asked for.
var profiles = map[string]string{
	"collector-cloudtrail": "aws", "collector-gcpaudit": "gcp", "collector-certlog": "certlog", "collector-spire": "spire",
	"collector-jwtregistry": "jwt", "collector-agentusage": "agents", "gate": "gate",
	"console": "console", "broker": "broker", "broker-token": "broker",
}

// argument gives the value of --name=value.
func argument(t *testing.T, args []string, name string) string {
	t.Helper()
	for _, arg := range args {
		if value, found := strings.CutPrefix(arg, "--"+name+"="); found {
			return value
		}
	}
	t.Errorf("%v has no --%s=", args, name)
	return ""
}

func TestComposeRunsNoMoreThanItIsAskedFor(t *testing.T) {
	all, plain := compose(t), compose(t, "none")
	for name, s := range all.Services {
		want := profiles[name]
		if strings.Join(s.Profiles, " ") != want {
			t.Errorf("%s has profiles %v, want %q", name, s.Profiles, want)
		}
		if _, runs := plain.Services[name]; runs != (want == "") {
			t.Errorf("%s without any profile: runs %t", name, runs)
		}
		if want == "" {
			continue
		}
		if _, runs := compose(t, want).Services[name]; !runs {
			t.Errorf("--profile %s does not run %s", want, name)
		}
		if !strings.Contains(read(t, configFile), "--profile "+want) {
			t.Errorf("%s does not say what --profile %s needs", configFile, want)
		}
	}
	for name := range profiles {
		if _, found := all.Services[name]; !found {
			t.Errorf("no service %s", name)
		}
	}
}

// The gate is a command of leastwise. Its flags, and what they name, have to be there.
func TestComposeRunsTheGateAsItIsCalled(t *testing.T) {
	s := compose(t).Services["gate"]
	if s.Build == nil || s.Build.Target != "leastwise" || !strings.HasSuffix(strings.TrimSpace(before(read(t, "Dockerfile"), "EXPOSE 8443")), `ENTRYPOINT ["/leastwise"]`) {
		t.Error("the gate is not built as the Dockerfile's last stage is")
	}
	if len(s.Command) < 3 || s.Command[0] != "gate" || s.Command[1] != "serve" {
		t.Fatalf("it runs %v", s.Command)
	}
	if asks := s.HealthCheck.Test; len(asks) < 5 || !slices.Equal(asks[:4], []string{"CMD", "/leastwise", "gate", "serve"}) ||
		!slices.Contains(asks, "--probe") || argument(t, asks, "listen") != argument(t, s.Command, "listen") {
		t.Fatalf("its health is asked by %v", asks)
	}
	help := output(t, top(t), nil, "go", "run", "./cmd/leastwise", "gate", "serve", "--help")
	for _, arg := range append(slices.Clone([]string(s.Command[2:])), s.HealthCheck.Test[4:]...) {
		name, value, _ := strings.Cut(arg, "=")
		if !strings.Contains(help, name+"=") && !strings.Contains(help, name+" ") {
			t.Errorf("leastwise gate serve has no %s:\n%s", name, help)
		}
		if strings.HasPrefix(value, "/") && !mounted(s, value) {
			t.Errorf("%s is not mounted", value)
		}
	}
	for _, required := range regexp.MustCompile(`--[a-z-]+=FILE +[^.]*\(PEM\)`).FindAllString(help, -1) {
		argument(t, s.Command, strings.TrimPrefix(before(required, "="), "--"))
	}
	if catalog := section(t, "catalog")["path"]; catalog == nil || !mounted(s, catalog.(string)) {
		t.Errorf("it reads the catalog at %v, which is not mounted", catalog)
	}
	if section(t, "gate")["fail"] != "closed" {
		t.Error("its configuration does not say that it fails closed")
	}
}

func before(text, mark string) string {
	head, _, _ := strings.Cut(text, mark)
	return head
}

// section of the configuration file.
func section(t *testing.T, name string) map[string]any {
	t.Helper()
	var cfg map[string]any
	if err := yaml.Unmarshal([]byte(read(t, configFile)), &cfg); err != nil {
		t.Fatal(err)
	}
	found, _ := cfg[name].(map[string]any)
	return found
}

// The console is a command of leastwise, too: with the users, files and addresses that its configuration names.
func TestComposeRunsTheConsoleAsItIsCalled(t *testing.T) {
	project := compose(t)
	s := project.Services["console"]
	if s.Build == nil || s.Build.Target != "leastwise" || len(s.Command) != 2 || s.Command[0] != "console" {
		t.Fatalf("it runs %v of %v", s.Command, s.Build)
	}
	binary := filepath.Join(t.TempDir(), "leastwise")
	output(t, top(t), nil, "go", "build", "-o", binary, "./cmd/leastwise")
	config := "--config=" + onHost(s, argument(t, s.Command, "config"))
	output(t, top(t), nil, binary, "console", config, "--check-config")
	asks := s.HealthCheck.Test
	if len(asks) != 5 || asks[1] != "/leastwise" || asks[2] != "console" || asks[3] != s.Command[1] || asks[4] != "--probe" {
		t.Fatalf("its health is asked by %v", asks)
	}
	// Nothing runs here, so the probe must come as far as asking.
	if out, err := exec.CommandContext(t.Context(), binary, "console", config, "--probe").CombinedOutput(); err == nil || !strings.Contains(string(out), "probe") {
		t.Errorf("its health check: %v\n%s", err, out)
	}
	console := section(t, "console")
	reader, _ := console["clickhouse"].(map[string]any)
	name, _ := reader["username"].(string)
	if name == "" || name == section(t, "clickhouse")["username"] {
		t.Fatalf("it reads ClickHouse as %q", name)
	}
	user := read(t, "deploy/clickhouse/"+name+".xml")
	for _, want := range []string{"<readonly>2</readonly>", "<query>GRANT SELECT ON leastwise.*</query>", "<" + name + ">"} {
		if !strings.Contains(user, want) {
			t.Errorf("deploy/clickhouse/%s.xml does not say %s", name, want)
		}
	}
	if strings.Count(user, "GRANT") != 1 || strings.Contains(user, "no_password") {
		t.Errorf("deploy/clickhouse/%s.xml grants more than reading, or asks for no password", name)
	}
	if mounted(s, "/run/secrets/clickhouse_password") {
		t.Error("it holds the password of a user that may write")
	}
	oidc, _ := console["oidc"].(map[string]any)
	if issuer, _ := oidc["issuer"].(string); !strings.HasSuffix(issuer, ".example.org") { // RFC 2606: nobody's
		t.Errorf("the issuer %q is somebody's", issuer)
	}
}

// The broker is a command, too. It holds a token that issues, and no key to the database.
func TestComposeRunsTheBrokerAsItIsCalled(t *testing.T) {
	s := compose(t).Services["broker"]
	if s.Build == nil || s.Build.Target != "leastwise" || len(s.Command) != 2 || s.Command[0] != "broker" {
		t.Fatalf("it runs %v of %v", s.Command, s.Build)
	}
	binary := filepath.Join(t.TempDir(), "leastwise")
	output(t, top(t), nil, "go", "build", "-o", binary, "./cmd/leastwise")
	config := "--config=" + onHost(s, argument(t, s.Command, "config"))
	output(t, top(t), nil, binary, "broker", config, "--check-config")
	asks := s.HealthCheck.Test
	if len(asks) != 5 || asks[1] != "/leastwise" || asks[2] != "broker" || asks[3] != s.Command[1] || asks[4] != "--probe" {
		t.Fatalf("its health is asked by %v", asks)
	}
	if out, err := exec.CommandContext(t.Context(), binary, "broker", config, "--probe").CombinedOutput(); err == nil || !strings.Contains(string(out), "probe") {
		t.Errorf("its health check: %v\n%s", err, out)
	}
	for _, secret := range s.Secrets {
		if strings.Contains(secret.Source, "clickhouse") {
			t.Errorf("it holds %s", secret.Source)
		}
	}
	vault, _ := section(t, "broker")["vault"].(map[string]any)
	agent := read(t, "deploy/vault/broker-agent.hcl")
	for key, want := range map[string]string{"path": vault["token_file"].(string), "address": vault["address"].(string)} {
		if !strings.Contains(agent, key+" = \""+want+"\"") {
			t.Errorf("deploy/vault/broker-agent.hcl has no %s = %q", key, want)
		}
	}
	if role := vault["token_role"].(string); !strings.Contains(read(t, "deploy/vault/setup.sh"), "auth/token/roles/"+role+" ") ||
		!strings.Contains(read(t, "deploy/vault/broker.hcl"), "auth/token/create/"+role+"\"") {
		t.Errorf("deploy/vault does not make the token role %s", role)
	}
}
