package allinone

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/cmd/leastwise/admit"
	"github.com/leastwise/leastwise/console/contract"
	"github.com/leastwise/leastwise/console/rules"
	"github.com/leastwise/leastwise/enforcer/exception"
	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/processor"
	"github.com/leastwise/leastwise/processor/catalog"
	"github.com/leastwise/leastwise/rego"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// looksUp bounds how long an answer at issuance waits for a store; what did not answer is said.
const looksUp = 10 * time.Second

// Admit answers at issuance by policies, catalog and what runs: exceptions from Kafka, the rules of Vault's policies from
// ClickHouse. Where one does not answer it is said, and what it would have told is unknown.
func Admit(ctx context.Context, e *Engines, set *rego.Set, known *catalog.Catalog, r *admit.Request, now time.Time) (*contract.Admission, error) {
	a := admit.Against{Rules: set, Catalog: known, LookedUp: true, Now: now}
	within, cancel := context.WithTimeout(ctx, looksUp)
	defer cancel()
	var err error
	if a.Exceptions, err = exception.List(within, e.Stream); err != nil {
		a.LookedUp, a.Why = false, "Kafka did not answer"
	}
	if len(r.Scope.Policies) > 0 {
		grants, err := vaultPolicies(within, e.Store, r.Instance, r.Scope.Policies)
		if err != nil {
			a.GrantsWhy = "ClickHouse did not answer"
		} else {
			a.Grant = func(id string) *pb.Grant { return grants[id] }
		}
	}
	return admit.Admit(ctx, r, a)
}

// vaultPolicies reads what is stored of the named ones alone.
func vaultPolicies(ctx context.Context, db *store.DB, instance string, names []string) (map[string]*pb.Grant, error) {
	ids := make([]string, len(names))
	for i, name := range names {
		ids[i] = schemas.Key{System: "vault", Instance: instance, Type: "policy", ID: name}.String()
	}
	rows, err := db.Query(ctx, `SELECT id, resource, capabilities, toUnixTimestamp64Nano(as_of), deleted, incomplete FROM grants FINAL WHERE id IN (?)`, ids)
	if err != nil {
		return nil, fmt.Errorf("read Vault's policies: %w", err)
	}
	defer rows.Close()
	out := map[string]*pb.Grant{}
	for rows.Next() {
		g := &pb.Grant{}
		var resources []string
		var capabilities [][]string
		var asOf int64
		if err := rows.Scan(&g.Id, &resources, &capabilities, &asOf, &g.Deleted, &g.Incomplete); err != nil {
			return nil, fmt.Errorf("read Vault's policies: %w", err)
		}
		g.AsOf = timestamppb.New(time.Unix(0, asOf))
		for i := range resources {
			g.Rules = append(g.Rules, &pb.Rule{Resource: resources[i], Capabilities: capabilities[i]})
		}
		out[g.Id] = g
	}
	return out, rows.Err()
}

// admissionOf answers the console.
type admissionOf struct {
	engines *Engines
	inForce *processor.InForce
	now     func() time.Time
}

// Admit implements rules.Admission.
func (a admissionOf) Admit(ctx context.Context, in *contract.AdmissionRequest) (*contract.Admission, error) {
	r, err := admit.Of(in)
	if err == nil {
		var out *contract.Admission
		if out, err = Admit(ctx, a.engines, a.inForce.Rules(), a.inForce.Catalog(), r, a.now()); err == nil {
			return out, nil
		}
	}
	if errors.Is(err, admit.ErrRequest) {
		return nil, fmt.Errorf("%w: %w", rules.ErrRefused, err)
	}
	return nil, err
}
