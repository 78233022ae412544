// Package demo holds what the demo's site has written down: the policies, scaled so that a day passes in Day, the catalog
// of its agents and owners, and manifests of two agents for the gate. The agents themselves are those of package fleet.
package demo

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/leastwise/leastwise/simulator/fleet"
)

// Day is what stands for a day in the policies' durations and in the agents' lives.
const Day = fleet.DefaultDay

// Paths inside FS, and inside the directory that Write fills.
const (
	PoliciesDir = "policies"
	CatalogFile = "catalog.yaml"
	// Manifests of Kubernetes: one of an agent as it should be, one that is mislabelled on purpose.
	ManifestFile            = "manifests/steady.yaml"
	MislabelledManifestFile = "manifests/mislabelled.yaml"
)

// The policies' ids.
const (
	PolicyOverBroad = "over-broad-agent-token"
	PolicyLongLived = "long-lived-agent-token"
	PolicyProbing   = "probing-agent"
	PolicyLongKey   = "long-lived-access-key"
)

// The channels that policies and owners name, which the enforcer's configuration must have.
const (
	SecurityChannel = "security_team"
	OwnersChannel   = "owners"
)

// FS holds the files, for reading without a directory.
//
//go:embed policies/*.yaml manifests/*.yaml catalog.yaml
var FS embed.FS

// Write puts the files into a directory, for components that read and watch paths. What is there is overwritten.
func Write(dir string) error {
	err := fs.WalkDir(FS, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := filepath.Join(dir, filepath.FromSlash(path))
		if d.IsDir() {
			return os.MkdirAll(to, 0o750)
		}
		content, err := FS.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(to, content, 0o600)
	})
	if err != nil {
		return fmt.Errorf("write the demo's policies, catalog and manifests to %s: %w", dir, err)
	}
	return nil
}
