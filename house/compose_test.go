package house

import (
	"errors"
	"io/fs"
	"maps"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/goccy/go-yaml"
)

// components are the services that run our binaries, with the sections of the
// configuration file each reads besides the common ones.
var components = map[string][]string{
	"collector-vault":       {"kafka", "vault_collector"},
	"collector-cloudtrail":  {"kafka", "cloudtrail_collector"},
	"collector-gcpaudit":    {"kafka", "gcpaudit_collector"},
	"collector-certlog":     {"kafka", "certlog_collector"},
	"collector-spire":       {"kafka", "spire_collector"},
	"collector-jwtregistry": {"kafka", "jwtregistry_collector"},
	"collector-agentusage":  {"kafka", "agentusage_collector"},
	"processor":             {"kafka", "clickhouse", "processor", "policies", "catalog"},
	"enforcer":              {"kafka", "enforcer", "channels"},
}

// commands are the services that run a command of leastwise, with the sections it reads where it runs.
var commands = map[string][]string{"console": {"kafka", "console", "policies", "catalog"}, "broker": {"kafka", "broker", "policies", "catalog"}}

const configFile = "deploy/config/leastwise.yaml"

// compose is the project with the services of these profiles; of all if none is given.
func compose(t *testing.T, profiles ...string) *types.Project {
	t.Helper()
	if len(profiles) == 0 {
		profiles = []string{"*"}
	}
	options, err := cli.NewProjectOptions([]string{filepath.Join(top(t), "docker-compose.yml")}, cli.WithWorkingDirectory(top(t)),
		cli.WithProfiles(profiles))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatalf("docker-compose.yml: %v", err)
	}
	return project
}

// listenPort is where every component serves metrics and health in Compose.
func listenPort(t *testing.T) string {
	t.Helper()
	var cfg struct {
		Listen string `yaml:"listen"`
	}
	if err := yaml.Unmarshal([]byte(read(t, configFile)), &cfg); err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(cfg.Listen)
	if err != nil || host != "" {
		t.Fatalf("%s: listen %q: want :PORT, all addresses of the container", configFile, cfg.Listen)
	}
	return port
}

// ports are those each service answers at within Compose's network.
func ports(t *testing.T, project *types.Project) map[string][]string {
	t.Helper()
	found := map[string][]string{ // fixed by the image
		"clickhouse": {"8123", "9000"}, "prometheus": {"9090"}, "alertmanager": {"9093"}, "grafana": {"3000"},
	}
	env := project.Services["kafka"].Environment
	_, kafka, _ := strings.Cut(*env["KAFKA_ADVERTISED_LISTENERS"], "://")
	host, port, err := net.SplitHostPort(kafka)
	if err != nil || host != "kafka" || !strings.Contains(*env["KAFKA_LISTENERS"], "PLAINTEXT://:"+port) {
		t.Errorf("kafka advertises %q, which it does not listen at", kafka)
	}
	found["kafka"] = []string{port}
	_, port, err = net.SplitHostPort(*project.Services["vault"].Environment["VAULT_DEV_LISTEN_ADDRESS"])
	if err != nil {
		t.Error(err)
	}
	found["vault"] = []string{port}
	for name := range components {
		found[name] = []string{listenPort(t)}
	}
	var cfg struct {
		Agents struct {
			OTLP struct {
				HTTP string `yaml:"http"`
				GRPC string `yaml:"grpc"`
			} `yaml:"otlp"`
		} `yaml:"agentusage_collector"`
		Console struct {
			Listen string `yaml:"listen"`
		} `yaml:"console"`
		Broker struct {
			Listen string `yaml:"listen"`
		} `yaml:"broker"`
	}
	if err := yaml.Unmarshal([]byte(read(t, configFile)), &cfg); err != nil {
		t.Fatal(err)
	}
	for service, listens := range map[string][]string{"collector-agentusage": {cfg.Agents.OTLP.HTTP, cfg.Agents.OTLP.GRPC},
		"gate": {argument(t, project.Services["gate"].Command, "listen")}, "console": {cfg.Console.Listen, ":" + listenPort(t)},
		"broker": {cfg.Broker.Listen, ":" + listenPort(t)}} {
		for _, listen := range listens {
			_, port, err := net.SplitHostPort(listen)
			if err != nil {
				t.Errorf("%s listens at %q: %v", service, listen, err)
			}
			found[service] = append(found[service], port)
		}
	}
	return found
}

