package vault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/leastwise/leastwise/enforcer/target"
	"github.com/leastwise/leastwise/schemas"
)

// kind of a credential at Vault: how it is named, looked up and revoked.
type kind interface {
	lookup(ctx context.Context) (target.Sighting, error)
	revoke(ctx context.Context) error
	// verify may differ from lookup in that absence is not enough.
	verify(ctx context.Context) (target.Proof, error)
}

// of gives the credential's kind, with its name resolved. An unresolved one is
// errUnresolved with the reason.
func (t *Target) of(ctx context.Context, c target.Credential) (kind, error) {
	key, err := schemas.ParseKey(c.Key)
	if err != nil {
		return nil, impossible("read the credential's key", err)
	}
	if key.System != "vault" || key.Instance != t.cfg.Instance {
		return nil, impossible("read the credential's key", fmt.Errorf("%s is not of vault/%s", c.Key, t.cfg.Instance))
	}
	switch key.Type {
	case "token":
		accessor, err := t.accessorOf(ctx, key.ID, c.Found)
		return &token{t, accessor}, err
	case "lease":
		if strings.HasPrefix(key.ID, hashPrefix) {
			return nil, impossible("name the lease", errors.New("the log shows its id hashed alone, and leases can not be listed by hash"))
		}
		return &lease{t, key.ID}, nil
	case "certificate":
		mount, err := t.pkiMount(c.Labels["mount_point"])
		return &certificate{t, mount, key.ID}, err
	case "entity":
		return &entity{t, key.ID}, safeName("entity", key.ID)
	case "secret_id":
		return t.secretID(key.ID)
	case "entity_alias":
		return nil, impossible("end the alias", fmt.Errorf("Vault can only delete an alias, and a login makes it anew: disable its entity instead: %w", target.ErrUnsupported))
	case "identity_token":
		return nil, impossible("revoke the identity token", fmt.Errorf("nothing at Vault ends one before it expires: rotate the key that signed it, which ends every token of that key once its verification_ttl is over (two people: `vault write identity/oidc/key/NAME/rotate verification_ttl=0`): %w", target.ErrIssuerCannot))
	default:
		return nil, impossible("revoke a "+key.Type, target.ErrUnsupported)
	}
}

func impossible(op string, err error) error {
	return &target.Error{Kind: target.Impossible, Op: op, Err: err}
}

// unresolved says why a hashed accessor has no name here. It is not proof of
// anything: the hash may be another device's.
type unresolved struct{ detail string }

func (u *unresolved) Error() string { return u.detail }

func (t *Target) accessorOf(ctx context.Context, id, found string) (string, error) {
	switch {
	case !strings.HasPrefix(id, hashPrefix):
		return id, nil
	case found != "":
		return found, nil
	}
	accessor, ok, err := t.resolve(ctx, id)
	if err != nil {
		return "", err
	}
	if !ok {
		return "", &unresolved{fmt.Sprintf("no live accessor has this hash by audit device %q: the token ended, or the log is another device's (enforcer.vault.audit_device)", t.cfg.AuditDevice)}
	}
	return accessor, nil
}

func (t *Target) pkiMount(mount string) (string, error) {
	mount = strings.Trim(mount, "/")
	if mount == "" && len(t.cfg.PKIMounts) == 1 {
		return t.cfg.PKIMounts[0], nil
	}
	if !slices.Contains(t.cfg.PKIMounts, mount) {
		return "", impossible("revoke a certificate", fmt.Errorf("its mount %q is not among enforcer.vault.pki_mounts", mount))
	}
	return mount, nil
}

// Lookup tells whether the credential lives. It changes nothing.
func (t *Target) Lookup(ctx context.Context, c target.Credential) (target.Sighting, error) {
	k, err := t.of(ctx, c)
	var u *unresolved
	if errors.As(err, &u) {
		return target.Sighting{Status: target.Unknown, Detail: u.detail}, nil
	}
	if err != nil {
		return target.Sighting{}, err
	}
	return k.lookup(ctx)
}

// Revoke ends the credential; children and leases of a token end with it.
func (t *Target) Revoke(ctx context.Context, c target.Credential) error {
	k, err := t.of(ctx, c)
	if err != nil {
		return err
	}
	if own, err := t.isOwn(ctx, k); err != nil {
		return err
	} else if own {
		return impossible("revoke the credential", target.ErrOwn)
	}
	return k.revoke(ctx)
}

// Verify asks Vault for its word that the credential is gone.
func (t *Target) Verify(ctx context.Context, c target.Credential) (target.Proof, error) {
	k, err := t.of(ctx, c)
	var u *unresolved
	if errors.As(err, &u) {
		return target.Proof{Text: u.detail}, nil
	}
	if err != nil {
		return target.Proof{}, err
	}
	return k.verify(ctx)
}

