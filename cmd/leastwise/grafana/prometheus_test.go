package grafana

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// expressions of a dashboard, with what Grafana puts in for its own variables.
func expressions(d *dashboard) map[string]string {
	out := map[string]string{}
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			if target.Expr != "" {
				out[p.Title+" "+target.RefID] = strings.NewReplacer("$__rate_interval", "1m", "$__range", "5m").Replace(target.Expr)
			}
		}
	}
	return out
}

func pipeline(t *testing.T) *dashboard {
	t.Helper()
	for _, d := range dashboards(t) {
		if d.UID == "leastwise-pipeline" {
			return d
		}
	}
	t.Fatal("no dashboard of the pipeline")
	return nil
}

func TestMetricsThatPanelsNameAreRegistered(t *testing.T) {
	var code strings.Builder
	err := filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		code.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for title, expr := range expressions(pipeline(t)) {
		for _, name := range regexp.MustCompile(`\bleastwise_[a-z0-9_]+`).FindAllString(expr, -1) {
			seen++
			base := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
			short := strings.TrimPrefix(base, "leastwise_collector_") // whose beginning a constructor adds
			if !strings.Contains(code.String(), `"`+base+`"`) && (short == base || !strings.Contains(code.String(), `"`+short+`"`)) {
				t.Errorf("%s reads %s, which no component registers", title, name)
			}
		}
		if strings.Contains(expr, "$") {
			t.Errorf("%s: a variable that Prometheus will see: %s", title, expr)
		}
	}
	if seen < 30 {
		t.Errorf("the panels name %d metrics: are they read right?", seen)
	}
}

// A real Prometheus scrapes the running product, and has an answer for every panel.
func TestRealPrometheusAnswersEveryPanel(t *testing.T) {
	program, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("prometheus is not installed: the panels of the pipeline's dashboard are not asked")
	}
	s := running(t)
	addr, dir := freeAddr(), t.TempDir()
	rules, err := filepath.Abs(filepath.Join(top, "deploy/prometheus/leastwise.rules.yml"))
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf("global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [%q]\nscrape_configs:\n  - job_name: leastwise\n    static_configs: [{targets: [%q]}]\n", rules, s.health)
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	server := exec.CommandContext(t.Context(), program, "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+addr, "--log.level=error")
	server.Cancel = func() error { return server.Process.Signal(syscall.SIGTERM) }
	server.WaitDelay = 10 * time.Second
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Wait() }) // t.Context has ended by then
	deadline := time.Now().Add(90 * time.Second)
	for title, expr := range expressions(pipeline(t)) {
		for {
			problem := instant(t, addr, expr)
			if problem == "" {
				break
			}
			if time.Now().After(deadline) {
				t.Errorf("%s: %s\n%s", title, problem, expr)
				break
			}
			time.Sleep(200 * time.Millisecond)
		}
	}
}

// instant says what is wrong with the answer to an expression; nothing if there is one.
func instant(t *testing.T, addr, expr string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/api/v1/query?"+url.Values{"query": {expr}}.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	var answer struct {
		Error string
		Data  struct{ Result []json.RawMessage }
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return err.Error()
	}
	if answer.Error == "" && len(answer.Data.Result) == 0 {
		return "no answer"
	}
	return answer.Error
}
