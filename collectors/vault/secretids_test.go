package vault

import (
	"slices"
	"testing"
	"time"

	"github.com/leastwise/leastwise/collectors/collect"
	"github.com/leastwise/leastwise/schemas"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

// toldOf gives the events of one credential that were published, in their order, by distinct id.
func toldOf(b *flaky, credential string) (out []*leastwisev1.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.stored {
		ev := &leastwisev1.Event{}
		if m.Topic == schemas.TopicEvents && ev.UnmarshalVT(m.Value) == nil && ev.Credential == credential &&
			!slices.ContainsFunc(out, func(o *leastwisev1.Event) bool { return string(o.Id) == string(ev.Id) }) {
			out = append(out, ev)
		}
	}
	return out
}

func TestRealVaultSecretIDsAreToldByAccessorUntilTheyAreGone(t *testing.T) {
	v := startVault(t, nil)
	roleID, secretID := v.prepare()
	v.must("POST", "auth/approle/role/agent", rootToken, map[string]any{"token_policies": "renewer", "secret_id_ttl": "2h", "secret_id_num_uses": 5})
	secretOf := func(role string, body map[string]any) (accessor, key string) {
		accessor = field(v.must("POST", "auth/approle/role/"+role+"/secret-id", rootToken, body), "data", "secret_id_accessor")
		return accessor, "vault/prod/secret_id/approle/" + role + "/" + accessor
	}
	first, firstKey := secretOf("agent", map[string]any{"metadata": `{"agent": "ingest"}`})
	_, foreverKey := secretOf("r", map[string]any{})
	dir, broker := t.TempDir(), &flaky{}
	cfg := Config{Instance: "prod", File: v.log, BatchWait: 10 * time.Millisecond, Inventory: &InventoryConfig{Address: v.address, Device: "file", HMACAccessor: "true",
		AppRole: &AppRole{RoleIDFile: secretFile(t, roleID), SecretIDFile: secretFile(t, secretID)}, Interval: time.Hour, Rate: 2000, SecretIDs: true}}
	_, stop := running(t, cfg, collect.Deps{Stream: broker, DataDir: dir})
	eventually(t, "both are told", func() bool { return len(toldOf(broker, firstKey)) == 1 && len(toldOf(broker, foreverKey)) == 1 })
	ev := toldOf(broker, firstKey)[0]
	if life := ev.Lifetime.ExpiresAt.AsTime().Sub(ev.Lifetime.IssuedAt.AsTime()); ev.Kind != leastwisev1.Event_OBSERVED || life != 2*time.Hour || ev.Lifetime.NeverExpires ||
		!slices.Equal(ev.Policies, []string{"renewer"}) || ev.Labels["role_name"] != "agent" || ev.Labels["mount_point"] != "auth/approle/" ||
		ev.Labels["meta.agent"] != "ingest" || ev.Labels["num_uses"] != "5" {
		t.Errorf("%v", ev)
	}
	if ev := toldOf(broker, foreverKey)[0]; !ev.Lifetime.NeverExpires || ev.Lifetime.ExpiresAt != nil {
		t.Errorf("%v", ev)
	}
	// No second round comes: the log says that something changed.
	second, secondKey := secretOf("agent", map[string]any{})
	eventually(t, "a new one is told", func() bool { return len(toldOf(broker, secondKey)) == 1 })
	v.must("POST", "auth/approle/role/agent/secret-id-accessor/destroy", rootToken, map[string]any{"secret_id_accessor": first})
	gone := func(key string) func() bool {
		return func() bool {
			evs := toldOf(broker, key)
			return len(evs) == 2 && evs[1].Kind == leastwisev1.Event_REVOKED
		}
	}
	eventually(t, "the destroyed one is gone", gone(firstKey))
	stop()
	v.must("POST", "auth/approle/role/agent/secret-id-accessor/destroy", rootToken, map[string]any{"secret_id_accessor": second})
	_, stop = running(t, cfg, collect.Deps{Stream: broker, DataDir: dir})
	eventually(t, "what went while nobody looked is gone", gone(secondKey))
	stop()
	if n := len(toldOf(broker, foreverKey)); n != 1 {
		t.Errorf("what stays was told %d times", n)
	}
}
