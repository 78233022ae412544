package vault

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/collectors/collect"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

// TestRealVaultAliasesThatAreGoneAreTakenBack deletes an alias while the collector runs and another while it does not.
func TestRealVaultAliasesThatAreGoneAreTakenBack(t *testing.T) {
	v := startVault(t, nil)
	v.must("POST", "sys/auth/userpass", rootToken, map[string]any{"type": "userpass"})
	v.must("POST", "sys/auth/approle", rootToken, map[string]any{"type": "approle"})
	v.must("POST", "auth/approle/role/web", rootToken, map[string]any{"token_policies": "default"})
	for _, user := range []string{"ann", "bob"} {
		v.must("POST", "auth/userpass/users/"+user, rootToken, map[string]any{"password": "pw-of-" + user})
	}
	roleID := field(v.must("GET", "auth/approle/role/web/role-id", rootToken, nil), "data", "role_id")
	secretID := field(v.must("POST", "auth/approle/role/web/secret-id", rootToken, map[string]any{}), "data", "secret_id")
	ann := field(v.must("POST", "auth/userpass/login/ann", "", map[string]any{"password": "pw-of-ann"}), "auth", "entity_id")
	bob := field(v.must("POST", "auth/userpass/login/bob", "", map[string]any{"password": "pw-of-bob"}), "auth", "entity_id")

	v.must("PUT", "sys/policies/acl/inventory", rootToken, map[string]any{"policy": `path "auth/token/accessors" { capabilities = ["list", "sudo"] }
		path "auth/token/lookup-accessor" { capabilities = ["update"] }
		path "auth/token/roles" { capabilities = ["list"] }
		path "auth/token/roles/*" { capabilities = ["read"] }
		path "identity/entity-alias/id" { capabilities = ["list"] }
		path "auth/approle/role" { capabilities = ["list"] }
		path "auth/approle/role/+" { capabilities = ["read"] }
		path "auth/approle/role/+/secret-id" { capabilities = ["list"] }
		path "auth/approle/role/+/secret-id-accessor/lookup" { capabilities = ["update"] }
		path "sys/auth" { capabilities = ["read"] }
		path "sys/mounts" { capabilities = ["read"] }
		path "sys/mounts/*" { capabilities = ["read"] }
		path "sys/policies/acl/*" { capabilities = ["read"] }
		path "sys/audit-hash/file" { capabilities = ["update"] }`})
	reader, _ := v.token(rootToken, "auth/token/create", map[string]any{"policies": []string{"inventory"}})
	broker, dir := &flaky{}, t.TempDir()
	// The next round is an hour off: what is told before it, the log has asked for.
	cfg := Config{Instance: "prod", File: v.log, BatchWait: 10 * time.Millisecond, Inventory: &InventoryConfig{Address: v.address, Device: "file",
		TokenFile: secretFile(t, reader), Interval: time.Hour, Rate: 2000}}
	c, stop := running(t, cfg, collect.Deps{Stream: broker, DataDir: dir})
	last := func(entity string) *leastwisev1.Event {
		var newest *leastwisev1.Event
		for _, ev := range broker.events(t) {
			if ev.Principal == "vault/prod/entity/"+entity && ev.Labels["entity_alias"] != "" &&
				(newest == nil || ev.OccurredAt.AsTime().After(newest.OccurredAt.AsTime())) {
				newest = ev
			}
		}
		return newest
	}
	told := func(entity string, kind leastwisev1.Event_Kind) func() bool {
		return func() bool { return last(entity).GetKind() == kind }
	}
	eventually(t, "ann's alias is told", told(ann, leastwisev1.Event_OBSERVED))
	eventually(t, "bob's alias is told", told(bob, leastwisev1.Event_OBSERVED))
	if ev := last(ann); ev.Labels["entity_alias"] != "ann" || ev.Labels["mount_point"] != "auth/userpass/" || ev.Labels["mount_type"] != "userpass" || ev.Credential != "" {
		t.Errorf("%v", ev)
	}
	idOf := func(entity string) string {
		return strings.TrimPrefix(last(entity).Resource, aliasPath+"/")
	}
	annAlias, bobAlias := idOf(ann), idOf(bob)
	c.inventory.aliases.mu.Lock()
	c.inventory.aliases.read = time.Time{} // no need to rest
	c.inventory.aliases.mu.Unlock()
	web := field(v.must("POST", "auth/approle/login", "", map[string]any{"role_id": roleID, "secret_id": secretID}), "auth", "entity_id")
	eventually(t, "the alias that a login made is told", told(web, leastwisev1.Event_OBSERVED))
	if ev := last(web); ev.Labels["role_name"] != "web" || strings.Contains(ev.String(), roleID) {
		t.Errorf("%v", ev)
	}
	v.must("DELETE", aliasPath+"/"+annAlias, rootToken, nil)
	eventually(t, "ann's alias is taken back at once", told(ann, leastwisev1.Event_REVOKED))
	v.must("DELETE", "identity/entity/id/"+web, rootToken, nil)
	eventually(t, "an entity's end takes its aliases", told(web, leastwisev1.Event_REVOKED))
	if ev := last(web); ev.Labels["role_name"] != "web" {
		t.Errorf("what the login told is not taken back: %v", ev)
	}
	if last(bob).Kind != leastwisev1.Event_OBSERVED || c.Trouble("inventory") != "" {
		t.Errorf("%v, %s", last(bob), c.Trouble("inventory"))
	}
	stop()
	v.must("DELETE", aliasPath+"/"+bobAlias, rootToken, nil)
	os.Truncate(v.log, 0) // nobody ever reads of it
	_, stop = running(t, cfg, collect.Deps{Stream: broker, DataDir: dir})
	eventually(t, "bob's alias is taken back by the next collector", told(bob, leastwisev1.Event_REVOKED))
	stop()
	if text, err := os.ReadFile(filepath.Join(dir, "vault-prod.aliases.json")); err != nil || strings.Contains(string(text), roleID) {
		t.Errorf("%s %v", text, err)
	}
}

