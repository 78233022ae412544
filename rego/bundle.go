package rego

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
)

//go:embed bundle
var embedded embed.FS

// bundleFiles gives the bundle's files: those embedded, or those of a directory that overrides them whole.
func bundleFiles(dir string) (fs.FS, error) {
	if dir == "" {
		return fs.Sub(embedded, "bundle")
	}
	if info, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("bundle %s: is a file; expected a directory of .rego files", dir)
	}
	return os.DirFS(dir), nil
}

// WriteBundle writes the embedded bundle into a directory, as a start for an override or for an OPA server.
func WriteBundle(dir string) error {
	sub, err := fs.Sub(embedded, "bundle")
	if err != nil {
		return fmt.Errorf("embedded bundle: %w", err)
	}
	if err := os.CopyFS(dir, sub); err != nil {
		return fmt.Errorf("write bundle: %w", err)
	}
	return nil
}

// file is one file of a snapshot: its name as the user knows it, and its content.
type file struct {
	name     string
	data     []byte
	modified time.Time // when it was last written, known after it was read
}

// readTree reads all files below root whose names end in one of the suffixes, in the order of their names. Hidden entries
// are left out (editors and Kubernetes put theirs there), and so is the folder tests, whose content is no policy.
func readTree(root fs.FS, prefix string, suffixes ...string) ([]file, error) {
	var out []file
	var walk func(dir string) error
	walk = func(dir string) error {
		entries, err := fs.ReadDir(root, dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			name := path.Join(dir, e.Name())
			if strings.HasPrefix(e.Name(), ".") || e.Name() == "tests" {
				continue
			}
			info, err := fs.Stat(root, name) // follows links, as Kubernetes mounts need
			if errors.Is(err, fs.ErrNotExist) {
				continue // gone between the two calls
			}
			if err != nil {
				return err
			}
			if info.IsDir() {
				if err := walk(name); err != nil {
					return err
				}
				continue
			}
			for _, suffix := range suffixes {
				if strings.HasSuffix(name, suffix) {
					data, err := fs.ReadFile(root, name)
					if err != nil {
						return err
					}
					if info, err = fs.Stat(root, name); err != nil {
						return err
					}
					out = append(out, file{path.Join(prefix, name), data, info.ModTime()})
					break
				}
			}
		}
		return nil
	}
	return out, walk(".")
}

func isTest(name string) bool { return strings.HasSuffix(name, "_test.rego") }

// parseModules parses Rego; tests are included only if asked for.
func parseModules(files []file, tests bool) (map[string]*ast.Module, error) {
	modules := map[string]*ast.Module{}
	var problems []error
	for _, f := range files {
		if !strings.HasSuffix(f.name, ".rego") || isTest(f.name) && !tests {
			continue
		}
		module, err := ast.ParseModuleWithOpts(f.name, string(f.data), ast.ParserOptions{
			RegoVersion: ast.RegoV1, ProcessAnnotation: true, Capabilities: deterministic(),
		})
		if err != nil {
			problems = append(problems, regoErrors(f.name, err)...)
			continue
		}
		modules[f.name] = module
	}
	return modules, errors.Join(problems...)
}

// deterministic are OPA's capabilities without the builtins that look at the clock, the network, the environment or
// chance: the same history must give the same decisions, and a policy must not be a way out of the network.
func deterministic() *ast.Capabilities {
	all := ast.CapabilitiesForThisVersion()
	kept := make([]*ast.Builtin, 0, len(all.Builtins))
	for _, b := range all.Builtins {
		if !b.Nondeterministic && b.Name != ast.OPARuntime.Name {
			kept = append(kept, b)
		}
	}
	all.Builtins = kept
	all.AllowNet = []string{}
	return all
}

// regoErrors writes OPA's errors as file:line: text.
func regoErrors(name string, err error) []error {
	var list ast.Errors
	if !errors.As(err, &list) {
		return []error{fmt.Errorf("%s: %w", name, err)}
	}
	out := make([]error, 0, len(list))
	for _, e := range list {
		if e.Location == nil {
			out = append(out, fmt.Errorf("%s: %s", name, e.Message))
			continue
		}
		where := e.Location.File
		if where == "" {
			where = name
		}
		out = append(out, fmt.Errorf("%s:%d: %s: %s", where, e.Location.Row, e.Code, e.Message))
	}
	return out
}

// schemaSet reads schemas/*.json of a bundle: schemas/policies.json is schema.policies in METADATA.
func schemaSet(files []file) (*ast.SchemaSet, error) {
	set := ast.NewSchemaSet()
	for _, f := range files {
		dir, base := path.Split(f.name)
		if path.Base(dir) != "schemas" || !strings.HasSuffix(base, ".json") {
			continue
		}
		var schema any
		if err := json.Unmarshal(f.data, &schema); err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		set.Put(ast.SchemaRootRef.Append(ast.StringTerm(strings.TrimSuffix(base, ".json"))), schema)
	}
	return set, nil
}

// newCompiler checks as strictly as OPA can, with the types of the schemas.
func newCompiler(schemas *ast.SchemaSet) *ast.Compiler {
	return ast.NewCompiler().WithStrict(true).WithCapabilities(deterministic()).
		WithSchemas(schemas).WithUseTypeCheckAnnotations(true).WithDefaultRegoVersion(ast.RegoV1)
}

func compile(modules map[string]*ast.Module, schemas *ast.SchemaSet) (*ast.Compiler, error) {
	compiler := newCompiler(schemas)
	if compiler.Compile(modules); compiler.Failed() {
		return nil, errors.Join(regoErrors("bundle", compiler.Errors)...)
	}
	return compiler, nil
}
