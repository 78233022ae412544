// Package notify carries the enforcer's messages to people: one small type a
// channel (Alertmanager, shoutrrr, webhook, stdout), all with Kind and Send.
//
// Send blocks until the receiving service answered or the context ended; nil
// means that the service took the message, not that somebody read it. Nothing
// is queued or retried here: the enforcer does that, with its journal. A
// message may arrive twice after a crash. Channels open no connection before
// the first Send.
//
// Text that came from logs passes Clean before it gets here, so that an agent
// that names itself "@everyone" or "\x1b[2J" stays a name. Errors name the
// channel and what was answered, never the URL: URLs hold secrets.
package notify

import (
	"time"
)

// Kind of a message.
type Kind string

// The kinds.
const (
	Violation  Kind = "violation"
	Reminder   Kind = "reminder"
	Escalation Kind = "escalation"
	Outcome    Kind = "outcome"
	// Moved: the announced time of revocation is later.
	Moved Kind = "moved"
	// Restored: what became of somebody's wish to have back what was taken.
	Restored Kind = "restored"
	// Denied: what was given back denies what the former scope allowed.
	Denied Kind = "denied"
)

// Message is what is told, once as fields for machines and once as Text.
type Message struct {
	Kind       Kind       `json:"kind"`
	Title      string     `json:"title"`
	Text       string     `json:"text"`
	Credential string     `json:"credential"`
	Agent      string     `json:"agent,omitempty"`
	Owner      string     `json:"owner,omitempty"`
	Severity   string     `json:"severity,omitempty"`
	LadderID   string     `json:"ladder_id"`
	State      string     `json:"state"`
	At         time.Time  `json:"at"`
	RevokeAt   *time.Time `json:"revoke_at,omitempty"`
	Violations []Violated `json:"violations,omitempty"`
	Until      time.Time  `json:"-"` // when a channel that keeps alerts may drop it
}

// Violated is one policy the credential stands past.
type Violated struct {
	Policy    string `json:"policy"`
	Metric    string `json:"metric"`
	Value     string `json:"value"`
	Threshold string `json:"threshold"`
	Condition string `json:"condition"`
	Severity  string `json:"severity,omitempty"`
	Hint      string `json:"hint,omitempty"`
	// Evidence is what the value rests on, where the value alone does not tell.
	Evidence string `json:"evidence,omitempty"`
}
