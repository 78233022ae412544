package scan

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/leastwise/leastwise/internal/terminal"
)

// lane is one bar of the picture: x and width in hundredths of the picture's width, y and height in pixels of laneHeight.
type lane struct {
	Name, Short, Class, Severity string
	Told                         string // the same in words
	Before, After                bool   // it goes on where the picture ends
	X, Width                     string
	Y, Height                    string
	LaterX, LaterWidth           string // the part after now
	Fill                         bool   // its utilization is known
	FillY, FillHeight, FillWidth string // drawn up to now
	PastWidth                    string
	Thin                         bool // its scope is not known
	Open                         bool // its issuance or its end is not known
	Ticks                        []string
	Ended                        bool
}

type mark struct{ X, Text string }

const (
	laneHeight = 26.0
	thinnest   = 3.0
	thickest   = 20.0
	noScope    = 8.0 // drawn with a broken outline
)

// span of time that the picture shows.
type shown struct{ from, to time.Time }

func (p *page) lanes(l *leaders, now time.Time) {
	p.MoreLanes = l.n - len(l.first)
	if len(l.first) == 0 {
		return
	}
	s := shownOf(l.first, now)
	p.Now = s.x(now)
	for i := range 5 {
		at := s.from.Add(time.Duration(float64(s.to.Sub(s.from)) * float64(i) / 4))
		p.Axis = append(p.Axis, mark{s.x(at), s.label(at)})
	}
	for i := range l.first {
		p.Lanes = append(p.Lanes, s.lane(&l.first[i], now))
	}
}

// shownOf goes from the first issuance to the last expiry, but not farther from now than a year, nor farther ahead than
// what was seen behind, or one credential of ten years would make all others dots.
func shownOf(list []Credential, now time.Time) shown {
	const year = 366 * 24 * time.Hour
	past, ahead := time.Hour, time.Duration(0)
	for i := range list {
		if from, _ := list[i].from(); from != nil {
			past = max(past, now.Sub(*from))
		}
	}
	past = min(past, year)
	for i := range list {
		if to := list[i].ExpiresAt; to != nil && list[i].State == "active" {
			ahead = max(ahead, to.Sub(now))
		}
		if list[i].NeverExpires && list[i].State == "active" {
			ahead = year
		}
	}
	ahead = max(min(ahead, past, year), past/5)
	return shown{now.Add(-past), now.Add(ahead)}
}

func (s shown) share(t time.Time) float64 {
	return math.Max(0, math.Min(1, float64(t.Sub(s.from))/float64(s.to.Sub(s.from))))
}

func (s shown) x(t time.Time) string { return percent(s.share(t)) }

func (s shown) label(t time.Time) string {
	t = t.UTC()
	switch width := s.to.Sub(s.from); {
	case width > 300*24*time.Hour:
		return t.Format("Jan 2006")
	case width > 4*24*time.Hour:
		return t.Format("2 Jan")
	case width > 20*time.Hour:
		return t.Format("2 Jan 15:04")
	default:
		return t.Format("15:04")
	}
}

func percent(share float64) string { return fmt.Sprintf("%.2f%%", 100*share) }

func pixels(v float64) string { return fmt.Sprintf("%.1f", v) }

// from is when it was issued, or, if that is not known, first seen.
func (c *Credential) from() (at *time.Time, issued bool) {
	if c.IssuedAt != nil {
		return c.IssuedAt, true
	}
	if c.Lane != nil && c.Lane.FirstAt != nil {
		return c.Lane.FirstAt, false
	}
	return c.LastUsedAt, false
}

