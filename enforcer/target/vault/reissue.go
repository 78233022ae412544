package vault

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/leastwise/leastwise/enforcer/target"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// PolicyPrefix begins the name of every policy that Leastwise writes. The
// enforcer's own policy must not begin with it: the enforcer may write those.
const PolicyPrefix = "leastwise-"

// previous is what Rollback puts back, as JSON in Reissue.previous.
type previous struct {
	// Kind of a role that is no AppRole: pki, database, token. Only TTLs of
	// those are corrected.
	Kind          string   `json:"kind,omitempty"`
	Mount         string   `json:"mount"`
	Role          string   `json:"role"`
	TokenPolicies []string `json:"token_policies"`
	// TTLs that were cut, if any were past policy.
	TTLs []roleTTL `json:"ttls,omitempty"`
}

// Plan reads the credential's policies and role and says what would be given
// back. It changes nothing.
func (t *Target) Plan(ctx context.Context, d *pb.Decision) (*pb.Reissue, string, error) {
	sub, p := d.GetSubject(), d.GetProposal()
	if sub.GetType() == "lease" || sub.GetType() == "certificate" {
		return t.planRoleTTLs(ctx, d)
	}
	switch {
	case t.deliver == nil:
		return nil, "no delivery is configured (enforcer.vault.reissue.directory)", nil
	case sub.GetType() != "token":
		return nil, "tokens are re-issued, and roles of leases and certificates corrected; this is a " + sub.GetType(), nil
	case p.GetIncomplete() != "":
		return nil, "the proposed scope is incomplete: " + p.GetIncomplete(), nil
	case len(p.GetRules()) == 0:
		return nil, "no use was observed, so no scope is justified", nil
	}
	granted, err := t.granted(ctx, sub.GetPolicies())
	if err != nil {
		return nil, "", err
	}
	rules, refused := granted.narrow(p.Rules)
	if refused != "" {
		return nil, refused, nil
	}
	who := sub.GetAgent()
	if who == "" {
		who = sub.GetLabels()["role_name"]
	}
	plan := &pb.Reissue{
		GrantedBefore: max(p.Granted, granted.permissions()), GrantedAfter: permissions(rules),
		PolicyText: policyText(header(d, who), rules), Former: granted.rules(),
	}
	plan.PolicyName = policyName(who, d.GetCredential(), rules)
	plan.Narrowed = fmt.Sprintf("observed %s to %s", stamp(p.GetObservedFrom().AsTime()), stamp(p.GetObservedUntil().AsTime()))
	if len(plan.Former) == 0 {
		plan.Narrowed += fmt.Sprintf("; denials that follow from it can not be told apart: the former scope has more than %d rules", maxFormer)
	}
	return plan, "", t.planRole(ctx, d, plan)
}

func (g grants) permissions() uint32 {
	var n uint32
	for _, r := range g {
		if !r.caps["deny"] {
			n += uint32(len(r.caps))
		}
	}
	return n
}

// planRole notes the AppRole's policies and TTLs, for a credential that came
// from one, and says what they become.
func (t *Target) planRole(ctx context.Context, d *pb.Decision, plan *pb.Reissue) error {
	sub := d.GetSubject()
	labels := sub.GetLabels()
	mount := strings.TrimPrefix(strings.Trim(labels["mount_point"], "/"), "auth/")
	role := labels["role_name"]
	if k := t.tokenRole(d); k.kind != "" {
		return t.addRoleTTLs(ctx, k, limitOf(d), plan)
	}
	if labels["mount_type"] != "approle" || role == "" {
		plan.Narrowed += "; a new token, no role is known to narrow"
		return nil
	}
	if !slices.Contains(t.cfg.AppRoleMounts, mount) {
		plan.Narrowed += fmt.Sprintf("; role %s stays as broad as it is: mount %s is not among enforcer.vault.approle_mounts", role, mount)
		return nil
	}
	if strings.ContainsAny(role, "/?#%\\") {
		return impossible("read the AppRole", fmt.Errorf("role name %q can not be a path", role))
	}
	policies, err := t.rolePolicies(ctx, mount, role)
	if status(err, http.StatusNotFound) {
		plan.Narrowed += "; role " + role + " does not exist any more"
		return nil
	}
	if err != nil {
		return err
	}
	ttls, err := t.planTTLs(ctx, appRole(mount, role), limitOf(d))
	if err != nil {
		return err
	}
	raw, err := json.Marshal(previous{Mount: mount, Role: role, TokenPolicies: policies, TTLs: ttls})
	if err != nil {
		return impossible("note the AppRole's policies", err)
	}
	plan.Previous = string(raw)
	plan.Narrowed += fmt.Sprintf("; role %s is narrowed to it: token_policies [%s] → [%s]", role, strings.Join(policies, ", "), plan.PolicyName)
	for _, r := range ttls {
		plan.Narrowed += ", " + r.String()
	}
	var extra []string
	for _, name := range sub.GetPolicies() {
		if name != "default" && !slices.Contains(policies, name) {
			extra = append(extra, name)
		}
	}
	if len(extra) > 0 {
		plan.Narrowed += "; logins of its entity still get " + strings.Join(extra, ", ") + " from the entity or its groups"
	}
	return nil
}

