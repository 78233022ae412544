package narrower

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/cmd/leastwise/sitetest"
	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/processor/core"
	"github.com/leastwise/leastwise/processor/record"
	"github.com/leastwise/leastwise/processor/scope"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

const token = "jwtregistry/default/jwt/6f3a"

// issueToken adds a token of OAuth with four scopes, and calls with it.
func issueToken(t *testing.T, db *store.DB, permissions ...string) {
	t.Helper()
	c := core.New(core.Options{Grants: scope.NewGrants()})
	var rows record.Events
	say := func(n int, kind pb.Event_Kind, permission string, scopes []string) {
		at := timestamppb.New(sitetest.Start.Add(time.Duration(n) * time.Minute))
		ev := &pb.Event{Kind: kind, Credential: token, Principal: "jwtregistry/default/subject/https://i|agent", Source: "jwtregistry", Instance: "default",
			RecordId: fmt.Sprint("token ", n), OccurredAt: at, ObservedAt: at, Policies: scopes, Permission: permission}
		if kind == pb.Event_ISSUED {
			ev.Lifetime = &pb.Lifetime{IssuedAt: at, ExpiresAt: timestamppb.New(sitetest.Start.Add(48 * time.Hour))}
		}
		id := schemas.EventID("jwtregistry", "default", ev.RecordId, 0)
		ev.Id = id[:]
		c.Apply(ev, int64(2000+n), true)
		rows.Append(ev, int64(2000+n))
	}
	say(0, pb.Event_ISSUED, "", []string{"email", "openid", "orders:read", "orders:write"})
	for i, permission := range permissions {
		say(i+1, pb.Event_USED, permission, nil)
	}
	if err := rows.Insert(t.Context(), db, 0, sitetest.Start); err != nil {
		t.Fatal(err)
	}
	now := sitetest.Start.Add(time.Hour).UnixNano()
	if err := c.Settle(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	if err := record.Credentials(t.Context(), db, 0, c.Dirty(), now); err != nil {
		t.Fatal(err)
	}
}

func TestATokenIsNarrowedToTheScopesThatItsCallsNamed(t *testing.T) {
	for name, test := range map[string]struct {
		calls          []string
		used           int
		scopes, refuse string
	}{
		"a scope":                    {[]string{"orders:read", "orders:read", "token"}, 1, "orders:read\n", ""},
		"two, and the user's claims": {[]string{"orders:read orders:write", "userinfo"}, 4, "email openid orders:read orders:write\n", ""},
		"a call that names no scope": {[]string{"orders:read", "GET /orders"}, 1, "", `no record tells which scope 1 kind of use needed, as "GET /orders"`},
		"no use":                     {nil, 0, "", "no use was seen"},
	} {
		t.Run(name, func(t *testing.T) {
			db, cat := sitetest.Vault(t)
			issueToken(t, db, test.calls...)
			r, err := Ask(t.Context(), db, cat, Question{Name: token, Days: 7, Replay: 7, Now: sitetest.Start.Add(time.Hour)})
			if err != nil {
				t.Fatal(err)
			}
			if r.Granted == nil || *r.Granted != 4 || r.Used != test.used || len(r.Refusals) != 0 || !strings.Contains(r.Refused, test.refuse) || (r.Refused == "") != (test.refuse == "") {
				t.Errorf("%+v", r)
			}
			if got := ""; test.scopes != "" {
				if r.Artifact != nil {
					got = r.Artifact.Kind + " " + r.Artifact.Text
				}
				if got != "oauth-scopes "+test.scopes {
					t.Errorf("%q", got)
				}
			} else if r.Artifact != nil {
				t.Errorf("%+v", r.Artifact)
			}
			var text bytes.Buffer
			if err := r.Write(&text); err != nil || !strings.Contains(text.String(), "granted       4 scopes\n") {
				t.Errorf("%v\n%s", err, text.String())
			}
		})
	}
}
