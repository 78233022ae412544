package allinone

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/daemon"
)

// Keys are written once in the structs, once in the schema, once in the example: whoever adds one adds three.
func TestSchemaHasTheKeysAndTypesOfTheStructs(t *testing.T) {
	structs, described := map[string]string{}, map[string]string{}
	keysOfType(reflect.TypeFor[Config](), "", structs)
	keysOfSchema(t, document(t), document(t), "", described)
	for _, path := range []string{"listen", "kafka.brokers[]", "enforcer.vault[].reissue.max_ttl", "channels.*.timeout"} {
		if structs[path] == "" {
			t.Fatalf("reflection does not find %s", path)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(structs)) {
		switch got, ok := described[path]; {
		case !ok:
			t.Errorf("%s: the structs have this key, the schema does not", path)
		case got != structs[path] && path != "vault_collector.inventory.hmac_accessor":
			t.Errorf("%s: is a %s in the structs, a %s in the schema", path, structs[path], got)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(described)) {
		if _, ok := structs[path]; !ok {
			t.Errorf("%s: the schema has this key, the structs do not", path)
		}
	}
	var sections []string
	for path := range structs {
		if !strings.ContainsAny(path, ".[") {
			sections = append(sections, path)
		}
	}
	if want := slices.Sorted(slices.Values(daemon.Sections)); !slices.Equal(slices.Sorted(slices.Values(sections)), want) {
		t.Errorf("top-level keys %v, daemon.Sections %v", sections, want)
	}
}

func TestSchemaDescribesEachKeyAndAllowsNoOther(t *testing.T) {
	var visit func(path string, node map[string]any)
	visit = func(path string, node map[string]any) {
		if properties, ok := node["properties"].(map[string]any); ok && node["type"] != nil {
			if node["additionalProperties"] != false {
				t.Errorf("%s: additionalProperties is not false", path)
			}
			for key, value := range properties {
				text, _ := value.(map[string]any)["description"].(string)
				if text == "" {
					t.Errorf("%s.%s: no description", path, key)
				}
				if fixed, ok := value.(map[string]any)["default"]; ok && !strings.Contains(text, "Default "+shown(fixed)) {
					t.Errorf("%s.%s: the description does not name the default %s", path, key, shown(fixed))
				}
			}
		}
		for key, value := range node {
			switch value := value.(type) {
			case map[string]any:
				visit(path+"/"+key, value)
			case []any:
				for i, v := range value {
					if v, ok := v.(map[string]any); ok {
						visit(fmt.Sprintf("%s/%s/%d", path, key, i), v)
					}
				}
			}
		}
	}
	visit("", document(t))
}

// commentedKey is a line of the example with a key that is not set. Explanations have a space after the #.
var commentedKey = regexp.MustCompile(`(?m)^( *)#([a-z-].*)$`)

func TestExampleShowsEveryKeyAndTheDefaultsOfTheSchema(t *testing.T) {
	all := commentedKey.ReplaceAll(read(t, exampleFile), []byte("$1$2"))
	live, shownAt := map[string]any{}, map[string]any{}
	keysOfValue(asJSON(t, read(t, exampleFile)), "", live)
	keysOfValue(asJSON(t, all), "", shownAt)
	described, defaults := map[string]string{}, map[string]any{}
	keysOfSchema(t, document(t), document(t), "", described)
	defaultsOfSchema(t, document(t), document(t), "", defaults)
	if len(defaults) < 40 {
		t.Fatalf("the schema has %d defaults only", len(defaults))
	}
	// The example names channels, clusters and labels itself; so compare the paths with those names as *.
	named := regexp.MustCompile(`^(channels|processor\.clusters|enforcer\.protect\[\]\.labels|enforcer\.budgets\.target|agentusage_collector\.credentials)\.[^.]+`)
	seen := map[string]bool{}
	for path, value := range shownAt {
		general := named.ReplaceAllString(path, "$1.*")
		if strings.HasPrefix(general, sameAsKafka) { // its keys are those of the section kafka, and shown there
			continue
		}
		seen[general] = true
		if _, set := live[path]; set {
			continue
		}
		if want, ok := defaults[general]; ok && !reflect.DeepEqual(value, want) {
			t.Errorf("%s: the example shows %v in a comment, the default is %v", path, value, want)
		}
	}
	for path := range described {
		if !seen[path] && !strings.HasPrefix(path, sameAsKafka) {
			t.Errorf("%s: the example does not show this key", path)
		}
	}
	for path := range seen {
		if _, ok := described[path]; !ok {
			t.Errorf("%s: the example shows a key that is not there", path)
		}
	}
}

const sameAsKafka = "jwtregistry_collector.topic.kafka."

func keysOfType(typ reflect.Type, path string, into map[string]string) {
	switch {
	case typ == reflect.TypeFor[time.Duration]():
		into[path] = "duration"
		return
	case typ.Kind() == reflect.Pointer:
		keysOfType(typ.Elem(), path, into)
		return
	}
	switch typ.Kind() {
	case reflect.Struct:
		if path != "" {
			into[path] = "mapping"
		}
		for f := range typ.Fields() {
			name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
			switch {
			case options == "inline":
				keysOfType(f.Type, path, into)
			case !f.IsExported(), name == "-":
			case name == "":
				keysOfType(f.Type, join(path, strings.ToLower(f.Name)), into)
			default:
				keysOfType(f.Type, join(path, name), into)
			}
		}
	case reflect.Map:
		into[path] = "mapping"
		keysOfType(typ.Elem(), path+".*", into)
	case reflect.Slice:
		into[path] = "list"
		keysOfType(typ.Elem(), path+"[]", into)
	case reflect.String:
		into[path] = "text"
	case reflect.Bool:
		into[path] = "flag"
	case reflect.Int, reflect.Int64:
		into[path] = "number"
	default:
		into[path] = "unknown " + typ.String()
	}
}

// walkSchema calls visit for each key path that the schema describes, with the node that stands there and its type.
// A section that may be a word or a mapping is a mapping.
func walkSchema(t *testing.T, root, node map[string]any, path string, visit func(path, kind string, node map[string]any)) {
	t.Helper()
	outer := node
	if name, ok := node["$ref"].(string); ok {
		if name == "#/$defs/duration" {
			visit(path, "duration", outer)
			return
		}
		node = root["$defs"].(map[string]any)[strings.TrimPrefix(name, "#/$defs/")].(map[string]any)
	}
	if either, ok := node["anyOf"].([]any); ok && node["type"] == nil {
		node = either[len(either)-1].(map[string]any)
	}
	kinds := map[string]string{"object": "mapping", "array": "list", "string": "text", "boolean": "flag", "integer": "number"}
	var kind string
	switch names := node["type"].(type) {
	case string:
		kind = kinds[names]
	case []any: // the other one is null
		kind = kinds[names[0].(string)]
	}
	if path != "" {
		visit(path, kind, outer)
	}
	if properties, ok := node["properties"].(map[string]any); ok {
		for key, value := range properties {
			walkSchema(t, root, value.(map[string]any), join(path, key), visit)
		}
	}
	if others, ok := node["additionalProperties"].(map[string]any); ok {
		walkSchema(t, root, others, path+".*", visit)
	}
	if items, ok := node["items"].(map[string]any); ok {
		walkSchema(t, root, items, path+"[]", visit)
	}
}

func keysOfSchema(t *testing.T, root, node map[string]any, path string, into map[string]string) {
	walkSchema(t, root, node, path, func(path, kind string, _ map[string]any) { into[path] = kind })
}

func defaultsOfSchema(t *testing.T, root, node map[string]any, path string, into map[string]any) {
	walkSchema(t, root, node, path, func(path, _ string, node map[string]any) {
		if value, ok := node["default"]; ok {
			into[path] = value
		}
	})
}

func keysOfValue(value any, path string, into map[string]any) {
	if path != "" {
		into[path] = value
	}
	switch value := value.(type) {
	case map[string]any:
		for key, v := range value {
			keysOfValue(v, join(path, key), into)
		}
	case []any:
		for _, v := range value {
			keysOfValue(v, path+"[]", into)
		}
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// shown is a default as descriptions write it.
func shown(value any) string {
	switch value := value.(type) {
	case float64:
		return strconv.FormatFloat(value, 'f', -1, 64)
	default:
		return fmt.Sprint(value)
	}
}