func (t *Target) rolePolicies(ctx context.Context, mount, role string) ([]string, error) {
	secret, err := t.call(ctx, request{method: http.MethodGet, path: "auth/" + mount + "/role/" + role + "/policies", capability: "read", step: "read the AppRole's policies"})
	if err != nil {
		return nil, err
	}
	list, ok := secret.Data["token_policies"].([]any)
	if !ok {
		return nil, impossible("read the AppRole's policies", errors.New("Vault's answer holds no token_policies"))
	}
	policies := []string{}
	for _, p := range list {
		if name, ok := p.(string); ok {
			policies = append(policies, name)
		}
	}
	return policies, nil
}

func (t *Target) setRolePolicies(ctx context.Context, mount, role string, policies []string) error {
	_, err := t.call(ctx, request{method: http.MethodPost, path: "auth/" + mount + "/role/" + role + "/policies",
		body: map[string]any{"token_policies": policies}, capability: "update", step: "set the AppRole's policies"})
	return err
}

func header(d *pb.Decision, who string) string {
	p := d.GetProposal()
	return fmt.Sprintf("Written by Leastwise from observed use of %s, %s to %s.\nIt replaces nothing: `leastwise rollback` puts the former policies back.",
		slug(who), stamp(p.GetObservedFrom().AsTime()), stamp(p.GetObservedUntil().AsTime()))
}

// policyName is the same for the same credential and rules, so that doing it
// again after a crash writes the same policy.
func policyName(who, credential string, rules []*pb.Rule) string {
	sum := sha256.Sum256([]byte(credential + "\n" + policyText("", rules)))
	return PolicyPrefix + slug(who) + "-" + hex.EncodeToString(sum[:4])
}

// slug keeps what a policy's or file's name may hold; Vault lowers names.
func slug(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-', r == '_':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		default:
			return '-'
		}
	}, text)
	text = strings.Trim(text[:min(len(text), 60)], "-")
	if text == "" {
		return "unnamed"
	}
	return text
}

// Reissue writes the policy, narrows the role and delivers a new token. Each
// step done again gives the same, but for the token: after a crash before the
// delivery was reported, the agent's delivery may be replaced by a newer one,
// and the older wrapping token expires.
func (t *Target) Reissue(ctx context.Context, ladderID string, d *pb.Decision, plan *pb.Reissue) (*pb.Reissue, error) {
	if plan.GetPolicyText() == "" && plan.GetPrevious() != "" {
		return t.cutRoleTTLs(ctx, plan)
	}
	if t.deliver == nil {
		return nil, impossible("deliver the new token", errors.New("no delivery is configured"))
	}
	if !strings.HasPrefix(plan.GetPolicyName(), PolicyPrefix) || plan.GetPolicyText() == "" {
		return nil, impossible("re-issue", errors.New("the plan names no policy of Leastwise"))
	}
	_, err := t.call(ctx, request{method: http.MethodPut, path: "sys/policies/acl/" + plan.PolicyName,
		body: map[string]string{"policy": plan.PolicyText}, capability: "create and update", step: "write the narrow policy"})
	if err != nil {
		return nil, err
	}
	if plan.Previous != "" {
		var was previous
		if err := json.Unmarshal([]byte(plan.Previous), &was); err != nil {
			return nil, impossible("narrow the AppRole", err)
		}
		if was.Kind == "" {
			if err := t.setRolePolicies(ctx, was.Mount, was.Role, []string{plan.PolicyName}); err != nil {
				return nil, err
			}
		}
		if err := t.cutTTLs(ctx, was); err != nil {
			return nil, err
		}
	}
	return t.mint(ctx, ladderID, d, plan)
}

