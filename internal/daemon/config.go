package daemon

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// ErrConfig is wrapped by every error that a person mends in the
// configuration file. Main exits with 2 for it.
var ErrConfig = errors.New("configuration")

// Sections are the top-level keys of the one configuration file that all
// components read. A component skips those that are not its own; any other
// key is an error, so a misspelt section does not pass as somebody else's.
var Sections = []string{
	"data_dir", "log", "listen", "kafka", "clickhouse", "vault_collector",
	"cloudtrail_collector", "gcpaudit_collector", "certlog_collector", "spire_collector", "jwtregistry_collector", "agentusage_collector",
	"processor", "policies", "catalog", "enforcer", "channels", "gate", "console", "broker", "exceptions",
}

// Common are the top-level keys that every component reads. Embed it with
// `yaml:",inline"`.
type Common struct {
	// DataDir is where the process keeps checkpoints and, in the all-in-one
	// process, the embedded engines' data. The component makes it.
	DataDir string `yaml:"data_dir"`
	// Log sets level and format; --log-level and --log-format win over it.
	Log LogConfig `yaml:"log"`
	// Listen is host:port of /metrics, /healthz and /readyz, or "none".
	// --listen wins over it. Default DefaultListen.
	Listen string `yaml:"listen"`
}

// LogConfig is the `log` section.
type LogConfig struct {
	Level  string `yaml:"level"`  // debug, info (default), warn, error
	Format string `yaml:"format"` // json (default), text
}

// validator is what a section, or the whole struct, may implement to refuse
// values that have the right type and are still wrong.
type validator interface{ Validate() error }

// problem is an error at a place in the file. It prints as FILE:LINE: text.
type problem struct {
	file string
	line int // 0: about the file as a whole
	err  error
}

func (p *problem) Error() string {
	if p.line == 0 {
		return p.file + ": " + p.err.Error()
	}
	return p.file + ":" + strconv.Itoa(p.line) + ": " + p.err.Error()
}

func (p *problem) Unwrap() []error { return []error{ErrConfig, p.err} }

// Load reads the YAML file at path into the struct that into points to.
//
// It is strict: an unknown key, a key given twice or a value of the wrong type
// is an error that names file, line, key and what was expected. Top-level keys
// that belong to other components (Sections) are skipped. Fields keep the
// value they had where the file says nothing, so defaults may be set before.
// Durations are Go's (`1h30m`, `500ms`) or whole days (`30d`).
//
// Afterwards Validate is called on each field that has it, and on the struct.
// A YAML anchor can be used only inside the top-level section that defines it.
func Load(path string, into any) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return &problem{file: path, err: fmt.Errorf("read: %w", errors.Unwrap(err))}
	}
	target := reflect.ValueOf(into)
	if target.Kind() != reflect.Pointer || target.Elem().Kind() != reflect.Struct {
		return fmt.Errorf("load %s: target is %T, want a pointer to a struct", path, into)
	}
	entries, err := topLevel(path, raw)
	if err != nil {
		return err
	}
	fields := fieldsOf(target.Elem())
	lines := map[string]int{}
	for _, entry := range entries {
		key := entry.Key.GetToken()
		name := key.Value
		lines[name] = key.Position.Line
		field, ours := fields.find(name)
		if !ours {
			if slices.Contains(Sections, name) {
				continue
			}
			return &problem{path, key.Position.Line, unknownKey(name, append(fields.names(), Sections...))}
		}
		if err := decodeSection(path, name, entry, field); err != nil {
			return err
		}
	}
	return validate(path, target, fields, lines)
}

// topLevel parses raw and returns the entries of its one mapping. An empty
// file has none.
func topLevel(path string, raw []byte) ([]*ast.MappingValueNode, error) {
	file, err := parser.ParseBytes(raw, 0)
	if err != nil {
		return nil, locate(path, "", nil, nil, err)
	}
	var docs []ast.Node
	for _, d := range file.Docs {
		if d.Body != nil && d.Body.Type() != ast.CommentType {
			docs = append(docs, d.Body)
		}
	}
	switch {
	case len(docs) == 0:
		return nil, nil
	case len(docs) > 1:
		return nil, &problem{path, docs[1].GetToken().Position.Line, errors.New("a second YAML document begins; expected one")}
	}
	switch body := docs[0].(type) {
	case *ast.NullNode:
		return nil, nil
	case *ast.MappingNode:
		return body.Values, nil
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{body}, nil
	default:
		return nil, &problem{path, body.GetToken().Position.Line, fmt.Errorf("got %s; expected a mapping with keys such as %s",
			yamlName(body), strings.Join(Sections[:4], ", "))}
	}
}

func decodeSection(path, name string, entry *ast.MappingValueNode, field reflect.Value) error {
	if _, null := entry.Value.(*ast.NullNode); null {
		return nil // `kafka:` with everything under it commented out
	}
	if field.Kind() == reflect.Pointer {
		// The decoder leaves a nil pointer nil when it is the outermost value.
		if field.IsNil() {
			field.Set(reflect.New(field.Type().Elem()))
		}
		field = field.Elem()
	}
	err := yaml.NodeToValue(entry.Value, field.Addr().Interface(), yaml.Strict(),
		yaml.CustomUnmarshaler(func(d *time.Duration, raw []byte) error {
			var err error
			*d, err = parseDuration(strings.Trim(strings.TrimSpace(string(raw)), `"'`))
			return err
		}))
	if err != nil {
		return locate(path, name, entry, field.Type(), err)
	}
	return nil
}

func validate(path string, target reflect.Value, fields fieldList, lines map[string]int) error {
	for _, f := range fields {
		if v, ok := asValidator(f.value); ok {
			if err := v.Validate(); err != nil {
				return &problem{path, lines[f.name], mention(f.name, err)}
			}
		}
	}
	if v, ok := target.Interface().(validator); ok {
		if err := v.Validate(); err != nil {
			return &problem{file: path, err: err}
		}
	}
	return nil
}

func asValidator(v reflect.Value) (validator, bool) {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil, false
		}
		got, ok := v.Interface().(validator)
		return got, ok
	}
	got, ok := v.Addr().Interface().(validator)
	return got, ok
}

// mention puts the section's name before err's text unless it is there.
func mention(section string, err error) error {
	if strings.HasPrefix(err.Error(), section) {
		return err
	}
	return fmt.Errorf("%s: %w", section, err)
}

// badDuration is a value that is no duration. The decoder does not tell a
// custom unmarshaler where it stands; locate finds it again by its text.
type badDuration struct{ text string }

func (b *badDuration) Error() string {
	return fmt.Sprintf("%q is no duration; expected one such as 500ms, 90s, 15m, 1h or 30d", b.text)
}

func parseDuration(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return 0, &badDuration{text}
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, &badDuration{text}
	}
	return d, nil
}
