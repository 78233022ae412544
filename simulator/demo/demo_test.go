package demo

import (
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/processor/catalog"
	"github.com/leastwise/leastwise/rego"
	"github.com/leastwise/leastwise/simulator/fleet"
	"github.com/leastwise/leastwise/simulator/sources"
)

func written(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := Write(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func policies(t *testing.T) *rego.Set {
	t.Helper()
	engine, err := rego.New(t.Context(), rego.Options{PolicyDir: filepath.Join(written(t), PoliciesDir)})
	if err != nil {
		t.Fatal(err)
	}
	return engine.Current()
}

// aged is an agent's token at some age, as the processor would measure it.
func aged(agent string, days float64, permissions, unused, attempts float64) (*rego.Subject, *rego.Values) {
	values := &rego.Values{}
	values.Set(rego.CredentialAge, days*Day.Seconds())
	values.Set(rego.Lifetime, 400*Day.Seconds())
	values.Set(rego.ScopeComplexity, permissions)
	values.Set(rego.UnusedPermissionRatio, unused)
	values.Set(rego.ElevationAttempts, attempts)
	return &rego.Subject{
		Credential: "vault/default/token/" + agent, Type: "token", Source: "vault", Agent: agent, Policies: []string{agent},
	}, values
}

func TestPoliciesAreViolatedByWhomTheStoriesSayAndWhen(t *testing.T) {
	set := policies(t)
	for _, c := range []struct {
		agent                         string
		days                          float64
		permissions, unused, attempts float64
		want                          []string
		mode                          string
	}{
		{fleet.Steady, 4, 4, 0.25, 0, nil, ""},
		{fleet.Ingest, 2, 12, 0.75, 0, nil, ""},
		{fleet.Ingest, 3.1, 12, 0.75, 0, []string{PolicyOverBroad}, "ENFORCE"},
		{fleet.Diagnostic, 6.9, 3, 0.3, 0, nil, ""},
		{fleet.Diagnostic, 7.1, 3, 0.3, 0, []string{PolicyLongLived}, "ENFORCE"},
		{"diagnostic-child", 20, 1, 0, 0, nil, ""},
		{fleet.Probing, 30, 1, 0, 3, nil, ""},
		{fleet.Probing, 30, 1, 0, 4, []string{PolicyProbing}, "NOTIFY"},
		{fleet.Excepted, 30, 10, 0.9, 0, []string{PolicyLongLived}, "ENFORCE"},
		{fleet.Ownerless, 30, 10, 0.9, 0, []string{PolicyLongLived}, "ENFORCE"},
		{"enforcer", 300, 40, 0.9, 5, nil, ""},
		{"root", 300, 400, 0.9, 5, nil, ""},
	} {
		subject, values := aged(c.agent, c.days, c.permissions, c.unused, c.attempts)
		result, err := set.Evaluate(t.Context(), subject, values)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, v := range result.Violations {
			got = append(got, v.PolicyId)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s at day %v violates %v, want %v", c.agent, c.days, got, c.want)
		}
		if c.mode == "ENFORCE" {
			ladder := result.Ladder
			if ladder.GetMode().String() != c.mode || ladder.GetGraceMs() != 6000 || !slices.Equal(ladder.GetRemindMs(), []int64{3000}) || !ladder.GetRevoke() || !ladder.GetReissue() {
				t.Errorf("%s: ladder %v", c.agent, ladder)
			}
		} else if result.Ladder.GetRevoke() || c.mode != "" && result.Ladder.GetMode().String() != c.mode {
			t.Errorf("%s: ladder %v, want mode %q and no revocation", c.agent, result.Ladder, c.mode)
		}
	}
}

func TestPoliciesGoByTheirNamesAndNameKnownChannels(t *testing.T) {
	var ids []string
	for _, p := range policies(t).Policies() {
		ids = append(ids, p.ID)
		for _, a := range p.Actions {
			if a.Channel != SecurityChannel {
				t.Errorf("%s: channel %q", p.ID, a.Channel)
			}
		}
	}
	slices.Sort(ids)
	if want := []string{PolicyLongKey, PolicyLongLived, PolicyOverBroad, PolicyProbing}; !slices.Equal(ids, want) {
		t.Errorf("policies %v, want %v", ids, want)
	}
}

var scaled = regexp.MustCompile(`"(\d+m?s)"\]? # (\d+) days`)

func TestDurationsAreTheDaysTheirCommentsSay(t *testing.T) {
	entries, err := FS.ReadDir(PoliciesDir)
	if err != nil {
		t.Fatal(err)
	}
	var found int
	for _, entry := range entries {
		content, err := FS.ReadFile(PoliciesDir + "/" + entry.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range scaled.FindAllStringSubmatch(string(content), -1) {
			found++
			days, _ := strconv.Atoi(m[2])
			if d, err := time.ParseDuration(m[1]); err != nil || d != time.Duration(days)*Day {
				t.Errorf("%s: %s is said to be %d days of %v", entry.Name(), m[1], days, Day)
			}
		}
		if said := "a day is 1.5 s"; strings.Contains(string(content), "# The demo's time") && (!strings.Contains(string(content), said) || Day != 1500*time.Millisecond) {
			t.Errorf("%s does not say that %s", entry.Name(), said)
		}
	}
	if found != 10 {
		t.Errorf("%d durations with their days, want 10", found)
	}
}

func TestCatalogKnowsEveryAgentButTheOwnerlessOne(t *testing.T) {
	c, err := catalog.Load(filepath.Join(written(t), CatalogFile))
	if err != nil {
		t.Fatal(err)
	}
	resolve := func(labels map[string]string) catalog.Match {
		return c.Resolve(catalog.Query{Principal: "vault/default/entity/e1", Source: "vault", Type: "token", Labels: labels})
	}
	for _, name := range []string{fleet.Steady, fleet.Ingest, fleet.Diagnostic, fleet.Probing, fleet.Excepted, fleet.Ownerless, fleet.CollectorRole, fleet.EnforcerRole} {
		match := resolve(map[string]string{"role_name": name, "mount_point": "auth/approle/"})
		if name == fleet.Ownerless {
			if match.Agent != nil || match.Owner != nil {
				t.Errorf("%s is in the catalog: %+v", name, match)
			}
			continue
		}
		if match.Agent == nil || match.Agent.ID != name || match.Owner == nil || !slices.Equal(match.Owner.Channels, []string{OwnersChannel}) {
			t.Errorf("%s: %+v", name, match)
		}
		if product := strings.HasPrefix(name, "leastwise-"); match.Protected != product {
			t.Errorf("%s: protected %v", name, match.Protected)
		}
	}
	for _, name := range []string{fleet.Steady, fleet.Ingest, fleet.Diagnostic, fleet.Probing, fleet.Excepted} {
		if match := resolve(map[string]string{"meta.agent": name}); match.Agent == nil || match.Agent.ID != name {
			t.Errorf("a token made for %s with another: %+v", name, match)
		}
	}
	for _, agent := range c.Agents() {
		perHour := fleet.SteadyCallsPerDay * float64(time.Hour/Day)
		if agent.ID == fleet.Steady && agent.ExpectedPerHour != perHour {
			t.Errorf("%v calls an hour are expected of the steady agent, which makes %v", agent.ExpectedPerHour, perHour)
		}
	}
}

func TestCatalogTiesEveryNameOfTheSteadyAgent(t *testing.T) {
	c, err := catalog.Load(filepath.Join(written(t), CatalogFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, principal := range []string{
		"spiffe/" + sources.TrustDomain + "/id/" + sources.SPIFFEID,
		"aws/123456789012/role/" + sources.RoleARN,
		"agent/global/agent/" + fleet.SteadyID,
		"kubernetes/default/serviceaccount/system:serviceaccount:reports:steady",
	} {
		claims := c.Claims(catalog.Query{Principal: principal})
		if len(claims) != 1 || claims[0].Agent.ID != fleet.Steady {
			t.Errorf("%s is claimed by %v, want the steady agent alone", principal, claims)
		}
	}
}
