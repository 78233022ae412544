package reach

import (
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/goccy/go-yaml"
)

//go:embed rules.yaml
var rulesText []byte

// Rule is one way to get further; rules.yaml says what each field means.
type Rule struct {
	ID        string   `yaml:"id"`
	System    string   `yaml:"system"`
	Needs     []string `yaml:"needs"`
	Reaches   string   `yaml:"reaches"`
	Kind      string   `yaml:"kind"`
	Trusts    string   `yaml:"trusts"`
	Certainty string   `yaml:"certainty"`
	Stays     bool     `yaml:"stays"`
	Does      string   `yaml:"does"`
	Sources   []string `yaml:"sources"`

	needs []need
}

// does says the step to a target.
func (r *Rule) does(t *target) string { return strings.ReplaceAll(r.Does, "{target}", t.name) }

// need of a rule: any of the permissions on any of the resources.
type need struct {
	permissions []string
	resources   []string // empty: on anything
	target      bool
	self        bool
	ownPolicy   bool
}

// Rules are those of rules.yaml, in its order.
var Rules = sync.OnceValue(func() []*Rule {
	rules, err := parseRules(rulesText)
	if err != nil {
		panic("reach: rules.yaml: " + err.Error()) // a test reads it
	}
	return rules
})

var reachable = []string{kindRole, kindUser, kindAccount, kindVaultRole, everything, secrets}

// What rules reach.
const (
	kindRole      = "role"
	kindUser      = "user"
	kindAccount   = "service_account"
	kindVaultRole = "vault_role"
	everything    = "everything"
	secrets       = "secrets"
)

func parseRules(text []byte) ([]*Rule, error) {
	var rules []*Rule
	if err := yaml.UnmarshalWithOptions(text, &rules, yaml.Strict()); err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for _, r := range rules {
		switch {
		case seen[r.ID]:
			return nil, fmt.Errorf("%s is there twice", r.ID)
		case r.ID == "" || r.System == "" || r.Does == "" || len(r.Needs) == 0 || len(r.Sources) == 0:
			return nil, fmt.Errorf("%s: id, system, needs, does and sources are needed", r.ID)
		case !slices.Contains(reachable, r.Reaches):
			return nil, fmt.Errorf("%s: reaches %q; expected one of %v", r.ID, r.Reaches, reachable)
		case r.Certainty != "" && r.Certainty != "suggested":
			return nil, fmt.Errorf("%s: certainty %q; expected suggested or nothing", r.ID, r.Certainty)
		}
		seen[r.ID] = true
		for _, text := range r.Needs {
			n, err := parseNeed(text)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", r.ID, err)
			}
			r.needs = append(r.needs, n)
		}
	}
	return rules, nil
}

func parseNeed(text string) (need, error) {
	permissions, on, _ := strings.Cut(text, " on ")
	n := need{permissions: strings.Split(permissions, "|")}
	switch on {
	case "":
	case "target":
		n.target = true
	case "self":
		n.self = true
	case "own policy":
		n.ownPolicy = true
	default:
		n.resources = strings.Split(on, "|")
	}
	if slices.Contains(n.permissions, "") || strings.HasSuffix(text, " on ") {
		return n, errors.New("need " + text + " names no permission or no resource")
	}
	return n, nil
}
