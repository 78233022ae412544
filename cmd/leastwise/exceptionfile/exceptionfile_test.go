package exceptionfile

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/leastwise/leastwise/enforcer/exception"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/schemas"
	schema "github.com/leastwise/leastwise/schemas/jsonschema"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

const batch = `exceptions:
  - id: batch
    identity: "vault/default/entity/e-1"
    policy_id: long-lived
    reason: "moves to its own role with the new scheduler"
    ticket: OPS-4711
    until: 2026-12-31
    requested_by: Ann@example.org
    approved_by: bob@example.org
`

// topic is leastwise.exceptions in memory.
type topic struct{ messages []stream.Message }

func (l *topic) Publish(_ context.Context, messages ...stream.Message) error {
	l.messages = append(l.messages, messages...)
	return nil
}

func (l *topic) Partitions(context.Context, string) (int, error) { return 1, nil }

func (l *topic) ReadPartition(_ context.Context, name string, _ int, _ int64, fn func(stream.Message) error) (int64, error) {
	for _, m := range l.messages {
		if m.Topic != name || name != schemas.TopicExceptions {
			return 0, fmt.Errorf("topic %s", m.Topic)
		}
		if err := fn(m); err != nil {
			return 0, err
		}
	}
	return int64(len(l.messages)), nil
}

func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func unlimited(string) (exception.Limits, error) { return exception.Limits{}, nil }

// apply gives what the plan printed.
func apply(t *testing.T, log *topic, dir string, prune bool, now time.Time) string {
	t.Helper()
	entries, err := Load(dir)
	if err == nil {
		err = Names(entries, true, "carol")
	}
	if err != nil {
		t.Fatal(err)
	}
	return applied(t, log, entries, prune, now)
}

