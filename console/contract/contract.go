// Package contract holds the console's answers as Go types: what console/web/src/lib/types.ts says in TypeScript. A field
// that is null is unknown, and is shown as unknown, never as zero. Lists are never null.
package contract

import "time"

// Page is one page of a list. Next, if not null, is the cursor of the following one.
type Page[T any] struct {
	Items []T     `json:"items"`
	Next  *string `json:"next"`
}

// List is a list that comes whole.
type List[T any] struct {
	Items []T `json:"items"`
}

// Me is who asks.
type Me struct {
	Name       string   `json:"name"`
	Roles      []string `json:"roles"`
	Owners     []string `json:"owners" doc:"Owners' ids that are this person's; empty unless role owner"`
	CSRF       string   `json:"csrf" doc:"What a write carries in the header X-CSRF-Token"`
	SignedInBy string   `json:"signed_in_by" enum:"link,oidc,mtls"`
}

// Store is one store that the console reads or writes.
type Store struct {
	Name  string  `json:"name" enum:"clickhouse,kafka"`
	Error *string `json:"error" doc:"null: it is well"`
}

// Status is how the whole stands.
type Status struct {
	AsOf      time.Time  `json:"as_of" doc:"Newest row in ClickHouse"`
	Old       bool       `json:"old" doc:"Newer data should be there by now"`
	Stores    []Store    `json:"stores"`
	Mode      string     `json:"mode" enum:"observe,notify,enforce"`
	Killed    bool       `json:"killed"`
	KilledBy  *string    `json:"killed_by"`
	KilledWhy *string    `json:"killed_why"`
	KilledAt  *time.Time `json:"killed_at"`
	Version   string     `json:"version"`
	Demo      *string    `json:"demo" doc:"One sentence about scaled time, when this is the demonstration"`
}

// Measures are what is measured of a credential.
type Measures struct {
	SecondsLeft      *float64 `json:"seconds_left"`
	NeverExpires     bool     `json:"never_expires"`
	AgeSeconds       *float64 `json:"age_seconds"`
	LifetimeSeconds  *float64 `json:"lifetime_seconds"`
	ScopeWeight      *float64 `json:"scope_weight"`
	ScopePermissions *uint64  `json:"scope_permissions"`
	ScopeKnown       bool     `json:"scope_known"`
	UsedPermissions  *uint64  `json:"used_permissions"`
	UnusedRatio      *float64 `json:"unused_ratio" doc:"0 to 1 of the granted permissions"`
	Utilization      *float64 `json:"utilization" doc:"Uses in the last day against what was expected; 1 is as expected"`
	Uses             uint64   `json:"uses"`
	Uses1h           uint64   `json:"uses_1h"`
	Uses24h          uint64   `json:"uses_24h"`
	Uses7d           uint64   `json:"uses_7d"`
	Uses30d          uint64   `json:"uses_30d"`
	Attempts         uint64   `json:"attempts" doc:"Distinct refused permissions"`
	Denied           uint64   `json:"denied"`
}

// Violation is one policy that a credential stands past.
type Violation struct {
	Policy    string   `json:"policy"`
	Metric    string   `json:"metric"`
	Value     string   `json:"value"`
	Threshold string   `json:"threshold"`
	Condition string   `json:"condition"`
	Severity  string   `json:"severity"`
	Hint      string   `json:"hint"`
	Evidence  string   `json:"evidence"`
	Deviation *float64 `json:"deviation"`
	Title     string   `json:"title" doc:"One plain sentence"`
}

