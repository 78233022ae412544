package gcpaudit

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

// facts decodes records, and gives the grants that they tell.
func facts(t *testing.T, assets *Assets, records ...string) (grants []*leastwisev1.Grant, events []*leastwisev1.Event) {
	t.Helper()
	d := NewDecoder(Options{Assets: assets, Facts: func(f *leastwisev1.Fact) { grants = append(grants, f.GetGrant()) }})
	for _, record := range records {
		got, err := d.Decode(nil, source.Record{Bytes: []byte(record), ObservedAt: seen})
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, got...)
	}
	return grants, events
}

func setPolicy(deltas string) call {
	return call{method: "SetIamPolicy", service: "cloudresourcemanager.googleapis.com", log: "activity", who: "root@acme.example",
		extra: `,"serviceData":{"@type":"type.googleapis.com/google.iam.v1.logging.AuditData","policyDelta":{"bindingDeltas":[` + deltas + `]}}`}
}

func TestBindingChangesAreToldAsEventsAndGrants(t *testing.T) {
	record := setPolicy(`{"action":"ADD","role":"roles/editor","member":"serviceAccount:Agent@p.iam.gserviceaccount.com"},` +
		`{"action":"REMOVE","role":"projects/p/roles/mine","member":"user:a@b.c","condition":{"expression":"x"}},{"action":"ACTION_UNSPECIFIED","role":"r","member":"m"},{},null`)
	grants, events := facts(t, nil, record.String())
	if len(grants) != 2 || len(events) != 3 {
		t.Fatalf("%d grants, %d events", len(grants), len(events))
	}
	g, ev := grants[0], events[1]
	if g.Principal != "serviceAccount:agent@p.iam.gserviceaccount.com" || g.Deleted || len(g.Attached) != 1 || g.Attached[0].Grant != "gcpaudit/default/policy/roles/editor" ||
		g.Attached[0].Conditional || g.Attached[0].Resource == "" || !strings.HasPrefix(g.Id, "gcpaudit/default/binding/") || g.AsOf == nil {
		t.Errorf("%v", g)
	}
	if ev.Kind != leastwisev1.Event_NOTED || ev.Principal != "gcpaudit/default/principal/"+g.Principal || ev.Labels["role"] != "roles/editor" || ev.Labels["binding"] != "added" ||
		ev.Labels["changed_by"] != "user:root@acme.example" || ev.Index != indexBinding {
		t.Errorf("%v", ev)
	}
	if g, ev := grants[1], events[2]; !g.Deleted || !g.Attached[0].Conditional || g.Attached[0].Grant != "gcpaudit/default/policy/projects/p/roles/mine" || ev.Labels["binding"] != "removed" || ev.Labels["conditional"] != "true" {
		t.Errorf("%v\n%v", g, ev)
	}
	failed := record
	failed.code, failed.refused = 7, true
	if grants, events = facts(t, nil, failed.String()); len(grants) != 0 || len(events) != 1 {
		t.Errorf("a refused call changed nothing: %v", grants)
	}
}

func TestBindingChangesSortByTimeWhoeverCameFirst(t *testing.T) {
	change := func(at, action string) string {
		c := setPolicy(`{"action":"` + action + `","role":"roles/editor","member":"user:a@b.c"}`)
		c.at, c.id = at, at+action
		return c.String()
	}
	// In the order in which the changes took effect.
	want := []string{change("2026-10-02T09:00:00Z", "ADD"), change("2026-10-02T10:00:00Z", "REMOVE"), change("2026-10-02T10:00:00Z", "ADD"), change("2026-10-03T10:00:00Z", "REMOVE")}
	var ids []string
	for _, record := range want {
		grants, _ := facts(t, nil, record)
		ids = append(ids, grants[0].Id)
	}
	if !slices.IsSorted(ids) || len(slices.Compact(slices.Clone(ids))) != 4 {
		t.Errorf("%v", ids)
	}
}

func TestBigQueryBindingsAreFoundWhereTheyAre(t *testing.T) {
	c := call{extra: `,"metadata":{"datasetChange":{"bqIamPolicyChange":{"bindingDeltas":[{"action":"ADD","role":"roles/bigquery.dataViewer","member":"group:g@b.c"}]}}}`}
	if grants, _ := facts(t, nil, c.String()); len(grants) != 1 || grants[0].Principal != "group:g@b.c" {
		t.Errorf("%v", grants)
	}
	row := `{"logName":"projects/p/logs/cloudaudit.googleapis.com%2Factivity","insertId":"i","timestamp":"2026-10-02T09:00:00Z","protopayload_auditlog":{"serviceName":"cloudresourcemanager.googleapis.com","methodName":"SetIamPolicy","resourceName":"projects/p","authorizationInfo":[{"permission":"x","granted":true}],"servicedata_v1_iam":{"policyDelta":{"bindingDeltas":[{"action":"ADD","role":"roles/viewer","member":"user:a@b.c"}]}}}}`
	if grants, _ := facts(t, nil, row); len(grants) != 1 || grants[0].Attached[0].Resource != "//cloudresourcemanager.googleapis.com/projects/p" {
		t.Errorf("%v", grants)
	}
}

