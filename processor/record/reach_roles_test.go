package record

import (
	"slices"
	"testing"

	"github.com/leastwise/leastwise/processor/reach"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

func TestRolesOfTheInventoryAreAddedAndDeletedOnesDropped(t *testing.T) {
	role := func(name string, deleted bool, policies ...string) *pb.Grant {
		g := &pb.Grant{Id: "vault/prod/role/auth/approle/" + name, Deleted: deleted}
		for _, p := range policies {
			g.Attached = append(g.Attached, &pb.Attachment{Grant: "vault/prod/policy/" + p})
		}
		return g
	}
	got := withListed([]reach.Role{
		{Instance: "prod", Mount: "auth/approle/", Type: "approle", Name: "used", Policies: []string{"entitys", "p"}},
		{Instance: "prod", Mount: "auth/approle/", Type: "approle", Name: "gone", Policies: []string{"p"}},
	}, []*pb.Grant{role("used", false, "p"), role("gone", true), role("unused", false, "z", "a"), {Id: "vault/prod/policy/x"}})
	if len(got) != 2 || got[0].Name != "used" || len(got[0].Policies) != 2 ||
		got[1].Name != "unused" || got[1].Mount != "auth/approle/" || !slices.Equal(got[1].Policies, []string{"a", "z"}) || got[1].Evidence == "" {
		t.Errorf("%+v", got)
	}
}
