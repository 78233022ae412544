package chdb

import (
	"fmt"
	"runtime"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"
)

// lib is the C API of libchdb, of which Leastwise uses what is below. Handles
// are opaque pointers of the library's; lengths are size_t.
var lib struct {
	connect        func(argc int32, argv unsafe.Pointer) unsafe.Pointer // chdb_connection *
	closeConn      func(conn unsafe.Pointer)
	setSignals     func(enabled int32)
	version        func() string
	query          func(conn unsafe.Pointer, q unsafe.Pointer, qn uintptr, f unsafe.Pointer, fn uintptr) unsafe.Pointer
	queryParams    func(conn unsafe.Pointer, q unsafe.Pointer, qn uintptr, f unsafe.Pointer, fn uintptr, names, nameLens, values, valueLens unsafe.Pointer, n uintptr) unsafe.Pointer
	insert         func(conn unsafe.Pointer, q unsafe.Pointer, qn uintptr, f unsafe.Pointer, fn uintptr) unsafe.Pointer
	insertParams   func(conn unsafe.Pointer, q unsafe.Pointer, qn uintptr, f unsafe.Pointer, fn uintptr, names, nameLens, values, valueLens unsafe.Pointer, n uintptr) unsafe.Pointer
	insertAppend   func(stream, data unsafe.Pointer, n uintptr) int32
	insertDone     func(stream unsafe.Pointer) unsafe.Pointer
	insertCancel   func(stream unsafe.Pointer)
	insertError    func(stream unsafe.Pointer) string
	insertDestroy  func(stream unsafe.Pointer)
	resultBuffer   func(r unsafe.Pointer) unsafe.Pointer
	resultLength   func(r unsafe.Pointer) uintptr
	resultError    func(r unsafe.Pointer) string
	resultElapsed  func(r unsafe.Pointer) float64
	resultRowsRead func(r unsafe.Pointer) uint64
	resultRead     func(r unsafe.Pointer) uint64 // bytes
	resultRowsOut  func(r unsafe.Pointer) uint64 // rows written
	resultWritten  func(r unsafe.Pointer) uint64 // bytes
	destroyResult  func(r unsafe.Pointer)
	classify       func(conn unsafe.Pointer, q unsafe.Pointer, qn uintptr, db unsafe.Pointer, dn uintptr, out unsafe.Pointer) int32
}

var loadOnce sync.Once
var loadErr error
var loadedFrom string

// load maps the library once per process; it can not be unloaded.
func load(path string) error {
	loadOnce.Do(func() {
		loadedFrom = path
		handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_GLOBAL)
		if err != nil {
			loadErr = fmt.Errorf("load %s: %w", path, err)
			return
		}
		for name, fn := range map[string]any{
			"chdb_connect":                     &lib.connect,
			"chdb_close_conn":                  &lib.closeConn,
			"chdb_set_signal_handlers_enabled": &lib.setSignals,
			"chdb_version":                     &lib.version,
			"chdb_query_n":                     &lib.query,
			"chdb_query_with_params_n":         &lib.queryParams,
			"chdb_stream_insert_n":             &lib.insert,
			"chdb_stream_insert_with_params_n": &lib.insertParams,
			"chdb_stream_append":               &lib.insertAppend,
			"chdb_stream_done":                 &lib.insertDone,
			"chdb_stream_cancel_insert":        &lib.insertCancel,
			"chdb_stream_insert_error":         &lib.insertError,
			"chdb_destroy_insert_stream":       &lib.insertDestroy,
			"chdb_result_buffer":               &lib.resultBuffer,
			"chdb_result_length":               &lib.resultLength,
			"chdb_result_error":                &lib.resultError,
			"chdb_result_elapsed":              &lib.resultElapsed,
			"chdb_result_storage_rows_read":    &lib.resultRowsRead,
			"chdb_result_storage_bytes_read":   &lib.resultRead,
			"chdb_result_rows_written":         &lib.resultRowsOut,
			"chdb_result_bytes_written":        &lib.resultWritten,
			"chdb_destroy_query_result":        &lib.destroyResult,
			"chdb_classify_query_n":            &lib.classify,
		} {
			sym, err := purego.Dlsym(handle, name)
			if err != nil {
				loadErr = fmt.Errorf("load %s: %w (another version? run `make libchdb`)", path, err)
				return
			}
			purego.RegisterFunc(fn, sym)
		}
		// The Go runtime owns the process's signals.
		lib.setSignals(0)
	})
	if loadErr == nil && loadedFrom != path {
		return fmt.Errorf("libchdb is loaded from %s already, not from %s: one library per process", loadedFrom, path)
	}
	return loadErr
}

// session is one connection to the engine. It runs one statement at a time and
// remembers what USE and SET changed.
type session struct {
	handle   unsafe.Pointer // chdb_connection *
	database string
	settings map[string]string
}

func connect(args []string) (*session, error) {
	raw := make([][]byte, len(args))
	argv := make([]unsafe.Pointer, len(args)+1)
	var pin runtime.Pinner
	defer pin.Unpin()
	for i, a := range args {
		raw[i] = append([]byte(a), 0)
		pin.Pin(&raw[i][0])
		argv[i] = unsafe.Pointer(&raw[i][0])
	}
	pin.Pin(&argv[0])
	h := lib.connect(int32(len(args)), unsafe.Pointer(&argv[0]))
	if h == nil || *(*unsafe.Pointer)(h) == nil {
		return nil, fmt.Errorf("the engine did not start (see its message above; is %v writable and not in use?)", args[1:])
	}
	return &session{handle: h, database: "default", settings: map[string]string{}}, nil
}

