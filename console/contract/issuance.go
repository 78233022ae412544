package contract

import "time"

// Issuance is what an agent asks the broker for, beyond what policy lets pass: somebody else decides.
type Issuance struct {
	ID         string              `json:"id" doc:"Of the request at the broker"`
	State      string              `json:"state" enum:"waiting,approved,issued,refused,ended" doc:"approved: the agent has not come for it yet; ended: nobody decided, or the agent did not come, in time"`
	Agent      string              `json:"agent"`
	Owner      string              `json:"owner"`
	AskedBy    string              `json:"asked_by" doc:"Who proved to the broker who it is: a SPIFFE ID or a client"`
	Identity   string              `json:"identity" doc:"Its key"`
	AskedAt    *time.Time          `json:"asked_at"`
	Type       string              `json:"type" enum:"token,certificate"`
	Policies   []string            `json:"policies" doc:"Vault policies that the token shall hold"`
	Rules      []IssuanceRule      `json:"rules" doc:"Rules for which a policy is written"`
	Role       *string             `json:"role" doc:"PKI role of a certificate"`
	Name       *string             `json:"name" doc:"Name in the certificate"`
	Seconds    int64               `json:"lifetime_seconds"`
	Reason     string              `json:"reason"`
	Objections []IssuanceObjection `json:"objections" doc:"What admission says, by policy"`
	Until      *time.Time          `json:"until" doc:"Until when it can be approved and issued"`
	DecidedBy  *string             `json:"decided_by"`
	DecidedAt  *time.Time          `json:"decided_at"`
	DecidedWhy *string             `json:"decided_why"`
	IssuedAt   *time.Time          `json:"issued_at"`
	EndsAt     *time.Time          `json:"ends_at" doc:"When what was issued ends by itself"`
	Accessor   *string             `json:"accessor"`
	MayApprove bool                `json:"may_approve" doc:"For who asks"`
	WhyNot     *string             `json:"why_not"`
	MayRefuse  bool                `json:"may_refuse" doc:"For who asks"`
}

// IssuanceRule is a path of Vault and what shall be allowed on it.
type IssuanceRule struct {
	Path         string   `json:"path"`
	Capabilities []string `json:"capabilities"`
}

// IssuanceObjection is a policy that the request stands past, with the exception that would let it pass.
type IssuanceObjection struct {
	Policy    string   `json:"policy"`
	Says      []string `json:"says"`
	Exception string   `json:"exception"`
	Approved  bool     `json:"approved"`
}
