package processor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/leastwise/leastwise/processor/catalog"
	"github.com/leastwise/leastwise/processor/identity"
	"github.com/leastwise/leastwise/processor/issuing"
	"github.com/leastwise/leastwise/processor/record"
	"github.com/leastwise/leastwise/rego"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// A role of Vault that could issue what admission would refuse is a way round the broker and the gate: a finding for as long
// as it can. The inventory tells the roles, admission is asked as at issuance, and the answer is made of facts, policies,
// catalog and exceptions alone, so that every processor gives the same.

// lookAtRoles lets roles be looked at soon. It does not block.
func (p *Processor) lookAtRoles() {
	select {
	case p.rolesTold <- struct{}{}:
	default:
	}
}

// watchRoles publishes what is news about roles.
func (p *Processor) watchRoles(ctx context.Context) error {
	var stood []*pb.Finding
	var excepted []record.Excepted
	err := p.persist(ctx, "read what stands about roles", func(ctx context.Context) (err error) {
		stood = nil
		for _, kind := range []string{schemas.FindingRoleBeyondPolicy, schemas.FindingRoleUnjudged} {
			some, err := record.StandingOf(ctx, p.deps.Store, kind)
			if err != nil {
				return err
			}
			stood = append(stood, some...)
		}
		excepted, err = record.ExceptionsOf(ctx, p.deps.Store, "vault/")
		return err
	})
	if err != nil {
		return err
	}
	rules := p.deps.Rules()
	if rules == nil {
		return nil
	}
	var found []*pb.Finding
	for _, grant := range p.grants.Told("vault", "role") {
		role, ok := issuing.Of(grant, func(instance, path string) *pb.Grant {
			return p.grants.Named(schemas.Key{System: "vault", Instance: instance, Type: "mount", ID: path}.String())
		})
		if !ok {
			continue
		}
		some, err := p.judgeRole(ctx, rules, &role, excepted)
		if err != nil {
			// What can not be judged stays as it was: it is not known to be well.
			p.log.Error("policies can not be asked about roles; what stands about them stays", "role", role.Key, "error", err)
			return nil
		}
		for _, f := range some {
			f.Evidence = append(f.Evidence, evidence(grant))
		}
		found = append(found, some...)
	}
	return p.tell(ctx, changes(stood, found, p.deps.Env.Now()))
}

// judgeRole asks admission what it would say to the most that a role could issue. The result is nil if it would let it pass.
func (p *Processor) judgeRole(ctx context.Context, rules *rego.Set, role *issuing.Role, excepted []record.Excepted) ([]*pb.Finding, error) {
	ask := rego.Request{Subject: rego.Subject{Type: role.Type, Source: "vault", Labels: role.Labels(), Policies: role.Policies},
		Lifetime: role.Life, NeverExpires: role.NeverExpires}
	if known := p.deps.Catalog(); known != nil {
		m := known.Resolve(catalog.Query{Source: "vault", Type: role.Type, Labels: role.Labels(), Policies: role.Policies})
		if m.Agent != nil {
			ask.Subject.Agent = m.Agent.ID
		}
		if m.Owner != nil {
			ask.Subject.Owner = m.Owner.ID
		}
	}
	permissions, weight, why := 0.0, 0.0, role.PoliciesWhy
	if why == "" && len(role.Policies) > 0 {
		s := p.grants.Scope("vault", role.Instance, role.Policies)
		permissions, weight = float64(s.Permissions), s.Weight
		if !s.Known {
			why = s.Why
		}
	}
	if why == "" && slices.Contains(role.Decides, rego.ScopeComplexity) {
		ask.Complexity, ask.Weight = &permissions, &weight
	}
	answer, err := rules.Admit(ctx, &ask)
	if err != nil {
		return nil, err
	}
	beyond, unknown := verdicts(rules, role, why, answer.Justify, excepted)
	var out []*pb.Finding
	for _, v := range []struct {
		kind, says, do string
		of             verdict
	}{
		{schemas.FindingRoleBeyondPolicy, "can issue a %s that admission would refuse: %s. ", "Bring the role within policy, or justify it", beyond},
		{schemas.FindingRoleUnjudged, "can issue a %s of which admission does not know enough: %s. ", "Let the inventory read it, limit the role itself, or justify it", unknown},
	} {
		if len(v.of.words) == 0 {
			continue
		}
		subject := strings.TrimPrefix(role.Key, "vault/"+role.Instance+"/")
		detail := subject + " " + fmt.Sprintf(v.says, role.Type, strings.Join(v.of.words, "; ")) +
			fmt.Sprintf("%s: leastwise exception request --identity %s --policy %s --reason WHY --until 720h", v.do, role.Key, v.of.policy)
		about := []string{role.Key}
		if strings.HasPrefix(role.Mount, "auth/") {
			about = append(about, identity.RoleNode(role.Instance, role.Mount, role.Name))
		}
		out = append(out, &pb.Finding{Source: "vault", Instance: role.Instance, Kind: v.kind, Subject: subject, Standing: true,
			Detail: bounded(detail), About: about})
	}
	return out, nil
}