func (t *Target) mint(ctx context.Context, ladderID string, d *pb.Decision, plan *pb.Reissue) (*pb.Reissue, error) {
	sub := d.GetSubject()
	ttl := t.cfg.Reissue.MaxTTL
	if was := sub.GetExpiresAt().AsTime().Sub(sub.GetIssuedAt().AsTime()); sub.GetExpiresAt() != nil && sub.GetIssuedAt() != nil && was > 0 && was < ttl {
		ttl = was
	}
	agent := sub.GetAgent()
	if agent == "" {
		agent = sub.GetLabels()["role_name"]
	}
	if agent == "" {
		agent = strings.TrimPrefix(plan.PolicyName, PolicyPrefix)
	}
	step := "create the new token"
	path := "auth/token/create/" + t.cfg.Reissue.TokenRole
	secret, err := t.call(ctx, request{method: http.MethodPost, path: path, wrapTTL: seconds(t.cfg.Reissue.WrapTTL), capability: "update", step: step,
		body: map[string]any{
			"policies": []string{plan.PolicyName}, "ttl": seconds(ttl), "renewable": true,
			"display_name": slug(agent), "meta": map[string]string{"leastwise_ladder": ladderID, "agent": slug(agent)},
		}})
	if err != nil {
		return nil, err
	}
	if secret == nil || secret.WrapInfo == nil || secret.WrapInfo.Token == "" {
		return nil, &target.Error{Kind: target.Impossible, Op: step, Err: errors.New("Vault did not wrap the answer")}
	}
	w := secret.WrapInfo
	err = t.deliver.deliver(ctx, slug(agent), parcel{
		WrappingToken: w.Token, WrappingAccessor: w.Accessor, Accessor: w.WrappedAccessor, TTL: w.TTL, CreationPath: w.CreationPath,
		Policy: plan.PolicyName, LadderID: ladderID, Credential: d.GetCredential(),
	})
	if err != nil {
		// Nobody will unwrap it: end it now. If that fails it ends by itself.
		_ = (&token{t, w.WrappedAccessor}).revoke(ctx)
		return nil, err
	}
	done := proto.CloneOf(plan)
	done.WrappingAccessor = w.Accessor
	done.Credential = schemas.Key{System: "vault", Instance: t.cfg.Instance, Type: "token", ID: w.WrappedAccessor}.String()
	return done, nil
}

func seconds(d time.Duration) string { return fmt.Sprintf("%ds", max(1, int(d.Seconds()))) }

// Rollback puts the role's former policies and TTLs back, unless somebody has changed
// them since. The narrow policy and the new token stay: they grant less.
func (t *Target) Rollback(ctx context.Context, done *pb.Reissue) error {
	if done.GetPrevious() == "" {
		return impossible("roll back", errors.New("no role was narrowed: issue a token with the former policies by hand"))
	}
	var was previous
	if err := json.Unmarshal([]byte(done.Previous), &was); err != nil {
		return impossible("roll back", err)
	}
	changed, err := t.changedTTLs(ctx, was)
	if err != nil {
		return err
	}
	now := was.TokenPolicies
	if was.Kind == "" {
		if now, err = t.rolePolicies(ctx, was.Mount, was.Role); err != nil {
			return err
		}
	}
	if !slices.Equal(now, was.TokenPolicies) && !slices.Equal(now, []string{done.PolicyName}) {
		changed = append(changed, "token_policies "+strings.Join(now, ", "))
	}
	if len(changed) > 0 {
		return impossible("roll back", fmt.Errorf("role %s was changed since to %s: decide by hand", was.Role, strings.Join(changed, "; ")))
	}
	if err := t.giveTTLs(ctx, was); err != nil || slices.Equal(now, was.TokenPolicies) {
		return err
	}
	return t.setRolePolicies(ctx, was.Mount, was.Role, was.TokenPolicies)
}