// Credential is one as it stands now.
type Credential struct {
	Measures
	Key            string       `json:"key"`
	Type           string       `json:"type"`
	Source         string       `json:"source"`
	Instance       string       `json:"instance"`
	State          string       `json:"state" enum:"active,expired,revoked,unknown"`
	Agent          *string      `json:"agent"`
	Owner          *string      `json:"owner"`
	OwnerEvidence  string       `json:"owner_evidence"`
	SystemOfRecord *string      `json:"system_of_record"`
	Principal      *string      `json:"principal"`
	IssuedAt       *time.Time   `json:"issued_at"`
	ExpiresAt      *time.Time   `json:"expires_at"`
	RevokedAt      *time.Time   `json:"revoked_at"`
	RevokedHow     *string      `json:"revoked_how"`
	FirstSeenAt    *time.Time   `json:"first_seen_at"`
	LastSeenAt     *time.Time   `json:"last_seen_at"`
	LastUsedAt     *time.Time   `json:"last_used_at"`
	LastDeniedAt   *time.Time   `json:"last_denied_at"`
	Violations     []Violation  `json:"violations"`
	Deviation      float64      `json:"deviation"`
	Severity       *string      `json:"severity"`
	Ladder         *LadderState `json:"ladder"`
	Exception      *Exception   `json:"exception"`
}

// UsageFinding is what agents' own logs and the issuer's tell, compared.
type UsageFinding struct {
	Finding string `json:"finding"`
	Found   *bool  `json:"found"`
	Reason  string `json:"reason"`
}

// Decided is one decision of a credential's history.
type Decided struct {
	At        time.Time `json:"at"`
	Deviation float64   `json:"deviation"`
	Violated  []string  `json:"violated"`
}

// HourOfUse counts calls within one hour.
type HourOfUse struct {
	At     time.Time `json:"at"`
	Uses   uint64    `json:"uses"`
	Denied uint64    `json:"denied"`
}

// CredentialDetail is a credential with all that is told of it.
type CredentialDetail struct {
	Credential
	Parent        *string           `json:"parent"`
	Children      []string          `json:"children"`
	ChildrenTotal uint64            `json:"children_total"`
	Policies      []string          `json:"policies"`
	Labels        map[string]string `json:"labels"`
	LadderSteps   []LadderStep      `json:"ladder_steps"`
	Collateral    []string          `json:"collateral" doc:"What ends with it"`
	Proposal      *Proposal         `json:"proposal"`
	UsageFindings []UsageFinding    `json:"usage_findings"`
	History       []Decided         `json:"history"`
	UsesByHour    []HourOfUse       `json:"uses_by_hour" doc:"Newest 14 days"`
}

// Limits are what policies allow a credential, and how it stood to that.
type Limits struct {
	Limits   []Limit    `json:"limits" doc:"Thresholds of the policies that apply to it"`
	Measured []Measured `json:"measured" doc:"What policies measure of it, at the end of each of the last days and now"`
}

// Limit is one threshold of a policy that applies to a credential.
type Limit struct {
	Policy    string   `json:"policy"`
	Title     string   `json:"title"`
	Severity  string   `json:"severity"`
	Mode      string   `json:"mode"`
	Match     string   `json:"match" enum:"any,all" doc:"all: it objects only when all its conditions hold"`
	Metric    string   `json:"metric"`
	Condition string   `json:"condition"`
	Threshold string   `json:"threshold"`
	Value     float64  `json:"value" doc:"The threshold as a number, in seconds where it is a time"`
	Unit      string   `json:"unit" enum:"seconds,count,share,ratio,flag"`
	Now       *float64 `json:"now" doc:"What is measured now; null: unknown, or without end"`
	Endless   bool     `json:"endless" doc:"What is measured has no end"`
	Past      *bool    `json:"past" doc:"Whether the condition holds now; null: unknown"`
}

// Measured is one metric of a credential at the end of each day, and now.
type Measured struct {
	Metric string  `json:"metric"`
	Unit   string  `json:"unit" enum:"seconds,count,share,ratio,flag"`
	Points []Point `json:"points"`
}

// Point is a value at a time.
type Point struct {
	At    time.Time `json:"at"`
	Value *float64  `json:"value" doc:"null: unknown, or it was not there"`
}

