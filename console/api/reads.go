package api

import (
	"context"
	endian "encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/leastwise/leastwise/console/contract"
	"github.com/leastwise/leastwise/console/fleet"
	"github.com/leastwise/leastwise/console/rules"
	"github.com/leastwise/leastwise/console/signin"
	"github.com/leastwise/leastwise/console/view"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Keyed names a credential.
type Keyed struct {
	Key string `query:"key" required:"true" minLength:"1" maxLength:"4000" doc:"Key of the credential"`
}

type binary struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

func (s *server) reads(api huma.API) {
	huma.Register(api, operation("me", http.MethodGet, "/v1/me", "Who asks"),
		func(ctx context.Context, _ *struct{}) (*answer[contract.Me], error) {
			session := signin.From(ctx)
			if session == nil {
				return nil, huma.Error401Unauthorized("sign in first")
			}
			return give(contract.Me{Name: session.Name, Roles: listed(session.Roles), Owners: listed(session.Owners), CSRF: session.CSRF, SignedInBy: session.By}), nil
		})
	huma.Register(api, operation("status", http.MethodGet, "/v1/status", "How the whole stands"),
		func(context.Context, *struct{}) (*answer[contract.Status], error) { return give(s.status()), nil })
	huma.Register(api, operation("credential", http.MethodGet, "/v1/credential", "One credential with all that is told of it", 404), s.credential)
	huma.Register(api, operation("credential-events", http.MethodGet, "/v1/credential/events", "What happened to it, newest first"),
		func(ctx context.Context, in *struct {
			Keyed
			Paged
		}) (*answer[contract.Page[contract.Event]], error) {
			page, err := s.Read.Events(ctx, in.Key, in.Cursor, in.Limit)
			return give(page), s.problem(err)
		})
	huma.Register(api, operation("credential-scope", http.MethodGet, "/v1/credential/scope", "What it may do, and did"),
		func(ctx context.Context, in *Keyed) (*answer[contract.Scope], error) {
			scope, err := s.Read.Scope(ctx, in.Key, s.Clouds)
			return give(scope), s.problem(err)
		})
	huma.Register(api, operation("credential-limits", http.MethodGet, "/v1/credential/limits", "What policies allow it, and how it stood to that", 404), s.limits)
	huma.Register(api, operation("identity", http.MethodGet, "/v1/identity", "One identity with its graph, now or as of a past day", 404),
		func(ctx context.Context, in *struct {
			Name string `query:"name" required:"true" minLength:"1" maxLength:"4000"`
			AsOf string `query:"as_of" maxLength:"40" doc:"A day or a time (RFC 3339); left out: now"`
		}) (*answer[contract.Identity], error) {
			out, err := s.identity(ctx, in.Name, in.AsOf)
			return give(out), err
		})
	huma.Register(api, operation("enforcement", http.MethodGet, "/v1/enforcement", "What the enforcer is to do, does and has done"), s.enforcement)
	huma.Register(api, operation("policies", http.MethodGet, "/v1/policies", "Policies in force"),
		func(ctx context.Context, _ *struct{}) (*answer[contract.List[contract.Policy]], error) {
			all, revision := s.Policies.All()
			counts := s.violators()
			out := contract.List[contract.Policy]{Items: []contract.Policy{}}
			for i := range all {
				p := s.policy(&all[i], revision, counts[all[i].ID])
				var err error
				if p.Trend, err = s.Read.Trend(ctx, p.ID); err != nil {
					p.Trend = []contract.Count{} // the rest is known without ClickHouse
				}
				out.Items = append(out.Items, p)
			}
			return give(out), nil
		})
	huma.Register(api, operation("policy", http.MethodGet, "/v1/policies/{id}", "One policy with its text", 404), s.policyDetail)
	huma.Register(api, operation("what-if", http.MethodGet, "/v1/policies/{id}/whatif", "Who would stand past it if a threshold were another", 404, 422), s.whatIf)
	huma.Register(api, huma.Operation{OperationID: "fleet", Method: http.MethodGet, Path: "/v1/fleet", Summary: "The whole fleet in columns, for pictures",
		Description: "Little-endian: u32 length of the header, the header (JSON, padded with spaces so that the body begins at a multiple of 8), the body. " +
			"A column's offset counts bytes from the beginning of the body, its length values.",
		Errors: []int{401, 403, 429},
		Responses: map[string]*huma.Response{"200": {Description: "OK", Content: map[string]*huma.MediaType{
			"application/octet-stream": {Schema: &huma.Schema{Type: "string", Format: "binary"}}}}}},
		func(ctx context.Context, in *struct {
			State string `query:"state" enum:"active,expired,revoked,unknown,all" default:"active"`
		}) (*binary, error) {
			feed, _ := s.feed(in.State)
			return &binary{"application/octet-stream", feed}, nil
		})
	huma.Register(api, operation("fleet-use", http.MethodGet, "/v1/fleet/use", "When credentials were used", 422), s.use)
}

func listed(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func (s *server) credential(ctx context.Context, in *Keyed) (*answer[contract.CredentialDetail], error) {
	it, err := s.Fleet.One(ctx, in.Key)
	if err != nil {
		return nil, s.problem(err)
	}
	if it == nil {
		return nil, s.problem(missing("credential", in.Key))
	}
	d := contract.CredentialDetail{Credential: s.view(ctx).Credential(it), Proposal: proposal(it)}
	if err := s.Read.Detail(ctx, &d); err != nil {
		return nil, s.problem(err)
	}
	return give(d), nil
}

// proposal as a Vault policy where it is one.
func proposal(it *fleet.Item) *contract.Proposal {
	p := it.Decision.GetProposal()
	if p == nil {
		p = it.Ladder.GetDecision().GetProposal()
	}
	if p == nil || len(p.Rules) == 0 {
		return nil
	}
	out := &contract.Proposal{Granted: p.Granted, Proposed: p.Proposed, Language: "text"}
	var text strings.Builder
	if it.Source == "vault" {
		out.Language = "hcl"
	}
	for _, r := range p.Rules {
		write(&text, it.Source, r)
	}
	out.Artefact = text.String()
	if p.Incomplete != "" {
		out.Note = "Do not apply it as it is: " + p.Incomplete + "."
	} else if p.ObservedFrom.IsValid() {
		out.Note = "What was used since " + p.ObservedFrom.AsTime().UTC().Format(time.DateOnly) + ", and nothing more."
	}
	return out
}

// write adds a rule to the text of a policy.
func write(text *strings.Builder, source string, r *pb.Rule) {
	if source == "vault" {
		fmt.Fprintf(text, "path %q {\n  capabilities = [", r.Resource)
		for i, c := range r.Capabilities {
			if i > 0 {
				text.WriteString(", ")
			}
			fmt.Fprintf(text, "%q", c)
		}
		text.WriteString("]\n}\n")
		return
	}
	fmt.Fprintf(text, "%s: %s\n", strings.Join(append(append([]string{}, r.Resources...), r.Resource), " "), strings.Join(append(r.Actions, r.Capabilities...), ", "))
}

func (s *server) enforcement(ctx context.Context, _ *struct{}) (*answer[contract.Enforcement], error) {
	out := s.view(ctx).Enforcement()
	set := s.Ledger.Now()
	out.Mode, out.Killed = set.Mode, set.Killed
	if set.Killed {
		out.KilledBy, out.KilledWhy = maybe(set.By), maybe(set.Why)
	}
	// Without ClickHouse it is not known how much of the budget is used, and the rest of the page works.
	since := s.Now().Add(-time.Hour)
	if set.Resumed.After(since) { // what was revoked before counts no more
		since = set.Resumed
	}
	if used, err := s.Read.Revoking(ctx, since); err == nil {
		out.Budget = &contract.Budget{Limit: set.Limit, Used: int(used), WindowSeconds: 3600}
	}
	for _, e := range s.Ledger.All() {
		if s.Ledger.State(e, s.Now()) == "waiting" {
			out.Approvals = append(out.Approvals, s.exception(ctx, e))
		}
	}
	return give(out), nil
}

// violators counts those that live, by policy.
func (s *server) violators() map[string]uint64 {
	counts := map[string]uint64{}
	now := s.Now().UnixNano()
	for _, it := range s.Fleet.Snapshot().Items {
		if it.Decision != nil && !it.Ended(now) {
			for _, v := range it.Decision.Violations {
				counts[v.PolicyId]++
			}
		}
	}
	return counts
}

func (s *server) policy(p *rules.Policy, revision string, violators uint64) contract.Policy {
	out := contract.Policy{ID: p.ID, Title: p.Title, Rationale: p.Rationale, Severity: p.Severity, Mode: p.Mode, Match: view.Match(p), Metrics: []contract.Metric{},
		Violators: violators, Trend: []contract.Count{}, Revision: revision}
	if p.Grace != nil {
		seconds := p.Grace.Seconds()
		out.GraceSeconds = &seconds
	}
	for _, m := range p.Metrics {
		out.Metrics = append(out.Metrics, contract.Metric{Name: m.Name, Source: m.Source, Condition: m.Condition, Threshold: m.Text, Unit: m.Unit})
	}
	return out
}

func (s *server) find(id string) (*rules.Policy, string, error) {
	all, revision := s.Policies.All()
	for i := range all {
		if all[i].ID == id {
			return &all[i], revision, nil
		}
	}
	return nil, "", s.problem(missing("policy", id))
}

func (s *server) policyDetail(ctx context.Context, in *Named) (*answer[contract.PolicyDetail], error) {
	p, revision, err := s.find(in.ID)
	if err != nil {
		return nil, err
	}
	out := contract.PolicyDetail{YAML: p.YAML, File: p.File, Line: p.Line, Rego: []contract.RegoFile{}, Owners: []contract.OwnerCount{}}
	for _, text := range s.Policies.Rego() {
		out.Rego = append(out.Rego, contract.RegoFile{File: text.File, Text: text.Source})
	}
	at := map[string]int{}
	total := uint64(0)
	now := s.Now().UnixNano()
	for _, it := range s.Fleet.Snapshot().Sorted(fleet.ByDeviation) {
		if it.Ended(now) || !it.Violates(p.ID) {
			continue
		}
		total++
		i, ok := at[it.Owner]
		if !ok {
			i = len(out.Owners)
			at[it.Owner], out.Owners = i, append(out.Owners, contract.OwnerCount{Owner: maybe(it.Owner)})
		}
		out.Owners[i].Violators++
	}
	out.Policy = s.policy(p, revision, total)
	if trend, err := s.Read.Trend(ctx, p.ID); err == nil {
		out.Trend = trend
	}
	return give(out), nil
}

// feed keeps the last picture of each state for a while: many look at the same. Its tag stays while it tells the same.
func (s *server) feed(state string) (feed []byte, tag string) {
	if state == "all" {
		state = ""
	}
	snapshot := s.Fleet.Snapshot()
	kept := snapshot.Keep("feed-"+state, s.Now(), 10*time.Second, func() []byte {
		v := view.View{Snapshot: snapshot, Now: s.Now(), Policies: s.Policies}
		feed, sum := v.Feed(state)
		return endian.BigEndian.AppendUint64(feed, sum)
	})
	feed, sum := kept[:len(kept)-8], kept[len(kept)-8:]
	return feed, fmt.Sprintf(`"%x"`, sum)
}

func (s *server) use(ctx context.Context, in *struct {
	From   string   `query:"from" required:"true" maxLength:"40" doc:"Unix time in milliseconds, or RFC 3339"`
	To     string   `query:"to" required:"true" maxLength:"40" doc:"The same"`
	Bucket string   `query:"bucket" default:"3600000" maxLength:"20" doc:"Milliseconds, or a duration such as 5m"`
	Keys   []string `query:"key,explode" maxItems:"300" doc:"Keys of credentials"`
}) (*answer[contract.List[contract.KeyUse]], error) {
	from, err := moment(in.From)
	if err != nil {
		return nil, huma.Error422UnprocessableEntity("from: " + err.Error())
	}
	to, err := moment(in.To)
	if err != nil {
		return nil, huma.Error422UnprocessableEntity("to: " + err.Error())
	}
	bucket, err := time.ParseDuration(in.Bucket)
	if err != nil {
		bucket, err = time.ParseDuration(in.Bucket + "ms")
	}
	switch {
	case err != nil || bucket < time.Second || bucket > 366*24*time.Hour:
		return nil, huma.Error422UnprocessableEntity("bucket: give a second or more, in milliseconds or as a duration such as 5m")
	case !to.After(from) || to.Sub(from)/bucket > 5000:
		return nil, huma.Error422UnprocessableEntity("from and to: give a span of at most 5000 buckets")
	}
	items, err := s.Read.Use(ctx, in.Keys, from, to, bucket)
	return give(contract.List[contract.KeyUse]{Items: items}), s.problem(err)
}

var errMoment = errors.New("give unix time in milliseconds, or a time such as 2026-11-21T06:12:00Z")

func moment(text string) (time.Time, error) {
	if ms, err := strconv.ParseInt(text, 10, 64); err == nil {
		if ms < -62135596800000 || ms > 253402300799000 { // years 1 to 9999
			return time.Time{}, errMoment
		}
		return time.UnixMilli(ms).UTC(), nil
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, errMoment
	}
	return at, nil
}