// Protected are the own tokens, plain and as the audit log shows them, and the
// entity that they are of.
func (t *Target) Protected(ctx context.Context) ([]string, error) {
	me, err := t.auth.self(ctx, t)
	if err != nil {
		return nil, err
	}
	var keys []string
	for _, accessor := range me.accessors {
		key := schemas.Key{System: "vault", Instance: t.cfg.Instance, Type: "token", ID: accessor}
		keys = append(keys, key.String())
		if key.ID, err = t.hash(ctx, accessor); err != nil {
			return nil, err
		}
		keys = append(keys, key.String())
	}
	if me.entity != "" {
		keys = append(keys, schemas.Key{System: "vault", Instance: t.cfg.Instance, Type: "entity", ID: me.entity}.String())
	}
	return keys, nil
}

// isOwn asks after the name was resolved, so that a hash of any device is seen
// through.
func (t *Target) isOwn(ctx context.Context, k kind) (bool, error) {
	switch k := k.(type) {
	case *token:
		me, err := t.auth.self(ctx, t)
		return slices.Contains(me.accessors, k.accessor), err
	case *entity:
		me, err := t.auth.self(ctx, t)
		return k.id == me.entity, err
	case *secretID:
		me, err := t.auth.self(ctx, t)
		return t.cfg.AppRole != nil && k.mount == strings.Trim(t.cfg.AppRole.Mount, "/") && k.role == me.role, err
	}
	return false, nil
}

// Live counts live tokens.
func (t *Target) Live(ctx context.Context) (int, error) {
	list, err := t.list(ctx)
	return len(list), err
}

// token is a service token, by accessor.
type token struct {
	t        *Target
	accessor string
}

func (k *token) ask(ctx context.Context) (gone bool, ends string, err error) {
	secret, err := k.t.call(ctx, request{method: http.MethodPost, path: "auth/token/lookup-accessor",
		body: map[string]string{"accessor": k.accessor}, capability: "update", step: "look the token up by its accessor"})
	// Vault 1.19 says it with 400, others with 403 or 404; the text is the proof.
	if says(err, "invalid accessor") {
		return true, "", nil
	}
	if err != nil {
		return false, "", err
	}
	if got, _ := secret.Data["accessor"].(string); got != k.accessor {
		return false, "", &target.Error{Op: "look the token up by its accessor", Err: errors.New("Vault answered about another token")}
	}
	ends, _ = secret.Data["expire_time"].(string)
	return false, ends, nil
}

func (k *token) lookup(ctx context.Context) (target.Sighting, error) {
	gone, ends, err := k.ask(ctx)
	if err != nil {
		return target.Sighting{}, err
	}
	if gone {
		return target.Sighting{Status: target.Gone, Detail: "auth/token/lookup-accessor: invalid accessor"}, nil
	}
	if ends == "" {
		ends = "never"
	}
	return target.Sighting{Status: target.Alive, Found: k.accessor, Detail: "alive; it would end " + ends}, nil
}

func (k *token) revoke(ctx context.Context) error {
	_, err := k.t.call(ctx, request{method: http.MethodPost, path: "auth/token/revoke-accessor",
		body: map[string]string{"accessor": k.accessor}, capability: "update", step: "revoke the token by its accessor"})
	if says(err, "invalid accessor") {
		return nil // gone already, as older servers say it
	}
	return err
}

func (k *token) verify(ctx context.Context) (target.Proof, error) {
	gone, ends, err := k.ask(ctx)
	if err != nil || !gone {
		return target.Proof{Text: "auth/token/lookup-accessor: still alive, until " + ends}, err
	}
	return target.Proof{Gone: true, Text: "auth/token/lookup-accessor of " + k.accessor + ": invalid accessor"}, nil
}

// lease is a lease of a dynamic secret.
type lease struct {
	t  *Target
	id string
}

func (k *lease) ask(ctx context.Context) (gone bool, err error) {
	_, err = k.t.call(ctx, request{method: http.MethodPost, path: "sys/leases/lookup",
		body: map[string]string{"lease_id": k.id}, capability: "update", step: "look the lease up"})
	if says(err, "invalid lease") {
		return true, nil
	}
	return false, err
}

func (k *lease) lookup(ctx context.Context) (target.Sighting, error) {
	gone, err := k.ask(ctx)
	if err != nil {
		return target.Sighting{}, err
	}
	if gone {
		return target.Sighting{Status: target.Gone, Detail: "sys/leases/lookup: invalid lease"}, nil
	}
	return target.Sighting{Status: target.Alive, Found: k.id, Detail: "the lease lives"}, nil
}

func (k *lease) revoke(ctx context.Context) error {
	_, err := k.t.call(ctx, request{method: http.MethodPost, path: "sys/leases/revoke",
		body: map[string]any{"lease_id": k.id, "sync": true}, capability: "update", step: "revoke the lease"})
	return err
}

func (k *lease) verify(ctx context.Context) (target.Proof, error) {
	gone, err := k.ask(ctx)
	if err != nil || !gone {
		return target.Proof{Text: "sys/leases/lookup: the lease lives"}, err
	}
	return target.Proof{Gone: true, Text: "sys/leases/lookup: invalid lease"}, nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
