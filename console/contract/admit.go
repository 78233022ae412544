package contract

import "time"

// AdmissionRequest is a credential that somebody wants issued, as `leastwise admit` reads it from a file.
type AdmissionRequest struct {
	Agent        string            `json:"agent,omitempty" maxLength:"500" doc:"Id of the catalog; this or a principal or labels that the catalog knows"`
	Principal    string            `json:"principal,omitempty" maxLength:"4000" doc:"Key of the identity that will hold it"`
	Labels       map[string]string `json:"labels,omitempty" doc:"What the issuer will say of it"`
	Type         string            `json:"type" minLength:"1" maxLength:"100"`
	Source       string            `json:"source" minLength:"1" maxLength:"100" enum:"vault,spire,aws,gcp,jwt"`
	Instance     string            `json:"instance,omitempty" maxLength:"200" doc:"default if not given"`
	Lifetime     string            `json:"lifetime,omitempty" maxLength:"50" doc:"Such as 1h or 30d"`
	NeverExpires bool              `json:"never_expires,omitempty"`
	Scope        *AdmissionScope   `json:"scope,omitempty"`
	Reason       string            `json:"reason" minLength:"1" maxLength:"4000"`
}

// AdmissionScope is what the credential shall be allowed; the part of its source is read.
type AdmissionScope struct {
	Vault *AdmissionVault `json:"vault,omitempty"`
	AWS   *AdmissionAWS   `json:"aws,omitempty"`
	GCP   []AdmissionRole `json:"gcp,omitempty"`
}

// AdmissionVault names policies whose rules are stored, rules of its own, or both.
type AdmissionVault struct {
	Policies []string        `json:"policies,omitempty"`
	Rules    []AdmissionRule `json:"rules,omitempty"`
}

// AdmissionRule is one path of a Vault policy.
type AdmissionRule struct {
	Path         string   `json:"path" minLength:"1"`
	Capabilities []string `json:"capabilities" minItems:"1"`
}

// AdmissionAWS is an IAM policy document.
type AdmissionAWS struct {
	Document string `json:"document" minLength:"1" maxLength:"131072" doc:"JSON, as text"`
}

// AdmissionRole is a role of Google Cloud on a resource.
type AdmissionRole struct {
	Role     string `json:"role" minLength:"1"`
	Resource string `json:"resource" minLength:"1"`
}

// Admission says whether a credential may be issued as asked.
type Admission struct {
	Allowed bool   `json:"allowed"`
	Verdict string `json:"verdict" enum:"allowed,allowed by exception,must be justified"`

	Agent     *string `json:"agent" doc:"null: nobody is known"`
	Owner     *string `json:"owner"`
	System    *string `json:"system" doc:"System of record"`
	Evidence  *string `json:"evidence" doc:"File and line of the catalog"`
	Conflict  *string `json:"conflict" doc:"Who else claims it; then nobody owns it"`
	Principal *string `json:"principal"`
	Type      string  `json:"type"`
	Source    string  `json:"source"`
	Instance  string  `json:"instance"`
	Lifetime  string  `json:"lifetime" doc:"As a person reads it; unknown if it is"`

	Permissions *int     `json:"permissions" doc:"How many distinct ones it grants; null: unknown"`
	Weight      *float64 `json:"weight"`
	ScopeWhy    *string  `json:"scope_why" doc:"Why the scope is not known"`

	Justify []AdmissionFinding `json:"justify" doc:"Each needs an approved exception, unless it names one"`
	Advise  []AdmissionFinding `json:"advise" doc:"Of policies that only observe or notify"`
	Asked   []AdmissionAsked   `json:"asked" doc:"Every policy that applies"`
	Silent  []string           `json:"silent" doc:"Policies that do not apply"`

	ExceptionsAsked bool     `json:"exceptions_looked_up"`
	ExceptionsWhy   *string  `json:"exceptions_why" doc:"Why they were not looked up"`
	Notes           []string `json:"notes" doc:"What could not be judged"`

	PoliciesRevision string `json:"policies_revision"`
	CatalogRevision  string `json:"catalog_revision"`
}

// AdmissionFinding is one policy that the credential would stand past, or could.
type AdmissionFinding struct {
	Policy    string `json:"policy"`
	Where     string `json:"where" doc:"File and line"`
	Reason    string `json:"reason" enum:"threshold_passed,value_unknown"`
	Metric    string `json:"metric"`
	Value     string `json:"value"`
	Condition string `json:"condition" doc:"What stands past the policy"`
	Threshold string `json:"threshold"`
	Severity  string `json:"severity"`
	Hint      string `json:"hint"`
	// Exception in force that covers it.
	Exception *string    `json:"exception"`
	Until     *time.Time `json:"until"`
}

// AdmissionAsked is how the credential would stand by one policy.
type AdmissionAsked struct {
	Policy  string   `json:"policy"`
	Mode    string   `json:"mode" enum:"observe,notify,enforce"`
	Where   string   `json:"where"`
	Verdict string   `json:"verdict" enum:"within,past,judged in use"`
	Metrics []string `json:"metrics" doc:"Thresholds in words"`
}
