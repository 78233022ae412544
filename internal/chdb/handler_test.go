package chdb_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/leastwise/leastwise/internal/chdb"
	"github.com/leastwise/leastwise/internal/storetest"
)

// client sends requests to one handler over a real connection.
type client struct {
	t   *testing.T
	url string
}

func serve(t *testing.T, h http.Handler) client {
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return client{t, srv.URL}
}

type answer struct {
	status int
	body   string
	header http.Header
}

// post sends a body; query is the URL's query, as "a=b".
func (c client) post(query string, body []byte, header ...string) answer {
	c.t.Helper()
	return c.do(http.MethodPost, query, body, header...)
}

func (c client) do(method, query string, body []byte, header ...string) answer {
	c.t.Helper()
	req, err := http.NewRequestWithContext(context.WithoutCancel(c.t.Context()), method, c.url+"/?"+query, bytes.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	tr := &http.Transport{DisableCompression: true}
	defer tr.CloseIdleConnections()
	res, err := tr.RoundTrip(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return answer{res.StatusCode, string(raw), res.Header}
}

func (c client) must(query, body string) string {
	c.t.Helper()
	a := c.post(query, []byte(body))
	if a.status != 200 {
		c.t.Fatalf("%s %s: %d %s", query, body, a.status, a.body)
	}
	return a.body
}

// database makes one and returns the URL parameter that names it.
func (c client) database(name string) string {
	c.must("", "CREATE DATABASE "+name)
	c.t.Cleanup(func() { c.do(http.MethodPost, "", []byte("DROP DATABASE "+name)) })
	return "database=" + name
}

func TestFormatsPassThrough(t *testing.T) {
	c := serve(t, storetest.Engine(t).Handler())
	for _, x := range []struct{ query, body, want, format string }{
		{"", "SELECT 1, 'a'", "1\ta\n", "TabSeparated"},
		{"default_format=CSV", "SELECT 1, 'a'", "1,\"a\"\n", "CSV"},
		{"default_format=CSV", "SELECT 1 AS x FORMAT JSONEachRow", "{\"x\":1}\n", "JSONEachRow"},
		{"query=SELECT+1&default_format=RowBinary", "", "\x01", "RowBinary"},
		{"query=SELECT+1", "+ 1", "2\n", "TabSeparated"},
		{"param_x=a%27b&param_n=3", "SELECT {x:String}, {n:UInt8}", "a\\'b\t3\n", "TabSeparated"},
		{"max_block_size=7", "SELECT getSetting('max_block_size')", "7\n", "TabSeparated"},
		{"", "SELECT currentDatabase()", "default\n", "TabSeparated"},
	} {
		a := c.post(x.query, []byte(x.body))
		if a.status != 200 || a.body != x.want || a.header.Get("X-ClickHouse-Format") != x.format {
			t.Errorf("%s %q: %d %q %q, want %q %q", x.query, x.body, a.status, a.header.Get("X-ClickHouse-Format"), a.body, x.format, x.want)
		}
	}
	if a := c.post("default_format=JSONCompact", []byte("SELECT 1 AS x")); !strings.Contains(a.body, `"data"`) ||
		!strings.HasPrefix(a.header.Get("Content-Type"), "application/json") {
		t.Errorf("JSONCompact: %v", a)
	}
	if a := c.do(http.MethodGet, "query=SELECT+1", nil); a.body != "1\n" {
		t.Errorf("GET: %v", a)
	}
	req, err := http.Get(c.url + "/ping")
	if err != nil {
		t.Fatal(err)
	}
	defer req.Body.Close()
	if ping, _ := io.ReadAll(req.Body); string(ping) != "Ok.\n" {
		t.Errorf("ping: %q", ping)
	}
}

func TestInsertsComeInEveryFormatAndCompression(t *testing.T) {
	c := serve(t, storetest.Engine(t).Handler())
	db := c.database("inserts")
	c.must(db, "CREATE TABLE t (a UInt32, b String) ENGINE = MergeTree ORDER BY a")
	data := []byte("1,x\n2,y\n")
	compressed := map[string][]byte{"": data}
	var gz, lz bytes.Buffer
	w := gzip.NewWriter(&gz)
	_, _ = w.Write(data)
	w.Close()
	compressed["gzip"] = gz.Bytes()
	l := lz4.NewWriter(&lz)
	_, _ = l.Write(data)
	l.Close()
	compressed["lz4"] = lz.Bytes()
	enc, _ := zstd.NewWriter(nil)
	compressed["zstd"] = enc.EncodeAll(data, nil)
	for name, body := range compressed {
		c.must(db, "TRUNCATE TABLE t")
		a := c.post(db+"&query="+url.QueryEscape("INSERT INTO t FORMAT CSV"), body, "Content-Encoding", name)
		if a.status != 200 || !strings.Contains(a.header.Get("X-ClickHouse-Summary"), `"written_rows":"2"`) {
			t.Errorf("%s: %v", name, a)
		}
		if got := c.must(db, "SELECT * FROM t ORDER BY a"); got != "1\tx\n2\ty\n" {
			t.Errorf("%s: got %q", name, got)
		}
	}
	c.must(db, "TRUNCATE TABLE t")
	c.must(db, "INSERT INTO t VALUES (1, 'a'), (2, 'b;')")
	c.must(db, "INSERT INTO t FORMAT JSONEachRow {\"a\": 3, \"b\": \"c\"}")
	c.must(db+"&query=INSERT+INTO+t+VALUES", "(4, 'd')")
	c.must(db, "INSERT INTO t SELECT number + 5, 'e' FROM numbers(2)")
	if got := c.must(db, "SELECT groupArray((a, b)) FROM (SELECT * FROM t ORDER BY a)"); got != "[(1,'a'),(2,'b;'),(3,'c'),(4,'d'),(5,'e'),(6,'e')]\n" {
		t.Errorf("got %q", got)
	}
	// A body that breaks off, or is not what it says, inserts nothing.
	c.must(db, "TRUNCATE TABLE t")
	for name, body := range map[string][]byte{"gzip": compressed["gzip"][:20], "zstd": []byte("no")} {
		if a := c.post(db+"&query=INSERT+INTO+t+FORMAT+CSV", body, "Content-Encoding", name); a.status == 200 {
			t.Errorf("%s cut short: %v", name, a)
		}
	}
	if a := c.post(db+"&query=INSERT+INTO+t+FORMAT+CSV", []byte("1,x\nnope,y\n")); a.status != 400 {
		t.Errorf("bad row: %v", a)
	}
	if got := c.must(db, "SELECT count() FROM t"); got != "0\n" {
		t.Errorf("%s rows of broken inserts", got)
	}
}

func TestResultsAreCompressedOnDemand(t *testing.T) {
	c := serve(t, storetest.Engine(t).Handler())
	want := strings.Repeat("a", 1000) + "\n"
	a := c.post("enable_http_compression=1", []byte("SELECT repeat('a', 1000)"), "Accept-Encoding", "gzip")
	r, err := gzip.NewReader(strings.NewReader(a.body))
	if err != nil {
		t.Fatal(err, a)
	}
	if got, _ := io.ReadAll(r); string(got) != want {
		t.Errorf("gzip: %q", got)
	}
	if a := c.post("", []byte("SELECT repeat('a', 1000)"), "Accept-Encoding", "gzip"); a.body != want {
		t.Errorf("not asked for: %v", a)
	}
}

func TestClickhouseClientWorksWithEveryCompression(t *testing.T) {
	c := serve(t, storetest.Engine(t).Handler())
	c.database("compressed")
	for name, method := range map[string]clickhouse.CompressionMethod{
		"none": clickhouse.CompressionNone, "lz4": clickhouse.CompressionLZ4,
		"zstd": clickhouse.CompressionZSTD, "gzip": clickhouse.CompressionGZIP,
	} {
		conn, err := clickhouse.Open(&clickhouse.Options{
			Protocol: clickhouse.HTTP, Addr: []string{strings.TrimPrefix(c.url, "http://")},
			Auth:        clickhouse.Auth{Database: "compressed"},
			Compression: &clickhouse.Compression{Method: method, Level: 3},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.Exec(t.Context(), "CREATE OR REPLACE TABLE t (a UInt64, b LowCardinality(String)) ENGINE = MergeTree ORDER BY a"); err != nil {
			t.Fatal(name, err)
		}
		batch, err := conn.PrepareBatch(t.Context(), "INSERT INTO t")
		if err != nil {
			t.Fatal(name, err)
		}
		for n := range uint64(200_000) {
			if err := batch.Append(n, fmt.Sprint(n%5)); err != nil {
				t.Fatal(err)
			}
		}
		if err := batch.Send(); err != nil {
			t.Fatal(name, err)
		}
		rows, err := conn.Query(t.Context(), "SELECT a, b FROM t ORDER BY a")
		if err != nil {
			t.Fatal(name, err)
		}
		n := uint64(0)
		for rows.Next() {
			var a uint64
			var b string
			if err := rows.Scan(&a, &b); err != nil || a != n || b != fmt.Sprint(n%5) {
				t.Fatalf("%s: row %d is %d %q, err %v", name, n, a, b, err)
			}
			n++
		}
		if rows.Err() != nil || n != 200_000 {
			t.Errorf("%s: %d rows, err %v", name, n, rows.Err())
		}
		if err := conn.Exec(t.Context(), "SELECT * FROM nowhere"); err == nil || !strings.Contains(err.Error(), "code: 60") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestErrorsHaveStatusCodeAndText(t *testing.T) {
	c := serve(t, storetest.Engine(t).Handler())
	for _, x := range []struct {
		query, body string
		status      int
		code, text  string
	}{
		{"", "SELECT nope", 404, "47", "UNKNOWN_IDENTIFIER"},
		{"", "SELECT * FROM nowhere", 404, "60", "nowhere"},
		{"database=nowhere", "SELECT 1", 404, "81", "nowhere"},
		{"", "SELEC", 400, "62", "Syntax error"},
		{"", "", 400, "62", "empty query"},
		{"", "SELECT 1; DROP TABLE x", 400, "62", "multi-statements"},
		{"nonsense=1", "SELECT 1", 404, "115", "nonsense"},
		{"a%20b=1", "SELECT 1", 404, "115", "a b"},
		{"", "SELECT throwIf(number = 3, 'boom') FROM numbers(10)", 500, "395", "boom"},
		{"client_protocol_version=54460&default_format=Native", "SELECT sumState(1)", 501, "48", "cast it"},
		{"session_id=x", "SELECT 1", 501, "48", "sessions"},
	} {
		a := c.post(x.query, []byte(x.body))
		if a.status != x.status || a.header.Get("X-ClickHouse-Exception-Code") != x.code || !strings.Contains(a.body, x.text) ||
			!strings.HasPrefix(a.body, "Code: "+x.code+". DB::Exception: ") {
			t.Errorf("%s %q: %d code %s %q", x.query, x.body, a.status, a.header.Get("X-ClickHouse-Exception-Code"), a.body)
		}
	}
}

func TestNothingOfASessionIsLeftForTheNextRequest(t *testing.T) {
	c := serve(t, storetest.Engine(t).Handler())
	c.database("left")
	for _, leave := range []struct{ query, body string }{
		{"", "USE left"},
		{"", "SET max_block_size = 11"},
		{"", "CREATE TEMPORARY TABLE leftover (a Int8)"},
		{"max_block_size=12&database=left", "SELECT 1"},
	} {
		c.must(leave.query, leave.body)
		if got := c.must("", "SELECT currentDatabase(), getSetting('max_block_size')"); got != "default\t65409\n" {
			t.Errorf("after %s: %q", leave.body, got)
		}
		if a := c.post("", []byte("SELECT * FROM leftover")); a.status != 404 {
			t.Errorf("after %s: temporary table: %v", leave.body, a)
		}
	}
}

func TestReadOnlyHandlerRefusesToChangeOrReachAnything(t *testing.T) {
	e := storetest.Engine(t)
	c, ro := serve(t, e.Handler()), serve(t, e.ReadOnly())
	db := c.database("guarded")
	c.must(db, "CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a AS SELECT 1")
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("s3cret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{
		"INSERT INTO t VALUES (2)", "INSERT INTO t FORMAT CSV\n2", "DROP TABLE t", "CREATE TABLE u (a UInt8) ENGINE = Memory",
		"ALTER TABLE t DELETE WHERE 1", "TRUNCATE TABLE t", "DROP DATABASE guarded", "SET readonly = 0", "SYSTEM STOP MERGES",
		"KILL QUERY WHERE 1", "SELECT 1 INTO OUTFILE '" + secret + ".out'", "SELECT 1 SETTINGS readonly = 0",
		"SELECT * FROM file('" + secret + "', LineAsString)", "SELECT file('" + secret + "')",
		"SELECT * FROM url('http://127.0.0.1:1/', LineAsString)", "SELECT * FROM executable('id', LineAsString, 'a String')",
		"INSERT INTO FUNCTION file('" + secret + "', CSV, 'a UInt8') SELECT 1",
		"SELECT * FROM s3('http://127.0.0.1:1/x', LineAsString)", "SELECT * FROM remote('127.0.0.1:1', system.one)",
		"SELECT * FROM merge('guarded', '.*') INTO OUTFILE '" + secret + ".out2'", "CREATE TEMPORARY TABLE x (a Int8)",
		"SELECT * FROM sqlite('" + secret + "', 't')", "SELECT * FROM `" + secret + "`", "ATTACH TABLE z (a Int8) ENGINE = Log",
		"BACKUP TABLE t TO File('" + secret + ".zip')", "CREATE USER x", "SELECT * APPLY file FROM (SELECT '" + secret + "')",
		"SELECT `\\x66ile`('" + secret + "')", "SELECT \"file\"/**/('" + secret + "')", "SHOW TABLES WHERE file('" + secret + "') = 's3cret'",
		"SELECT * FROM eval('SELECT file(''" + secret + "'')')", "DESCRIBE (SELECT file('" + secret + "'))", "EXPLAIN SYNTAX SELECT file('" + secret + "')",
		"SELECT 1; SELECT file('" + secret + "')", "SELECT 'it''s' AS `a'`, file('" + secret + "'), 'x'", "DETACH TABLE t", "RENAME TABLE t TO v", "OPTIMIZE TABLE t",
	} {
		if a := ro.post(db, []byte(q)); a.status == 200 {
			t.Errorf("%s: %d %q", q, a.status, a.body)
		} else if strings.Contains(a.body, "s3cret") {
			t.Errorf("%s leaks: %q", q, a.body)
		}
	}
	if left, _ := filepath.Glob(secret + ".*"); len(left) > 0 {
		t.Errorf("files were written: %v", left)
	}
	if a := ro.post(db+"&readonly=0", []byte("INSERT INTO t VALUES (2)")); a.status == 200 {
		t.Errorf("readonly=0 as a parameter: %v", a)
	}
	if a := c.do(http.MethodGet, db+"&query=DROP+TABLE+t", nil); a.status != 403 {
		t.Errorf("GET of a DROP: %v", a)
	}
	for _, q := range []string{"SELECT a FROM t", "SELECT a /* file */ FROM t WHERE 'file' != ''", "WITH 1 AS profile SELECT profile"} {
		if got := ro.must(db+"&max_threads=1", q); got != "1\n" {
			t.Errorf("%s: got %q", q, got)
		}
	}
	if got := ro.must("max_threads=1", "SELECT getSetting('max_threads'), getSetting('readonly')"); got != "1\t1\n" {
		t.Errorf("got %q", got)
	}
	if got := ro.must(db+"&param_x=1&default_format=CSV", "SELECT a FROM t WHERE a = {x:UInt8}"); got != "1\n" {
		t.Errorf("got %q", got)
	}
}

func TestServeAnswersLoopbackNamesOnly(t *testing.T) {
	e := storetest.Engine(t)
	ctx, cancel := context.WithCancel(t.Context())
	addrs := make(chan net.Addr, 1)
	done := make(chan error, 1)
	go func() { done <- e.Serve(ctx, "127.0.0.1:0", func(a net.Addr) { addrs <- a }) }()
	addr := (<-addrs).String()
	for host, want := range map[string]int{addr: 200, "localhost": 200, "evil.example:8123": 403, "": 200} {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr, strings.NewReader("SELECT 1"))
		req.Host = host
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("host %q: %d, want %d", host, res.StatusCode, want)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestOpenSaysWhatIsMissing(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	_, err := chdb.Open(t.TempDir(), "")
	want := "libchdb not found at " + chdb.DefaultLibrary() + ": run `make libchdb`"
	if err == nil || err.Error() != want {
		t.Fatalf("got %v, want %q", err, want)
	}
	lib := chdb.DefaultLibrary()
	if err := os.MkdirAll(filepath.Dir(lib), 0o700); err != nil {
		t.Fatal(err)
	}
	for reason, marker := range map[string]string{"not verified": "", "damaged": "00 12345\n"} {
		_ = os.WriteFile(lib, []byte("not a library"), 0o600)
		if marker != "" {
			_ = os.WriteFile(lib+".verified", []byte(marker), 0o600)
		} else {
			os.Remove(lib + ".verified")
		}
		if _, err := chdb.Open(t.TempDir(), ""); err == nil || !strings.HasPrefix(err.Error(), "libchdb "+reason) {
			t.Errorf("got %v, want %s", err, reason)
		}
	}
}

func TestOneEnginePerProcess(t *testing.T) {
	e := storetest.Engine(t)
	_, err := chdb.Open(t.TempDir(), "")
	if err == nil || !strings.Contains(err.Error(), e.Dir()) || !strings.Contains(err.Error(), "one engine per process") {
		t.Fatalf("got %v", err)
	}
}