func TestComposeServicesArePinnedWatchedAndOnLoopback(t *testing.T) {
	project := compose(t)
	for name, s := range project.Services {
		if s.Build == nil {
			if _, tag, found := strings.Cut(s.Image, ":"); !found || tag == "latest" {
				t.Errorf("%s: image %q is not pinned", name, s.Image)
			}
		}
		if s.HealthCheck == nil && s.Restart != "on-failure" {
			t.Errorf("%s has no health check", name)
		}
		for _, p := range s.Ports {
			if p.HostIP != "127.0.0.1" {
				t.Errorf("%s publishes %s on %q, want 127.0.0.1", name, p.Published, p.HostIP)
			}
			if known := ports(t, project)[name]; !slices.Contains(known, strconv.Itoa(int(p.Target))) {
				t.Errorf("%s publishes its port %d; it answers at %v", name, p.Target, known)
			}
		}
	}
	if !strings.HasPrefix(project.Services["kafka"].Image, "apache/kafka:4.") || !strings.Contains(*project.Services["kafka"].Environment["KAFKA_PROCESS_ROLES"], "controller") {
		t.Error("kafka is not Kafka 4 in KRaft mode")
	}
}

func TestComposeMountsOnlyWhatExists(t *testing.T) {
	project := compose(t)
	secrets := t.TempDir()
	output(t, top(t), nil, "deploy/secrets.sh", secrets)
	for name, secret := range project.Secrets {
		info, err := os.Stat(filepath.Join(secrets, filepath.Base(secret.File)))
		if err != nil || info.Size() < 16 {
			t.Errorf("secret %s: deploy/secrets.sh does not make %s (%v)", name, secret.File, err)
		}
		if filepath.Dir(secret.File) != filepath.Join(top(t), "deploy", "secrets") {
			t.Errorf("secret %s lies in %s, where git would see it", name, secret.File)
		}
	}
	for name, s := range project.Services {
		for _, v := range s.Volumes {
			if v.Type != types.VolumeTypeBind {
				continue
			}
			if _, err := os.Stat(v.Source); err != nil {
				t.Errorf("%s mounts %s: %v", name, v.Source, err)
			}
			if !v.ReadOnly {
				t.Errorf("%s mounts %s writable", name, v.Source)
			}
		}
		for _, file := range s.Entrypoint {
			if strings.HasPrefix(file, "/") {
				if _, err := os.Stat(onHost(s, file)); err != nil {
					t.Errorf("%s runs %s: %v", name, file, err)
				}
			}
		}
	}
}

// onHost is the path outside the container of one under a bind mount;
// otherwise path itself.
func onHost(s types.ServiceConfig, path string) string {
	for _, v := range s.Volumes {
		if rest, ok := strings.CutPrefix(path, v.Target); ok && v.Type == types.VolumeTypeBind && (rest == "" || rest[0] == '/') {
			return filepath.Join(v.Source, rest)
		}
	}
	return path
}

// mounted reports whether path in the container comes from a volume or secret.
func mounted(s types.ServiceConfig, path string) bool {
	for _, v := range s.Volumes {
		if within(path, v.Target) {
			return true
		}
	}
	for _, secret := range s.Secrets {
		if path == "/run/secrets/"+secret.Source {
			return true
		}
	}
	return false
}

