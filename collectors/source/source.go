// Package source is what every collector shares: what a record is, how it is decoded, what becomes of one that can
// not be read, and how a log file is read line by line.
//
// It promises bounded memory whatever the input holds: a line longer than the limit is skipped while it is hashed, and
// is reported as such. It never interprets a record: that is the work of one package a source, behind Decoder.
// Nothing here publishes or blocks on anything but the reader it was given.
package source

import (
	"time"

	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Record is one record as the source wrote it.
type Record struct {
	// Bytes is valid until the next record is read.
	Bytes []byte
	// Position tells where the record stood, such as path:offset. It is for people; no id is made of it, but for that
	// of a dead letter.
	Position string
	// ObservedAt is when the record was read.
	ObservedAt time.Time
}

// Decoder turns one record into events, which it appends to dst.
//
// A record that can not be read fails with a *Malformed and yields no event. A well-formed record of a kind that the
// decoder does not know gives one event of kind UNKNOWN. The same record gives the same event ids for ever, whatever
// was decoded before it. A Decoder keeps no reference to rec.Bytes, and is not safe for concurrent use.
//
// The events that the array of dst holds past its length may be used again for new ones: whoever passes events[:0] lets go
// of them.
type Decoder interface {
	Decode(dst []*leastwisev1.Event, rec Record) ([]*leastwisev1.Event, error)
}

// Reasons of a dead letter: a closed set, fit for a metric's label.
const (
	ReasonMalformed = "malformed"
	ReasonTruncated = "truncated"
	ReasonTooLong   = "too_long"
	ReasonTooDeep   = "too_deep"
	ReasonEncoding  = "encoding"
	ReasonRejected  = "rejected"
)

// Malformed says why a record could not be read. Neither field holds text of the record.
type Malformed struct {
	// Reason is one of the Reason constants.
	Reason string
	// Detail is one sentence for the reader, with what to do where something can be done.
	Detail string
	// SHA256 and Length are set for a line that was never held whole; otherwise they are taken from the record.
	SHA256 []byte
	Length int64
}

func (m *Malformed) Error() string { return m.Reason + ": " + m.Detail }

// Reader gives the records of a log file one by one, as Lines does.
type Reader interface {
	// Next returns the next record, and io.EOF at the end: with the last record, marked Partial, if it is cut off.
	Next() (Line, error)
}