func (s shown) lane(c *Credential, now time.Time) lane {
	l := lane{Name: terminal.Safe(c.Key), Short: short(terminal.Safe(c.Key)), Severity: terminal.Safe(c.Severity), Class: "none", Told: inWords(c, now), Ended: c.State == "revoked" || c.State == "expired"}
	if c.Severity != "" {
		l.Class = severityClass(c.Severity)
	}
	from, issued := c.from()
	begin := now
	if from != nil {
		begin = *from
	}
	end := now
	switch {
	case c.State == "revoked" && c.LastPlace("ended") != nil:
		end = c.LastPlace("ended").At
	case c.ExpiresAt != nil:
		end = *c.ExpiresAt
	case c.NeverExpires && c.State == "active":
		end = s.to
	default:
		l.Open = true
	}
	l.Open = l.Open || !issued
	l.Before, l.After = begin.Before(s.from), end.After(s.to) || c.NeverExpires && c.State == "active"
	height := noScope
	if l.Thin = c.Lane == nil || c.Lane.Weight == nil; !l.Thin {
		height = math.Min(thickest, thinnest+math.Log2(1+*c.Lane.Weight)*2.2)
	}
	y := (laneHeight - height) / 2
	l.Y, l.Height = pixels(y), pixels(height)
	x, until := s.share(begin), s.share(end)
	until = math.Max(until, x+0.008) // what is too short to be seen is a spike
	l.X, l.Width = percent(x), percent(until-x)
	past := math.Max(x, math.Min(until, s.share(now)))
	l.PastWidth = percent(past - x)
	if past < until {
		l.LaterX, l.LaterWidth = percent(past), percent(until-past)
	}
	if c.Lane != nil && c.Lane.Utilization != nil {
		l.Fill = true
		fill := height * math.Min(1, math.Max(0, *c.Lane.Utilization))
		l.FillY, l.FillHeight, l.FillWidth = pixels(y+height-fill), pixels(fill), l.PastWidth
	}
	if c.Lane != nil {
		for _, at := range c.Lane.Attempts {
			if !at.Before(s.from) {
				l.Ticks = append(l.Ticks, s.x(at))
			}
		}
	}
	return l
}

// LastPlace of a kind, or nil.
func (c *Credential) LastPlace(what string) *Place {
	for i := range c.Places {
		if c.Places[i].What == what {
			return &c.Places[i]
		}
	}
	return nil
}

// inWords is a lane in words: for who does not see it, and for what it can not show.
func inWords(c *Credential, now time.Time) string {
	var parts []string
	switch {
	case c.State == "unknown":
		parts = append(parts, "lifetime unknown")
	case c.State != "active":
		parts = append(parts, c.State)
	case c.ExpiresAt != nil:
		parts = append(parts, "expires in "+span(c.ExpiresAt.Sub(now)))
	default:
		parts = append(parts, "never expires")
	}
	if c.IssuedAt != nil {
		parts = append(parts, "issued "+span(now.Sub(*c.IssuedAt))+" ago")
	} else {
		parts = append(parts, "issuance not seen")
	}
	if c.Lane != nil && c.Lane.Weight != nil && c.Scope.Permissions != nil {
		parts = append(parts, "scope "+plural(*c.Scope.Permissions, "permission")+fmt.Sprintf(", weight %.0f", *c.Lane.Weight))
	} else {
		parts = append(parts, "scope unknown")
	}
	if c.Lane != nil && c.Lane.Utilization != nil {
		parts = append(parts, fmt.Sprintf("%.0f %% %s", 100**c.Lane.Utilization, c.Lane.Measured))
	} else {
		parts = append(parts, "utilization unknown")
	}
	uses := "use not seen"
	if c.LastUsedAt != nil {
		uses = plural(int(c.Uses), "use") + ", last " + ago(c.LastUsedAt, now)
	}
	parts = append(parts, uses)
	if c.Denied > 0 {
		parts = append(parts, plural(int(c.Denied), "refused call"))
	}
	return strings.Join(parts, " · ")
}

// short is the end of a credential's key, which tells it from its neighbours.
func short(key string) string {
	parts := strings.SplitN(key, "/", 3)
	if len(parts) < 3 {
		return key
	}
	return parts[2]
}
