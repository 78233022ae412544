package chdb

import "strings"

// statement is what the protocol layer must know about a query's text. It is
// found with a scanner, not a parser: it knows comments, quotes and brackets,
// which is enough to find the clauses at the top level.
type statement struct {
	sql      string // what to give to the engine
	insert   bool   // an INSERT whose data follows in format
	format   string // of the insert's data, or named for the output; may be empty
	data     string // inline part of the insert's data
	stateful bool   // changes the session (USE, SET, CREATE TEMPORARY)
	many     bool   // more than one statement
}

// parse looks at q. bodyFollows says that data comes beside the query.
func parse(q string, bodyFollows bool) statement {
	sc := scanner{s: q}
	first := sc.next()
	switch strings.ToUpper(first.text) {
	case "INSERT":
		return parseInsert(q, &sc, bodyFollows)
	case "USE", "SET":
		st := parseQuery(q, &sc)
		st.stateful = true
		return st
	case "CREATE":
		second := sc.next()
		st := parseQuery(q, &sc)
		st.stateful = strings.EqualFold(second.text, "TEMPORARY")
		return st
	}
	return parseQuery(q, &sc)
}

// parseInsert finds where the data begins. Inserts from a query or with inline
// VALUES are statements like any other to the engine.
func parseInsert(q string, sc *scanner, bodyFollows bool) statement {
	for t := sc.next(); t.text != ""; t = sc.next() {
		switch strings.ToUpper(t.text) {
		case "SELECT", "WITH":
			return parseQuery(q, sc)
		case "VALUES":
			rest := strings.TrimSpace(q[sc.i:])
			if rest != "" || !bodyFollows {
				return statement{sql: q}
			}
			return statement{sql: q[:t.at], insert: true, format: "Values"}
		case "FORMAT":
			f := sc.next()
			if f.text == "" {
				return statement{sql: q}
			}
			return statement{sql: q[:t.at], insert: true, format: f.text, data: skipToData(q[sc.i:])}
		}
	}
	if !bodyFollows {
		return statement{sql: q}
	}
	return statement{sql: q, insert: true, format: "Values"}
}

// skipToData drops blanks and one line end after the format's name.
func skipToData(s string) string {
	s = strings.TrimLeft(s, " \t")
	s = strings.TrimPrefix(s, "\r")
	return strings.TrimPrefix(s, "\n")
}

// parseQuery finds the output format: FORMAT and a name at the top level, with
// nothing but SETTINGS or the end after it.
func parseQuery(q string, sc *scanner) statement {
	st := statement{sql: q}
	var prev, prev2 string // the last two words
	for {
		t := sc.next()
		switch {
		case t.text == "" || strings.EqualFold(t.text, "SETTINGS") || t.text == ";":
			if strings.EqualFold(prev2, "FORMAT") {
				st.format = prev
			}
			if t.text == ";" {
				st.many = sc.next().text != ""
				return st
			}
			if t.text == "" {
				return st
			}
		}
		prev2, prev = prev, t.text
	}
}

type token struct {
	text string // a word, ";", or "?" for anything else; "" at the end
	at   int
}

// scanner yields what stands outside of brackets, quotes and comments.
type scanner struct {
	s string
	i int
}

func (sc *scanner) next() token {
	for depth := 0; sc.i < len(sc.s); {
		at := sc.i
		c := sc.s[at]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v':
			sc.i++
		case strings.HasPrefix(sc.s[at:], "--"), strings.HasPrefix(sc.s[at:], "# "), strings.HasPrefix(sc.s[at:], "#!"):
			sc.until("\n")
		case strings.HasPrefix(sc.s[at:], "/*"):
			sc.i += 2
			sc.until("*/")
		case c == '\'' || c == '"' || c == '`':
			sc.quoted(c)
			if depth == 0 {
				return token{"?", at}
			}
		case c == '$' && sc.heredoc():
			if depth == 0 {
				return token{"?", at}
			}
		case c == '(' || c == '[' || c == '{':
			depth++
			sc.i++
		case c == ')' || c == ']' || c == '}':
			depth = max(depth-1, 0)
			sc.i++
			if depth == 0 {
				return token{"?", at}
			}
		case isWord(c):
			for sc.i < len(sc.s) && isWord(sc.s[sc.i]) {
				sc.i++
			}
			if depth == 0 {
				return token{sc.s[at:sc.i], at}
			}
		default:
			sc.i++
			if depth == 0 {
				if c == ';' {
					return token{";", at}
				}
				return token{"?", at}
			}
		}
	}
	return token{"", len(sc.s)}
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

func (sc *scanner) until(end string) {
	if n := strings.Index(sc.s[sc.i:], end); n >= 0 {
		sc.i += n + len(end)
	} else {
		sc.i = len(sc.s)
	}
}

// quoted skips a quoted run: a backslash takes the next byte with it, and a
// doubled quote is two runs side by side.
func (sc *scanner) quoted(q byte) {
	for sc.i++; sc.i < len(sc.s); sc.i++ {
		switch sc.s[sc.i] {
		case '\\':
			sc.i++
		case q:
			sc.i++
			return
		}
	}
	sc.i = len(sc.s)
}

// heredoc skips $tag$…$tag$ if that is what stands here.
func (sc *scanner) heredoc() bool {
	end := strings.IndexByte(sc.s[sc.i+1:], '$')
	if end < 0 {
		return false
	}
	tag := sc.s[sc.i : sc.i+end+2]
	for _, c := range []byte(tag[1 : len(tag)-1]) {
		if !isWord(c) {
			return false
		}
	}
	body := strings.Index(sc.s[sc.i+len(tag):], tag)
	if body < 0 {
		return false
	}
	sc.i += 2*len(tag) + body
	return true
}
