package chdb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// maxSessions bounds how many statements run at once in each mode.
const maxSessions = 16

// ErrClosed: the engine was closed.
var ErrClosed = errors.New("embedded clickhouse is closed")

// running is the one engine of this process.
var running struct {
	sync.Mutex
	dir string
}

// Engine is the running engine. It is safe for concurrent use.
type Engine struct {
	dir   string
	lock  *os.File
	root  *session // keeps the engine up; used for KILL QUERY under rootMu
	full  *pool
	ro    *pool
	serie atomic.Uint64

	rootMu sync.Mutex
	mu     sync.RWMutex // held for reading by every request
	closed bool
}

// Open starts the engine on dir, which it creates. library is the path of
// libchdb; empty means DefaultLibrary. When that is missing the error is an
// *ErrNoLibrary that says what to run.
func Open(dir, library string) (*Engine, error) {
	chosen := library != ""
	if !chosen {
		library = DefaultLibrary()
	}
	if err := checkLibrary(library, chosen); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("embedded clickhouse: data directory: %w", err)
	}
	running.Lock()
	defer running.Unlock()
	if running.dir != "" {
		return nil, fmt.Errorf("embedded clickhouse runs on %s already: one engine per process", running.dir)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("embedded clickhouse: data directory: %w", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, fmt.Errorf("embedded clickhouse: %s: %w", dir, err)
	}
	if err := load(library); err != nil {
		lock.Close()
		return nil, fmt.Errorf("embedded clickhouse: %w", err)
	}
	// As the server: a lone expression is not a query.
	args := []string{"clickhouse", "--path=" + dir, "--implicit_select=0"}
	root, err := connect(args)
	if err != nil {
		lock.Close()
		return nil, fmt.Errorf("embedded clickhouse: %w", err)
	}
	running.dir = dir
	return &Engine{
		dir: dir, lock: lock, root: root,
		full: newPool(args),
		ro:   newPool(append(slices.Clone(args), "--readonly=1")),
	}, nil
}

// Close waits for the requests in flight and stops the engine.
func (e *Engine) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil
	}
	e.closed = true
	e.full.close()
	e.ro.close()
	e.root.close()
	running.Lock()
	running.dir = ""
	running.Unlock()
	return e.lock.Close()
}

const lockFile = ".leastwise.lock"

// Unused says that dir was an engine's data directory and that no process has
// it open.
func Unused(dir string) bool {
	if _, err := os.Stat(filepath.Join(dir, lockFile)); err != nil {
		return false
	}
	lock, err := lockDir(dir)
	if err != nil {
		return false
	}
	lock.Close()
	return true
}

// lockDir keeps two processes from opening one data directory.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errors.New("data directory is in use by another process")
		}
		return nil, err
	}
	return f, nil
}

// request is one statement with what the protocol says about it.
type request struct {
	stmt     statement
	data     io.Reader // of an insert; nil when inline or none
	format   string    // for output when the statement names none
	database string
	settings map[string]string
	params   map[string]string
	readonly bool
}

// do runs the request. When ctx ends first it kills the statement and returns;
// the session comes back to the pool when the engine has let go of it.
func (e *Engine) do(ctx context.Context, req request) (result, error) {
	e.mu.RLock()
	if e.closed {
		e.mu.RUnlock()
		return result{}, ErrClosed
	}
	p := e.full
	var fixed map[string]string
	if req.readonly {
		// These sessions refuse SET, so settings go in when one is made.
		p, fixed, req.settings = e.ro, req.settings, nil
	}
	s, err := p.get(ctx, fixed)
	if err != nil {
		e.mu.RUnlock()
		return result{}, err
	}
	type outcome struct {
		res result
		err error
	}
	tag := fmt.Sprintf("/*lw-%d*/", e.serie.Add(1))
	done := make(chan outcome, 1)
	go func() {
		defer e.mu.RUnlock()
		res, clean, err := s.run(tag, req)
		p.put(s, clean && len(fixed) == 0)
		done <- outcome{res, err}
	}()
	select {
	case o := <-done:
		return o.res, o.err
	case <-ctx.Done():
		e.kill(tag)
		return result{}, ctx.Err()
	}
}

// kill asks the engine to stop the statement that carries tag. The statement
// is still in flight, so the engine can not be closed meanwhile.
func (e *Engine) kill(tag string) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.closed {
		return
	}
	e.rootMu.Lock()
	defer e.rootMu.Unlock()
	_, _ = e.root.query("KILL QUERY WHERE startsWith(query, '"+tag+"') ASYNC", "Null", nil)
}

