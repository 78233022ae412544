package gcp

import (
	"strings"

	"github.com/leastwise/leastwise/processor/scope/level"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// On tells whether bindings grant a permission on a resource, by its full name
// (https://cloud.google.com/iam/docs/full-resource-names); "" asks for any resource at all. What a role on a folder or an
// organization reaches is not known here, and so only perhaps.
func On(bindings []Binding, denies []*pb.Rule, name, resource string) level.Verdict {
	out := level.No
	for _, b := range bindings {
		if !b.has(name) || denied(denies, name, b.Resource) {
			continue
		}
		v := level.Yes
		if resource != "" {
			v = covers(b.Resource, resource)
		}
		if b.Conditional {
			v = min(v, level.Perhaps)
		}
		out = max(out, v)
	}
	return out
}

// Places are the resources that bindings give a permission on.
func Places(bindings []Binding, name string) (out []string) {
	for _, b := range bindings {
		if b.has(name) {
			out = append(out, b.Resource)
		}
	}
	return out
}

// covers tells whether a role bound on one resource holds for another.
func covers(bound, resource string) level.Verdict {
	if bound == resource || bound == "" || bound == "*" {
		return level.Yes
	}
	_, path, _ := strings.Cut(strings.TrimPrefix(bound, "//"), "/")
	if !strings.HasPrefix(bound, "//") {
		path = bound
	}
	kind, id, _ := strings.Cut(path, "/")
	switch kind {
	case "folders", "organizations":
		return level.Perhaps
	case "projects":
		if strings.Contains(id, "/") {
			if strings.HasPrefix(resource, bound+"/") {
				return level.Yes
			}
			return level.No
		}
		switch of := Project(resource); of {
		case id:
			return level.Yes
		case "", "_", "-": // the name does not tell
			return level.Perhaps
		}
	}
	if strings.HasPrefix(resource, bound+"/") {
		return level.Yes
	}
	return level.No
}

// Project of a full resource name; "" if the name does not tell, as that of a bucket.
func Project(resource string) string {
	_, after, ok := strings.Cut(resource, "projects/")
	if !ok {
		return ""
	}
	id, _, _ := strings.Cut(after, "/")
	return id
}
