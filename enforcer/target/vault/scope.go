package vault

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/hashicorp/hcl"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// grants are what the named policies of Vault say, merged as Vault merges
// them: capabilities of one pattern add up, deny takes the pattern away.
type grants map[string]rule

type rule struct {
	caps map[string]bool
	// special says what the rule holds besides capabilities; such a rule can
	// not be carried over without becoming broader.
	special string
}

var everything = []string{"create", "delete", "list", "patch", "read", "sudo", "update"}

// granted reads the policies as they are now.
func (t *Target) granted(ctx context.Context, names []string) (grants, error) {
	g := grants{}
	for _, name := range names {
		if name == "root" {
			g.add("*", everything, "")
			continue
		}
		secret, err := t.call(ctx, request{method: http.MethodGet, path: "sys/policies/acl/" + name, capability: "read", step: "read policy " + name})
		if status(err, http.StatusNotFound) {
			continue // a policy that does not exist grants nothing
		}
		if err != nil {
			return nil, err
		}
		text, _ := secret.Data["policy"].(string)
		if err := g.parse(text); err != nil {
			return nil, impossible("read policy "+name, err)
		}
	}
	return g, nil
}

// parse adds a policy's rules. The grammar is HCL 1, as Vault's own.
func (g grants) parse(text string) error {
	var policy struct {
		Path map[string][]map[string]any `hcl:"path"`
	}
	if err := hcl.Decode(&policy, text); err != nil {
		return fmt.Errorf("not HCL: %w", err)
	}
	for pattern, blocks := range policy.Path {
		for _, block := range blocks {
			var caps []string
			special := ""
			for key, value := range block {
				switch key {
				case "capabilities":
					list, _ := value.([]any)
					for _, c := range list {
						if text, ok := c.(string); ok {
							caps = append(caps, text)
						}
					}
				case "policy":
					text, _ := value.(string)
					caps = append(caps, legacy[text]...)
				case "comment":
				default:
					special = key
				}
			}
			if strings.Contains(pattern, "{{") {
				special = "a template"
			}
			g.add(strings.TrimPrefix(pattern, "/"), caps, special)
		}
	}
	return nil
}

// legacy are the words of `policy = "…"` from before capabilities.
var legacy = map[string][]string{
	"deny": {"deny"}, "read": {"read", "list"}, "write": {"create", "read", "update", "delete", "list"},
	"sudo": {"create", "read", "update", "delete", "list", "sudo"},
}

func (g grants) add(pattern string, caps []string, special string) {
	r, ok := g[pattern]
	if !ok {
		r.caps = map[string]bool{}
	}
	for _, c := range caps {
		r.caps[c] = true
	}
	if r.special == "" {
		r.special = special
	}
	g[pattern] = r
}

// narrow gives the rules of a policy that permits what is proposed and nothing
// that g does not permit. Patterns of g below a proposed one keep their say: a
// deny stays a deny, and what was granted there and not used is denied. refused
// says why there is no such policy.
func (g grants) narrow(proposed []*pb.Rule) (rules []*pb.Rule, refused string) {
	want := map[string][]string{}
	for _, p := range proposed {
		pattern := strings.TrimPrefix(p.Resource, "/")
		if strings.Contains(pattern, "{{") || strings.ContainsAny(pattern, "\"\\\n\r") || pattern == "" {
			return nil, fmt.Sprintf("the proposed pattern %q can not be written as a rule", pattern)
		}
		for _, c := range p.Capabilities {
			if !slices.Contains(want[pattern], c) {
				want[pattern] = append(want[pattern], c)
			}
		}
	}
	for _, pattern := range slices.Sorted(maps.Keys(want)) {
		caps := slices.Sorted(slices.Values(want[pattern]))
		covering, source := g.covering(pattern)
		if source == "" {
			return nil, fmt.Sprintf("%s is proposed and not granted", pattern)
		}
		if covering.special != "" {
			return nil, fmt.Sprintf("the granted rule %s holds %s: narrow it by hand", source, covering.special)
		}
		for _, c := range caps {
			if !slices.Contains(everything, c) && c != "subscribe" && c != "recover" {
				return nil, fmt.Sprintf("capability %q on %s can not be given", c, pattern)
			}
			if !covering.caps[c] || covering.caps["deny"] {
				return nil, fmt.Sprintf("%s on %s is proposed and not granted by %s", c, pattern, source)
			}
		}
		rules = append(rules, &pb.Rule{Resource: pattern, Capabilities: caps})
	}
	for _, pattern := range slices.Sorted(maps.Keys(g)) {
		if _, proposed := want[pattern]; proposed {
			continue
		}
		for p := range want {
			if below(pattern, p) {
				rules = append(rules, &pb.Rule{Resource: pattern, Capabilities: []string{"deny"}})
				break
			}
		}
	}
	return rules, ""
}

// covering finds the granted rule that decides about a whole pattern: the same
// pattern, else the longest `x*` that it lies below.
func (g grants) covering(pattern string) (rule, string) {
	if r, ok := g[pattern]; ok {
		return r, pattern
	}
	best := ""
	for granted := range g {
		if prefix, glob := strings.CutSuffix(granted, "*"); glob && !strings.Contains(prefix, "+") &&
			strings.HasPrefix(pattern, prefix) && len(granted) > len(best) {
			best = granted
		}
	}
	return g[best], best
}

// below tells whether some path may match both patterns, a granted one and a
// proposed wider one. It rather says yes: the price is a deny too many.
func below(granted, proposed string) bool {
	if !strings.ContainsAny(proposed, "*+") {
		return granted == proposed // an exact path is decided by its own rule
	}
	a, globA := strings.CutSuffix(granted, "*")
	b, globB := strings.CutSuffix(proposed, "*")
	if globA && !globB || globA && len(a) < len(b) && strings.HasPrefix(b, a) {
		// The granted one is the wider: Vault asks the longer first.
		if strings.HasPrefix(b, a) {
			return false
		}
	}
	x, y := strings.Split(a, "/"), strings.Split(b, "/")
	for i := range min(len(x), len(y)) {
		lastA, lastB := globA && i == len(x)-1, globB && i == len(y)-1
		switch {
		case x[i] == "+" || y[i] == "+" || x[i] == y[i]:
		case lastB && strings.HasPrefix(x[i], y[i]):
			return true
		case lastA && strings.HasPrefix(y[i], x[i]):
			return true
		default:
			return false
		}
	}
	return len(x) == len(y) || globB && len(x) > len(y) || globA && len(y) > len(x)
}

// policyText writes rules as a policy.
func policyText(header string, rules []*pb.Rule) string {
	var b strings.Builder
	for line := range strings.Lines(header) {
		b.WriteString("# " + strings.TrimRight(line, "\n") + "\n")
	}
	for _, r := range rules {
		fmt.Fprintf(&b, "path %q { capabilities = [%s] }\n", r.Resource, quoted(r.Capabilities))
	}
	return b.String()
}

func quoted(words []string) string {
	list := make([]string, len(words))
	for i, w := range words {
		list[i] = fmt.Sprintf("%q", w)
	}
	return strings.Join(list, ", ")
}

func permissions(rules []*pb.Rule) uint32 {
	var n uint32
	for _, r := range rules {
		if !slices.Contains(r.Capabilities, "deny") {
			n += uint32(len(r.Capabilities))
		}
	}
	return n
}
