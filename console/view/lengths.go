package view

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

var lengths = regexp.MustCompile(`^(?:\d+(?:\.\d+)?(?:d|h|ms|m|s|us|µs|ns))+$`)

// plain writes a length of time as people say it: 4500ms is 4.5 seconds. Anything else stays as it is.
func plain(text string) string {
	if !lengths.MatchString(text) {
		return text
	}
	total := time.Duration(0)
	rest := text
	if days, after, found := strings.Cut(text, "d"); found {
		n, err := strconv.ParseFloat(days, 64)
		if err != nil || n > 100_000 {
			return text
		}
		total, rest = time.Duration(n*float64(day)), after
	}
	if rest != "" {
		d, err := time.ParseDuration(rest)
		if err != nil {
			return text
		}
		total += d
	}
	seconds := total.Seconds()
	if seconds < 60 {
		return some(strconv.FormatFloat(float64(int64(seconds*100+0.5))/100, 'f', -1, 64), "second")
	}
	var said []string
	for _, unit := range []struct {
		name string
		size time.Duration
	}{{"day", day}, {"hour", time.Hour}, {"minute", time.Minute}, {"second", time.Second}} {
		if n := total / unit.size; n > 0 && len(said) < 2 {
			said = append(said, some(strconv.FormatInt(int64(n), 10), unit.name))
			total -= n * unit.size
		}
	}
	return strings.Join(said, " ")
}

func some(n, one string) string {
	if n == "1" {
		return n + " " + one
	}
	return n + " " + one + "s"
}
