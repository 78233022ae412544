package contract

import "time"

// Compromise tells what could be done with a credential in the wrong hands.
type Compromise struct {
	At    time.Time `json:"at" doc:"When it leaks"`
	Leaks []Leak    `json:"leaks" doc:"One; of an identity one for each credential that it holds"`
	Known Known     `json:"known"`
}

// Known counts what an answer rests on.
type Known struct {
	Sensitive  int `json:"sensitive"`
	Principals int `json:"principals"`
	Rules      int `json:"rules"`
}

// Leak is one credential in the wrong hands.
type Leak struct {
	Credential string     `json:"credential"`
	Principal  string     `json:"principal"`
	State      string     `json:"state"`
	Until      *time.Time `json:"until"`
	Never      bool       `json:"never_expires"`
	Hours      *float64   `json:"hours" doc:"From the leak to the end; null: unknown or without end"`
	Before     Reached    `json:"before"`
	After      *Reached   `json:"after"`
	AfterWhat  string     `json:"after_what"`
	AfterHours *float64   `json:"after_hours"`
	Refused    *string    `json:"refused" doc:"Why there is no after"`
	Granted    *int       `json:"granted" doc:"Permissions"`
	Left       *int       `json:"left" doc:"Permissions after"`
}

// Reached is what a holder could get to.
type Reached struct {
	Start Place `json:"start"`
	Paths []Way `json:"paths" doc:"Sensitive things first; of these the most certain first"`
}

// Place is one on a way.
type Place struct {
	Key    string  `json:"key"`
	Kind   string  `json:"kind" doc:"credential, principal, role, user, service_account, vault_role, everything, secrets, sensitive"`
	Name   string  `json:"name"`
	Partly *string `json:"partly" doc:"Why it may do more than is told"`
}

// Way leads from the start to one place.
type Way struct {
	To        Place      `json:"to"`
	Certainty string     `json:"certainty" enum:"proven,allowed,suggested"`
	Steps     []WayPoint `json:"steps"`
	Stays     bool       `json:"stays" doc:"Something on it outlives the credential"`
}

// WayPoint is one step of a way, in words.
type WayPoint struct {
	From      Place    `json:"from"`
	To        Place    `json:"to"`
	Certainty string   `json:"certainty" enum:"proven,allowed,suggested"`
	Rule      string   `json:"rule"`
	Does      string   `json:"does" doc:"Comes after \"it can\""`
	Evidence  string   `json:"evidence"`
	Sources   []string `json:"sources"`
	Stays     bool     `json:"stays"`
}

// Rightsize is the scope that observed use justifies.
type Rightsize struct {
	Name        string            `json:"name"`
	Credentials []string          `json:"credentials"`
	From        time.Time         `json:"observed_from"`
	Until       time.Time         `json:"observed_until"`
	Gaps        []string          `json:"gaps" doc:"Why use may be missing"`
	Granted     *int              `json:"granted"`
	Used        int               `json:"used"`
	Proposed    int               `json:"proposed"`
	Uses        []PermissionUse   `json:"uses"`
	Proposal    *NarrowerProposal `json:"proposal"`
	ReplayDays  int               `json:"replay_days"`
	Replayed    uint64            `json:"replayed" doc:"Calls that it was tried against"`
	Refusals    []PermissionUse   `json:"would_have_refused"`
	Artifact    *Artifact         `json:"artifact"`
	Refused     *string           `json:"refused" doc:"Why nothing is proposed"`
}

// PermissionUse is one permission used on one resource.
type PermissionUse struct {
	Permission string    `json:"permission"`
	Resource   string    `json:"resource" doc:"Empty: no record tells"`
	Count      uint64    `json:"count"`
	LastAt     time.Time `json:"last_at"`
}

// NarrowerProposal is what would be granted.
type NarrowerProposal struct {
	System      string          `json:"system"`
	Rules       []ScopeRule     `json:"rules"`
	Unjustified []PermissionUse `json:"unjustified" doc:"Used, and not granted any more"`
}

// ScopeRule grants capabilities on a resource.
type ScopeRule struct {
	Resource     string   `json:"resource"`
	Capabilities []string `json:"capabilities"`
}

// Artifact is a proposal in the issuer's own language.
type Artifact struct {
	Kind  string `json:"kind" doc:"vault-policy, iam-policy, gcp-bindings, permissions"`
	Text  string `json:"text"`
	Apply string `json:"apply" doc:"How to put it in force"`
	Loses string `json:"loses" doc:"What is granted beyond the proposal"`
}

// Plan is what would be done, and when, if nothing changed.
type Plan struct {
	At      time.Time     `json:"at"`
	Mode    string        `json:"mode"`
	Killed  string        `json:"kill_switch" doc:"Who switched everything off; empty: nobody"`
	Frozen  string        `json:"frozen"`
	Budget  string        `json:"budget"`
	Ladders []PlannedStep `json:"ladders"`
	Others  int           `json:"others" doc:"Ladders of other owners, which are not shown"`
}

// PlannedStep is the next act of one ladder.
type PlannedStep struct {
	Credential   string           `json:"credential"`
	Agent        string           `json:"agent"`
	Owner        string           `json:"owner"`
	Ladder       string           `json:"ladder"`
	State        string           `json:"state"`
	Target       string           `json:"target"`
	Act          string           `json:"act"`
	At           *time.Time       `json:"at" doc:"No earlier; null: as soon as nothing refuses, or never"`
	Moved        string           `json:"moved" doc:"Why that is later than the grace period's end"`
	Sighting     string           `json:"sighting" doc:"What the issuer says of it now"`
	Collateral   *PlannedHits     `json:"collateral"`
	Refused      []PlannedRefusal `json:"refused"`
	BudgetLeft   int              `json:"budget_left"`
	GivenBack    string           `json:"given_back"`
	ExposedUntil *time.Time       `json:"exposed_until"`
	Standing     *LadderState     `json:"standing" doc:"With its approvals; null: the page has not read of it yet"`
}

// PlannedHits are what else an act hits.
type PlannedHits struct {
	Count    uint64   `json:"count"`
	Others   uint64   `json:"others"`
	First    []string `json:"first"`
	Children uint64   `json:"children"`
	Unknown  string   `json:"unknown"`
}

// PlannedRefusal is a guard's no.
type PlannedRefusal struct {
	Guard  string `json:"guard"`
	Reason string `json:"reason"`
	Text   string `json:"text" doc:"Both in words"`
}
