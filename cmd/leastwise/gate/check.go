package gate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// ErrManifests is wrapped by errors of files that can not be read or judged: the caller mends the files.
var ErrManifests = errors.New("manifests")

// Report is the answer for all files.
type Report struct {
	// Allowed: all workloads are.
	Allowed bool `json:"allowed"`
	// Fail is what the configuration says of a catalog that can not be read: open or closed.
	Fail string `json:"fail"`
	// Catalog that was asked.
	Catalog CatalogStatus `json:"catalog"`
	// Workloads in the order of files.
	Workloads []*Verdict `json:"workloads"`
	// Issuances are resources by which credentials will be issued.
	Issuances []*Ruling `json:"issuances,omitempty"`
	// Others counts documents that hold no identity.
	Others int `json:"others"`
	// Notes on what no manifest shows.
	Notes []string `json:"notes"`
}

// CatalogStatus says which catalog answered.
type CatalogStatus struct {
	Path     string `json:"path"`
	Revision string `json:"revision,omitempty"`
	Error    string `json:"error,omitempty"`
}

// unseen is what no manifest shows; whoever reads a report has to know.
var unseen = []string{
	"EKS Pod Identity associations are not visible in manifests: AWS roles given by them are not judged.",
	"Roles of the nodes are not visible in manifests: what a pod gets from its node's metadata server is not judged.",
}

// Check judges all workloads of the files; a directory is read with everything below it, "-" is stdin. Its error wraps
// ErrManifests and has one line for each problem, with file and line; then nothing is judged.
func (g *Gate) Check(ctx context.Context, paths []string, stdin io.Reader) (*Report, error) {
	r := newReader(&g.cfg, or(g.cfg.Namespace, "default"), true)
	for _, path := range paths {
		r.path(path, stdin)
	}
	if len(r.errs) > 0 {
		return nil, fmt.Errorf("%w: %w", ErrManifests, errors.Join(r.errs...))
	}
	report := &Report{Allowed: true, Fail: or(g.cfg.Fail, FailClosed), Workloads: []*Verdict{}, Others: r.others, Notes: unseen,
		Catalog: CatalogStatus{Path: g.catalog.Path}}
	if c := g.catalog.InForce(); c != nil {
		report.Catalog.Revision = c.Revision()
	}
	if err := g.catalog.Problem(); err != nil {
		report.Catalog.Error = err.Error()
	}
	for _, w := range r.finish() {
		v := g.Judge(ctx, w)
		report.Workloads = append(report.Workloads, v)
		report.Allowed = report.Allowed && v.Allowed
	}
	for _, i := range r.issuances {
		ruling := g.rule(ctx, i, r.stored)
		report.Issuances = append(report.Issuances, ruling)
		report.Allowed = report.Allowed && ruling.Allowed
	}
	return report, nil
}

func (r *reader) path(path string, stdin io.Reader) {
	if path == "-" {
		data, err := io.ReadAll(io.LimitReader(stdin, maxManifest+1))
		r.read("stdin", data, err, true)
		return
	}
	info, err := os.Stat(path)
	if err != nil {
		r.errs = append(r.errs, err)
		return
	}
	if !info.IsDir() {
		data, err := readFile(path)
		r.read(path, data, err, true)
		return
	}
	found := false
	err = filepath.WalkDir(path, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if strings.HasPrefix(e.Name(), ".") && name != path {
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if e.IsDir() || !slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(name)) {
			return nil
		}
		found = true
		data, err := readFile(name)
		r.read(name, data, err, false)
		return nil
	})
	switch {
	case err != nil:
		r.errs = append(r.errs, err)
	case !found:
		r.errs = append(r.errs, &ManifestError{File: path, Text: "no .yaml, .yml or .json file below it"})
	}
}

func readFile(name string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, maxManifest+1))
}

// read takes one file. A file that was named has to hold objects; among those found in a directory there may be others,
// such as a chart's values.
func (r *reader) read(name string, data []byte, err error, named bool) {
	if err != nil {
		r.errs = append(r.errs, err)
		return
	}
	if bytes.Contains(data, []byte("{{")) {
		sound := len(r.errs)
		defer func() {
			for _, err := range r.errs[sound:] {
				if bad, ok := errors.AsType[*ManifestError](err); ok {
					bad.Text += " (a template? Render it first, as with `helm template`)"
				}
			}
		}()
	}
	nodes, err := documents(name, data)
	if err != nil {
		r.errs = append(r.errs, err)
		return
	}
	if named && len(nodes) == 0 {
		r.errs = append(r.errs, &ManifestError{File: name, Line: 1, Text: "empty; expected a manifest"})
	}
	for _, n := range nodes {
		if !named && value(n, "kind") == nil && value(n, "apiVersion") == nil && !isPlan(n) {
			r.others++
			continue
		}
		r.document(name, n)
	}
}
