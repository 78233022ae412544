package contract

import "time"

// LadderState is where a credential stands on the ladder, and what who asks may do about it.
type LadderState struct {
	ID            string         `json:"id" doc:"What an approval names"`
	State         string         `json:"state"`
	Label         string         `json:"label" doc:"The state in words"`
	Since         time.Time      `json:"since"`
	Next          *string        `json:"next"`
	NextAt        *time.Time     `json:"next_at"`
	Waiting       *string        `json:"waiting" doc:"What holds it, in words"`
	Awaited       bool           `json:"awaited" doc:"A person's word is all that is missing"`
	Mode          string         `json:"mode"`
	NeedsApproval bool           `json:"needs_approval" doc:"It is not revoked without a person's word"`
	ApprovedBy    *string        `json:"approved_by" doc:"Who approved the revocation, once they are enough"`
	MayApprove    bool           `json:"may_approve" doc:"The revocation, for who asks"`
	WhyNot        *string        `json:"why_not" doc:"Why who asks may not approve"`
	Approvals     []ActApprovals `json:"approvals" doc:"Of each act that asks for any"`
	RevokedAt     *time.Time     `json:"revoked_at"`
	ExposedUntil  *time.Time     `json:"exposed_until" doc:"It was revoked, and works until then where nobody asks the issuer; null: it does not"`
	Moved         *string        `json:"moved" doc:"Why the revocation comes later than the grace period ends"`
	Collateral    *Collateral    `json:"collateral" doc:"What else the revocation hits; null: not looked at"`
	Reissue       *Reissue       `json:"reissue"`
	Restoration   *Restoration   `json:"restoration"`
	MayRestore    bool           `json:"may_restore" doc:"For who asks"`
	WhyNotRestore *string        `json:"why_not_restore"`
	MayRollBack   bool           `json:"may_roll_back" doc:"For who asks"`
}

// ActApprovals are the approvals of one act of a ladder: different people's.
type ActApprovals struct {
	Act        string     `json:"act" enum:"revoke,narrow,restore,finish"`
	Needed     int        `json:"needed" doc:"How many different people"`
	Missing    int        `json:"missing" doc:"How many of them have not said it yet"`
	By         []Approval `json:"by"`
	MayApprove bool       `json:"may_approve" doc:"For who asks"`
	WhyNot     *string    `json:"why_not"`
}

// Approval is one person's yes.
type Approval struct {
	Name string    `json:"name"`
	At   time.Time `json:"at"`
}

// Collateral is what else an act hits.
type Collateral struct {
	Count   uint64   `json:"count"`
	Others  uint64   `json:"others" doc:"Besides what was made with it"`
	First   []string `json:"first"`
	Unknown *string  `json:"unknown" doc:"Why it is not known; null: it is"`
}

// Reissue is what was given in place of what was revoked.
type Reissue struct {
	Policy        string `json:"policy"`
	GrantedBefore uint32 `json:"granted_before"`
	GrantedAfter  uint32 `json:"granted_after"`
	Done          bool   `json:"done"`
	Undone        bool   `json:"undone"`
	Undoing       bool   `json:"undoing" doc:"Somebody asked for the former scope"`
}

// Restoration is somebody's wish to have back what was taken, and what came of it.
type Restoration struct {
	AskedBy    string     `json:"asked_by"`
	Reason     string     `json:"reason"`
	AskedAt    *time.Time `json:"asked_at"`
	ApprovedBy []string   `json:"approved_by"`
	Refused    *string    `json:"refused"`
	DoneAt     *time.Time `json:"done_at"`
}

// GivenBack is one credential that somebody asked to have back.
type GivenBack struct {
	Credential string      `json:"credential"`
	Agent      *string     `json:"agent"`
	Owner      *string     `json:"owner"`
	Ladder     LadderState `json:"ladder"`
}
