package iam

import (
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// everything is all actions in lower case, one a line; byLower gives the list's spelling.
var (
	everything = sync.OnceValue(func() string { return strings.ToLower(strings.Join(actions().names, "\n")) })
	byLower    = sync.OnceValue(func() map[string]string {
		out := map[string]string{}
		for _, name := range actions().names {
			out[strings.ToLower(name)] = name
		}
		return out
	})
)

// oracle says the same as Explain by another way: sets of names, and a regular expression a pattern.
func oracle(rules []*pb.Rule) (allow, conditional []string) {
	expand := func(patterns []string) map[string]bool {
		out := map[string]bool{}
		for _, pattern := range patterns {
			text := regexp.QuoteMeta(strings.ToLower(pattern))
			text = strings.NewReplacer(`\*`, `.*`, `\?`, `.`).Replace(text)
			re := regexp.MustCompile(`(?m)^` + text + `$`)
			for _, at := range re.FindAllStringIndex(everything(), -1) {
				out[byLower()[everything()[at[0]:at[1]]]] = true
			}
		}
		return out
	}
	always, sometimes, never := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, rule := range rules {
		hit := expand(rule.Actions)
		if len(rule.NotActions) > 0 {
			not := expand(rule.NotActions)
			for _, name := range actions().names {
				if !not[name] {
					hit[name] = true
				}
			}
		}
		for name := range hit {
			switch {
			case rule.Deny && !rule.Conditional && slices.Contains(rule.Resources, "*"):
				never[name] = true
			case rule.Deny:
			case rule.Conditional:
				sometimes[name] = true
			default:
				always[name] = true
			}
		}
	}
	for _, name := range actions().names {
		switch {
		case never[name]:
		case always[name]:
			allow = append(allow, name)
		case sometimes[name]:
			conditional = append(conditional, name)
		}
	}
	return allow, conditional
}

// pattern makes one of an action of the list: with wildcards put in, and its case mixed.
func randomPattern(r *rand.Rand) string {
	name := []byte(actions().names[r.IntN(len(actions().names))])
	switch r.IntN(12) {
	case 0:
		return "*"
	case 1:
		return "nosuchservice:" + string(name[:1]) + "*"
	case 2:
		service, _, _ := strings.Cut(string(name), ":")
		return service + ":*"
	}
	for range r.IntN(3) {
		name[r.IntN(len(name))] = '?'
	}
	for range r.IntN(3) {
		from := r.IntN(len(name))
		to := from + r.IntN(len(name)-from)
		name = slices.Concat(name[:from], []byte("*"), name[to:])
	}
	for i := range name {
		if r.IntN(6) == 0 {
			name[i] = strings.ToUpper(string(name[i]))[0]
		}
	}
	return string(name)
}

func randomRule(r *rand.Rand) *pb.Rule {
	rule := &pb.Rule{Deny: r.IntN(3) == 0, Conditional: r.IntN(3) == 0, Resources: []string{"*"}}
	if r.IntN(3) == 0 {
		rule.Resources = []string{"arn:aws:s3:::bucket/*"}
	}
	var patterns []string
	for range 1 + r.IntN(3) {
		patterns = append(patterns, randomPattern(r))
	}
	if r.IntN(5) == 0 {
		rule.NotActions = patterns
	} else {
		rule.Actions = patterns
	}
	return rule
}

func TestExpansionIsThatOfSetsOfNames(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 10 {
		var rules []*pb.Rule
		for range 1 + r.IntN(4) {
			rules = append(rules, randomRule(r))
		}
		got := Explain(rules)
		allow, conditional := oracle(rules)
		if !slices.Equal(got.Allow, allow) || !slices.Equal(got.Conditional, conditional) {
			t.Fatalf("%v:\nallow %d, want %d; conditional %d, want %d", rules, len(got.Allow), len(allow), len(got.Conditional), len(conditional))
		}
	}
}

func allow(patterns ...string) *pb.Rule {
	return &pb.Rule{Actions: patterns, Resources: []string{"*"}}
}

func deny(patterns ...string) *pb.Rule {
	return &pb.Rule{Actions: patterns, Resources: []string{"*"}, Deny: true}
}

func when(rule *pb.Rule) *pb.Rule { rule.Conditional = true; return rule }

func on(rule *pb.Rule, resources ...string) *pb.Rule { rule.Resources = resources; return rule }

func TestActionsComeOutInTheListsSpelling(t *testing.T) {
	got := Explain([]*pb.Rule{allow("S3:getobject", "s3:GETOBJECT")})
	if !slices.Equal(got.Allow, []string{"s3:GetObject"}) || len(got.Unknown) != 0 {
		t.Fatalf("%+v", got)
	}
}

func TestPatternsThatMatchNothingAreToldAsWritten(t *testing.T) {
	got := Explain([]*pb.Rule{allow("s3:NoSuchThing", "NoSuchService:*"), deny("zz:*"), {NotActions: []string{"yy:*"}, Resources: []string{"*"}, Deny: true}})
	if want := []string{"NoSuchService:*", "s3:NoSuchThing", "zz:*"}; !slices.Equal(got.Unknown, want) {
		t.Fatalf("%v, want %v", got.Unknown, want)
	}
}

func TestAPolicyWithoutStatementsGrantsNothing(t *testing.T) {
	got := Explain(nil)
	if got.Allow == nil || got.Conditional == nil || got.Unknown == nil || len(got.Allow)+len(got.Conditional)+len(got.Unknown) != 0 {
		t.Fatalf("%+v: empty lists, not null", got)
	}
}

func TestWildcards(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"*", "", true}, {"", "", true}, {"", "a", false}, {"?", "", false}, {"?", "a", true}, {"??", "a", false},
		{"a*c", "abc", true}, {"a*c", "ac", true}, {"a*c", "acb", false}, {"a**c", "abbc", true},
		{"*a*b*a*", "xxaxxbxxaxx", true}, {"*a*b*a*", "xxaxxaxx", false}, {"s3:?et*", "s3:get", true},
		{"[a-z]", "b", false}, {"[a-z]", "[a-z]", true}, {"a.c", "abc", false}, {"?", "*", false}, {"*", "*", true},
	} {
		if got := Match(c.pattern, c.text); got != c.want {
			t.Errorf("Match(%q, %q) = %v", c.pattern, c.text, got)
		}
	}
}

