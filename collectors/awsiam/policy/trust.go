package policy

import (
	"errors"
	"slices"

	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

// ParseTrust gives the statements of a role's trust policy. Their resources are the principals that they name, with the
// kind before them: "AWS:arn:aws:iam::123456789012:role/r", "Service:ec2.amazonaws.com", "Federated:...", and "AWS:*" for
// everybody (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html).
func ParseTrust(document []byte) ([]*leastwisev1.Rule, error) {
	return parse(document, func(text []byte) (*leastwisev1.Rule, error) {
		rule, err := parseStatement(text)
		if err != nil {
			return nil, err
		}
		if rule.Resources != nil || rule.NotResources != nil {
			return nil, errors.New("a trust policy names no Resource")
		}
		fields, err := object(text)
		if err != nil {
			return nil, err
		}
		principal, ok := fields["Principal"]
		if !ok || fields["NotPrincipal"] != nil {
			return nil, errors.New("Principal is needed, and NotPrincipal is not read")
		}
		rule.Resources, err = principals(principal)
		return rule, err
	})
}

func principals(value []byte) ([]string, error) {
	if string(value) == `"*"` {
		return []string{"AWS:*"}, nil
	}
	fields, err := object(value)
	if err != nil {
		return nil, errors.New(`Principal is neither "*" nor an object`)
	}
	var out []string
	for kind, value := range fields {
		if !slices.Contains([]string{"AWS", "Service", "Federated", "CanonicalUser"}, kind) {
			return nil, errors.New("Principal has an element that IAM does not know: expected AWS, Service, Federated, CanonicalUser")
		}
		names, err := texts(value)
		if err != nil {
			return nil, errors.New("Principal's element " + kind + " " + err.Error())
		}
		for _, name := range names {
			out = append(out, kind+":"+name)
		}
	}
	slices.Sort(out)
	return out, nil
}
