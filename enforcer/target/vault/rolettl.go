package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/leastwise/leastwise/enforcer/target"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// roleTTL is one time limit of a role, in seconds, as it was and as it is
// to be. 0 is Vault's word for its own default.
type roleTTL struct {
	Field string `json:"field"`
	Was   int64  `json:"was"`
	Now   int64  `json:"now"`
}

// path of a limit of an AppRole, which has one for each, so that the enforcer
// need not be able to change anything else of a role.
func (r roleTTL) path(mount, role string) string {
	sub := strings.ReplaceAll(r.Field, "_", "-")
	if r.Field == "token_period" {
		sub = "period"
	}
	return "auth/" + mount + "/role/" + role + "/" + sub
}

func (r roleTTL) String() string {
	return fmt.Sprintf("%s %s → %s", r.Field, span(r.Was), span(r.Now))
}

func span(seconds int64) string {
	if seconds == 0 {
		return "default"
	}
	return (time.Duration(seconds) * time.Second).String()
}

// limitOf is the longest life that the violated policies leave a credential: the
// least threshold of age or lifetime that it stands past; zero: none says.
func limitOf(d *pb.Decision) (limit time.Duration) {
	for _, v := range d.GetViolations() {
		if v.Metric != "credential_age" && v.Metric != "lifetime" || v.Condition != "greater_than" {
			continue
		}
		at, err := parseSpan(v.Threshold)
		if err == nil && at >= time.Second && (limit == 0 || at < limit) {
			limit = at
		}
	}
	return limit
}

// parseSpan reads a duration as thresholds are written, with days.
func parseSpan(text string) (time.Duration, error) {
	days, rest, found := strings.Cut(text, "d")
	if !found {
		return time.ParseDuration(text)
	}
	n, err := strconv.ParseFloat(days, 64)
	if err != nil {
		return 0, err
	}
	sum := time.Duration(n * float64(24*time.Hour))
	if rest == "" {
		return sum, nil
	}
	more, err := time.ParseDuration(rest)
	return sum + more, err
}

// planTTLs says which limits of the role are past policy, and what they become.
func (t *Target) planTTLs(ctx context.Context, k roleKind, limit time.Duration) ([]roleTTL, error) {
	if limit == 0 {
		return nil, nil
	}
	most := int64(limit / time.Second)
	var out []roleTTL
	for _, field := range k.fields {
		r := roleTTL{Field: field, Now: most}
		var err error
		if r.Was, err = t.roleTTL(ctx, k, r); err != nil {
			return nil, err
		}
		// Without a period there is none; of the others Vault's default is weeks.
		if r.Was > most || r.Was == 0 && field != "token_period" {
			out = append(out, r)
		}
	}
	return out, nil
}

func (t *Target) roleTTL(ctx context.Context, k roleKind, r roleTTL) (int64, error) {
	step := "read the role's " + r.Field
	secret, err := t.call(ctx, request{method: http.MethodGet, path: k.at(r), capability: "read", step: step})
	if err != nil {
		return 0, err
	}
	if secret == nil {
		return 0, &target.Error{Op: step, Err: errors.New("Vault's answer is empty")}
	}
	n, ok := secret.Data[r.Field].(json.Number)
	if !ok {
		return 0, impossible(step, fmt.Errorf("Vault's answer holds no %s", r.Field))
	}
	return n.Int64()
}

func (t *Target) setRoleTTL(ctx context.Context, k roleKind, r roleTTL, seconds int64) error {
	method := http.MethodPost
	if k.kind == "pki" {
		method = http.MethodPatch // a POST there sets to its default what it does not name
	}
	_, err := t.call(ctx, request{method: method, path: k.at(r), body: map[string]any{r.Field: seconds},
		capability: k.capability(), step: "set the role's " + r.Field})
	return err
}

// cutTTLs does it again without harm.
func (t *Target) cutTTLs(ctx context.Context, was previous) error {
	for _, r := range was.TTLs {
		if err := t.setRoleTTL(ctx, was.kind(), r, r.Now); err != nil {
			return err
		}
	}
	return nil
}

// changedTTLs names what somebody else has changed since.
func (t *Target) changedTTLs(ctx context.Context, was previous) (changed []string, err error) {
	for _, r := range was.TTLs {
		now, err := t.roleTTL(ctx, was.kind(), r)
		if err != nil {
			return nil, err
		}
		if now != r.Was && now != r.Now {
			changed = append(changed, r.Field+" "+span(now))
		}
	}
	return changed, nil
}

func (t *Target) giveTTLs(ctx context.Context, was previous) error {
	for _, r := range slices.Backward(was.TTLs) {
		if err := t.setRoleTTL(ctx, was.kind(), r, r.Was); err != nil {
			return err
		}
	}
	return nil
}