func TestTwoAliasesOfOneEntityAreToldApart(t *testing.T) {
	one := alias{Entity: "e", Name: "a", Mount: "auth/k8s/", Kind: "kubernetes", Meta: map[string]string{"service_account_name": "in"}}
	other := one
	other.Mount = "auth/k8s-2/"
	moved := other
	moved.Entity = "f"
	c, err := New(Config{File: "x", Inventory: &InventoryConfig{Address: "http://x", TokenFile: "x"}}, collect.Deps{Stream: &flaky{}, DataDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	i := c.inventory
	tell := func(now map[string]alias) string {
		batch, _ := i.aliasChanges(now)
		i.aliases.known = now
		var all []string
		before := time.Time{}
		for _, m := range batch {
			ev := &leastwisev1.Event{}
			if err := ev.UnmarshalVT(m.Value); err != nil {
				t.Fatal(err)
			}
			if ev.Kind == leastwisev1.Event_OBSERVED && !ev.OccurredAt.AsTime().After(before) {
				t.Error("what holds is told before what is taken back")
			} else if ev.Kind == leastwisev1.Event_REVOKED {
				before = ev.OccurredAt.AsTime()
			}
			all = append(all, ev.Kind.String()+" "+strings.TrimPrefix(ev.Principal, "vault/default/entity/")+" "+strings.TrimPrefix(ev.Resource, aliasPath+"/"))
		}
		return strings.Join(all, ", ")
	}
	for step, c := range []struct {
		now  map[string]alias
		want string
	}{
		{map[string]alias{"1": one, "2": other}, "OBSERVED e 1, OBSERVED e 2"},
		{map[string]alias{"1": one, "2": other}, ""},
		// The service account is still one of the entity's, by the other alias: that is said once more.
		{map[string]alias{"2": other}, "REVOKED e 1, OBSERVED e 2"},
		{map[string]alias{"2": moved}, "REVOKED e 2, OBSERVED f 2"},
		{nil, "REVOKED f 2"},
	} {
		if got := tell(c.now); got != c.want {
			t.Errorf("step %d: %s, want %s", step, got, c.want)
		}
	}
}
