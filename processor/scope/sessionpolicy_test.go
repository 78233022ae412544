package scope

import (
	"slices"
	"strings"
	"testing"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// A session with a policy that was written out in the request names it as it names managed ones; the trail tells what it
// permits.
func TestASessionMayDoWhatRoleAndItsWrittenPolicyBothAllow(t *testing.T) {
	const inline = "session-policy:0011"
	read := statement("*", "s3:GetObject", "iam:PassRole")
	queue := statement("*", "sqs:SendMessage", "sqs:DeleteQueue")
	queue.Conditional = true
	g := put(
		&pb.Grant{Id: awsHolder + role, Attached: attach("wide")},
		&pb.Grant{Id: awsPolicy + "wide", Rules: []*pb.Rule{statement("*", "s3:*", "sqs:*"),
			{Deny: true, Actions: []string{"sqs:DeleteQueue"}, Resources: []string{"*"}}}},
		&pb.Grant{Id: awsPolicy + "managed", Rules: []*pb.Rule{statement("*", "s3:PutObject")}},
		&pb.Grant{Id: awsPolicy + inline, Rules: []*pb.Rule{read, queue}},
	)
	cut := func(label string, policies ...string) *Scope {
		q := session(role, policies...)
		q.Labels = map[string]string{"session_policy": label}
		return g.Credential(q)
	}
	if s := cut("true", inline); !s.Known || !slices.Equal(permitted(s), []string{"s3:GetObject", "sqs:SendMessage if"}) {
		t.Errorf("%v %+v", permitted(s), s)
	}
	if s := cut("true", "managed", inline); !s.Known || !slices.Equal(permitted(s), []string{"s3:GetObject", "s3:PutObject", "sqs:SendMessage if"}) {
		t.Errorf("with a managed one: %v", permitted(s))
	}
	if s := cut("true", "session-policy:never-told"); s.Known || !strings.Contains(s.Why, "not fetched") {
		t.Errorf("one that nobody told: %+v", s)
	}
	if s := cut("inline", "managed"); s.Known {
		t.Errorf("one that could not be read beside a managed one: %+v", s)
	}
}
