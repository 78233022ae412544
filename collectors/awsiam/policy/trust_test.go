package policy

import (
	"slices"
	"testing"
)

func TestATrustPolicyTellsWhoMayActAsTheRole(t *testing.T) {
	for _, test := range []struct {
		name, statement string
		want            []string
	}{
		{"a service", `{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}`, []string{"Service:ec2.amazonaws.com"}},
		{"several", `{"Effect": "Allow", "Principal": {"AWS": ["123456789012", "arn:aws:iam::1:root"], "Service": "a"}, "Action": "sts:AssumeRole"}`, []string{"AWS:123456789012", "AWS:arn:aws:iam::1:root", "Service:a"}},
		{"everybody", `{"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole", "Condition": {"StringEquals": {"a": "b"}}}`, []string{"AWS:*"}},
	} {
		rules, err := ParseTrust([]byte(`{"Version": "2012-10-17", "Statement": [` + test.statement + `]}`))
		if err != nil || len(rules) != 1 || !slices.Equal(rules[0].Resources, test.want) {
			t.Errorf("%s: %v %v", test.name, rules, err)
			continue
		}
		if rules[0].Conditional != (test.name == "everybody") || !slices.Equal(rules[0].Actions, []string{"sts:AssumeRole"}) {
			t.Errorf("%s: %v", test.name, rules[0])
		}
	}
}

func TestATrustPolicyThatIAMWouldNotTakeIsRefused(t *testing.T) {
	for name, statement := range map[string]string{
		"no principal":   `{"Effect": "Allow", "Action": "sts:AssumeRole"}`,
		"not principal":  `{"Effect": "Deny", "NotPrincipal": {"AWS": "1"}, "Principal": "*", "Action": "sts:AssumeRole"}`,
		"a resource":     `{"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole", "Resource": "*"}`,
		"another text":   `{"Effect": "Allow", "Principal": "x", "Action": "sts:AssumeRole"}`,
		"unknown kind":   `{"Effect": "Allow", "Principal": {"Moon": "x"}, "Action": "sts:AssumeRole"}`,
		"empty list":     `{"Effect": "Allow", "Principal": {"AWS": []}, "Action": "sts:AssumeRole"}`,
		"no JSON object": `7`,
	} {
		if rules, err := ParseTrust([]byte(`{"Statement": ` + statement + `}`)); err == nil {
			t.Errorf("%s: taken as %v", name, rules)
		}
	}
}
