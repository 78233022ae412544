package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"

	"github.com/leastwise/leastwise/enforcer/target"
	"github.com/leastwise/leastwise/schemas"
)

// entity is an identity, by its id: it is disabled, and what it holds is ended,
// since Vault lets a disabled entity's leases live on (hashicorp/vault#7367).
type entity struct {
	t  *Target
	id string
}

const entityPath = "identity/entity/id/"

// ask tells whether the entity exists and is disabled.
func (k *entity) ask(ctx context.Context) (exists, disabled bool, name string, err error) {
	secret, err := k.t.call(ctx, request{method: http.MethodGet, path: entityPath + k.id, capability: "read", step: "read the entity"})
	if status(err, http.StatusNotFound) {
		return false, false, "", nil
	}
	if err != nil {
		return false, false, "", err
	}
	if secret == nil {
		return false, false, "", &target.Error{Op: "read the entity", Err: errors.New("Vault's answer is empty")}
	}
	if got, _ := secret.Data["id"].(string); got != k.id {
		// A merged entity is answered for by the one it went into.
		return false, false, "", impossible("read the entity", fmt.Errorf("Vault answered about entity %q: this one was merged into it", got))
	}
	disabled, ok := secret.Data["disabled"].(bool)
	if !ok {
		return false, false, "", &target.Error{Op: "read the entity", Err: errors.New("Vault's answer does not say whether it is disabled")}
	}
	name, _ = secret.Data["name"].(string)
	return true, disabled, name, nil
}

func (k *entity) set(ctx context.Context, disabled bool) error {
	step := "disable the entity"
	if !disabled {
		step = "enable the entity again"
	}
	_, err := k.t.call(ctx, request{method: http.MethodPost, path: entityPath + k.id,
		body: map[string]any{"disabled": disabled}, capability: "update", step: step})
	return err
}

// held is a live token of an entity.
type held struct {
	accessor, name, since string
}

// tokens of the entity: Vault can not be asked for them, so every live token is
// looked up, no faster than hashes_per_second. Batch tokens have no accessor
// and are not among them; Vault refuses those of a disabled entity.
func (k *entity) tokens(ctx context.Context) ([]held, error) {
	list, err := k.t.list(ctx)
	if err != nil {
		return nil, err
	}
	var mine []held
	for n, accessor := range list {
		if err := k.t.hashes.Wait(ctx); err != nil {
			return nil, fmt.Errorf("look up live tokens (%d of %d so far): %w", n, len(list), err)
		}
		secret, err := k.t.call(ctx, request{method: http.MethodPost, path: "auth/token/lookup-accessor",
			body: map[string]string{"accessor": accessor}, capability: "update", step: "look up the tokens of the entity"})
		if says(err, "invalid accessor") {
			continue // it ended meanwhile
		}
		if err != nil {
			return nil, err
		}
		if id, _ := secret.Data["entity_id"].(string); id != k.id {
			continue
		}
		h := held{accessor: accessor}
		h.name, _ = secret.Data["display_name"].(string)
		h.since, _ = secret.Data["issue_time"].(string)
		if made, ok := secret.Data["creation_time"].(json.Number); ok && h.since == "" {
			h.since = made.String()
		}
		mine = append(mine, h)
	}
	return mine, nil
}

func (k *entity) lookup(ctx context.Context) (target.Sighting, error) {
	exists, disabled, name, err := k.ask(ctx)
	if err != nil {
		return target.Sighting{}, err
	}
	mine, err := k.tokens(ctx)
	if err != nil {
		return target.Sighting{}, err
	}
	s := target.Sighting{Status: target.Alive, Found: k.id}
	switch {
	case exists && !disabled:
		s.Detail = fmt.Sprintf("entity %q is enabled, with %d live tokens; after a revocation it can be enabled again, and has to log in anew", name, len(mine))
		s.Restore = k.id
	case len(mine) > 0:
		s.Detail = fmt.Sprintf("the entity is disabled or deleted, and %d of its tokens live on with their leases", len(mine))
	case exists:
		s.Status, s.Detail = target.Gone, "the entity is disabled, and none of its tokens lives"
	default:
		s.Status, s.Detail = target.Gone, "Vault has no such entity, and no token of it lives"
	}
	return s, nil
}

