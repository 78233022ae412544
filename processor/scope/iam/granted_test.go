package iam

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/processor/scope/level"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

func TestEachPermissionCountsOnceWithItsLevelAndWidestReach(t *testing.T) {
	g := Evaluate([]*pb.Rule{
		on(allow("s3:GetObject"), "arn:aws:s3:::bucket/key"),
		on(allow("s3:GetObject", "s3:PutObject"), "arn:aws:s3:::bucket/*"),
		when(allow("s3:ListAllMyBuckets", "s3:PutObject")),
		on(allow("iam:PassRole", "iam:TagUser"), "arn:aws:iam::111122223333:role/${aws:username}"),
		allow("s3:NoSuchThing"),
	})
	want := level.Figures{Permissions: 6, Conditional: 1, Unknown: 1, Weight: 2 + 4 + 1 + 4 + 4}
	want.Levels[level.Read], want.Levels[level.Write], want.Levels[level.List], want.Levels[level.Tagging], want.Levels[level.Unknown] = 1, 1, 1, 1, 1
	want.Levels[LevelOf("iam:PassRole")]++
	want.Weight += LevelOf("iam:PassRole").Weight()
	want.Reach = [level.Reaches]int{level.One: 2, level.Prefix: 1, level.All: 3}
	if got := g.Figures(); got != want {
		t.Fatalf("%+v\nwant %+v", got, want)
	}
}

func TestReachOfResources(t *testing.T) {
	for resource, want := range map[string]level.Reach{
		"*": level.All, "arn:aws:s3:::*": level.All, "arn:aws:sqs:*:*:*": level.All, "arn:aws:s3:::bucket/*": level.Prefix,
		"arn:aws:s3:::bucket": level.One, "arn:aws:iam::1:role/*": level.Prefix, "arn:aws:sqs:*:1:queue": level.Prefix,
		"arn:aws:iam::1:user/${aws:username}": level.One, "arn:aws:s3:::b/${aws:username}/*": level.Prefix, "arn:aws:s3:::${x": level.One,
	} {
		if got := reachOfARN(resource); got != want {
			t.Errorf("%s reaches %s, want %s", resource, got, want)
		}
	}
}

func TestABoundaryAndASessionOnlyNarrow(t *testing.T) {
	identity := Evaluate([]*pb.Rule{allow("s3:Get*", "ec2:*", "nosuch:Thing", "new:*"), when(allow("sqs:SendMessage", "sqs:ReceiveMessage"))})
	bound := Evaluate([]*pb.Rule{on(allow("s3:GetObject", "sqs:ReceiveMessage"), "arn:aws:s3:::b/*"), when(allow("ec2:RunInstances")), allow("NoSuch:*", "new:Thing")})
	got := identity.Within(bound)
	allow, conditional := got.Names()
	if want := []string{"s3:GetObject"}; !slices.Equal(allow, want) {
		t.Errorf("allow %v, want %v", allow, want)
	}
	if want := []string{"ec2:RunInstances", "sqs:ReceiveMessage"}; !slices.Equal(conditional, want) {
		t.Errorf("conditional %v, want %v: a condition anywhere is a condition", conditional, want)
	}
	if want := []string{"new:Thing", "nosuch:Thing"}; !slices.Equal(got.Unknown(), want) {
		t.Errorf("unknown %v, want %v", got.Unknown(), want)
	}
	if f := got.Figures(); f.Reach[level.Prefix] != 2 || f.Reach[level.All] != 3 {
		t.Errorf("reach %v: the narrower of both", f.Reach)
	}
}

func TestADenyInTheBoundaryTakesAwayWhatThePolicyGrants(t *testing.T) {
	got := Evaluate([]*pb.Rule{allow("s3:*", "new:*")}).Within(Evaluate([]*pb.Rule{allow("*"), deny("s3:Delete*", "new:*")}))
	allow, _ := got.Names()
	if slices.Contains(allow, "s3:DeleteObject") || !slices.Contains(allow, "s3:GetObject") || len(got.Unknown()) != 0 {
		t.Fatalf("%d actions, unknown %v", len(allow), got.Unknown())
	}
}

