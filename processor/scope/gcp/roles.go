package gcp

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
)

//go:embed roles.json.gz
var packed []byte

// roles is the list of predefined roles, read when it is first asked for.
var roles = sync.OnceValue(func() *catalogue {
	c, err := read(packed)
	if err != nil {
		panic(fmt.Errorf("the embedded list of GCP roles: %w", err)) // the binary is broken
	}
	return c
})

// catalogue is never changed.
type catalogue struct {
	permissions []string // sorted
	roles       map[string][]uint16
}

func read(packed []byte) (*catalogue, error) {
	unzipped, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("unzip: %w", err)
	}
	var list struct {
		Permissions []string
		Roles       map[string][]int
	}
	if err := json.NewDecoder(unzipped).Decode(&list); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	c := &catalogue{permissions: slices.Sorted(slices.Values(list.Permissions)), roles: make(map[string][]uint16, len(list.Roles))}
	place := make(map[string]uint16, len(c.permissions))
	for i, permission := range c.permissions {
		place[permission] = uint16(i)
	}
	for role, indexes := range list.Roles {
		own := make([]uint16, len(indexes))
		for i, at := range indexes {
			if at < 0 || at >= len(list.Permissions) {
				return nil, fmt.Errorf("%s: permission %d of %d", role, at, len(list.Permissions))
			}
			own[i] = place[list.Permissions[at]]
		}
		slices.Sort(own)
		c.roles[role] = own
	}
	return c, nil
}

// Predefined gives the permissions of a predefined role, sorted; false if the list does not have it.
func Predefined(role string) ([]string, bool) {
	own, ok := roles().roles[role]
	if !ok {
		return nil, false
	}
	out := make([]string, len(own))
	for i, at := range own {
		out[i] = roles().permissions[at]
	}
	return out, true
}

// known gives the list's own copy of a permission's name.
func known(permission string) (string, bool) {
	at, ok := slices.BinarySearch(roles().permissions, permission)
	if !ok {
		return permission, false
	}
	return roles().permissions[at], true
}
