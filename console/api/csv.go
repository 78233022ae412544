package api

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"reflect"
	"strings"

	"github.com/leastwise/leastwise/console/contract"
)

// tablePaths are lists that also come as tables, and what stands in them: a list of nothing has its columns, too.
var tablePaths = map[string]reflect.Type{
	"/v1/credentials": reflect.TypeFor[contract.Credential](), "/v1/credential/events": reflect.TypeFor[contract.Event](),
	"/v1/identities": reflect.TypeFor[contract.IdentitySummary](), "/v1/duties": reflect.TypeFor[contract.Duty](),
	"/v1/exceptions": reflect.TypeFor[contract.Exception](), "/v1/policies": reflect.TypeFor[contract.Policy](),
	"/v1/sources": reflect.TypeFor[contract.Source](), "/v1/dead-letters": reflect.TypeFor[contract.DeadLetter](),
	"/v1/audit": reflect.TypeFor[contract.AuditEntry](),
}

// columnsOf a type are its members in JSON, in their order.
func columnsOf(t reflect.Type) (names []string) {
	for i := range t.NumField() {
		field := t.Field(i)
		if field.Anonymous {
			names = append(names, columnsOf(field.Type)...)
		} else if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); name != "" && name != "-" {
			names = append(names, name)
		}
	}
	return names
}

// maxPages bounds a table: with the longest pages a hundred thousand rows.
const maxPages = 200

// tables answers lists as CSV where that is asked for, all pages in one.
func tables(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		wanted := strings.Contains(r.Header.Get("Accept"), "text/csv") || query.Get("format") == "csv"
		of := tablePaths[r.URL.Path]
		if !wanted || r.Method != http.MethodGet || of == nil {
			next.ServeHTTP(w, r)
			return
		}
		query.Del("format")
		if r.URL.Path != "/v1/duties" && r.URL.Path != "/v1/policies" && r.URL.Path != "/v1/sources" {
			query.Set("limit", "500")
		}
		out := csv.NewWriter(w)
		columns := columnsOf(of)
		for n := range maxPages {
			inner := r.Clone(r.Context())
			inner.Header.Set("Accept", "application/json")
			inner.URL.RawQuery = query.Encode()
			page := &kept{head: http.Header{}, status: http.StatusOK}
			next.ServeHTTP(page, inner)
			if page.status != http.StatusOK {
				if n == 0 {
					for name, values := range page.head {
						w.Header()[name] = values
					}
					w.WriteHeader(page.status)
					_, _ = w.Write(page.body.Bytes())
				}
				return
			}
			var list struct {
				Items []json.RawMessage `json:"items"`
				Next  *string           `json:"next"`
			}
			if err := json.Unmarshal(page.body.Bytes(), &list); err != nil {
				return
			}
			if n == 0 {
				w.Header().Set("Content-Type", "text/csv; charset=utf-8")
				w.Header().Set("Content-Disposition", `attachment; filename="`+path.Base(r.URL.Path)+`.csv"`)
				_ = out.Write(columns) // Flush tells of errors
			}
			for _, item := range list.Items {
				cells := row(item)
				line := make([]string, len(columns))
				for i, name := range columns {
					line[i] = cells[name]
				}
				_ = out.Write(line)
			}
			out.Flush()
			if out.Error() != nil || list.Next == nil {
				return
			}
			query.Set("cursor", *list.Next)
		}
	})
}

// kept is an answer that goes no further.
type kept struct {
	head   http.Header
	status int
	body   bytes.Buffer
}

func (k *kept) Header() http.Header         { return k.head }
func (k *kept) WriteHeader(status int)      { k.status = status }
func (k *kept) Write(b []byte) (int, error) { return k.body.Write(b) }

// row gives an object's members as cells.
func row(item json.RawMessage) map[string]string {
	cells := map[string]string{}
	dec := json.NewDecoder(bytes.NewReader(item))
	dec.UseNumber()
	if _, err := dec.Token(); err != nil {
		return cells
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			break
		}
		var value any
		if dec.Decode(&value) != nil {
			break
		}
		cells[fmt.Sprint(name)] = cell(value)
	}
	return cells
}

// cell is a value as text. Text that a spreadsheet would take for a formula gets an apostrophe before it; numbers are no text.
func cell(value any) string {
	switch value := value.(type) {
	case nil:
		return ""
	case json.Number:
		return value.String()
	case bool:
		return fmt.Sprint(value)
	case string:
		return Safe(value)
	}
	return Safe(words(value))
}

// words of a list or an object: what a person would call it.
func words(value any) string {
	switch value := value.(type) {
	case string:
		return value
	case []any:
		var parts []string
		for _, v := range value {
			parts = append(parts, words(v))
		}
		return strings.Join(parts, "; ")
	case map[string]any:
		for _, name := range []string{"label", "policy", "command", "name", "kind", "detail"} {
			if text, ok := value[name].(string); ok && text != "" {
				return text
			}
		}
		raw, err := json.Marshal(value)
		if err != nil || len(value) == 0 {
			return ""
		}
		return string(raw)
	case nil:
		return ""
	}
	return fmt.Sprint(value)
}

// Safe makes of a text one that no spreadsheet takes for a formula.
func Safe(text string) string {
	if text != "" && strings.ContainsRune("=+-@\t\r\n＝＋－＠", []rune(text)[0]) {
		return "'" + text
	}
	return text
}