// Event is one thing that happened to a credential.
type Event struct {
	ID            string            `json:"id"`
	Kind          string            `json:"kind"`
	At            time.Time         `json:"at"`
	ObservedAt    time.Time         `json:"observed_at"`
	Source        string            `json:"source"`
	Instance      string            `json:"instance"`
	Action        string            `json:"action"`
	Permission    string            `json:"permission"`
	Resource      string            `json:"resource"`
	Outcome       *string           `json:"outcome"`
	Error         string            `json:"error"`
	RecordID      string            `json:"record_id"`
	Position      string            `json:"position"`
	Actor         *string           `json:"actor"`
	RemoteAddress string            `json:"remote_address"`
	Labels        map[string]string `json:"labels"`
	Flag          string            `json:"flag"`
}

// Permission is one that a credential is granted.
type Permission struct {
	Permission  string     `json:"permission"`
	Level       string     `json:"level" enum:"read,list,write,permissions,tagging,sudo,unknown"`
	Weight      float64    `json:"weight"`
	Conditional bool       `json:"conditional"`
	Used        *bool      `json:"used"`
	Uses        uint64     `json:"uses"`
	LastUsedAt  *time.Time `json:"last_used_at"`
	GrantedBy   string     `json:"granted_by"`
}

// Refused is a permission that was asked for and not given.
type Refused struct {
	Permission string    `json:"permission"`
	Times      uint64    `json:"times"`
	LastAt     time.Time `json:"last_at"`
}

// Scope is what a credential may do, permission by permission.
type Scope struct {
	Known       bool         `json:"known"`
	WhyUnknown  *string      `json:"why_unknown"`
	Truncated   bool         `json:"truncated"`
	Permissions []Permission `json:"permissions"`
	Denied      []Refused    `json:"denied"`
}

// Proposal is the scope that observed use would justify.
type Proposal struct {
	Granted  uint32 `json:"granted"`
	Proposed uint32 `json:"proposed"`
	Artefact string `json:"artefact"`
	Language string `json:"language" enum:"hcl,json,text"`
	Note     string `json:"note"`
}

// LadderStep is one entry of the journal.
type LadderStep struct {
	At     time.Time `json:"at"`
	State  string    `json:"state"`
	Label  string    `json:"label"`
	Reason string    `json:"reason"`
	Proof  *string   `json:"proof"`
	Error  *string   `json:"error"`
	Told   []string  `json:"told"`
}

// IdentitySummary is an identity in a list.
type IdentitySummary struct {
	Name        string   `json:"name"`
	Names       []string `json:"names"`
	Agents      []string `json:"agents"`
	Owners      []string `json:"owners"`
	Systems     []string `json:"systems"`
	Status      string   `json:"status" enum:"owned,unowned,conflict"`
	Credentials uint64   `json:"credentials"`
}

// Node is a node of an identity's graph.
type Node struct {
	Name  string `json:"name"`
	Kind  string `json:"kind"`
	Label string `json:"label"`
}

// Link joins two nodes.
type Link struct {
	From       string    `json:"from"`
	To         string    `json:"to"`
	Kind       string    `json:"kind"`
	Confidence string    `json:"confidence" enum:"proven,asserted,inferred"`
	At         time.Time `json:"at"`
	Evidence   string    `json:"evidence"`
	Retracted  bool      `json:"retracted"`
}

// Side is one claim of a conflict.
type Side struct {
	Claim    string   `json:"claim"`
	Evidence []string `json:"evidence"`
}

// Conflict is what contradicts itself about an identity.
type Conflict struct {
	Kind   string `json:"kind"`
	Detail string `json:"detail"`
	Sides  []Side `json:"sides"`
}

// Identity is one with its graph.
type Identity struct {
	IdentitySummary
	AsOf      time.Time    `json:"as_of"`
	Nodes     []Node       `json:"nodes"`
	Links     []Link       `json:"links"`
	Conflicts []Conflict   `json:"conflicts"`
	Held      []Credential `json:"held"`
	HeldTotal uint64       `json:"held_total"`
}

