package demo

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/simulator/fleet"
	"github.com/leastwise/leastwise/simulator/motoserver"
	"github.com/leastwise/leastwise/simulator/sources"
	"github.com/leastwise/leastwise/simulator/spireserver"
	"github.com/leastwise/leastwise/simulator/vaultserver"
)

// said is one JSON line.
type said struct {
	Step, Agent, Manifest string
	Running               []string
	LeftOut               map[string]string `json:"left_out"`
	Identity, Owner       string
	System                string `json:"system_of_record"`
	Names, Codes, Reasons []string
	Sources               []standing
	Allowed               bool
	By, Reason            string
	AtAWS                 string `json:"at_aws"`
	Before                int    `json:"granted_before"`
	After                 int    `json:"granted_after"`
}

// demoOnce runs the whole demo as `leastwise demo --once` does.
func demoOnce(t *testing.T) map[string][]said {
	t.Helper()
	if os.Getenv(vaultserver.BinaryEnv) == "" {
		t.Skipf("%s is not set: the demo is not run on a real Vault (make vault builds it)", vaultserver.BinaryEnv)
	}
	var out bytes.Buffer
	err := Run(t.Context(), Options{Once: true, Limit: 15 * time.Minute, Quiet: 3 * time.Minute, Dir: t.TempDir(), Out: &out, Seed: 1, Listen: daemon.NoListen})
	if err != nil {
		t.Fatal(err)
	}
	steps := map[string][]said{}
	for line := range strings.Lines(out.String()) {
		var s said
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			t.Fatalf("no JSON: %s", line)
		}
		steps[s.Step] = append(steps[s.Step], s)
	}
	if secret := "eyJ"; strings.Contains(out.String(), secret) {
		t.Error("the lines hold a token")
	}
	return steps
}

func TestRealVaultDemoEndsWithOneIdentityInEverySourceAndTheGatesWord(t *testing.T) {
	steps := demoOnce(t)
	for _, step := range []string{"sources", "all_ends_reached", "attempts_counted", "who", "done"} {
		if len(steps[step]) != 1 {
			t.Fatalf("step %s was told %d times, want once", step, len(steps[step]))
		}
	}
	running := []string{sources.Vault}
	_, noSPIRE := spireserver.Find()
	_, noMoto := motoserver.Find()
	if noSPIRE == nil {
		running = append(running, sources.SPIRE)
	}
	if noMoto == nil {
		running = append(running, sources.CloudTrail)
	}
	running = append(running, sources.JWTRegistry, sources.AgentUsage)
	began := steps["sources"][0]
	if !slices.Equal(began.Running, running) || len(began.LeftOut) != 5-len(running) {
		t.Errorf("running %v, left out %v; the machine has %v", began.Running, began.LeftOut, running)
	}

	if noMoto == nil {
		backupWasTakenAndGivenBack(t, steps)
	}
	if !slices.ContainsFunc(steps["reissued"], func(s said) bool { return s.Agent == fleet.Ingest && s.Before > s.After && s.After > 0 }) {
		t.Errorf("no re-issue of %s tells what was granted before and after: %+v", fleet.Ingest, steps["reissued"])
	}

	who := steps["who"][0]
	if who.Agent != fleet.Steady || who.Identity == "" || who.Owner != "platform-team" || who.System != "deployments" {
		t.Errorf("%+v", who)
	}
	var told []string
	for _, s := range who.Sources {
		told = append(told, s.Source)
		if (s.Credential == "") != (s.Source == sources.AgentUsage) || s.Holder == "" || len(s.Evidence) == 0 {
			t.Errorf("%s: %+v", s.Source, s)
		}
		if !slices.ContainsFunc(who.Names, func(name string) bool { return strings.HasPrefix(name, namesOf[s.Source]) }) {
			t.Errorf("no name of %s among %v", s.Source, who.Names)
		}
	}
	if !slices.Equal(told, running) {
		t.Errorf("sources %v are told, want %v", told, running)
	}

	gate := steps["gate"]
	if len(gate) != 2 || !gate[0].Allowed || gate[0].Agent != fleet.Steady || gate[1].Allowed || gate[1].Agent != fleet.Ingest ||
		!slices.Contains(gate[1].Codes, "mislabelled") || !strings.Contains(strings.Join(gate[1].Reasons, " "), "says agent steady") {
		t.Errorf("gate %+v", gate)
	}
}

// backupWasTakenAndGivenBack: by somebody with a reason, at AWS too, and then justified.
func backupWasTakenAndGivenBack(t *testing.T, steps map[string][]said) {
	t.Helper()
	of := func(step string) (found []said) {
		for _, s := range steps[step] {
			if s.Agent == sources.Backup {
				found = append(found, s)
			}
		}
		return found
	}
	for _, step := range []string{"revoked", "backup_fails", "glass_broken", "restored", "exception_approved", "works_again"} {
		if len(of(step)) == 0 {
			t.Errorf("step %s of the backup was not told", step)
		}
	}
	if broken := of("glass_broken"); len(broken) != 1 || broken[0].By != onCall || broken[0].Reason == "" {
		t.Errorf("the glass was broken by nobody or for nothing: %+v", broken)
	}
	if again := of("works_again"); len(again) != 1 || again[0].AtAWS != "Active" {
		t.Errorf("AWS does not say that the key is active: %+v", again)
	}
}

func TestRealVaultDemoGoesOnWithoutWhatTheMachineHasNot(t *testing.T) {
	t.Setenv(spireserver.DirEnv, filepath.Join(t.TempDir(), "none"))
	t.Setenv(motoserver.BinaryEnv, filepath.Join(t.TempDir(), "none"))
	steps := demoOnce(t)
	began := steps["sources"][0]
	if !slices.Equal(began.Running, []string{sources.Vault, sources.JWTRegistry, sources.AgentUsage}) ||
		!strings.Contains(began.LeftOut[sources.SPIRE], "make spire") || !strings.Contains(began.LeftOut[sources.CloudTrail], "make moto") {
		t.Errorf("%+v", began)
	}
	if who := steps["who"]; len(who) != 1 || len(who[0].Sources) != 3 {
		t.Errorf("who: %+v", who)
	}
}

func TestAServerThatDoesNotStartEndsTheDemo(t *testing.T) {
	// A file that can be executed, and is no moto.
	t.Setenv(motoserver.BinaryEnv, "/bin/false")
	t.Setenv(spireserver.DirEnv, filepath.Join(t.TempDir(), "none"))
	_, err := sources.Start(t.Context(), t.TempDir(), func(string) {})
	if err == nil || errors.Is(err, motoserver.ErrNotFound) || !strings.Contains(err.Error(), "moto ended before it was ready") {
		t.Errorf("error %v", err)
	}
}
