package store_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/internal/storetest"
)

func execute(t testing.TB, db *store.DB, query string, args ...any) {
	t.Helper()
	if err := db.Exec(t.Context(), query, args...); err != nil {
		t.Fatal(err)
	}
}

const allTypes = `CREATE TABLE all_types (
	n UInt64, s String, lc LowCardinality(String), lcn LowCardinality(Nullable(String)),
	at DateTime64(9, 'UTC'), day Date, f Float64, tags Array(String), lctags Array(LowCardinality(String)),
	uses Map(String, UInt64), lcuses Map(LowCardinality(String), UInt64),
	ok Bool, maybe Nullable(UInt64), text Nullable(String), kind Enum8('a' = 1, 'b' = 2),
	id UUID, hash FixedString(16), pair Tuple(x UInt32, y String), deep Array(Array(Nullable(Float64))),
	price Decimal(18, 4), agg SimpleAggregateFunction(max, UInt64), i Int32
) ENGINE = MergeTree ORDER BY n`

type row struct {
	N      uint64            `ch:"n"`
	S      string            `ch:"s"`
	LC     string            `ch:"lc"`
	LCN    *string           `ch:"lcn"`
	At     time.Time         `ch:"at"`
	Day    time.Time         `ch:"day"`
	F      float64           `ch:"f"`
	Tags   []string          `ch:"tags"`
	LCTags []string          `ch:"lctags"`
	Uses   map[string]uint64 `ch:"uses"`
	LCUses map[string]uint64 `ch:"lcuses"`
	OK     bool              `ch:"ok"`
	Maybe  *uint64           `ch:"maybe"`
	Text   *string           `ch:"text"`
	Kind   string            `ch:"kind"`
	ID     uuid.UUID         `ch:"id"`
	Hash   string            `ch:"hash"`
	Pair   map[string]any    `ch:"pair"`
	Deep   [][]*float64      `ch:"deep"`
	Agg    uint64            `ch:"agg"`
	I      int32             `ch:"i"`
}

func sample(n uint64) row {
	r := row{
		N: n, S: strings.Repeat("ü", int(n%200)), LC: fmt.Sprint("lc", n%7),
		At:  time.Date(2026, 1, 2, 3, 4, 5, int(n), time.UTC),
		Day: time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC), F: float64(n) / 3,
		Tags: []string{}, LCTags: []string{}, Uses: map[string]uint64{}, LCUses: map[string]uint64{},
		OK: n%2 == 0, Kind: []string{"a", "b"}[n%2],
		ID: uuid.NewSHA1(uuid.Nil, []byte(fmt.Sprint(n))), Hash: fmt.Sprintf("%016d", n),
		Pair: map[string]any{"x": uint32(n), "y": fmt.Sprint(n)}, Deep: [][]*float64{},
		Agg: n, I: -int32(n),
	}
	if n%3 > 0 {
		v, s := n*2, fmt.Sprint("text ", n)
		r.Maybe, r.Text, r.LCN = &v, &s, &s
		r.Tags = []string{"x", s}
		r.LCTags = []string{r.LC, "t"}
		r.Uses = map[string]uint64{"read": n, "write": 1}
		r.LCUses = map[string]uint64{r.LC: n}
		f := 0.5
		r.Deep = [][]*float64{{}, {&f, nil}}
	}
	return r
}

