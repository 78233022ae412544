package grafana

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

// What becomes of a panel's query on its way to ClickHouse, in three steps:
//
//  1. $__conditionalAll, in the browser: applyConditionalAll and getMacroArgs in grafana/clickhouse-datasource,
//     src/data/CHDatasource.ts.
//  2. variables, in the browser: formatRegistry in grafana/scenes, packages/scenes/src/variables/interpolation.
//  3. macros, in the plugin's backend: grafana/clickhouse-datasource, pkg/macros/macros.go.
type view struct {
	from, to time.Time
	interval time.Duration
	vars     map[string]string // as chosen; all means All
}

const all = "$__all"

func (v view) expand(sql string) (string, error) {
	sql, err := v.conditionalAll(sql)
	if err != nil {
		return "", err
	}
	if sql, err = v.variables(sql); err != nil {
		return "", err
	}
	return v.macros(sql)
}

var named = regexp.MustCompile(`\$\{(\w+)\}|\$(\w+)`)

func (v view) conditionalAll(sql string) (string, error) {
	const macro = "$__conditionalAll("
	for {
		at := strings.LastIndex(sql, macro)
		if at < 0 {
			return sql, nil
		}
		args, length := arguments(sql[at+len(macro)-1:])
		if len(args) != 2 {
			return "", fmt.Errorf("$__conditionalAll with %d arguments: %.80s", len(args), sql[at:])
		}
		phrase := args[0]
		if m := named.FindStringSubmatch(strings.TrimSpace(args[1])); m != nil {
			value, known := v.vars[m[1]+m[2]]
			if !known {
				return "", fmt.Errorf("$__conditionalAll of a variable that is none: %s", m[0])
			}
			if value == "" || value == all {
				phrase = "1=1"
			}
		}
		sql = sql[:at] + phrase + sql[at+len(macro)-1+length:]
	}
}

// arguments splits what stands between the bracket that text begins with and its counterpart. As in the plugin, quotes do
// not matter.
func arguments(text string) (args []string, length int) {
	depth, begin := 0, 1
	for i, c := range text {
		switch {
		case c == '(':
			depth++
		case c == ')':
			depth--
			if depth == 0 {
				return append(args, text[begin:i]), i + 1
			}
		case c == ',' && depth == 1:
			args = append(args, text[begin:i])
			begin = i + 1
		}
	}
	return nil, 0
}

var variable = regexp.MustCompile(`\$\{(\w+)(?::(\w+))?\}|\$(\w+)`)

func (v view) variables(sql string) (string, error) {
	var failed error
	out := variable.ReplaceAllStringFunc(sql, func(match string) string {
		m := variable.FindStringSubmatch(match)
		name, format := m[1]+m[3], m[2]
		if strings.HasPrefix(name, "__") { // the backend's
			return match
		}
		value, known := v.vars[name]
		if !known {
			failed = fmt.Errorf("no variable of the name %s", name)
		}
		if format != "percentencode" {
			failed = fmt.Errorf("%s: only :percentencode keeps hostile text out of SQL", match)
		}
		return percentEncode(value)
	})
	return out, failed
}

// percentEncode is encodeURIComponentStrict: encodeURIComponent, and !'()* too.
func percentEncode(value string) string {
	return strings.ReplaceAll(url.QueryEscape(value), "+", "%20")
}

var macro = regexp.MustCompile(`\$__(\w+)`)

func (v view) macros(sql string) (string, error) {
	dateTime := func(t time.Time) string { return fmt.Sprintf("toDateTime(%d)", t.Unix()) }
	between := func(column, from, to string) string {
		return column + " >= " + from + " AND " + column + " <= " + to
	}
	day := func(t time.Time) string { return "toDate('" + t.UTC().Format(time.DateOnly) + "')" }
	seconds := fmt.Sprint(max(1, int(v.interval.Seconds())))
	for {
		found := macro.FindAllStringSubmatchIndex(sql, -1)
		if found == nil {
			return sql, nil
		}
		m := found[len(found)-1] // from the end, so that what stands inside another is done first
		name, end := sql[m[2]:m[3]], m[1]
		var args []string
		if strings.HasPrefix(sql[end:], "(") {
			var length int
			args, length = arguments(sql[end:])
			end += length
		}
		for i := range args {
			args[i] = strings.TrimSpace(args[i])
		}
		var text string
		want := 0
		switch name {
		case "fromTime":
			text = dateTime(v.from)
		case "toTime":
			text = dateTime(v.to)
		case "interval_s":
			text = seconds
		case "timeFilter":
			if want = 1; len(args) == want {
				text = between(args[0], dateTime(v.from), dateTime(v.to))
			}
		case "timeInterval":
			if want = 1; len(args) == want {
				text = "toStartOfInterval(toDateTime(" + args[0] + "), INTERVAL " + seconds + " second)"
			}
		case "dateFilter":
			if want = 1; len(args) == want {
				text = between(args[0], day(v.from), day(v.to))
			}
		case "dateTimeFilter", "dt":
			if want = 2; len(args) == want {
				text = "(" + between(args[0], day(v.from), day(v.to)) + ") AND (" + between(args[1], dateTime(v.from), dateTime(v.to)) + ")"
			}
		default:
			return "", fmt.Errorf("$__%s is no macro that the dashboards use", name)
		}
		if want > 0 && len(args) != want {
			return "", fmt.Errorf("$__%s with %d arguments, %d wanted", name, len(args), want)
		}
		sql = sql[:m[0]] + text + sql[end:]
	}
}

func TestMacrosBecomeWhatThePluginMakesOfThem(t *testing.T) {
	v := view{from: time.Unix(1500000000, 0), to: time.Unix(1500086400, 0), interval: 90 * time.Second,
		vars: map[string]string{"owner": `it's \`, "source": all}}
	for sql, want := range map[string]string{
		"$__timeFilter(a.b)":             "a.b >= toDateTime(1500000000) AND a.b <= toDateTime(1500086400)",
		"x > $__fromTime - 5":            "x > toDateTime(1500000000) - 5",
		"$__timeInterval(t) / $__toTime": "toStartOfInterval(toDateTime(t), INTERVAL 90 second) / toDateTime(1500086400)",
		"$__dateTimeFilter(d, t)": "(d >= toDate('2017-07-14') AND d <= toDate('2017-07-15')) AND " +
			"(t >= toDateTime(1500000000) AND t <= toDateTime(1500086400))",
		"$__interval_s": "90",
		"$__conditionalAll(f(a, b) = decodeURLComponent('${owner:percentencode}'), $owner)": "f(a, b) = decodeURLComponent('it%27s%20%5C')",
		"$__conditionalAll(f(a, b) = '${source:percentencode}', $source) AND 2=2":           "1=1 AND 2=2",
	} {
		if got, err := v.expand(sql); got != want || err != nil {
			t.Errorf("%s\ngives %s, %v\nwant  %s", sql, got, err, want)
		}
	}
	for _, sql := range []string{"${owner}", "${owner:sqlstring}", "$owner", "${nobody:percentencode}", "$__timeGroup(a)", "$__timeFilter(a, b)"} {
		if got, err := v.expand(sql); err == nil {
			t.Errorf("%s gives %s, want an error", sql, got)
		}
	}
}