func (s *session) close() { lib.closeConn(s.handle) }

func (s *session) conn() unsafe.Pointer { return *(*unsafe.Pointer)(s.handle) }

// result is what a statement gave. data is Go's own copy.
type result struct {
	data                   []byte
	elapsed                float64
	rowsRead, bytesRead    uint64
	rowsWritten, byteCount uint64
}

// engineError is the engine's own text, "Code: 60. DB::Exception: …".
type engineError string

func (e engineError) Error() string { return string(e) }

// query runs one statement. It blocks until the engine is done.
func (s *session) query(sql, format string, params map[string]string) (result, error) {
	q, f := bytesOf(sql), bytesOf(format)
	var r unsafe.Pointer
	if len(params) == 0 {
		r = lib.query(s.conn(), q, uintptr(len(sql)), f, uintptr(len(format)))
	} else {
		p := pinParams(params)
		defer p.unpin()
		r = lib.queryParams(s.conn(), q, uintptr(len(sql)), f, uintptr(len(format)), p.names, p.nameLens, p.values, p.valueLens, p.n)
	}
	runtime.KeepAlive(sql)
	runtime.KeepAlive(format)
	return take(r)
}

func take(r unsafe.Pointer) (result, error) {
	if r == nil {
		return result{}, engineError("Code: 1002. DB::Exception: the engine returned nothing")
	}
	defer lib.destroyResult(r)
	if msg := lib.resultError(r); msg != "" {
		return result{}, engineError(msg)
	}
	res := result{
		elapsed:  lib.resultElapsed(r),
		rowsRead: lib.resultRowsRead(r), bytesRead: lib.resultRead(r),
		rowsWritten: lib.resultRowsOut(r), byteCount: lib.resultWritten(r),
	}
	if n := lib.resultLength(r); n > 0 {
		res.data = append(res.data, unsafe.Slice((*byte)(lib.resultBuffer(r)), n)...)
	}
	return res, nil
}

// insertion is an INSERT whose data comes in pieces. The session is busy until
// close.
type insertion struct{ stream unsafe.Pointer }

func (s *session) insert(sql, format string, params map[string]string) (*insertion, error) {
	q, f := bytesOf(sql), bytesOf(format)
	var st unsafe.Pointer
	if len(params) == 0 {
		st = lib.insert(s.conn(), q, uintptr(len(sql)), f, uintptr(len(format)))
	} else {
		p := pinParams(params)
		defer p.unpin()
		st = lib.insertParams(s.conn(), q, uintptr(len(sql)), f, uintptr(len(format)), p.names, p.nameLens, p.values, p.valueLens, p.n)
	}
	runtime.KeepAlive(sql)
	runtime.KeepAlive(format)
	in := &insertion{st}
	if err := in.err(); err != nil {
		in.close()
		return nil, err
	}
	return in, nil
}

func (in *insertion) err() error {
	if msg := lib.insertError(in.stream); msg != "" {
		return engineError(msg)
	}
	return nil
}

// write hands over a piece, which the engine copies.
func (in *insertion) write(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if lib.insertAppend(in.stream, unsafe.Pointer(&b[0]), uintptr(len(b))) == 0 {
		return nil
	}
	if err := in.err(); err != nil {
		return err
	}
	return engineError("Code: 1002. DB::Exception: the insert was refused without a reason")
}

// done commits. Without it, close discards what was not written yet.
func (in *insertion) done() (result, error) { return take(lib.insertDone(in.stream)) }

func (in *insertion) cancel() { lib.insertCancel(in.stream) }

func (in *insertion) close() { lib.insertDestroy(in.stream) }

func bytesOf(s string) unsafe.Pointer {
	if s == "" {
		return nil
	}
	return unsafe.Pointer(unsafe.StringData(s))
}

// paramArrays are the parallel arrays the C API wants, kept in place.
type paramArrays struct {
	runtime.Pinner
	names, nameLens, values, valueLens unsafe.Pointer
	n                                  uintptr
}

func pinParams(params map[string]string) *paramArrays {
	n := len(params)
	names, values := make([]unsafe.Pointer, 0, n), make([]unsafe.Pointer, 0, n)
	nameLens, valueLens := make([]uintptr, 0, n), make([]uintptr, 0, n)
	p := &paramArrays{n: uintptr(n)}
	add := func(s string, ptrs *[]unsafe.Pointer, lens *[]uintptr) {
		b := append([]byte(s), 0)
		p.Pin(&b[0])
		*ptrs = append(*ptrs, unsafe.Pointer(&b[0]))
		*lens = append(*lens, uintptr(len(s)))
	}
	for k, v := range params {
		add(k, &names, &nameLens)
		add(v, &values, &valueLens)
	}
	p.Pin(&names[0])
	p.Pin(&values[0])
	p.Pin(&nameLens[0])
	p.Pin(&valueLens[0])
	p.names, p.values = unsafe.Pointer(&names[0]), unsafe.Pointer(&values[0])
	p.nameLens, p.valueLens = unsafe.Pointer(&nameLens[0]), unsafe.Pointer(&valueLens[0])
	return p
}

func (p *paramArrays) unpin() { p.Unpin() }
