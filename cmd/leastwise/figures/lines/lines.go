// Package lines writes logs to measure decoders by: lines of the kinds that real logs hold, each with ids, times and
// callers of its own, the same in every run. The patterns are taken from recordings of SPIRE, from Google's public
// samples of audit log entries (security-analytics, Apache-2.0), and from CloudTrail's forms.
package lines

import (
	_ "embed"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"time"
)

var (
	//go:embed spire.jsonl
	spireForms string
	//go:embed gcp.jsonl
	gcpForms string
	//go:embed cloudtrail.jsonl
	cloudtrailForms string
)

// SPIRE gives n lines of a server's log in JSON, with debug on.
func SPIRE(n int) [][]byte { return lines(spireForms, n) }

// GCP gives n audit log entries.
func GCP(n int) [][]byte { return lines(gcpForms, n) }

// CloudTrail gives n records.
func CloudTrail(n int) [][]byte { return lines(cloudtrailForms, n) }

// The fleet that the lines tell of.
const (
	workloads = 400
	teams     = 20
	nodes     = 64
	// sessionLines is after how many lines workloads have new sessions.
	sessionLines = 10_000
)

var begin = time.Date(2026, 10, 2, 9, 0, 0, 0, time.UTC)

// lines fills the patterns in turn. A pattern is a line with ${names} of what differs from line to line.
func lines(patterns string, n int) [][]byte {
	forms := strings.Split(strings.TrimSpace(patterns), "\n")
	var all []byte // one after the other, as a file that is read
	ends := make([]int, n)
	for i := range n {
		l := line{n: i, workload: (i * 7919) % workloads, rand: rand.New(rand.NewPCG(1, uint64(i)))}
		l.id = uuid(l.rand)
		all = append(all, os.Expand(forms[i%len(forms)], l.value)...)
		ends[i] = len(all)
	}
	out := make([][]byte, n)
	from := 0
	for i, end := range ends {
		out[i], from = all[from:end:end], end
	}
	return out
}

// line is what one line is filled with.
type line struct {
	n, workload int
	rand        *rand.Rand
	id          string
}

func (l *line) value(name string) string {
	at := begin.Add(time.Duration(l.n) * 7_301_117 * time.Nanosecond)
	later := at.Add(time.Hour)
	switch name {
	case "n":
		return strconv.Itoa(l.n)
	case "workload":
		return fmt.Sprintf("%03d", l.workload)
	case "team":
		return fmt.Sprintf("%02d", l.workload%teams)
	case "node":
		return strconv.Itoa(10 + l.workload%nodes)
	case "workload-uuid":
		return uuid(l.same(0))
	case "node-uuid":
		return uuid(rand.New(rand.NewPCG(2, uint64(l.workload%nodes))))
	case "workload-sha1":
		return hexes(l.same(1), 20)
	case "workload-key":
		return letters(l.same(2), 17)
	case "session":
		return letters(l.same(uint64(3+l.n/sessionLines)), 16)
	case "uuid":
		return l.id
	case "uuid2":
		return uuid(l.rand)
	case "sha1":
		return hexes(l.rand, 20)
	case "sha256":
		return hexes(l.rand, 32)
	case "key":
		return letters(l.rand, 16)
	case "insert":
		return strings.ToLower(letters(l.rand, 12))
	case "serial":
		return fmt.Sprintf("%019d%019d", l.rand.Int64N(8e18)+1e18, l.rand.Int64N(8e18)+1e18)
	case "time":
		return at.Format(time.RFC3339Nano)
	case "time-seconds":
		return at.Format(time.RFC3339)
	case "earlier":
		return at.Truncate(time.Hour).Format(time.RFC3339)
	case "later":
		return later.Format(time.RFC3339)
	case "later-aws":
		return later.Format("Jan 2, 2006, 3:04:05 PM")
	case "seconds":
		return strconv.FormatInt(later.Unix(), 10)
	}
	panic("a pattern asks for ${" + name + "}") // only for a pattern that is wrong
}

// same gives numbers that are the workload's own.
func (l *line) same(what uint64) *rand.Rand {
	return rand.New(rand.NewPCG(what<<32|3, uint64(l.workload)))
}

func uuid(r *rand.Rand) string {
	text := hexes(r, 16)
	return text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
}

func hexes(r *rand.Rand, size int) string {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return hex.EncodeToString(b)
}

func letters(r *rand.Rand, size int) string {
	const of = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	b := make([]byte, size)
	for i := range b {
		b[i] = of[r.IntN(len(of))]
	}
	return string(b)
}
