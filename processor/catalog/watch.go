package catalog

import (
	"context"

	"github.com/leastwise/leastwise/rego/filewatch"
)

// Watch reads the catalog again when its files change, until ctx ends; it blocks. changed is called with each new
// catalog, never with one whose content is that of current. A bad file leaves the last good catalog in force and calls
// failed, once for each state of the files; failed(nil) tells that they are good again.
func Watch(ctx context.Context, path string, current *Catalog, changed func(*Catalog), failed func(error)) error {
	inForce, refused := current.Revision(), ""
	return filewatch.Watch(ctx, []string{path}, func() {
		files, err := read(path)
		state := ""
		if err == nil {
			state = hash(files)
		} else {
			state = err.Error()
		}
		if state == refused {
			return
		}
		if state == inForce {
			if refused != "" {
				refused = ""
				failed(nil)
			}
			return
		}
		var next *Catalog
		if err == nil {
			next, err = parse(files)
		}
		if err != nil {
			refused = state
			failed(err)
			return
		}
		if refused != "" {
			refused = ""
			failed(nil)
		}
		inForce = state
		changed(next)
	})
}
