package allinone

import (
	"slices"
	"strings"

	"github.com/leastwise/leastwise/console/rules"
	"github.com/leastwise/leastwise/processor/scope"
	"github.com/leastwise/leastwise/processor/scope/gcp"
	"github.com/leastwise/leastwise/processor/scope/iam"
	"github.com/leastwise/leastwise/processor/scope/level"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// cloudsOf expands scopes of clouds for the console, by the processor's measure.
type cloudsOf struct{}

// levelNames are the console's.
var levelNames = map[level.Level]string{level.List: "list", level.Read: "read", level.Tagging: "tagging", level.Write: "write", level.Management: "permissions"}

// Granted implements rules.Clouds.
func (cloudsOf) Granted(grants []*pb.Grant, h rules.Holder) ([]rules.Permission, string) {
	key, err := schemas.ParseKey(h.Credential)
	if err != nil {
		return nil, err.Error()
	}
	known := scope.NewGrants()
	for _, g := range grants {
		known.Put(g)
	}
	levelOf := iam.LevelOf
	if key.System == "gcpaudit" {
		levelOf = gcp.LevelOf
	}
	q := scope.Query{Credential: key, Principal: h.Principal, Policies: slices.Sorted(slices.Values(h.Policies)), Labels: h.Labels}
	granted := known.Credential(q)
	through := known.Through(q)
	allow, conditional, unknown := granted.Names()
	var out []rules.Permission
	at := map[string]int{}
	for i, names := range [][]string{allow, conditional, unknown} {
		for _, name := range names {
			if _, there := at[name]; there {
				continue
			}
			of := levelOf(name)
			one := rules.Permission{Name: name, Level: levelNames[of], Weight: of.Weight(), Conditional: i == 1, By: through[name]}
			if one.Level == "" {
				one.Level = "unknown"
			}
			at[name] = len(out)
			out = append(out, one)
		}
	}
	for _, use := range h.Used {
		operation, _, _ := strings.Cut(use.Permission, " ")
		for _, rule := range granted.Use([]scope.Usage{{Operation: operation}}) {
			for _, permission := range rule.Capabilities {
				if i, there := at[permission]; there {
					out[i].Uses += use.Count
					out[i].LastAt = max(out[i].LastAt, use.LastAt)
				}
			}
		}
	}
	return out, granted.Why
}
