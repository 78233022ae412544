package aws

import (
	"testing"
	"time"

	"github.com/leastwise/leastwise/enforcer/target"
	"github.com/leastwise/leastwise/enforcer/target/aws/mototest"
	"github.com/leastwise/leastwise/enforcer/target/targettest"
)

func (a *account) world(n func(t *testing.T) (target.Credential, func() bool)) targettest.World {
	return targettest.World{
		Target:  a.open(Config{}),
		New:     n,
		Foreign: target.Credential{Key: "vault/default/token/abc"},
		Lose:    func(*testing.T) { a.proxy.Next(mototest.Lost, mototest.Changes) },
		Busy:    func(*testing.T) { a.proxy.Next(mototest.Busy, func(string) bool { return true }) },
	}
}

func TestMotoAccessKeysKeepTheContract(t *testing.T) {
	targettest.Run(t, func(t *testing.T) targettest.World {
		a := newAccount(t)
		w := a.world(func(*testing.T) (target.Credential, func() bool) { return a.key() })
		w.Unknown = target.Credential{Key: "cloudtrail/default/access_key/AKIAANOTHERACCOUNT00", Labels: map[string]string{"account": "999999999999"}}
		return w
	})
}

func TestMotoRoleSessionsKeepTheContract(t *testing.T) {
	targettest.Run(t, func(t *testing.T) targettest.World {
		a := newAccount(t)
		n := 0
		w := a.world(func(*testing.T) (target.Credential, func() bool) {
			n++
			return a.session("run-" + string(rune('a'+n)))
		})
		w.Unknown = target.Credential{Key: "cloudtrail/default/session/ASIANOBODYKNOWSIT000"}
		w.Beside = func(_ *testing.T, c target.Credential) target.Credential {
			beside, _ := a.session(c.Labels["session_name"])
			return beside
		}
		w.NotCounted = true
		return w
	})
}

func TestMotoSessionsWithoutANameAreDeniedByTheirSourceIdentityOrAllTogether(t *testing.T) {
	for what, c := range map[string]struct {
		source string
		hits   int // of two other sessions, one of which has that source identity
	}{"source identity": {"alice", 1}, "nothing": {"", 2}} {
		t.Run(what, func(t *testing.T) {
			a := newAccount(t)
			x := a.open(Config{})
			first, _ := a.session("one")
			second, _ := a.session("two")
			third, _ := a.session("three")
			delete(first.Labels, "session_name")
			first.Labels["source_identity"] = c.source
			for i := range a.sessions {
				a.sessions[i].SourceIdentity = map[string]string{first.Key: c.source, second.Key: "alice", third.Key: "bob"}[a.sessions[i].Key]
			}
			hits, err := x.Collateral(t.Context(), first)
			if err != nil || len(hits) != c.hits {
				t.Errorf("Collateral = %+v, %v", hits, err)
			}
			if err := x.Revoke(t.Context(), first); err != nil {
				t.Fatal(err)
			}
			if p, err := x.Verify(t.Context(), first); err != nil || !p.Gone {
				t.Errorf("Verify = %+v, %v", p, err)
			}
			if !a.denied("X:one", c.source, first.IssuedAt) || !a.denied("X:two", "alice", second.IssuedAt) || a.denied("X:three", "bob", third.IssuedAt) != (c.hits == 2) {
				t.Errorf("the deny is another: %v", a.inline("role", "agent"))
			}
			if a.denied("X:one", c.source, time.Now().Add(2*time.Minute)) {
				t.Error("sessions to come are denied, too")
			}
		})
	}
}