// run applies the request's database and settings and executes it. clean says
// whether the session may serve another request: not after an error, since the
// engine keeps a statement that broke off, with its locks and memory, until the
// session's next one.
func (s *session) run(tag string, req request) (res result, clean bool, err error) {
	if err := s.apply(req.database, req.settings); err != nil {
		return result{}, false, err
	}
	if req.readonly {
		if req.stmt.insert {
			return result{}, false, refusal
		}
		if err := s.guard(req.stmt.sql); err != nil {
			return result{}, false, err
		}
	}
	if req.stmt.insert {
		res, err = s.runInsert(tag, req)
	} else {
		res, err = s.query(tag+req.stmt.sql, req.format, req.params)
	}
	return res, err == nil && !req.stmt.stateful, err
}

func (s *session) runInsert(tag string, req request) (result, error) {
	in, err := s.insert(tag+req.stmt.sql, req.stmt.format, req.params)
	if err != nil {
		return result{}, err
	}
	defer in.close()
	if err := in.write([]byte(req.stmt.data)); err != nil {
		return result{}, err
	}
	if req.data != nil {
		if err := in.copy(req.data); err != nil {
			in.cancel()
			return result{}, err
		}
	}
	return in.done()
}

// copy hands over everything of r.
func (in *insertion) copy(r io.Reader) error {
	buf := make([]byte, 1<<20)
	for {
		// Not io.ReadFull: it would make a body that broke off look complete.
		n := 0
		var err error
		for n < len(buf) && err == nil {
			var m int
			m, err = r.Read(buf[n:])
			n += m
		}
		if werr := in.write(buf[:n]); werr != nil {
			return werr
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("read the data of the insert: %w", err)
		}
	}
}

var settingName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_.]*$`)

// apply brings the session to the database and exactly the settings wanted.
func (s *session) apply(database string, settings map[string]string) error {
	if database == "" {
		database = "default"
	}
	if s.database != database {
		if _, err := s.query("USE "+quoteName(database), "Null", nil); err != nil {
			return err
		}
		s.database = database
	}
	var set []string
	for k := range s.settings {
		if _, wanted := settings[k]; !wanted {
			set = append(set, k+" = DEFAULT")
		}
	}
	for k, v := range settings {
		if have, ok := s.settings[k]; ok && have == v {
			continue
		}
		if !settingName.MatchString(k) {
			return unknownSetting(k)
		}
		set = append(set, k+" = "+quoteString(v))
	}
	if len(set) == 0 {
		return nil
	}
	slices.Sort(set)
	if _, err := s.query("SET "+strings.Join(set, ", "), "Null", nil); err != nil {
		return err
	}
	s.settings = make(map[string]string, len(settings))
	for k, v := range settings {
		s.settings[k] = v
	}
	return nil
}

func quoteName(s string) string {
	return "`" + strings.NewReplacer("\\", "\\\\", "`", "\\`").Replace(s) + "`"
}

func quoteString(s string) string {
	return "'" + strings.NewReplacer("\\", "\\\\", "'", "\\'").Replace(s) + "'"
}

// pool keeps sessions that are free. Most recently used first, since it is
// the likeliest to have the right database and settings.
type pool struct {
	args  []string
	slots chan struct{}
	mu    sync.Mutex
	free  []*session
}

func newPool(args []string) *pool {
	return &pool{args: args, slots: make(chan struct{}, maxSessions)}
}

// get returns a free session, or a new one, made for these settings when there
// are any. It waits while maxSessions are in use.
func (p *pool) get(ctx context.Context, settings map[string]string) (*session, error) {
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	s, err := p.take(settings)
	if err != nil {
		<-p.slots
	}
	return s, err
}

func (p *pool) take(settings map[string]string) (*session, error) {
	if len(settings) == 0 {
		p.mu.Lock()
		defer p.mu.Unlock()
		if n := len(p.free); n > 0 {
			s := p.free[n-1]
			p.free = p.free[:n-1]
			return s, nil
		}
		return connect(p.args)
	}
	args := []string{p.args[0]}
	for k, v := range settings {
		if !settingName.MatchString(k) {
			return nil, unknownSetting(k)
		}
		if k != "readonly" && !strings.Contains(k, ".") { // dots are the server's configuration
			args = append(args, "--"+k+"="+v)
		}
	}
	s, err := connect(append(args, p.args[1:]...))
	if err != nil {
		return nil, engineError("Code: 36. DB::Exception: one of the settings in the request has a value that the engine refuses. (BAD_ARGUMENTS)")
	}
	return s, nil
}

func unknownSetting(name string) error {
	return engineError(fmt.Sprintf("Code: 115. DB::Exception: Setting %q is not a name. (UNKNOWN_SETTING)", name))
}

func (p *pool) put(s *session, clean bool) {
	if clean {
		p.mu.Lock()
		p.free = append(p.free, s)
		p.mu.Unlock()
	} else {
		s.close()
	}
	<-p.slots
}

func (p *pool) close() {
	for _, s := range p.free {
		s.close()
	}
	p.free = nil
}

// Dir is the data directory.
func (e *Engine) Dir() string { return e.dir }
