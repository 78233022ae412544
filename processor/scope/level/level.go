// Package level orders permissions by what they let their holder do, and says how much one of each level weighs.
package level

// Level of access. The names are those of the AWS Service Authorization Reference
// (https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_understand-policy-summary-access-level-summaries.html);
// Vault's capabilities and GCP's permissions are put in the same order.
type Level uint8

// The zero Level is not known. A permission whose level is not known weighs as a write, as most permissions are.
const (
	Unknown Level = iota
	List
	Read
	Tagging
	Write
	Management
	// Levels counts them.
	Levels
)

var names = [Levels]string{"unknown", "list", "read", "tagging", "write", "permissions management"}

var weights = [Levels]float64{Unknown: 4, List: 1, Read: 2, Tagging: 4, Write: 4, Management: 10}

func (l Level) String() string { return names[l] }

// Weight is what one permission of this level adds to the weight of a scope.
func (l Level) Weight() float64 { return weights[l] }
