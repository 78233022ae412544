package scan

import (
	"bytes"
	"cmp"
	"container/heap"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
)

// rows are what a part of the report lists, given back sorted by their keys. Beyond some megabytes they lie on disk, as
// sorted runs that are merged when they are read.
type rows[T any] struct {
	held  []row
	bytes int
	most  int // bytes held
	runs  []*spool
	n     int
	err   error // of the last All
}

type row struct {
	key  string
	text []byte // JSON
}

const readBuffer = 64 << 10

func newRows[T any](most int) *rows[T] { return &rows[T]{most: most} }

// add puts a row in. Rows of one key are sorted by what they say.
func (r *rows[T]) add(key string, value *T) error {
	text, err := toText(value)
	if err != nil {
		return err
	}
	r.held = append(r.held, row{key, text})
	r.n++
	if r.bytes += len(key) + len(text) + 64; r.bytes < r.most {
		return nil
	}
	r.sort()
	run := newSpool(readBuffer)
	for _, one := range r.held {
		if _, err := run.put([]byte(one.key), one.text); err != nil {
			return err
		}
	}
	if err := run.flush(); err != nil {
		return err
	}
	run.held = nil
	clear(r.held)
	r.runs, r.held, r.bytes = append(r.runs, run), r.held[:0], 0
	return nil
}

// toText is JSON as the report prints it.
func toText(value any) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

func (r *rows[T]) sort() { slices.SortFunc(r.held, compareRows) }

func compareRows(a, b row) int {
	return cmp.Or(cmp.Compare(a.key, b.key), bytes.Compare(a.text, b.text))
}

// each calls fn with every row's JSON in order. The text is valid until fn returns.
func (r *rows[T]) each(fn func(text []byte) error) error {
	r.sort()
	merging := &merge{{held: r.held}}
	for _, run := range r.runs {
		*merging = append(*merging, &stream{run: run.from(0, readBuffer)})
	}
	for i := 0; i < len(*merging); {
		err := (*merging)[i].advance()
		switch {
		case errors.Is(err, io.EOF):
			*merging = slices.Delete(*merging, i, i+1)
			continue
		case err != nil:
			return err
		}
		i++
	}
	heap.Init(merging)
	for merging.Len() > 0 {
		first := (*merging)[0]
		if err := fn(first.now.text); err != nil {
			return err
		}
		switch err := first.advance(); {
		case errors.Is(err, io.EOF):
			heap.Pop(merging)
		case err != nil:
			return err
		default:
			heap.Fix(merging, 0)
		}
	}
	return nil
}

var errEnough = errors.New("the caller wants no more")

// all gives every row in order. It ends early if one can not be read: the error is kept in err.
func (r *rows[T]) all() iter.Seq2[int, T] {
	return func(yield func(int, T) bool) {
		n := 0
		err := r.each(func(text []byte) error {
			var value T
			if err := json.Unmarshal(text, &value); err != nil {
				return fmt.Errorf("report: %w", err)
			}
			if !yield(n, value) {
				return errEnough
			}
			n++
			return nil
		})
		if !errors.Is(err, errEnough) {
			r.err = err
		}
	}
}

// writeTo prints the rows as a JSON array.
func (r *rows[T]) writeTo(out io.Writer) error {
	before := "["
	err := r.each(func(text []byte) error {
		_, err := io.WriteString(out, before)
		if err == nil {
			_, err = out.Write(text)
		}
		before = ","
		return err
	})
	if err != nil {
		return err
	}
	if before == "[" {
		before = "[]"
	} else {
		before = "]"
	}
	_, err = io.WriteString(out, before)
	return err
}

func (r *rows[T]) close() {
	for _, run := range r.runs {
		run.close()
	}
}

// stream is one sorted run while it is read: from memory, or from disk.
type stream struct {
	held []row
	run  *spoolReader
	now  row
}

func (s *stream) advance() error {
	if s.run == nil {
		if len(s.held) == 0 {
			return io.EOF
		}
		s.now, s.held = s.held[0], s.held[1:]
		return nil
	}
	key, err := s.run.next()
	if err != nil {
		return err
	}
	s.now.key = string(key)
	if s.now.text, err = s.run.next(); errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// merge is a heap of streams by their next rows.
type merge []*stream

func (m merge) Len() int           { return len(m) }
func (m merge) Less(i, j int) bool { return compareRows(m[i].now, m[j].now) < 0 }
func (m merge) Swap(i, j int)      { m[i], m[j] = m[j], m[i] }
func (m *merge) Push(x any)        { *m = append(*m, x.(*stream)) }
func (m *merge) Pop() any {
	last := (*m)[len(*m)-1]
	*m = (*m)[:len(*m)-1]
	return last
}
