package gate

import (
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/enforcer/exception"
	"github.com/leastwise/leastwise/rego/filewatch"
	"github.com/leastwise/leastwise/rego/strictyaml"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// PolicyID is what an exception names to be one from the gate; "*" names all policies and the gate too.
const PolicyID = "gate"

// Exceptions are those of a file, in the form that `leastwise exception` keeps them in. They may be replaced at any time.
type Exceptions struct {
	Path    string
	current atomic.Pointer[[]*pb.Exception]
	state   string // of the files in force; the watcher's own
}

// LoadExceptions reads a file of exceptions; its errors name file and line.
func LoadExceptions(path string) (*Exceptions, error) {
	x := &Exceptions{Path: path}
	return x, x.load()
}

// InForce lists the exceptions, valid or not.
func (x *Exceptions) InForce() []*pb.Exception {
	if x == nil || x.current.Load() == nil {
		return nil
	}
	return *x.current.Load()
}

func (x *Exceptions) load() error {
	data, err := os.ReadFile(x.Path)
	if err != nil {
		return fmt.Errorf("exceptions: %w", err)
	}
	list, err := parseExceptions(x.Path, data)
	if err != nil {
		return err
	}
	x.state = string(data)
	x.current.Store(&list)
	return nil
}

// reload reports whether the file was read, be it good or bad, and whether anything changed.
func (x *Exceptions) reload() (done, changed bool, err error) {
	info, err := os.Stat(x.Path)
	if err != nil {
		return true, false, fmt.Errorf("exceptions: %w", err)
	}
	if !filewatch.Resting(info.ModTime()) {
		return false, false, nil
	}
	before := x.state
	err = x.load()
	return true, err == nil && x.state != before, err
}

func parseExceptions(file string, data []byte) ([]*pb.Exception, error) {
	docs, err := strictyaml.Parse(file, data)
	if err != nil {
		return nil, err
	}
	var p strictyaml.Problems
	var list []*pb.Exception
	ids := map[string]bool{}
	for _, doc := range docs {
		n, ok := p.Mapping(doc, "exceptions")["exceptions"]
		if !ok {
			continue
		}
		for _, item := range p.List(n) {
			e := parseException(&p, item)
			if e.Id != "" && ids[e.Id] {
				p.Addf(item, "exception %q is there twice; expected each id once", e.Id)
			}
			ids[e.Id] = true
			list = append(list, e)
		}
	}
	return list, p.Err()
}

func parseException(p *strictyaml.Problems, n strictyaml.Node) *pb.Exception {
	keys := p.Mapping(n, "id", "credential", "identity", "policy_id", "reason", "ticket", "until", "requested_by", "requested_at",
		"approved_by", "approved_at", "revoked_by", "revoked_at")
	e := &pb.Exception{}
	if keys == nil {
		return e
	}
	for key, to := range map[string]*string{"id": &e.Id, "credential": &e.Credential, "identity": &e.Identity, "policy_id": &e.PolicyId,
		"reason": &e.Reason, "ticket": &e.Ticket, "requested_by": &e.RequestedBy, "approved_by": &e.ApprovedBy, "revoked_by": &e.RevokedBy} {
		if v, ok := keys[key]; ok {
			*to = p.Text(v)
		}
	}
	for key, to := range map[string]**timestamppb.Timestamp{"until": &e.Until, "requested_at": &e.RequestedAt,
		"approved_at": &e.ApprovedAt, "revoked_at": &e.RevokedAt} {
		if v, ok := keys[key]; ok {
			*to = parseTime(p, v)
		}
	}
	for _, key := range []string{"id", "policy_id", "reason", "until", "requested_by"} {
		if _, ok := keys[key]; !ok {
			p.Addf(n, "%s is missing; an exception says who asked, why, and until when", key)
		}
	}
	subject := e.Credential + e.Identity
	if (e.Credential == "") == (e.Identity == "") {
		p.Addf(n, "expected one of identity and credential")
	} else if _, err := schemas.ParseKey(subject); err != nil {
		p.Addf(n, "%v; `leastwise gate --format json` prints the key of each identity", err)
	}
	if e.ApprovedBy != "" && e.ApprovedAt == nil {
		e.ApprovedAt = timestamppb.New(time.Unix(0, 0)) // the file's own history tells when
	}
	return e
}

// parseTime reads a time, or a day, which ends with it.
func parseTime(p *strictyaml.Problems, n strictyaml.Node) *timestamppb.Timestamp {
	text := p.Scalar(n)
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return timestamppb.New(at)
	}
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		return timestamppb.New(day.AddDate(0, 0, 1))
	}
	p.Addf(n, "%q; expected a day such as 2026-12-31 or a time such as 2026-12-31T18:00:00Z", text)
	return nil
}

// excepted finds the exception that covers an identity now; of several the one that lasts longest. If there is none, lapsed
// says why those that speak of the identity do not count.
func excepted(all []*pb.Exception, key string, now time.Time) (valid *pb.Exception, lapsed []string) {
	for _, e := range all {
		if e.Identity != key || e.PolicyId != PolicyID && e.PolicyId != "*" {
			continue
		}
		switch {
		case exception.Valid(e, now):
			if valid == nil || e.Until.AsTime().After(valid.Until.AsTime()) {
				valid = e
			}
		case e.RevokedAt != nil || e.RevokedBy != "":
			lapsed = append(lapsed, fmt.Sprintf("exception %s was revoked", e.Id))
		case e.Until.IsValid() && !e.Until.AsTime().After(now):
			lapsed = append(lapsed, fmt.Sprintf("exception %s ended at %s", e.Id, e.Until.AsTime().Format(time.RFC3339)))
		default:
			lapsed = append(lapsed, fmt.Sprintf("exception %s is not approved by somebody else than %s", e.Id, shorten(e.RequestedBy)))
		}
	}
	slices.Sort(lapsed)
	return valid, lapsed
}