// asJSON shows what pointers point to, and forgets time's location pointer.
func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestEveryColumnTypeMakesTheRoundTrip(t *testing.T) {
	db := storetest.New(t)
	execute(t, db, allTypes)
	columns := "n,s,lc,lcn,at,day,f,tags,lctags,uses,lcuses,ok,maybe,text,kind,id,hash,pair,deep,agg,i"
	for _, size := range []uint64{1, 10, 70_000} { // the last comes back in several blocks
		execute(t, db, "TRUNCATE TABLE all_types")
		batch, err := db.PrepareBatch(t.Context(), "INSERT INTO all_types ("+columns+")")
		if err != nil {
			t.Fatal(err)
		}
		for n := range size {
			r := sample(n)
			if err := batch.AppendStruct(&r); err != nil {
				t.Fatal(err)
			}
		}
		if err := batch.Send(); err != nil {
			t.Fatal(err)
		}
		rows, err := db.Query(t.Context(), "SELECT "+columns+" FROM all_types ORDER BY n")
		if err != nil {
			t.Fatal(err)
		}
		n := uint64(0)
		for rows.Next() {
			var got row
			if err := rows.ScanStruct(&got); err != nil {
				t.Fatal(err)
			}
			if got, want := asJSON(t, got), asJSON(t, sample(n)); got != want {
				t.Fatalf("row %d:\n got %s\nwant %s", n, got, want)
			}
			n++
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil || n != size {
			t.Fatalf("%d rows of %d, err %v", n, size, err)
		}
	}
}

func TestNoRowsIsNotAnError(t *testing.T) {
	db := storetest.New(t)
	execute(t, db, allTypes)
	rows, err := db.Query(t.Context(), "SELECT lc, lctags, uses FROM all_types")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	if rows.Next() || rows.Err() != nil {
		t.Fatalf("a row, or %v", rows.Err())
	}
	var n uint64
	if err := db.QueryRow(t.Context(), "SELECT count() FROM all_types").Scan(&n); err != nil || n != 0 {
		t.Fatalf("count %d, err %v", n, err)
	}
}

func TestErrorsCarryTheEnginesCodeAndText(t *testing.T) {
	db := storetest.New(t)
	execute(t, db, "CREATE TABLE t (a UInt8, CONSTRAINT small CHECK a < 10) ENGINE = MergeTree ORDER BY a")
	batch := func() error {
		b, err := db.PrepareBatch(t.Context(), "INSERT INTO t")
		if err == nil {
			err = errors.Join(b.Append(uint8(200)), b.Send())
		}
		return err
	}
	_, unknown := db.Query(t.Context(), "SELECT * FROM nowhere")
	for name, c := range map[string]struct {
		err  error
		code int
		text string
	}{
		"unknown table": {unknown, store.CodeUnknownTable, "nowhere"},
		"syntax":        {db.Exec(t.Context(), "SELEC 1"), 62, "Syntax error"},
		"constraint":    {batch(), 469, "small"},
		"setting": {db.Exec(store.WithSettings(t.Context(), map[string]any{"no_such_setting": 1}), "SELECT 1"),
			115, "no_such_setting"},
	} {
		if got := store.ErrorCode(c.err); got != c.code || !strings.Contains(fmt.Sprint(c.err), c.text) {
			t.Errorf("%s: code %d, want %d; error %v", name, got, c.code, c.err)
		}
	}
	var n uint64
	if err := db.QueryRow(t.Context(), "SELECT count() FROM t").Scan(&n); err != nil || n != 0 {
		t.Errorf("%d rows of a refused insert, err %v", n, err)
	}
}

func TestParametersAreBoundByTheEngine(t *testing.T) {
	db := storetest.New(t)
	var s string
	var n uint64
	var list []string
	evil := `'; DROP TABLE t; -- \ ` + "`\"{x:String}"
	err := db.QueryRow(t.Context(), "SELECT {s:String}, {n:UInt64}, {l:Array(String)}",
		store.Named("s", evil), store.Named("n", 7), store.Named("l", []string{"a", "b'c"})).Scan(&s, &n, &list)
	if err != nil || s != evil || n != 7 || !reflect.DeepEqual(list, []string{"a", "b'c"}) {
		t.Fatalf("got %q %d %q, err %v", s, n, list, err)
	}
}

func TestSettingsHoldForOneQuery(t *testing.T) {
	db := storetest.New(t)
	get := func(ctx context.Context) (v uint64) {
		t.Helper()
		if err := db.QueryRow(ctx, "SELECT toUInt64(getSetting('max_rows_to_read'))").Scan(&v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	if v := get(store.WithSettings(t.Context(), map[string]any{"max_rows_to_read": 12345})); v != 12345 {
		t.Errorf("with the setting: %d", v)
	}
	if v := get(t.Context()); v != 0 {
		t.Errorf("after it: %d", v)
	}
}

func TestParallelInsertsAndQueries(t *testing.T) {
	db := storetest.New(t)
	execute(t, db, "CREATE TABLE t (w UInt8, n UInt64) ENGINE = MergeTree ORDER BY (w, n)")
	const writers, batches, size = 8, 5, 1000
	var wg sync.WaitGroup
	for w := range uint8(writers) {
		wg.Go(func() {
			for b := range uint64(batches) {
				batch, err := db.PrepareBatch(t.Context(), "INSERT INTO t (w, n)")
				if err != nil {
					t.Error(err)
					return
				}
				for n := range uint64(size) {
					if err := batch.Append(w, b*size+n); err != nil {
						t.Error(err)
					}
				}
				if err := batch.Send(); err != nil {
					t.Error(err)
				}
				var got uint64
				if err := db.QueryRow(t.Context(), "SELECT count() FROM t WHERE w = ?", w).Scan(&got); err != nil || got != (b+1)*size {
					t.Errorf("writer %d sees %d of its rows, want %d, err %v", w, got, (b+1)*size, err)
				}
			}
		})
	}
	wg.Wait()
	var n uint64
	if err := db.QueryRow(t.Context(), "SELECT uniqExact(w, n) FROM t").Scan(&n); err != nil || n != writers*batches*size {
		t.Fatalf("%d rows, err %v", n, err)
	}
}

func TestQueryEndsWithItsContext(t *testing.T) {
	db := storetest.New(t)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	err := db.Exec(ctx, "SELECT count() FROM numbers(1e15) WHERE NOT ignore(sipHash64(number))")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v, want DeadlineExceeded", err)
	}
	// It does not go on running either.
	deadline := time.Now().Add(30 * time.Second)
	for {
		var n uint64
		if err := db.QueryRow(t.Context(), "SELECT count() FROM system.processes WHERE query LIKE '%sipHash64(nu'||'mber)%'").Scan(&n); err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d such queries still run", n)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestPingTellsWhetherTheServerIsThere(t *testing.T) {
	db := storetest.New(t)
	if err := db.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	away, err := store.Open(t.Context(), store.Config{Addr: []string{"127.0.0.1:1"}}, nil)
	if err != nil {
		t.Fatalf("open of a server that is away: %v", err)
	}
	defer away.Close()
	if err := away.Ping(t.Context()); err == nil || store.ErrorCode(err) != 0 {
		t.Errorf("ping of nothing: %v", err)
	}
}

func TestInsertOfUnequalColumnsIsRefused(t *testing.T) {
	db := storetest.New(t)
	if err := db.Exec(t.Context(), "CREATE TABLE t (a UInt64, s String) ENGINE = MergeTree ORDER BY a"); err != nil {
		t.Fatal(err)
	}
	err := db.Insert(t.Context(), "t", 2, []store.Column{{Name: "a", Values: []uint64{1, 2}}, {Name: "s", Values: []string{"one"}}})
	if err == nil || !strings.Contains(err.Error(), "column s has 1 values for 2 rows") {
		t.Fatalf("rows that were not written are taken for written: %v", err)
	}
}

func BenchmarkInsert(b *testing.B) {
	db := storetest.New(b)
	if err := db.Exec(b.Context(), `CREATE TABLE t (id FixedString(16), at DateTime64(9, 'UTC'), kind LowCardinality(String),
		credential String, principal String, n UInt64) ENGINE = MergeTree ORDER BY (credential, at)`); err != nil {
		b.Fatal(err)
	}
	const size = 50_000
	id := make([]byte, 16)
	_, _ = rand.Read(id)
	at := time.Now()
	credentials := make([]string, 1000)
	for i := range credentials {
		credentials[i] = fmt.Sprintf("vault/main/token/%016d", i)
	}
	b.ResetTimer()
	for range b.N {
		batch, err := db.PrepareBatch(b.Context(), "INSERT INTO t")
		if err != nil {
			b.Fatal(err)
		}
		for n := range size {
			if err := batch.Append(id, at, "used", credentials[n%1000], "role/app", uint64(n)); err != nil {
				b.Fatal(err)
			}
		}
		if err := batch.Send(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*size/b.Elapsed().Seconds(), "rows/s")
}