func TestWithinIsTheIntersectionWhicheverWayRound(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 6 {
		a, b := []*pb.Rule{randomRule(r), randomRule(r)}, []*pb.Rule{randomRule(r), randomRule(r)}
		x, y := Evaluate(a).Within(Evaluate(b)), Evaluate(b).Within(Evaluate(a))
		if x.Figures() != y.Figures() {
			t.Fatalf("%v and %v: %+v, the other way round %+v", a, b, x.Figures(), y.Figures())
		}
		aAllow, aConditional := oracle(a)
		bAllow, bConditional := oracle(b)
		var want []string
		for _, name := range slices.Sorted(slices.Values(slices.Concat(aAllow, aConditional))) {
			if slices.Contains(bAllow, name) || slices.Contains(bConditional, name) {
				want = append(want, name)
			}
		}
		allow, conditional := x.Names()
		if got := slices.Sorted(slices.Values(slices.Concat(allow, conditional))); !slices.Equal(got, want) {
			t.Fatalf("%v within %v: %d actions, want %d", a, b, len(got), len(want))
		}
	}
}

func TestUseIsOfWhatIsGrantedAndOnThoseResources(t *testing.T) {
	g := Evaluate([]*pb.Rule{on(allow("s3:GetObject", "s3:PutObject"), "arn:aws:s3:::b/*"), allow("s3:ListBucket", "lambda:*", "new:*"), when(allow("s3:GetObject"))})
	calls := []string{"s3:GetObject", "S3:getobject", "s3:ListBucket", "lambda:InvokeFunction", "lambda:InvokeWithResponseStream",
		"s3:DeleteObject", "new:Thing", "new:Other", "iam:CreateUser", "", "nothing"}
	got := g.Used(calls)
	want := []level.Use{
		{Permission: "lambda:InvokeFunction", Resources: []string{"*"}},
		{Permission: "new:*", Resources: []string{"*"}},
		{Permission: "s3:GetObject", Resources: []string{"*", "arn:aws:s3:::b/*"}},
		{Permission: "s3:ListBucket", Resources: []string{"*"}},
	}
	if !reflect.DeepEqual(got, want) || g.CountUsed(calls) != len(want) {
		t.Fatalf("%v (%d counted)\nwant %v", got, g.CountUsed(calls), want)
	}
}

func TestCallsThatAreNoActionNeedOneThatIs(t *testing.T) {
	for call, name := range needs {
		if _, ok := actions().places[strings.ToLower(name)]; !ok {
			t.Errorf("%s needs %s, which is no action", call, name)
		}
		if _, ok := actions().places[call]; ok || call != strings.ToLower(call) {
			t.Errorf("%s is an action itself, or not in lower case", call)
		}
	}
}

func TestPatternsOverlapIfSomeTextIsCoveredByBoth(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"", "", true}, {"a", "a", true}, {"a", "b", false}, {"*", "", true}, {"a*", "*b", true}, {"a*", "b*", false},
		{"a*c", "ab*", true}, {"a?c", "a*", true}, {"a?c", "ab", false}, {"?", "*", true}, {"?", "", false},
		{"*x*", "*y*", true}, {"ab*cd", "*bc*", true}, {"ab*cd", "ab?d", true}, {"ab*cd", "abd", false}, {"**", "a", true},
	} {
		if Overlap(test.a, test.b) != test.want || Overlap(test.b, test.a) != test.want {
			t.Errorf("Overlap(%q, %q) is not %t both ways", test.a, test.b, test.want)
		}
	}
}

// FuzzOverlap: a text that both patterns match is a witness.
func FuzzOverlap(f *testing.F) {
	f.Add("a*", "*b", "ab")
	f.Fuzz(func(t *testing.T, a, b, text string) {
		if len(a)+len(b)+len(text) > 300 || strings.ContainsAny(text, "*?") {
			t.Skip()
		}
		if Match(a, text) && Match(b, text) && !Overlap(a, b) {
			t.Errorf("%q matches %q and %q, which do not overlap", text, a, b)
		}
		if Overlap(a, b) != Overlap(b, a) {
			t.Errorf("Overlap(%q, %q) depends on the order", a, b)
		}
	})
}