func TestComposeRunsOurBinariesWithFlagsAndConfigurationTheyTake(t *testing.T) {
	project := compose(t)
	dockerfile, makefile := read(t, "Dockerfile"), read(t, "Makefile")
	bin := t.TempDir()
	for name := range components {
		s, found := project.Services[name]
		if !found || s.Build == nil {
			t.Errorf("no service %s that is built here", name)
			continue
		}
		stage := "FROM component AS " + s.Build.Target + "\nCOPY --from=build /src/bin/" + name + " /" + name + "\nENTRYPOINT [\"/" + name + "\"]\n"
		if !strings.Contains(dockerfile, stage) {
			t.Errorf("%s: Dockerfile has no stage\n%s", name, stage)
		}
		main := regexp.MustCompile(`(?m)^main_` + name + ` +:= (\S+)$`).FindStringSubmatch(makefile)
		if source, ok := strings.CutPrefix(name, "collector-"); ok && regexp.MustCompile(`(?m)^SOURCES +:=.* ?\b`+source+`\b`).MatchString(makefile) {
			main = []string{"", "./collectors/cmd/" + name}
		}
		if main == nil {
			t.Errorf("%s: Makefile does not build it", name)
			continue
		}
		binary := filepath.Join(bin, name)
		output(t, top(t), nil, "go", "build", "-o", binary, main[1])

		run := func(args []string) (int, string) {
			for i, a := range args {
				args[i] = onHost(s, a)
			}
			out, err := exec.CommandContext(t.Context(), binary, args...).CombinedOutput()
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				return exit.ExitCode(), string(out)
			}
			if err != nil {
				t.Fatal(err)
			}
			return 0, string(out)
		}
		if code, out := run(append(slices.Clone(s.Command), "--check-config")); code != 0 {
			t.Errorf("%s %v --check-config: exit %d\n%s", name, s.Command, code, out)
		}
		if s.HealthCheck.Test[1] != "/"+name {
			t.Errorf("%s: its health check runs %s", name, s.HealthCheck.Test[1])
		}
		// Nothing runs here, so the probe must come as far as asking.
		if code, out := run(slices.Clone(s.HealthCheck.Test[2:])); code != 1 || !strings.Contains(out, "probe") {
			t.Errorf("%s: health check %v: exit %d\n%s", name, s.HealthCheck.Test, code, out)
		}
	}
}

func TestComposeConfigurationNamesPathsAndHostsThatTheServiceHas(t *testing.T) {
	project := compose(t)
	known := ports(t, project)
	var cfg map[string]any
	if err := yaml.Unmarshal([]byte(read(t, configFile)), &cfg); err != nil {
		t.Fatal(err)
	}
	all := maps.Clone(components)
	maps.Copy(all, commands)
	for name, sections := range all {
		s := project.Services[name]
		for _, section := range append([]string{"data_dir"}, sections...) {
			scalars(cfg[section], func(text string) {
				switch {
				case strings.HasPrefix(text, "/"):
					if !mounted(s, text) {
						t.Errorf("%s reads %s: %s is not mounted there", name, section, text)
					}
					if host := onHost(s, text); host != text {
						if _, err := os.Stat(host); errors.Is(err, fs.ErrNotExist) {
							t.Errorf("%s reads %s: %s does not exist", name, section, host)
						}
					}
				default:
					host, port, ok := address(text)
					if !ok {
						return
					}
					if strings.Contains(host, ".") && strings.HasPrefix(text, "https://") {
						return // a site's own, outside Compose: whose names have no dot
					}
					if host == "" { // where it listens itself
						host = name
					}
					if host == "localhost" { // where people on this machine reach it
						if !slices.ContainsFunc(s.Ports, func(p types.ServicePortConfig) bool { return p.Published == port }) {
							t.Errorf("%s reads %s: %s, and publishes no such port", name, section, text)
						}
						return
					}
					if !slices.Contains(known[host], port) {
						t.Errorf("%s reads %s: nothing in Compose answers at %s", name, section, text)
					}
				}
			})
		}
	}
}

// scalars calls visit with each text below v.
func scalars(v any, visit func(string)) {
	switch v := v.(type) {
	case map[string]any:
		for _, value := range v {
			scalars(value, visit)
		}
	case []any:
		for _, value := range v {
			scalars(value, visit)
		}
	case string:
		visit(v)
	}
}

// address takes host and port from a URL or from host:port.
func address(text string) (host, port string, ok bool) {
	if u, err := url.Parse(text); err == nil && (u.Scheme == "http" || u.Scheme == "https") {
		return u.Hostname(), u.Port(), true
	}
	host, port, err := net.SplitHostPort(text)
	return host, port, err == nil && regexp.MustCompile(`^[0-9]+$`).MatchString(port)
}

