package chdb

import (
	"regexp"
	"strings"
	"unsafe"
)

// What the engine's readonly=1 refuses in a server, it does not all refuse
// inside a process: the embedded engine takes itself for a command-line tool.
// It writes INTO OUTFILE, reads any file through the function `file`, and
// obeys SYSTEM and KILL. So a read-only statement must pass three gates:
//
//   - the engine's own parser calls it one statement that reads (this leaves
//     INTO OUTFILE, SYSTEM, KILL, SET and all writes outside);
//   - it names no function that reaches beyond the tables, in any spelling:
//     the text that is searched is the engine's own formatting of it;
//   - the session is readonly=1, which refuses table functions that reach
//     files and networks, and changes of settings.

// classRead is chdb_classify_query_n's class of statements that only read.
const classRead = 0

// analysis is chdb_query_analysis_v1.
type analysis struct {
	size, statements, flags, class uint32
}

func (s *session) classify(sql string) analysis {
	a := analysis{size: uint32(unsafe.Sizeof(analysis{}))}
	if lib.classify(s.conn(), bytesOf(sql), uintptr(len(sql)), nil, 0, unsafe.Pointer(&a)) != 0 {
		return analysis{class: ^uint32(0)}
	}
	return a
}

// reaching are functions that read files, run models or strings as queries, or
// call other services.
var reaching = regexp.MustCompile(`(?i)\b(file|eval|fuzzQuery|viewExplain|catboostEvaluate|ai[A-Z]\w*)\b`)

const refusal = engineError("Code: 164. DB::Exception: this port is for reading tables only. (READONLY)")

// guard refuses what a read-only client must not run.
func (s *session) guard(sql string) error {
	if a := s.classify(sql); a.class != classRead || a.statements != 1 {
		if a.statements == 0 {
			// It does not parse: let the engine say where.
			if _, err := s.query("SELECT formatQuery("+quoteString(sql)+")", "Null", nil); err != nil {
				return err
			}
		}
		return refusal
	}
	res, err := s.query("SELECT formatQuerySingleLine("+quoteString(sql)+")", "TSVRaw", nil)
	if err != nil {
		return err
	}
	if reaching.MatchString(withoutStrings(string(res.data))) {
		return refusal
	}
	return nil
}

// withoutStrings drops 'literals' from text that the engine has formatted,
// where a quote inside one is always escaped by a backslash.
func withoutStrings(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '\'':
			for i++; i < len(s) && s[i] != '\''; i++ {
				if s[i] == '\\' {
					i++
				}
			}
		case '`', '"':
			for out.WriteByte(c); i+1 < len(s) && s[i+1] != c; i++ {
				out.WriteByte(s[i+1])
				if s[i+1] == '\\' && i+2 < len(s) {
					i++
					out.WriteByte(s[i+1])
				}
			}
			out.WriteByte(c)
			i++
		default:
			out.WriteByte(c)
		}
	}
	return out.String()
}
