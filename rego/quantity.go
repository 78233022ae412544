package rego

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

var errQuantity = errors.New("not a quantity")

var durationUnits = []struct {
	name  string
	nanos float64
}{{"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}, {"d", 86400e9}, {"w", 7 * 86400e9}}

// ParseDuration reads "90s", "15m", "1h", "30d", "2w", "500ms" and chains of them such as "1h30m", largest unit first.
// A bare number is refused, since nobody can tell seconds from hours in it.
func ParseDuration(text string) (time.Duration, error) {
	rest, total, last := text, 0.0, math.Inf(1)
	if rest == "" {
		return 0, errQuantity
	}
	for rest != "" {
		end := strings.IndexFunc(rest, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
		if end <= 0 {
			return 0, errQuantity
		}
		number, err := strconv.ParseFloat(rest[:end], 64)
		if err != nil {
			return 0, errQuantity
		}
		rest = rest[end:]
		end = strings.IndexAny(rest, "0123456789.")
		if end < 0 {
			end = len(rest)
		}
		nanos := 0.0
		for _, u := range durationUnits {
			if u.name == rest[:end] {
				nanos = u.nanos
			}
		}
		if nanos == 0 || nanos >= last {
			return 0, errQuantity
		}
		last, rest = nanos, rest[end:]
		total += number * nanos
	}
	if total > 100*365*86400e9 {
		return 0, fmt.Errorf("%w: longer than a hundred years", errQuantity)
	}
	return time.Duration(math.Round(total)), nil
}

// parseThreshold reads a threshold in the unit of its metric; durations become seconds.
func parseThreshold(u unit, text string) (float64, error) {
	switch u {
	case duration:
		d, err := ParseDuration(text)
		return d.Seconds(), err
	case flag:
		switch text {
		case "true", "1":
			return 1, nil
		case "false", "0":
			return 0, nil
		}
		return 0, errQuantity
	}
	digits, percent := strings.CutSuffix(text, "%")
	if percent && u == count || strings.TrimLeft(digits, "0123456789.") != "" {
		return 0, errQuantity
	}
	value, err := strconv.ParseFloat(digits, 64)
	if err != nil {
		return 0, errQuantity
	}
	if percent {
		value /= 100
	}
	if u == share && value > 1 {
		return 0, errQuantity
	}
	return value, nil
}

// Format writes a value of a metric as a person reads it: "2h3m", "7", "80%", "yes", "never ends".
func Format(m Metric, value float64) string {
	switch u := m.unit(); u {
	case duration:
		if math.IsInf(value, 1) {
			return "never ends"
		}
		return formatSeconds(value)
	case flag:
		if value != 0 {
			return "yes"
		}
		return "no"
	case share, ratio:
		if math.IsInf(value, 1) {
			return "unbounded"
		}
		return trimFloat(value*100, 1) + "%"
	default:
		if math.IsInf(value, 1) {
			return "unbounded"
		}
		return trimFloat(value, 2)
	}
}

func trimFloat(value float64, digits int) string {
	text := strconv.FormatFloat(value, 'f', digits, 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	if text == "-0" {
		return "0"
	}
	return text
}

// formatSeconds writes the two largest units, rounded down: "30d4h", "2h3m", "45s", "500ms".
func formatSeconds(seconds float64) string {
	if seconds < 0 {
		return "-" + formatSeconds(-seconds)
	}
	if seconds < 10 {
		ms := int64(math.Floor(seconds*1000 + 1e-6))
		if ms%1000 == 0 {
			return strconv.FormatInt(ms/1000, 10) + "s"
		}
		if ms < 1000 {
			return strconv.FormatInt(ms, 10) + "ms"
		}
		return trimFloat(float64(ms)/1000, 3) + "s"
	}
	whole := int64(math.Floor(seconds + 1e-6))
	names, sizes := [...]string{"d", "h", "m", "s"}, [...]int64{86400, 3600, 60, 1}
	var b strings.Builder
	for i, parts := 0, 0; i < len(sizes) && parts < 2; i++ {
		n := whole / sizes[i]
		whole %= sizes[i]
		if n > 0 {
			b.WriteString(strconv.FormatInt(n, 10) + names[i])
		}
		if b.Len() > 0 {
			parts++
		}
	}
	return b.String()
}