func TestManyWildcardsTakeNoLongerThanTheProductOfTheLengths(t *testing.T) {
	if Match(strings.Repeat("*a", 2000)+"b", strings.Repeat("a", 5000)) {
		t.Fatal("no b there")
	}
}

func TestWhatIsKeptOfPatternsIsBounded(t *testing.T) {
	c, err := read(packed)
	if err != nil {
		t.Fatal(err)
	}
	c.limit = 3 * len(c.names)
	for i := range 10 {
		c.matching("*" + strings.Repeat("?", i))
		if c.held > c.limit || c.held < len(c.names)/2 || len(c.patterns) > 6 {
			t.Fatalf("after %d patterns %d indexes are held", i+1, c.held)
		}
	}
}

func TestEachKindOfStatementComesToWhatItsSetsComeTo(t *testing.T) {
	not := func(rule *pb.Rule) *pb.Rule {
		rule.NotActions, rule.Actions = rule.Actions, nil
		return rule
	}
	for name, rules := range map[string][]*pb.Rule{
		"deny":                     {allow("s3:*"), deny("s3:Delete*")},
		"deny before":              {deny("s3:Delete*"), allow("s3:*")},
		"narrow deny":              {allow("s3:*"), on(deny("s3:Delete*"), "arn:aws:s3:::b/*")},
		"deny on no resource":      {allow("s3:*"), on(deny("s3:Delete*"))},
		"deny on all among others": {allow("s3:*"), on(deny("s3:Delete*"), "arn:aws:s3:::b/*", "*")},
		"conditional deny":         {allow("s3:*"), when(deny("s3:Delete*"))},
		"conditional and not":      {when(allow("ec2:*")), allow("ec2:Describe*")},
		"conditional and denied":   {when(allow("ec2:*")), deny("ec2:Run*")},
		"not action":               {not(allow("iam:*", "organizations:*"))},
		"two not actions":          {not(allow("iam:*")), not(when(allow("s3:*")))},
		"not action and deny":      {allow("*"), not(deny("s3:*", "sts:*"))},
		"not action of nothing":    {not(allow("nosuch:*"))},
	} {
		got := Explain(rules)
		allow, conditional := oracle(rules)
		if !slices.Equal(got.Allow, allow) || !slices.Equal(got.Conditional, conditional) {
			t.Errorf("%s: allow %d, want %d; conditional %d, want %d", name, len(got.Allow), len(allow), len(got.Conditional), len(conditional))
		}
	}
}