// Action is what a person does about a duty.
type Action struct {
	Kind    string  `json:"kind" enum:"exception,rotate,claim,narrow,look"`
	Label   string  `json:"label"`
	Command *string `json:"command"`
	Href    *string `json:"href"`
}

// Duty is what needs somebody.
type Duty struct {
	Credential  string       `json:"credential"`
	Agent       *string      `json:"agent"`
	Owner       *string      `json:"owner"`
	Severity    string       `json:"severity"`
	Title       string       `json:"title"`
	Why         string       `json:"why"`
	By          *time.Time   `json:"by"`
	WhatHappens string       `json:"what_happens"`
	Action      Action       `json:"action"`
	Ladder      *LadderState `json:"ladder"`
}

// Duties are those of the owners asked for, most urgent first.
type Duties struct {
	Items  []Duty `json:"items"`
	Others uint64 `json:"others" doc:"Duties that are other people's"`
}

// Budget bounds revocations.
type Budget struct {
	Limit         int `json:"limit"`
	Used          int `json:"used"`
	WindowSeconds int `json:"window_seconds"`
}

// Coming is a revocation that is to come.
type Coming struct {
	Credential string    `json:"credential"`
	Agent      *string   `json:"agent"`
	Owner      *string   `json:"owner"`
	At         time.Time `json:"at"`
	Collateral int       `json:"collateral"`
	Policies   []string  `json:"policies"`
}

// Running is a ladder that is under way.
type Running struct {
	Credential string      `json:"credential"`
	Agent      *string     `json:"agent"`
	Owner      *string     `json:"owner"`
	Ladder     LadderState `json:"ladder"`
	Policies   []string    `json:"policies"`
}

// Done is what was done, with its proof.
type Done struct {
	Credential    string      `json:"credential"`
	Agent         *string     `json:"agent"`
	Owner         *string     `json:"owner"`
	At            time.Time   `json:"at"`
	Label         string      `json:"label"`
	Proof         string      `json:"proof"`
	Reissued      *string     `json:"reissued"`
	GrantedBefore *uint32     `json:"granted_before"`
	GrantedAfter  *uint32     `json:"granted_after"`
	Ladder        LadderState `json:"ladder"`
}

// Enforcement is all that the enforcer does.
type Enforcement struct {
	Mode      string      `json:"mode"`
	Killed    bool        `json:"killed"`
	KilledBy  *string     `json:"killed_by"`
	KilledWhy *string     `json:"killed_why"`
	Budget    *Budget     `json:"budget"`
	Coming    []Coming    `json:"coming"`
	Running   []Running   `json:"running"`
	Done      []Done      `json:"done"`
	Approvals []Exception `json:"approvals"`
	GivenBack []GivenBack `json:"given_back" doc:"What somebody asked to have back, newest first"`
}

// Exception lets a credential or identity stand past a policy for a time.
type Exception struct {
	ID          string     `json:"id"`
	Credential  *string    `json:"credential"`
	Identity    *string    `json:"identity"`
	Policy      string     `json:"policy"`
	Reason      string     `json:"reason"`
	Ticket      string     `json:"ticket"`
	Until       *time.Time `json:"until"`
	RequestedBy string     `json:"requested_by"`
	RequestedAt *time.Time `json:"requested_at"`
	ApprovedBy  *string    `json:"approved_by"`
	ApprovedAt  *time.Time `json:"approved_at"`
	RevokedBy   *string    `json:"revoked_by"`
	RevokedAt   *time.Time `json:"revoked_at"`
	State       string     `json:"state" enum:"waiting,in force,ended,revoked"`
	MayApprove  bool       `json:"may_approve" doc:"For who asks"`
	WhyNot      *string    `json:"why_not"`
}
