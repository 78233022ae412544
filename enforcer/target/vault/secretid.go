package vault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/leastwise/leastwise/enforcer/target"
)

// secretID is what an AppRole's login needs beside the role id, by accessor.
type secretID struct {
	t                     *Target
	mount, role, accessor string
}

// secretID reads MOUNT/ROLE/ACCESSOR.
func (t *Target) secretID(id string) (kind, error) {
	parts := strings.Split(id, "/")
	if len(parts) < 3 {
		return nil, impossible("name the secret id", fmt.Errorf("%q is not MOUNT/ROLE/ACCESSOR", id))
	}
	n := len(parts)
	k := &secretID{t, strings.Join(parts[:n-2], "/"), parts[n-2], parts[n-1]}
	switch {
	case !slices.Contains(t.cfg.AppRoleMounts, k.mount):
		return nil, impossible("name the secret id", fmt.Errorf("its mount %q is not among enforcer.vault.approle_mounts", k.mount))
	case strings.HasPrefix(k.accessor, hashPrefix):
		return nil, impossible("name the secret id", errors.New("the log shows its accessor hashed alone: list the role's with `vault list auth/"+k.mount+"/role/"+k.role+"/secret-id`"))
	}
	return k, safeName("role", k.role)
}

func (k *secretID) path(verb string) string {
	return "auth/" + k.mount + "/role/" + k.role + "/secret-id-accessor/" + verb
}

// ask takes Vault's word alone: that the accessor is not found, or that the
// role is not there, with which Vault drops its secret ids.
func (k *secretID) ask(ctx context.Context) (gone bool, text string, err error) {
	secret, err := k.t.call(ctx, request{method: http.MethodPost, path: k.path("lookup"),
		body: map[string]string{"secret_id_accessor": k.accessor}, capability: "update", step: "look the secret id up"})
	switch {
	case says(err, "failed to find accessor entry"):
		return true, "no such accessor", nil
	case says(err, fmt.Sprintf("role %q does not exist", k.role)):
		return true, "the role does not exist", nil
	case err != nil:
		return false, "", err
	case secret == nil:
		return true, "no such accessor", nil
	}
	if got, _ := secret.Data["secret_id_accessor"].(string); got != k.accessor {
		return false, "", &target.Error{Op: "look the secret id up", Err: errors.New("Vault answered about another secret id")}
	}
	ends, _ := secret.Data["expiration_time"].(string)
	if ends == "" || strings.HasPrefix(ends, "0001-") {
		ends = "never"
	}
	return false, "it ends " + ends, nil
}

func (k *secretID) lookup(ctx context.Context) (target.Sighting, error) {
	gone, text, err := k.ask(ctx)
	if err != nil {
		return target.Sighting{}, err
	}
	if gone {
		return target.Sighting{Status: target.Gone, Found: k.accessor, Detail: k.path("lookup") + ": " + text}, nil
	}
	return target.Sighting{Status: target.Alive, Found: k.accessor, Detail: "alive; " + text + "; tokens that it was used for live on when it is destroyed"}, nil
}

func (k *secretID) revoke(ctx context.Context) error {
	_, err := k.t.call(ctx, request{method: http.MethodPost, path: k.path("destroy"),
		body: map[string]string{"secret_id_accessor": k.accessor}, capability: "update", step: "destroy the secret id"})
	if says(err, "failed to find accessor entry") || says(err, fmt.Sprintf("role %q does not exist", k.role)) {
		return nil // gone already: Vault says so with 500
	}
	return err
}

func (k *secretID) verify(ctx context.Context) (target.Proof, error) {
	gone, text, err := k.ask(ctx)
	return target.Proof{Gone: gone, Text: k.path("lookup") + ": " + text}, err
}