// revoke disables first, so that nobody logs in between, and then ends the
// tokens with all that hangs on them.
func (k *entity) revoke(ctx context.Context) error {
	exists, disabled, _, err := k.ask(ctx)
	if err != nil {
		return err
	}
	if exists && !disabled {
		if err := k.set(ctx, true); err != nil {
			return err
		}
	}
	mine, err := k.tokens(ctx)
	if err != nil {
		return err
	}
	me, err := k.t.auth.self(ctx, k.t)
	if err != nil {
		return err
	}
	for n, h := range mine {
		if slices.Contains(me.accessors, h.accessor) {
			return impossible("revoke the tokens of the entity", target.ErrOwn)
		}
		if err := (&token{k.t, h.accessor}).revoke(ctx); err != nil {
			return fmt.Errorf("revoke the tokens of the entity (%d of %d so far): %w", n, len(mine), err)
		}
	}
	return nil
}

func (k *entity) verify(ctx context.Context) (target.Proof, error) {
	s, err := k.lookup(ctx)
	if err != nil {
		return target.Proof{}, err
	}
	return target.Proof{Gone: s.Status == target.Gone, Text: entityPath + k.id + " and auth/token/accessors: " + s.Detail}, nil
}

// Restore enables an entity again. Everything else that was taken at Vault is
// gone for good.
func (t *Target) Restore(ctx context.Context, c target.Credential) error {
	k, err := t.of(ctx, c)
	var u *unresolved
	if errors.As(err, &u) {
		return impossible("give it back", errors.New("a token that is gone can not come back: log in anew"))
	}
	if err != nil {
		return err
	}
	e, ok := k.(*entity)
	switch {
	case !ok:
		return impossible("give it back", errors.New("Vault can not bring back what it revoked: the owner logs in anew, or is issued a new one"))
	case c.Restore != e.id:
		return impossible("give it back", errors.New("the entity was not enabled when it was seen, so nothing was taken here"))
	}
	exists, disabled, _, err := e.ask(ctx)
	switch {
	case err != nil:
		return err
	case !exists:
		return impossible("give it back", errors.New("the entity was deleted: the next login makes a new one"))
	case !disabled:
		return nil
	}
	return e.set(ctx, false)
}

// Collateral tells what ends with a credential: with an entity all of its
// tokens. What ends with a token is what Vault does not tell (it lists no
// children): that is target.ErrUnsupported, and the children that the log
// showed are all that is known.
func (t *Target) Collateral(ctx context.Context, c target.Credential) ([]target.Hit, error) {
	k, err := t.of(ctx, c)
	var u *unresolved
	if errors.As(err, &u) {
		return nil, impossible("tell what ends with it", target.ErrUnsupported)
	}
	if err != nil {
		return nil, err
	}
	switch k := k.(type) {
	case *token:
		return nil, impossible("tell what ends with the token", fmt.Errorf("Vault lists no children of a token: %w", target.ErrUnsupported))
	case *entity:
		mine, err := k.tokens(ctx)
		if err != nil {
			return nil, err
		}
		hits := make([]target.Hit, 0, len(mine))
		for _, h := range mine {
			id, err := t.asLogged(ctx, h.accessor)
			if err != nil {
				return nil, err
			}
			hits = append(hits, target.Hit{Key: schemas.Key{System: "vault", Instance: t.cfg.Instance, Type: "token", ID: id}.String(),
				Text: fmt.Sprintf("token %q of the entity, since %s, with its leases and children", h.name, h.since)})
		}
		return hits, nil
	}
	return nil, nil
}

// logForm remembers how the audit device writes accessors.
type logForm struct {
	mu           sync.Mutex // guards what follows
	known, clear bool
}

// asLogged is the accessor as the audit device writes it.
func (t *Target) asLogged(ctx context.Context, accessor string) (string, error) {
	t.form.mu.Lock()
	defer t.form.mu.Unlock()
	if !t.form.known {
		secret, err := t.call(ctx, request{method: http.MethodGet, path: "sys/audit", capability: "read and sudo", step: "see how the audit device writes accessors"})
		if err != nil {
			return "", err
		}
		device, ok := secret.Data[t.cfg.AuditDevice+"/"].(map[string]any)
		if !ok {
			return "", impossible("see how the audit device writes accessors", fmt.Errorf("there is no audit device %q: set enforcer.vault.audit_device", t.cfg.AuditDevice))
		}
		options, _ := device["options"].(map[string]any)
		t.form.clear = options["hmac_accessor"] == "false"
		t.form.known = true
	}
	if t.form.clear {
		return accessor, nil
	}
	return t.hash(ctx, accessor)
}
