package enforcer

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/leastwise/leastwise/enforcer/target/gcp"
	"github.com/leastwise/leastwise/enforcer/target/gcp/gcptest"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Killed between intent and result, a key is disabled, its account's role
// narrowed, and the key deleted a week later: each once.
func TestAGoogleKeyKilledBetweenIntentAndResultIsDisabledNarrowedAndDeletedOnce(t *testing.T) {
	n := seed(t)
	for i := range uint64(20) {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			g := gcptest.New(t)
			member := "serviceAccount:" + gcptest.Agent
			g.Roles = map[string][]string{
				"roles/storage.admin":        {"storage.buckets.delete", "storage.objects.delete", "storage.objects.get", "storage.objects.list"},
				"roles/storage.objectViewer": {"storage.objects.get", "storage.objects.list"},
			}
			g.Policy = map[string]any{"version": 3, "bindings": []any{map[string]any{"role": "roles/storage.admin", "members": []any{member, "user:ada@example.org"}}}}
			id, works := g.Key(gcptest.Agent)
			r := &ladderRun{t: t, name: "gcpaudit/default", clock: time.Now()}
			tg, err := gcp.Open(gcp.Config{Projects: []string{gcptest.Project}, ServiceAccount: gcptest.Enforcer, IAMEndpoint: g.URL,
				ResourceManagerEndpoint: g.URL, Narrow: true}, nil, func() time.Time { return r.clock })
			if err != nil {
				t.Fatal(err)
			}
			r.target = tg
			r.killed(rand.New(rand.NewPCG(n, i)), with(func(d *pb.Decision) {
				d.Credential = "gcpaudit/default/service_account_key/" + id
				d.Subject.Type, d.Subject.Source = "service_account_key", "gcpaudit"
				d.Proposal.Rules = []*pb.Rule{{Actions: []string{"storage.objects.get"}}}
			}), 4)
			if works() {
				t.Error("the key works")
			}
			for method, times := range map[string]int{"iam.projects.serviceAccounts.keys.disable": 1, "cloudresourcemanager.projects.setIamPolicy": 1,
				"iam.projects.serviceAccounts.keys.delete": 1} {
				if g.Done[method] != times {
					t.Errorf("%s was carried out %d times", method, g.Done[method])
				}
			}
			if got, want := fmt.Sprint(g.Policy["bindings"]), "[map[members:[user:ada@example.org] role:roles/storage.admin] map[members:["+member+"] role:roles/storage.objectViewer]]"; got != want {
				t.Errorf("bindings %s", got)
			}
			if end := r.newest(); end.Proof == "" || end.FinishedAt == nil || !end.FinishedAt.AsTime().After(end.RevokedAt.AsTime().Add(167*time.Hour)) {
				t.Errorf("it ends in %v", end)
			}
		})
	}
}
