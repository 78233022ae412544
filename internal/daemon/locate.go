package daemon

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// locate turns the decoder's err into a problem: the line it stands in, the
// whole key, what was expected there.
func locate(path, section string, entry *ast.MappingValueNode, typ reflect.Type, err error) error {
	line, first := 0, 0
	if entry != nil {
		first = entry.Key.GetToken().Position.Line
		line = first
	}
	var bad *badDuration
	if errors.As(err, &bad) {
		key := section
		walk(entry, section, func(k string, n ast.Node) {
			if n.GetToken().Value == bad.text && line == first && typeAt(typ, under(section, k)) == reflect.TypeFor[time.Duration]() {
				key, line = k, n.GetToken().Position.Line
			}
		})
		return &problem{path, line, fmt.Errorf("key %q: %w", key, bad)}
	}
	var at yaml.Error
	if !errors.As(err, &at) || at.GetToken() == nil {
		return &problem{path, line, mention(section, err)}
	}
	tok := at.GetToken()
	// A section with its own unmarshaler of bytes counts its lines from one;
	// then the section's own line is the best there is.
	if entry == nil || tok.Position.Line >= first {
		line = tok.Position.Line
	}
	key := keyOf(entry, section, tok)

	var (
		unknown *yaml.UnknownFieldError
		wrong   *yaml.TypeError
		node    *yaml.UnexpectedNodeTypeError
		over    *yaml.OverflowError
	)
	switch {
	case errors.As(err, &unknown):
		parent := strings.TrimSuffix(strings.TrimSuffix(key, tok.Value), ".")
		return &problem{path, line, unknownKey(key, keysAt(typ, under(section, parent)))}
	case errors.As(err, &wrong):
		return &problem{path, line, fmt.Errorf("key %q: got %s; expected %s", key, describe(tok), expected(wrong.DstType))}
	case errors.As(err, &over):
		return &problem{path, line, fmt.Errorf("key %q: %s is out of range; expected %s", key, over.SrcNum, expected(over.DstType))}
	case errors.As(err, &node):
		return &problem{path, line, fmt.Errorf("key %q: got a %s; expected a %s", key, node.Actual.YAMLName(), node.Expected.YAMLName())}
	case section == "":
		return &problem{path, line, fmt.Errorf("can not be read as YAML: %s", at.GetMessage())}
	default:
		return &problem{path, line, fmt.Errorf("key %q: %s", key, at.GetMessage())}
	}
}

// under is the dotted key within its section.
func under(section, key string) string {
	return strings.TrimPrefix(strings.TrimPrefix(key, section), ".")
}

// unknownKey names the keys that are allowed where key was found.
func unknownKey(key string, known []string) error {
	slices.Sort(known)
	known = slices.Compact(known)
	if len(known) == 0 {
		return fmt.Errorf("key %q: unknown key; expected none here", key)
	}
	return fmt.Errorf("key %q: unknown key; expected one of %s", key, strings.Join(known, ", "))
}

// walk calls visit with the dotted key of every scalar and every mapping key
// below entry.
func walk(entry *ast.MappingValueNode, key string, visit func(key string, n ast.Node)) {
	var node func(key string, n ast.Node)
	node = func(key string, n ast.Node) {
		switch n := n.(type) {
		case *ast.MappingNode:
			for _, v := range n.Values {
				node(key, v)
			}
		case *ast.MappingValueNode:
			k := key + "." + n.Key.GetToken().Value
			visit(k, n.Key)
			node(k, n.Value)
		case *ast.SequenceNode:
			for _, v := range n.Values {
				node(key, v)
			}
		case *ast.AnchorNode:
			node(key, n.Value)
		case *ast.TagNode:
			node(key, n.Value)
		case nil:
		default:
			visit(key, n)
		}
	}
	if entry != nil {
		node(key, entry.Value)
	}
}

// keyOf is the dotted key under which tok stands, section itself if unknown.
func keyOf(entry *ast.MappingValueNode, section string, tok *token.Token) string {
	found, same := section, func(o *token.Token) bool {
		return o.Position.Line == tok.Position.Line && o.Position.Column == tok.Position.Column && o.Value == tok.Value
	}
	walk(entry, section, func(key string, n ast.Node) {
		if same(n.GetToken()) {
			found = key
		}
	})
	if found == section && entry != nil && !same(entry.Value.GetToken()) {
		// A mapping or sequence in place of a scalar: its first token is
		// not a node's own. The last key at or before it is the one.
		walk(entry, section, func(key string, n ast.Node) {
			if n.GetToken().Position.Offset <= tok.Position.Offset {
				found = key
			}
		})
	}
	return found
}

// typeAt is the type under the dotted path in typ, nil if there is none.
func typeAt(typ reflect.Type, path string) reflect.Type {
	typ = element(typ)
	if path == "" || typ == nil {
		return typ
	}
	head, rest, _ := strings.Cut(path, ".")
	switch typ.Kind() {
	case reflect.Map: // the key is the file's, not ours
		return typeAt(typ.Elem(), rest)
	case reflect.Struct:
		if field, ok := fieldsOf(reflect.New(typ).Elem()).find(head); ok {
			return typeAt(field.Type(), rest)
		}
	}
	return nil
}

// keysAt are the keys of the struct under the dotted path in typ, nil if it
// is none.
func keysAt(typ reflect.Type, path string) []string {
	typ = typeAt(typ, path)
	if typ == nil || typ.Kind() != reflect.Struct {
		return nil
	}
	return fieldsOf(reflect.New(typ).Elem()).names()
}

func element(typ reflect.Type) reflect.Type {
	for typ != nil && (typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice) {
		typ = typ.Elem()
	}
	return typ
}

func expected(typ reflect.Type) string {
	switch {
	case typ == nil:
		return "another type"
	case typ == reflect.TypeFor[time.Duration]():
		return "a duration such as 90s, 15m or 30d"
	}
	switch typ.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "text"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "a whole number"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number, not negative"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "a mapping"
	case reflect.Pointer:
		return expected(typ.Elem())
	default:
		return "another type"
	}
}

// describe names what stands at tok without repeating long text.
func describe(tok *token.Token) string {
	if len(tok.Value) > 40 {
		return fmt.Sprintf("%.40q…", tok.Value)
	}
	return fmt.Sprintf("%q", tok.Value)
}

func yamlName(n ast.Node) string { return "a " + n.Type().YAMLName() }

// fieldList are a struct's fields by their YAML key, inlined ones flattened.
type fieldList []struct {
	name  string
	value reflect.Value
}

func fieldsOf(v reflect.Value) fieldList {
	var list fieldList
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case options == "inline" && f.Type.Kind() == reflect.Struct:
			list = append(list, fieldsOf(v.Field(i))...)
			continue
		case !f.IsExported(), name == "-":
			continue
		case name == "":
			name = strings.ToLower(f.Name)
		}
		list = append(list, struct {
			name  string
			value reflect.Value
		}{name, v.Field(i)})
	}
	return list
}

func (l fieldList) find(name string) (reflect.Value, bool) {
	for _, f := range l {
		if f.name == name {
			return f.value, true
		}
	}
	return reflect.Value{}, false
}

func (l fieldList) names() []string {
	var names []string
	for _, f := range l {
		names = append(names, f.name)
	}
	return names
}