func applied(t *testing.T, log *topic, entries []*Entry, prune bool, now time.Time) string {
	t.Helper()
	recorded, err := exception.List(t.Context(), log)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := MakePlan(entries, recorded, "site", prune, unlimited, now)
	if err != nil {
		t.Fatal(err)
	}
	if err := plan.Apply(t.Context(), log, "carol", unlimited, now); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := plan.Write(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// valid lists the reasons of the exceptions that let something pass.
func valid(t *testing.T, log *topic, now time.Time) string {
	t.Helper()
	all, err := exception.List(t.Context(), log)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range all {
		if exception.Valid(e, now) {
			out = append(out, e.Reason)
		}
	}
	return strings.Join(out, "; ")
}

func TestAFileIsTheSameRecordAsAskingAndApproving(t *testing.T) {
	var log topic
	dir := folder(t, map[string]string{"batch.yaml": batch})
	out := apply(t, &log, dir, false, noon)
	all, _ := exception.List(t.Context(), &log)
	if len(all) != 1 || !exception.Valid(all[0], noon) || all[0].RequestedBy != "ann@example.org" || all[0].ApprovedBy != "bob@example.org" ||
		!all[0].Until.AsTime().Equal(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)) || all[0].Ticket != "OPS-4711" || !all[0].RequestedAt.AsTime().Equal(noon) {
		t.Fatalf("%v", all)
	}
	if !strings.Contains(out, "+ git.site.batch.") || !strings.Contains(out, "asked by ann@example.org, approved by bob@example.org") || !strings.Contains(out, "batch.yaml:2)") {
		t.Error(out)
	}
	if out := apply(t, &log, dir, true, noon.Add(time.Hour)); out != "1 unchanged.\n" || len(log.messages) != 1 {
		t.Errorf("applied again: %d records\n%s", len(log.messages), out)
	}
}

func TestAChangedEntryTakesThePlaceOfTheOldOneAndAGoneOneOnlyEndsWithPrune(t *testing.T) {
	var log topic
	other, err := exception.Request(t.Context(), &log, &pb.Exception{Credential: "vault/default/token/x", PolicyId: "*", Reason: "by hand",
		Until: stamp(noon.AddDate(0, 1, 0)), RequestedBy: "dave"}, exception.Limits{}, noon)
	if err == nil {
		_, err = exception.Approve(t.Context(), &log, other.Id, "erin", exception.Limits{}, noon)
	}
	if err != nil {
		t.Fatal(err)
	}
	apply(t, &log, folder(t, map[string]string{"a.yml": batch}), false, noon)
	changed := strings.NewReplacer("2026-12-31", "2026-11-30", "moves", "moved").Replace(batch)
	out := apply(t, &log, folder(t, map[string]string{"a.yaml": changed}), false, noon)
	if got := valid(t, &log, noon); got != "by hand; moved to its own role with the new scheduler" {
		t.Errorf("%s\n%s", got, out)
	}
	empty := folder(t, map[string]string{"a.yaml": "exceptions: []\n", ".hidden.txt": "no"})
	if out := apply(t, &log, empty, false, noon); !strings.Contains(out, "--prune ends it") || valid(t, &log, noon) == "by hand" {
		t.Error(out)
	}
	if out := apply(t, &log, empty, true, noon); valid(t, &log, noon) != "by hand" || !strings.Contains(out, "- git.site.batch.") {
		t.Errorf("of another origin is untouched, and what is gone has ended: %s\n%s", valid(t, &log, noon), out)
	}
}

func TestWhatSomebodyEndedOrIsOverStaysSo(t *testing.T) {
	var log topic
	dir := folder(t, map[string]string{"a.yaml": batch})
	apply(t, &log, dir, false, noon)
	all, _ := exception.List(t.Context(), &log)
	if _, err := exception.Revoke(t.Context(), &log, all[0].Id, "security", noon); err != nil {
		t.Fatal(err)
	}
	records := len(log.messages)
	if out := apply(t, &log, dir, false, noon); valid(t, &log, noon) != "" || !strings.Contains(out, "ended by security") {
		t.Error(out)
	}
	if out := apply(t, &log, dir, true, noon.AddDate(0, 3, 0)); !strings.Contains(out, "ended by itself") || len(log.messages) != records {
		t.Error(out)
	}
}

func TestNamesOfAFileCountOnlyIfTheSiteTrustsIt(t *testing.T) {
	dir := folder(t, map[string]string{"a.yaml": batch})
	entries, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := Names(entries, false, "carol"); err == nil || !strings.Contains(err.Error(), "a.yaml:2:") || !strings.Contains(err.Error(), "names in a file prove nothing") {
		t.Errorf("%v", err)
	}
	if (Config{}).Trusted(dir) || (Config{TrustedRepositories: []string{dir + "/sub"}}).Trusted(dir) || !(Config{TrustedRepositories: []string{filepath.Dir(dir)}}).Trusted(dir) ||
		(Config{TrustedRepositories: []string{dir}}).Trusted(dir+"x") {
		t.Error("which folders are trusted")
	}
	var log topic
	nameless := strings.Split(batch, "    requested_by")[0]
	entries, _ = Load(folder(t, map[string]string{"a.yaml": nameless}))
	if err := Names(entries, false, "carol"); err != nil {
		t.Fatal(err)
	}
	out := applied(t, &log, entries, false, noon)
	all, _ := exception.List(t.Context(), &log)
	if len(all) != 1 || all[0].RequestedBy != "carol" || all[0].ApprovedAt != nil || !strings.Contains(out, "leastwise exception approve git.site.batch.") {
		t.Errorf("%v\n%s", all, out)
	}
	entries, _ = Load(folder(t, map[string]string{"a.yaml": nameless}))
	if err := Names(entries, false, "dave"); err != nil {
		t.Fatal(err)
	}
	if out := applied(t, &log, entries, false, noon); out != "1 unchanged.\n" {
		t.Errorf("whoever applies it again: %s", out)
	}
}

func TestThePolicysLimitsHoldAndNothingIsWrittenIfOneIsRefused(t *testing.T) {
	entries, err := Load(folder(t, map[string]string{"a.yaml": batch, "b.yaml": strings.Replace(batch, "id: batch", "id: second", 1)}))
	if err != nil {
		t.Fatal(err)
	}
	for name, bound := range map[string]exception.Limits{"until": {MaxDuration: time.Hour}, "approvers": {Approvers: []string{"security"}}} {
		_, err := MakePlan(entries, nil, "site", false, func(string) (exception.Limits, error) { return bound, nil }, noon)
		if err == nil || !strings.Contains(err.Error(), "a.yaml:2:") || !strings.Contains(err.Error(), "b.yaml:2:") || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestABadFileIsRefusedWithPlaceAndReason(t *testing.T) {
	compiler := jsonschema.NewCompiler()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema.Exceptions))
	if err == nil {
		err = compiler.AddResource("exceptions.schema.json", doc)
	}
	if err != nil {
		t.Fatal(err)
	}
	compiled, err := compiler.Compile("exceptions.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ from, to, want string }{
		"good":          {"", "", ""},
		"unknown key":   {"ticket:", "tiket:", `key "tiket"`},
		"no reason":     {`reason: "moves to its own role with the new scheduler"`, "ticket: x", `key "ticket"`},
		"no end":        {"    until: 2026-12-31\n", "", "until is missing"},
		"both subjects": {"    policy_id", "    credential: vault/default/token/x\n    policy_id", "expected one of credential and identity"},
		"a bad end":     {"2026-12-31", "soon", `until "soon"; expected a day`},
		"a bad id":      {"id: batch", "id: a.b", `id "a.b"; expected letters`},
		"a bad key":     {"vault/default/entity/e-1", "e-1", "e-1"},
		"self":          {"bob@", "ANN@", "somebody else has to approve"},
		"no list":       {"exceptions:", "exception:", `key "exception"`},
	} {
		text := strings.Replace(batch, test.from, test.to, 1)
		_, err := Load(folder(t, map[string]string{"a.yaml": text}))
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "a.yaml:")) {
			t.Errorf("%s: %v", name, err)
		}
		if name == "a bad key" || name == "self" || name == "no reason" {
			continue // more than a schema tells
		}
		if invalid := compiled.Validate(asJSON(t, text)); (invalid != nil) != (test.want != "") {
			t.Errorf("%s, by the schema: %v", name, invalid)
		}
	}
	if _, err := Load(folder(t, map[string]string{"README": "no"})); err == nil {
		t.Error("a folder without any file is a set")
	}
	_, err = Load(folder(t, map[string]string{"a.yaml": batch, "b.yaml": batch}))
	if err == nil || !strings.Contains(err.Error(), "b.yaml:2") || !strings.Contains(err.Error(), "a.yaml:2 already") {
		t.Errorf("%v", err)
	}
}
