package amplify

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// began is when the first copy's records happened; the recording's own day takes its place.
var (
	began    = time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC)
	recorded = time.Date(2020, 9, 14, 0, 0, 0, 0, time.UTC)
)

// kind of a part of a record that is another in each copy.
type kind int

const (
	literal kind = iota
	uuid         // event and request ids
	key          // key ids and ids of principals: the prefix of four letters stays
	account
	resource // ids of instances and volumes: the prefix stays
	moment   // times of RFC 3339, to the second
	spelled  // times as STS prints them
	name     // of a user, a role or a bucket: something is appended
	token    // of a list's next page
)

var marks = []struct {
	kind    kind
	pattern string
}{
	{uuid, `[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`},
	{key, `A(?:KIA|SIA|IDA|ROA)[A-Z0-9]{12,17}`},
	{account, `\b[0-9]{12}\b`},
	{resource, `\b(?:i|vol)-[0-9a-f]{17}\b`},
	{moment, `20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}`},
	{spelled, `[A-Z][a-z]{2} [0-9]{1,2}, 20[0-9]{2}, [0-9]{1,2}:[0-9]{2}:[0-9]{2} [AP]M`},
	{name, `\bpedro\b|Role-[A-Z0-9]{12,13}|mordors3stack-s3bucket-[a-z0-9]{12}`},
	{token, `AAI[A-Za-z0-9_=-]{60,}`},
}

const spelling = "Jan 2, 2006, 3:04:05 PM"

// part of a record: a literal, or what takes its place.
type part struct {
	kind kind
	text string
	hash uint64
	at   time.Time
}

type template []part

// round is one copy of the recording.
type round struct {
	seed    uint64
	account string
	shift   time.Duration
}

func parse(lines []byte) (templates []template, err error) {
	pattern := ""
	for i, m := range marks {
		if i > 0 {
			pattern += "|"
		}
		pattern += "(" + m.pattern + ")"
	}
	all, err := regexp.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("recording: %w", err)
	}
	for line := range bytes.Lines(lines) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		var t template
		from := 0
		for _, at := range all.FindAllSubmatchIndex(line, -1) {
			t = append(t, part{text: string(line[from:at[0]])})
			p := part{text: string(line[at[0]:at[1]])}
			for i, m := range marks {
				if at[2*i+2] >= 0 {
					p.kind = m.kind
				}
			}
			if p.hash = hash(p.text); p.kind == moment || p.kind == spelled {
				layout := map[kind]string{moment: "2006-01-02T15:04:05", spelled: spelling}[p.kind]
				if p.at, err = time.Parse(layout, p.text); err != nil {
					return nil, fmt.Errorf("recording: %w", err)
				}
				p.at = began.Add(p.at.Sub(recorded))
			}
			t, from = append(t, p), at[1]
		}
		templates = append(templates, append(t, part{text: string(line[from:])}))
	}
	if len(templates) == 0 {
		return nil, errors.New("recording: it is empty")
	}
	return templates, nil
}

// keys counts the distinct access keys of one copy.
func keys(templates []template) int {
	seen := map[string]bool{}
	for _, t := range templates {
		for _, p := range t {
			if p.kind == key && (p.text[:4] == "ASIA" || p.text[:4] == "AKIA") {
				seen[p.text] = true
			}
		}
	}
	return len(seen)
}

func (t template) write(out *bufio.Writer, c *round) (n int64) {
	var buf [64]byte
	for i := range t {
		p := &t[i]
		seed := mix(c.seed, p.hash)
		b := buf[:0]
		switch p.kind {
		case uuid:
			b = appendUUID(b, seed, mix(seed, 1))
		case key:
			b = append(append(b, p.text[:4]...), letters(seed, len(p.text)-4)...)
		case account:
			b = append(b, c.account...)
		case resource:
			prefix, _, _ := strings.Cut(p.text, "-")
			b = append(appendHex(append(append(b, prefix...), '-'), seed, 16), '0')
		case moment:
			b = p.at.Add(c.shift).AppendFormat(b, "2006-01-02T15:04:05")
		case spelled:
			b = p.at.Add(c.shift).AppendFormat(b, spelling)
		case name:
			b = appendHex(append(append(b, p.text...), '-'), mix(c.seed, 0), 8)
		case token:
			n += text(out, letters(seed, len(p.text)))
		default:
			n += text(out, p.text)
		}
		written, _ := out.Write(b)
		n += int64(written)
	}
	return n
}

func hash(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

// mix is splitmix64's finish of two numbers.
func mix(a, b uint64) uint64 {
	z := a*0x9e3779b97f4a7c15 + b + 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// letters of those that AWS makes ids of.
func letters(seed uint64, n int) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	out := make([]byte, n)
	for i := range out {
		if i%12 == 0 {
			seed = mix(seed, uint64(i))
		}
		out[i] = alphabet[seed>>(5*(i%12))&31]
	}
	return string(out)
}

// appendUUID of version 4.
func appendUUID(b []byte, high, low uint64) []byte {
	for i, n := range [...]int{8, 4, 3, 3, 12} {
		if b = append(b, []string{"", "-", "-4", "-a", "-"}[i]...); i == 3 {
			high = low
		}
		b = appendHex(b, high, n)
		high >>= 4 * n
	}
	return b
}

func appendHex(b []byte, seed uint64, n int) []byte {
	for i := range n {
		b = append(b, "0123456789abcdef"[seed>>(4*i)&15])
	}
	return b
}
