package issuing

import (
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/rego"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

func told(id string, settings ...string) *pb.Grant {
	return &pb.Grant{Id: id, Rules: []*pb.Rule{{Resource: "r", Capabilities: settings}}, AsOf: timestamppb.New(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)),
		Attached: []*pb.Attachment{{Grant: "vault/prod/policy/b"}, {Grant: "vault/prod/policy/a"}}}
}

func TestTheLongestThatARoleCanIssueIsTheShortestOfItsBounds(t *testing.T) {
	const approle, token, pki, aws = "vault/prod/role/auth/approle/x", "vault/prod/role/auth/token/x", "vault/prod/role/pki/x", "vault/prod/role/aws/x"
	for name, c := range map[string]struct {
		grant *pb.Grant
		most  string // of the mount; empty: not read
		want  string // never, unknown, or a duration
	}{
		"its own maximum":                       {told(approle, "token_max_ttl=3600"), "max_lease_ttl=7200", "1h"},
		"the mount's, where it is shorter":      {told(approle, "token_max_ttl=7200"), "max_lease_ttl=3600", "1h"},
		"the mount's, where it has none":        {told(approle), "max_lease_ttl=3600", "1h"},
		"nobody knows":                          {told(approle, "token_ttl=60"), "", "unknown"},
		"its own, though the mount is not read": {told(approle, "token_max_ttl=3600"), "", "1h"},
		"the explicit one":                      {told(approle, "token_max_ttl=7200", "token_explicit_max_ttl=3600"), "max_lease_ttl=7200", "1h"},
		"a period is renewed for ever":          {told(approle, "token_period=60", "token_max_ttl=3600"), "max_lease_ttl=3600", "never"},
		"a period with an explicit maximum":     {told(approle, "token_period=60", "token_explicit_max_ttl=7200"), "max_lease_ttl=3600", "2h"},
		"a batch token is not renewed":          {told(approle, "token_type=batch", "token_ttl=60", "token_max_ttl=3600"), "max_lease_ttl=7200", "1m"},
		"a batch token of the mount's default":  {told(approle, "token_type=batch"), "default_lease_ttl=60", "1m"},
		"a token role":                          {told(token, "token_explicit_max_ttl=3600"), "max_lease_ttl=7200", "1h"},
		"a certificate":                         {told(pki, "mount_type=pki", "max_ttl=3600", "ttl=60"), "max_lease_ttl=7200", "1h"},
		"a certificate until a day":             {told(pki, "mount_type=pki", "not_after=2026-01-02T00:00:00Z", "max_ttl=3600"), "max_lease_ttl=7200", "24h"},
		"a cloud's credential":                  {told(aws, "mount_type=aws", "max_sts_ttl=3600"), "max_lease_ttl=7200", "1h"},
	} {
		r, ok := Of(c.grant, func(instance, path string) *pb.Grant {
			if c.most == "" || instance != "prod" || path != mountOf(c.grant.Id) {
				return nil
			}
			return told("vault/prod/mount/"+path, c.most)
		})
		got := "unknown"
		switch {
		case r.NeverExpires && r.Life == nil:
			got = "never"
		case r.Life != nil:
			got = r.Life.String()
		}
		if want, err := time.ParseDuration(c.want); err == nil {
			c.want = want.String()
		}
		if !ok || got != c.want || (got == "unknown") != (r.LifeWhy != "") {
			t.Errorf("%s: %q (%s), want %q", name, got, r.LifeWhy, c.want)
		}
	}
}

// mountOf a role's grant: without system, instance and kind, and without the role's name.
func mountOf(id string) string {
	return strings.TrimSuffix(strings.TrimPrefix(id, "vault/prod/role/"), "/x")
}

func TestARolesPoliciesAreAllThatItsTokensMayHold(t *testing.T) {
	none := func(string, string) *pb.Grant { return nil }
	for name, c := range map[string]struct {
		grant *pb.Grant
		want  []string
		known bool
		owner bool
	}{
		"of a login, with default":    {told("vault/prod/role/auth/jwt/x", "mount_type=auth/jwt"), []string{"a", "b", "default"}, true, true},
		"of a login, without default": {told("vault/prod/role/auth/approle/x", "token_no_default_policy=true"), []string{"a", "b"}, true, true},
		"of a token role":             {told("vault/prod/role/auth/token/x", "disallowed_policies=default,b"), []string{"a"}, true, false},
		"a pattern":                   {told("vault/prod/role/auth/token/x", "allowed_policies_glob=x-*"), []string{"a", "b", "default"}, false, false},
		"whatever the creator has":    {&pb.Grant{Id: "vault/prod/role/auth/token/x", Rules: []*pb.Rule{{}}}, []string{"default"}, false, false},
	} {
		r, ok := Of(c.grant, none)
		if !ok || !slices.Equal(r.Policies, c.want) || (r.PoliciesWhy == "") != c.known || slices.Contains(r.Decides, rego.UnresolvedIdentity) != c.owner {
			t.Errorf("%s: %+v", name, r)
		}
	}
	for _, id := range []string{"vault/prod/policy/x", "vault/prod/mount/pki", "aws/prod/role/a/x", "vault/prod/role/x"} {
		if _, ok := Of(told(id), none); ok {
			t.Errorf("%s is a role", id)
		}
	}
	if _, ok := Of(&pb.Grant{Id: "vault/prod/role/pki/x", Deleted: true}, none); ok {
		t.Error("a deleted role issues")
	}
}
