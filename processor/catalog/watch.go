package catalog

import (
	"context"
	"slices"

	"github.com/leastwise/leastwise/rego/filewatch"
)

// Watch reads the catalog again when its files change, until ctx ends; it blocks. changed is called with each new
// catalog, never with one whose content is that of current. A bad file leaves the last good catalog in force and calls
// failed, once for each state of the files; failed(nil) tells that they are good again.
func Watch(ctx context.Context, path string, current *Catalog, changed func(*Catalog), failed func(error)) error {
	inForce, refused := current.Revision(), ""
	refuse := func(state string, err error) bool {
		if state != refused {
			refused = state
			failed(err)
		}
		return true
	}
	return filewatch.Watch(ctx, []string{path}, func() bool {
		files, err := read(path)
		if err != nil {
			return refuse(err.Error(), err)
		}
		if slices.ContainsFunc(files, func(f file) bool { return !filewatch.Resting(f.modified) }) {
			return false
		}
		state := hash(files)
		if state == refused {
			return true
		}
		next := current
		if state != inForce {
			if next, err = parse(files); err != nil {
				return refuse(state, err)
			}
		}
		if refused != "" {
			refused = ""
			failed(nil)
		}
		if state != inForce {
			inForce = state
			changed(next)
		}
		return true
	})
}
