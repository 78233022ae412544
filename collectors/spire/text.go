package spire

import (
	"bytes"
	"strconv"

	"github.com/leastwise/leastwise/collectors/jsonrecord"
	"github.com/leastwise/leastwise/collectors/source"
)

// maxPrefix is how much journald, syslog or a container runtime may put before a record.
const maxPrefix = 256

// form is how a line is written.
type form uint8

const (
	formNone form = iota
	formJSON
	formText    // time="…" level=info msg="…" key=value …
	formConsole // INFO[0061] message     key=value …
)

// split finds where the record begins, and what stands before it.
func split(line []byte) (form, []byte, []byte) {
	if len(line) > 0 && line[0] == '{' {
		return formJSON, nil, line
	}
	for i := range min(len(line), maxPrefix) {
		if i > 0 && line[i-1] != ' ' && line[i-1] != '\t' && line[i-1] != ':' {
			continue
		}
		rest := line[i:]
		switch {
		case rest[0] == '{' && len(rest) > 1 && (rest[1] == '"' || rest[1] == ' '):
			return formJSON, line[:i], rest
		case rest[0] == 't' && bytes.HasPrefix(rest, []byte("time=")):
			return formText, line[:i], rest
		case isConsole(rest):
			return formConsole, line[:i], rest
		}
	}
	return formNone, nil, line
}

// isConsole tells LEVL[0061] with or without colours.
func isConsole(text []byte) bool {
	text, _ = colour(text)
	for _, level := range [...]string{"DEBU", "INFO", "WARN", "ERRO", "FATA", "PANI", "TRAC"} {
		if !bytes.HasPrefix(text, []byte(level)) {
			continue
		}
		text, _ = colour(text[len(level):])
		return len(text) > 2 && text[0] == '[' && text[1] >= '0' && text[1] <= '9'
	}
	return false
}

// colour leaves out an ANSI sequence at the beginning.
func colour(text []byte) ([]byte, bool) {
	if !bytes.HasPrefix(text, []byte("\x1b[")) {
		return text, false
	}
	for i := 2; i < min(len(text), 16); i++ {
		if text[i] == 'm' {
			return text[i+1:], true
		}
	}
	return text, false
}

var (
	errPair  = jsonrecord.Malformed("the line is neither JSON nor key=value text as a SPIRE server writes it")
	errQuote = &source.Malformed{Reason: source.ReasonTruncated, Detail: "the line ends inside a quoted value"}
)

// readPairs reads key=value text.
func (f *fields) readPairs(text []byte) *source.Malformed {
	return eachPair(text, func(key, value []byte, escaped bool) bool {
		place := f.slotOf(key)
		if place == nil {
			return true
		}
		if escaped {
			clear, err := unquote(value)
			if err != nil {
				return false
			}
			value = clear
		}
		*place = value
		return true
	})
}

// eachPair splits key=value text. A value with any character out of the ordinary is quoted as Go quotes it: take gets
// what is between the quotes, and whether something in it is escaped. If take gives false the text is malformed.
func eachPair(text []byte, take func(key, value []byte, escaped bool) bool) *source.Malformed {
	for {
		for len(text) > 0 && text[0] == ' ' {
			text = text[1:]
		}
		if len(text) == 0 {
			return nil
		}
		equals := bytes.IndexByte(text, '=')
		if equals <= 0 || bytes.IndexByte(text[:equals], ' ') >= 0 || text[0] == '"' {
			return errPair
		}
		key := text[:equals]
		text = text[equals+1:]
		var value []byte
		plain := true
		if len(text) > 0 && text[0] == '"' {
			var end int
			if end, plain = quoted(text); end < 0 {
				return errQuote
			}
			value, text = text[1:end-1], text[end:]
		} else {
			end := bytes.IndexByte(text, ' ')
			if end < 0 {
				end = len(text)
			}
			value, text = text[:end], text[end:]
		}
		if !take(key, value, !plain) {
			return errPair
		}
	}
}

func unquote(value []byte) ([]byte, error) {
	clear, err := strconv.Unquote(`"` + string(value) + `"`)
	return []byte(clear), err
}

// quoted gives where the quoted text at the beginning ends, or -1, and whether it is as it stands.
func quoted(text []byte) (end int, plain bool) {
	plain = true
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			plain = false
			i++
		case '"':
			return i + 1, plain
		}
	}
	return -1, plain
}

// readConsole reads LEVL[0061] message key=value …, where the message is padded so that two spaces end it.
func (f *fields) readConsole(text, prefix []byte) *source.Malformed {
	if bytes.IndexByte(text, 0x1b) >= 0 {
		text = uncoloured(text)
	}
	end := bytes.IndexByte(text, ']')
	if end < 4 {
		return errPair
	}
	f.level = text[:4]
	text = bytes.TrimLeft(text[end+1:], " ")
	msg, pairs, _ := bytes.Cut(text, []byte("  "))
	f.msg = bytes.TrimRight(msg, " ")
	if bad := f.readPairs(pairs); bad != nil {
		return bad
	}
	if space := bytes.IndexByte(prefix, ' '); space > 0 {
		f.time = prefix[:space] // a container runtime's or journald's, in RFC 3339; other prefixes lack the year
	}
	return nil
}

func uncoloured(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for len(text) > 0 {
		var found bool
		if text, found = colour(text); !found {
			out = append(out, text[0])
			text = text[1:]
		}
	}
	return out
}