func TestPrometheusScrapesEveryComponentAndGrafanaFindsItsSources(t *testing.T) {
	project := compose(t)
	known := ports(t, project)
	var prometheus struct {
		RuleFiles     []string `yaml:"rule_files"`
		ScrapeConfigs []struct {
			StaticConfigs []struct {
				Targets []string `yaml:"targets"`
			} `yaml:"static_configs"`
			DNS []struct {
				Names []string `yaml:"names"`
				Type  string   `yaml:"type"`
				Port  int      `yaml:"port"`
			} `yaml:"dns_sd_configs"`
		} `yaml:"scrape_configs"`
	}
	if err := yaml.Unmarshal([]byte(read(t, "deploy/prometheus/prometheus.yml")), &prometheus); err != nil {
		t.Fatal(err)
	}
	for _, file := range prometheus.RuleFiles {
		read(t, "deploy/prometheus/"+file)
	}
	var scraped []string
	for _, s := range prometheus.ScrapeConfigs {
		for _, c := range s.StaticConfigs {
			for _, target := range c.Targets {
				host, port, _ := net.SplitHostPort(target)
				scraped = append(scraped, host)
				if !slices.Contains(known[host], port) {
					t.Errorf("prometheus scrapes %s, where nothing answers", target)
				}
			}
		}
	}
	optional := 0 // found by name while they run: one that does not is no alarm
	for _, s := range prometheus.ScrapeConfigs {
		for _, c := range s.DNS {
			for _, name := range c.Names {
				scraped = append(scraped, name)
				optional++
				if profiles[name] == "" || c.Type != "A" || !slices.Contains(known[name], strconv.Itoa(c.Port)) {
					t.Errorf("prometheus looks for %s at %s records, port %d", name, c.Type, c.Port)
				}
			}
		}
	}
	// The gate serves its metrics over TLS, to whoever trusts its certificate; broker-token is Vault's own agent.
	if optional != len(profiles)-2 {
		t.Errorf("prometheus looks for %d of the %d services with a profile", optional, len(profiles))
	}
	for name := range components {
		if !slices.Contains(scraped, name) {
			t.Errorf("prometheus does not scrape %s", name)
		}
	}

	var grafana struct {
		Datasources []struct {
			Type, URL string
			JSONData  struct {
				Host     string `yaml:"host"`
				Port     int    `yaml:"port"`
				Username string `yaml:"username"`
			} `yaml:"jsonData"`
		} `yaml:"datasources"`
	}
	if err := yaml.Unmarshal([]byte(read(t, "deploy/grafana/provisioning/datasources/leastwise.yaml")), &grafana); err != nil {
		t.Fatal(err)
	}
	if len(grafana.Datasources) == 0 {
		t.Error("no Grafana datasource")
	}
	for _, d := range grafana.Datasources {
		host, port := d.JSONData.Host, strconv.Itoa(d.JSONData.Port)
		if d.URL != "" {
			host, port, _ = address(d.URL)
		}
		if !slices.Contains(known[host], port) {
			t.Errorf("datasource %s is at %s:%s, where nothing answers", d.Type, host, port)
		}
		if user := d.JSONData.Username; user != "" && !strings.Contains(read(t, "deploy/clickhouse/"+user+".xml"), "<"+user+">") {
			t.Errorf("datasource %s: no such user %s", d.Type, user)
		}
		if plugin := d.Type; strings.HasPrefix(plugin, "grafana-") && !strings.Contains(*project.Services["grafana"].Environment["GF_PLUGINS_PREINSTALL"], plugin) {
			t.Errorf("datasource type %s: the plugin is not installed", plugin)
		}
	}
}

// channelNames are those of the configuration file.
func channelNames(t *testing.T) []string {
	t.Helper()
	var cfg struct {
		Channels map[string]any `yaml:"channels"`
	}
	if err := yaml.Unmarshal([]byte(read(t, configFile)), &cfg); err != nil {
		t.Fatal(err)
	}
	return slices.Collect(maps.Keys(cfg.Channels))
}
