package processor

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/processor/catalog"
	"github.com/leastwise/leastwise/rego"
)

// PoliciesConfig says where policies are.
type PoliciesConfig struct {
	// Dir holds YAML policies and free-form Rego (default: none, so nothing is ever violated).
	Dir string `yaml:"dir"`
	// Bundle is a directory that replaces the embedded Rego bundle (default: the embedded one).
	Bundle string `yaml:"bundle"`
}

// CatalogConfig says where the catalog of agents and owners is.
type CatalogConfig struct {
	// Path of a YAML file or of a directory of them (default: none, so no owner is known).
	Path string `yaml:"path"`
}

// InForce holds the policies and the catalog in force, and replaces them when their files change. A bad file leaves
// the last good one in force, and health and log say so.
type InForce struct {
	env     daemon.Env
	engine  *rego.Engine
	path    string
	catalog atomic.Pointer[catalog.Catalog]
}

// NewInForce reads both. It fails, naming file and line, if either is bad: at the start there is no last good one.
func NewInForce(ctx context.Context, env daemon.Env, policies PoliciesConfig, cat CatalogConfig) (*InForce, error) {
	engine, err := rego.New(ctx, rego.Options{PolicyDir: policies.Dir, BundleDir: policies.Bundle, Log: env.Log, Now: env.Now})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", daemon.ErrConfig, err)
	}
	f := &InForce{env: env, engine: engine, path: cat.Path}
	if cat.Path != "" {
		loaded, err := catalog.Load(cat.Path)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", daemon.ErrConfig, err)
		}
		f.catalog.Store(loaded)
	}
	return f, nil
}

// Rules in force.
func (f *InForce) Rules() *rego.Set { return f.engine.Current() }

// Catalog in force; nil if there is none.
func (f *InForce) Catalog() *catalog.Catalog { return f.catalog.Load() }

// Run watches the files until ctx ends.
func (f *InForce) Run(ctx context.Context) error {
	told := func(what string) func(error) {
		return func(err error) {
			f.env.Health.Set(what, err)
			if err != nil {
				f.env.Log.Error(what+" refused; the last good one stays in force", "error", err)
			}
		}
	}
	return daemon.Together(ctx,
		func(ctx context.Context) error {
			return f.engine.Watch(ctx, func(set *rego.Set) {
				f.env.Log.Info("policies in force", "revision", set.Revision(), "policies", len(set.Policies()))
			}, told("policies"))
		},
		func(ctx context.Context) error {
			if f.path == "" {
				<-ctx.Done()
				return nil
			}
			return catalog.Watch(ctx, f.path, f.Catalog(), func(next *catalog.Catalog) {
				f.catalog.Store(next)
				f.env.Log.Info("catalog in force", "agents", len(next.Agents()))
			}, told("catalog"))
		},
	)
}