// verdict is what is said of a role, and the first policy that says it.
type verdict struct {
	words  []string
	policy string
}

func (v *verdict) add(f rego.Finding, text string) {
	v.words = append(v.words, text)
	if v.policy == "" {
		v.policy = f.PolicyID
	}
}

// verdicts parts what admission objects to into what is past a policy and what is not known. What the role does not decide,
// and what an exception of the role covers, is neither. Of a policy that asks for several things together nothing is past as
// long as one of them is not known, or is not the role's to decide.
func verdicts(rules *rego.Set, role *issuing.Role, scopeWhy string, justify []rego.Finding, excepted []record.Excepted) (beyond, unknown verdict) {
	open := map[string]bool{}
	for _, f := range justify {
		policy, ok := rules.Policy(f.PolicyID)
		if ok && policy.MatchAll && (f.Reason == "value_unknown" || !slices.Contains(role.Decides, f.Metric)) {
			open[f.PolicyID] = true
		}
	}
	for _, f := range justify {
		if !slices.Contains(role.Decides, f.Metric) || slices.ContainsFunc(excepted, func(e record.Excepted) bool {
			return e.Identity == role.Key && (e.Policy == "*" || e.Policy == f.PolicyID)
		}) {
			continue
		}
		name := strings.ReplaceAll(f.Metric.String(), "_", " ")
		switch {
		case f.Reason == "value_unknown":
			why := scopeWhy
			if f.Metric == rego.Lifetime || f.Metric == rego.CredentialAge {
				why = role.LifeWhy
			}
			unknown.add(f, fmt.Sprintf("%s is unknown (%s), and policy %s asks for it", name, why, f.PolicyID))
		case open[f.PolicyID]:
		case f.Metric == rego.UnresolvedIdentity:
			beyond.add(f, fmt.Sprintf("nobody or more than one answers for it in the catalog, and policy %s asks for an owner", f.PolicyID))
		default:
			beyond.add(f, fmt.Sprintf("%s %s, and policy %s has its limit at %s", name, f.Value, f.PolicyID, f.Threshold))
		}
	}
	return beyond, unknown
}

// evidence is what the inventory told of a role.
func evidence(grant *pb.Grant) string {
	text := "the inventory, " + grant.AsOf.AsTime().UTC().Format(time.RFC3339) + ":"
	for _, rule := range grant.Rules {
		text += " " + rule.Resource + " " + strings.Join(rule.Capabilities, " ")
	}
	var names []string
	for _, a := range grant.Attached {
		if key, err := schemas.ParseKey(a.Grant); err == nil {
			names = append(names, key.ID)
		}
	}
	if len(names) > 0 {
		text += " policies=" + strings.Join(names, ",")
	}
	return bounded(text)
}

// bounded cuts a text of a finding.
func bounded(text string) string {
	const most = 1024
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most-3], "") + "…"
	}
	return text
}