func TestCustomRolesAreTold(t *testing.T) {
	c := call{method: "google.iam.admin.v1.UpdateRole", service: "iam.googleapis.com",
		extra: `,"response":{"@type":"type.googleapis.com/google.iam.admin.v1.Role","name":"projects/p/roles/mine","included_permissions":["b.c.d","a.b.c"]}`}
	grants, _ := facts(t, nil, c.String())
	if len(grants) != 1 || grants[0].Id != "gcpaudit/default/policy/projects/p/roles/mine" || !slices.Equal(grants[0].Rules[0].Actions, []string{"a.b.c", "b.c.d"}) || grants[0].Deleted {
		t.Errorf("%v", grants)
	}
	c.method = "google.iam.admin.v1.DeleteRole"
	if grants, _ = facts(t, nil, c.String()); !grants[0].Deleted {
		t.Errorf("%v", grants)
	}
	c.method = "google.iam.admin.v1.UndeleteRole"
	if grants, _ = facts(t, nil, c.String()); grants[0].Deleted {
		t.Errorf("%v", grants)
	}
}

const export = `{"name":"//cloudresourcemanager.googleapis.com/projects/1","asset_type":"cloudresourcemanager.googleapis.com/Project","iam_policy":{"bindings":[{"role":"roles/owner","members":["user:Ann@b.c","serviceAccount:x@p.iam.gserviceaccount.com"]},{"role":"roles/viewer","members":["user:ann@b.c"],"condition":{"expression":"e"}}]},"update_time":"2026-09-01T00:00:00Z"}
{"name":"//storage.googleapis.com/bucket","assetType":"storage.googleapis.com/Bucket","iamPolicy":{"bindings":[{"role":"roles/storage.admin","members":["user:ann@b.c","user:ann@b.c","allUsers"]}]},"updateTime":"2026-08-01T00:00:00Z"}
{"name":"//iam.googleapis.com/projects/p/roles/mine","asset_type":"iam.googleapis.com/Role","resource":{"data":{"name":"projects/p/roles/mine","includedPermissions":["a.b.c"]}}}
{"resource":"//compute.googleapis.com/i","assetType":"compute.googleapis.com/Instance","policy":{"bindings":[{"role":"roles/compute.admin","members":["user:ann@b.c"]}]}}
`

func describe(facts []*leastwisev1.Fact) (lines []string) {
	for _, fact := range facts {
		g := fact.GetGrant()
		line := g.Id
		for _, a := range g.Attached {
			line += fmt.Sprintf(" %s on %s %t", strings.TrimPrefix(a.Grant, "gcpaudit/default/policy/"), a.Resource, a.Conditional)
		}
		for _, r := range g.Rules {
			line += " " + strings.Join(r.Actions, ",")
		}
		lines = append(lines, line)
	}
	return lines
}

var exported = []string{
	"gcpaudit/default/principal/allUsers roles/storage.admin on //storage.googleapis.com/bucket false",
	"gcpaudit/default/principal/serviceAccount:x@p.iam.gserviceaccount.com roles/owner on //cloudresourcemanager.googleapis.com/projects/1 false",
	"gcpaudit/default/principal/user:ann@b.c roles/compute.admin on //compute.googleapis.com/i false roles/owner on //cloudresourcemanager.googleapis.com/projects/1 false " +
		"roles/storage.admin on //storage.googleapis.com/bucket false roles/viewer on //cloudresourcemanager.googleapis.com/projects/1 true",
	"gcpaudit/default/policy/projects/p/roles/mine a.b.c",
}

func TestAssetExportTellsWhatEachMemberHas(t *testing.T) {
	all, skipped, err := ReadAssets(strings.NewReader(export+"{\"a\":1}\nnonsense\n"), "", seen)
	if err != nil || skipped != 2 || !slices.Equal(describe(all), exported) {
		t.Errorf("%d skipped, %v\n%s", skipped, err, strings.Join(describe(all), "\n"))
	}
	for _, fact := range all {
		if got := fact.GetGrant().AsOf.AsTime(); !got.Equal(time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC)) {
			t.Errorf("as of %s, want the newest change in the export", got)
		}
	}
	array := "[" + strings.ReplaceAll(strings.TrimSpace(export), "\n", ",") + "]"
	if all, _, err := ReadAssets(strings.NewReader(array), "", seen); err != nil || !slices.Equal(describe(all), exported) {
		t.Errorf("an array: %v\n%s", err, strings.Join(describe(all), "\n"))
	}
}

func TestAssetsAmongLogEntriesAreCollected(t *testing.T) {
	assets := NewAssets("")
	_, events := facts(t, assets, strings.Split(strings.TrimSpace(export), "\n")...)
	if len(events) != 4 || !slices.Equal(describe(assets.Facts(time.Time{})), exported) {
		t.Errorf("%d events\n%s", len(events), strings.Join(describe(assets.Facts(time.Time{})), "\n"))
	}
	for i, line := range bytes.Split([]byte(strings.TrimSpace(export)), []byte("\n")) {
		if !Recognise(line) {
			t.Errorf("line %d is not recognised", i+1)
		}
	}
}
