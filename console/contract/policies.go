package contract

import "time"

// Metric is one metric of a policy.
type Metric struct {
	Name      string `json:"name"`
	Source    string `json:"source"`
	Condition string `json:"condition"`
	Threshold string `json:"threshold"`
	Unit      string `json:"unit"`
}

// Count is how many violated a policy at a time.
type Count struct {
	At        time.Time `json:"at"`
	Violators uint64    `json:"violators"`
}

// Policy is one in force.
type Policy struct {
	ID           string   `json:"id"`
	Title        string   `json:"title"`
	Rationale    string   `json:"rationale"`
	Severity     string   `json:"severity"`
	Mode         string   `json:"mode"`
	GraceSeconds *float64 `json:"grace_seconds"`
	Match        string   `json:"match" enum:"any,all" doc:"any: one condition is enough; all: it objects only when all hold"`
	Metrics      []Metric `json:"metrics"`
	Violators    uint64   `json:"violators"`
	Trend        []Count  `json:"trend"`
	Revision     string   `json:"revision"`
}

// OwnerCount is how many of an owner's credentials violate a policy.
type OwnerCount struct {
	Owner     *string `json:"owner"`
	Violators uint64  `json:"violators"`
}

// PolicyDetail is a policy with its text.
type PolicyDetail struct {
	Policy
	YAML   string       `json:"yaml"`
	File   string       `json:"file"`
	Line   int          `json:"line" doc:"Where in the file it begins; 0: unknown"`
	Rego   []RegoFile   `json:"rego" doc:"What decides"`
	Owners []OwnerCount `json:"owners"`
}

// RegoFile is one file of the Rego that decides.
type RegoFile struct {
	File string `json:"file"`
	Text string `json:"text"`
}

// WhatIf tells who would stand past a policy if one threshold were another: now, and on each of the last days as far as
// ClickHouse still knows.
type WhatIf struct {
	Metric      string   `json:"metric"`
	Threshold   string   `json:"threshold"`
	Now         uint64   `json:"now"`
	Then        uint64   `json:"then"`
	Unknown     uint64   `json:"unknown"`
	Days        []Day    `json:"days" doc:"Oldest first; the last is now"`
	NoDays      *string  `json:"no_days" doc:"Why there are none"`
	EverNow     uint64   `json:"ever_now" doc:"Credentials past it on some of the days, with the threshold in force"`
	EverThen    uint64   `json:"ever_then" doc:"The same, with the other threshold"`
	WouldFall   []Fallen `json:"would_fall"`
	WouldBeFree []Fallen `json:"would_be_free"`
}

// Day is how many would have stood past a policy at the end of a day.
type Day struct {
	At      time.Time `json:"at"`
	InForce uint64    `json:"in_force" doc:"With the threshold in force"`
	Then    uint64    `json:"then" doc:"With the other threshold"`
	Unknown uint64    `json:"unknown" doc:"Of which it can not be told with the other threshold"`
	Alive   uint64    `json:"alive" doc:"That the policy applies to"`
}

// Fallen is a credential that another threshold changes something for.
type Fallen struct {
	Credential
	DaysPast    uint64 `json:"days_past" doc:"On how many of the days it would have stood past the policy"`
	DaysUnknown uint64 `json:"days_unknown"`
	DaysAlive   uint64 `json:"days_alive" doc:"On how many of them it was there"`
}

// Finding is something that a source noticed to be wrong.
type Finding struct {
	Kind    string    `json:"kind"`
	Subject string    `json:"subject"`
	Detail  string    `json:"detail"`
	Since   time.Time `json:"since"`
}

// Source is one source of records.
type Source struct {
	Source          string     `json:"source"`
	Instance        string     `json:"instance"`
	State           string     `json:"state" enum:"well,trouble,silent"`
	Trouble         *string    `json:"trouble"`
	LastHeartbeatAt time.Time  `json:"last_heartbeat_at"`
	LastRecordAt    *time.Time `json:"last_record_at"`
	SilentSeconds   float64    `json:"silent_seconds"`
	Records         uint64     `json:"records"`
	Events          uint64     `json:"events"`
	DeadLetters     uint64     `json:"dead_letters"`
	Unknown         uint64     `json:"unknown"`
	Findings        []Finding  `json:"findings"`
}

// DeadLetter is a record that could not be read.
type DeadLetter struct {
	ID         string    `json:"id"`
	Source     string    `json:"source"`
	Instance   string    `json:"instance"`
	Position   string    `json:"position"`
	Reason     string    `json:"reason"`
	Detail     string    `json:"detail"`
	Length     uint64    `json:"length"`
	Excerpt    string    `json:"excerpt"`
	ObservedAt time.Time `json:"observed_at"`
	Replay     string    `json:"replay" doc:"The command that reads the record again"`
}

// AuditEntry is one record of the audit log.
type AuditEntry struct {
	Topic string    `json:"topic"`
	At    time.Time `json:"at"`
	Who   *string   `json:"who"`
	What  string    `json:"what"`
	Key   string    `json:"key"`
	Hash  string    `json:"hash"`
}

// Verified tells whether a topic's chain proves itself.
type Verified struct {
	Topic     string     `json:"topic"`
	Entries   uint64     `json:"entries"`
	Unbroken  bool       `json:"unbroken"`
	BrokenAt  *string    `json:"broken_at"`
	CheckedAt *time.Time `json:"checked_at"`
}

// Audit is a page of the audit log.
type Audit struct {
	Items    []AuditEntry `json:"items"`
	Next     *string      `json:"next"`
	Verified []Verified   `json:"verified"`
}

// Changed tells listeners to ask again.
type Changed struct {
	What string   `json:"what" enum:"fleet,ladders,exceptions,sources,control"`
	Keys []string `json:"keys"`
}

// KeyUse is when a credential was used.
type KeyUse struct {
	Key     string     `json:"key"`
	Buckets [][3]int64 `json:"buckets" doc:"[unix ms, uses, denied]"`
}
