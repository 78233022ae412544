package chdb

import "testing"

func TestParseFindsFormatAndData(t *testing.T) {
	for _, c := range []struct {
		query string
		body  bool
		want  statement
	}{
		{"SELECT 1", false, statement{sql: "SELECT 1"}},
		{"SELECT 1 FORMAT JSON", false, statement{sql: "SELECT 1 FORMAT JSON", format: "JSON"}},
		{"select 1 format CSV;", false, statement{sql: "select 1 format CSV;", format: "CSV"}},
		{"SELECT 1 FORMAT CSV SETTINGS max_threads = 1 -- end", false,
			statement{sql: "SELECT 1 FORMAT CSV SETTINGS max_threads = 1 -- end", format: "CSV"}},
		{"SELECT format FROM t", false, statement{sql: "SELECT format FROM t"}},
		{"SELECT 'FORMAT CSV'", false, statement{sql: "SELECT 'FORMAT CSV'"}},
		{"SELECT 'it''s \\' FORMAT CSV'", false, statement{sql: "SELECT 'it''s \\' FORMAT CSV'"}},
		{"SELECT (1 FORMAT CSV)", false, statement{sql: "SELECT (1 FORMAT CSV)"}},
		{"SELECT 1 /* FORMAT CSV */ -- FORMAT CSV\n", false, statement{sql: "SELECT 1 /* FORMAT CSV */ -- FORMAT CSV\n"}},
		{"SELECT $a$ FORMAT CSV $a$", false, statement{sql: "SELECT $a$ FORMAT CSV $a$"}},
		{"SELECT 1; SELECT 2", false, statement{sql: "SELECT 1; SELECT 2", many: true}},
		{"SELECT 1 FORMAT CSV; SET x = 1", false, statement{sql: "SELECT 1 FORMAT CSV; SET x = 1", format: "CSV", many: true}},
		{"SELECT ';'; -- end", false, statement{sql: "SELECT ';'; -- end"}},

		{" INSERT INTO t (a, `format`) FORMAT Native", true,
			statement{sql: " INSERT INTO t (a, `format`) ", insert: true, format: "Native"}},
		{"INSERT INTO t FORMAT TSV\n\tx\n", false, statement{sql: "INSERT INTO t ", insert: true, format: "TSV", data: "\tx\n"}},
		{"INSERT INTO t FORMAT CSV 1,2; 3", false, statement{sql: "INSERT INTO t ", insert: true, format: "CSV", data: "1,2; 3"}},
		{"INSERT INTO t SETTINGS a = 1 FORMAT CSV", true, statement{sql: "INSERT INTO t SETTINGS a = 1 ", insert: true, format: "CSV"}},
		{"INSERT INTO t VALUES (1), (';')", false, statement{sql: "INSERT INTO t VALUES (1), (';')"}},
		{"INSERT INTO t VALUES", true, statement{sql: "INSERT INTO t ", insert: true, format: "Values"}},
		{"INSERT INTO t (a)", true, statement{sql: "INSERT INTO t (a)", insert: true, format: "Values"}},
		{"INSERT INTO t SELECT * FROM u", false, statement{sql: "INSERT INTO t SELECT * FROM u"}},
		{"INSERT INTO t WITH 1 AS x SELECT x", false, statement{sql: "INSERT INTO t WITH 1 AS x SELECT x"}},
		{"INSERT INTO t SELECT 1; DROP TABLE t", false, statement{sql: "INSERT INTO t SELECT 1; DROP TABLE t", many: true}},

		{"SET a = 1", false, statement{sql: "SET a = 1", stateful: true}},
		{"/* c */ use x", false, statement{sql: "/* c */ use x", stateful: true}},
		{"CREATE TEMPORARY TABLE t (a Int8)", false, statement{sql: "CREATE TEMPORARY TABLE t (a Int8)", stateful: true}},
		{"CREATE TABLE t (a Int8) ENGINE = Memory", false, statement{sql: "CREATE TABLE t (a Int8) ENGINE = Memory"}},
		{"", false, statement{}},
		{"'", false, statement{sql: "'"}},
		{"/*", false, statement{sql: "/*"}},
		{"$", false, statement{sql: "$"}},
	} {
		if got := parse(c.query, c.body); got != c.want {
			t.Errorf("%q:\n got %+v\nwant %+v", c.query, got, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"SELECT 1 FORMAT X", "INSERT INTO t FORMAT Y\nz", "'\\", "/*", "$a$b$a$", "((`"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, body := range []bool{false, true} {
			st := parse(s, body)
			if len(st.sql)+len(st.data) > len(s) {
				t.Errorf("%q grew to %+v", s, st)
			}
		}
	})
}
