package exceptionfile

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/rego/strictyaml"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Entry is an exception of a file. Its Id is the file's own; RequestedBy and ApprovedBy are as the file has them.
type Entry struct {
	*pb.Exception
	File string
	asks string // who applies it, if the file names nobody and may not
	node strictyaml.Node
}

// Where it is written.
func (e *Entry) Where() string { return fmt.Sprintf("%s:%d", e.File, e.node.Line()) }

// problem with the entry, with its place.
func (e *Entry) problem(format string, args ...any) error { return e.node.Errorf(format, args...) }

// file of a repository.
type file struct {
	name string
	data []byte
}

// Load reads a file, or all .yaml and .yml files below a folder, of which there has to be one. Its errors name file, line and reason.
func Load(path string) ([]*Entry, error) {
	var files []file
	err := filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != path && strings.HasPrefix(d.Name(), "."):
			return filepath.SkipDir
		case d.IsDir() || name != path && !isYAML(name):
			return nil
		}
		data, err := os.ReadFile(name)
		files = append(files, file{name, data})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read exceptions: %w", err)
	}
	return parse(files)
}

func isYAML(name string) bool {
	return strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml")
}

var idForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$`)

func parse(files []file) (all []*Entry, err error) {
	if len(files) == 0 { // a clone that failed, or another folder: no reason to end what is recorded
		return nil, errors.New("no .yaml file is there; a set without exceptions has one with `exceptions: []`")
	}
	var p strictyaml.Problems
	seen := map[string]*Entry{}
	for _, f := range files {
		docs, err := strictyaml.Parse(f.name, f.data)
		if err != nil {
			p.Add(err)
			continue
		}
		for _, doc := range docs {
			keys := p.Mapping(doc, "exceptions")
			list, ok := keys["exceptions"]
			if !ok {
				if keys != nil {
					p.Addf(doc, "no exceptions; expected the key exceptions with a list, which may be empty")
				}
				continue
			}
			for _, n := range p.List(list) {
				e := entry(&p, n, f.name)
				if e == nil {
					continue
				}
				if other := seen[e.Id]; other != nil {
					p.Addf(n, "exception %q stands in %s already; expected each id once", e.Id, other.Where())
				}
				seen[e.Id] = e
				all = append(all, e)
			}
		}
	}
	return all, p.Err()
}

func entry(p *strictyaml.Problems, n strictyaml.Node, name string) *Entry {
	keys := p.Mapping(n, "id", "credential", "identity", "policy_id", "reason", "ticket", "until", "requested_by", "approved_by")
	if keys == nil {
		return nil
	}
	e := &Entry{Exception: &pb.Exception{}, File: name, node: n}
	for key, to := range map[string]*string{"id": &e.Id, "credential": &e.Credential, "identity": &e.Identity, "policy_id": &e.PolicyId,
		"reason": &e.Reason, "ticket": &e.Ticket, "requested_by": &e.RequestedBy, "approved_by": &e.ApprovedBy} {
		if v, ok := keys[key]; ok {
			*to = p.Text(v)
		}
	}
	for _, key := range []string{"id", "policy_id", "reason", "until"} {
		if _, ok := keys[key]; !ok {
			p.Addf(n, "%s is missing; an exception says from which policy, why, and until when", key)
		}
	}
	if at, ok := keys["id"]; ok && !idForm.MatchString(e.Id) {
		p.Addf(at, "id %q; expected letters, digits, - and _, at most 100", e.Id)
	}
	if at, ok := keys["until"]; ok {
		e.Until = until(p, at)
	}
	if (e.Credential == "") == (e.Identity == "") {
		p.Addf(n, "expected one of credential and identity")
	} else if _, err := schemas.ParseKey(e.Credential + e.Identity); err != nil {
		p.Addf(n, "%v", err)
	}
	if e.ApprovedBy != "" && strings.EqualFold(strings.TrimSpace(e.ApprovedBy), strings.TrimSpace(e.RequestedBy)) {
		p.Addf(keys["approved_by"], "%s asks and approves; somebody else has to approve", e.ApprovedBy)
	}
	return e
}

// until is a time, or the end of a day (UTC).
func until(p *strictyaml.Problems, n strictyaml.Node) *timestamppb.Timestamp {
	text := p.Scalar(n)
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return timestamppb.New(at)
	}
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		return timestamppb.New(day.AddDate(0, 0, 1))
	}
	p.Addf(n, "until %q; expected a day such as 2026-12-31 or a time such as 2026-12-31T18:00:00Z", text)
	return nil
}

// record names the exception by what the file says of it: another text is another exception.
func (e *Entry) record(repository string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q %q %d %q %q", e.Credential, e.Identity, e.PolicyId, e.Reason, e.Ticket,
		e.Until.AsTime().UnixNano(), e.RequestedBy, e.ApprovedBy))
	return prefix(repository) + e.Id + "." + hex.EncodeToString(sum[:8])
}

func prefix(repository string) string { return "git." + repository + "." }
