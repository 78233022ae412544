package scan

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"os"
	"slices"
)

// id of an event: a hash, so its bytes are as good as random.
type id = [16]byte

// ids tells, exactly, whether an id was seen before. So many are held in memory; more go to runs on disk, sorted, of
// which memory keeps a filter of ten bits an id.
type ids struct {
	held []id // open addressing; the zero id marks a free place
	zero bool // the zero id itself was seen
	n    int
	most int // places before a run is written
	runs []*run
}

const (
	idBytes  = len(id{})
	runBlock = 256 // ids read at once
)

// newIDs holds up to most ids in memory, a power of two.
func newIDs(most int) *ids { return &ids{held: make([]id, min(most, 1<<10)), most: most} }

// add puts an id in and tells whether it is new.
func (s *ids) add(one id) (fresh bool, err error) {
	if one == (id{}) {
		fresh, s.zero = !s.zero, true
		return fresh, nil
	}
	at := s.place(one)
	if s.held[at] == one {
		return false, nil
	}
	for _, r := range s.runs {
		if found, err := r.has(one); found || err != nil {
			return false, err
		}
	}
	s.held[at] = one
	s.n++
	if s.n*4 < len(s.held)*3 {
		return true, nil
	}
	if len(s.held) >= s.most {
		return true, s.putAway()
	}
	before := s.held
	s.held = make([]id, 2*len(before))
	for _, one := range before {
		if one != (id{}) {
			s.held[s.place(one)] = one
		}
	}
	return true, nil
}

// place of an id, or where it would go.
func (s *ids) place(one id) int {
	mask := len(s.held) - 1
	at := int(binary.LittleEndian.Uint64(one[8:])) & mask
	for s.held[at] != one && s.held[at] != (id{}) {
		at = (at + 1) & mask
	}
	return at
}

func (s *ids) putAway() error {
	all := slices.DeleteFunc(slices.Clone(s.held), func(one id) bool { return one == id{} })
	slices.SortFunc(all, func(a, b id) int { return bytes.Compare(a[:], b[:]) })
	r, err := newRun(all)
	if err != nil {
		return fmt.Errorf("put away event ids: %w", err)
	}
	s.runs = append(s.runs, r)
	clear(s.held)
	s.n = 0
	return nil
}

func (s *ids) close() {
	for _, r := range s.runs {
		r.file.Close()
	}
}

// run is a sorted file of ids.
type run struct {
	file   *os.File
	n      int
	firsts []uint64 // of each block
	filter []uint64 // Bloom filter
	block  []byte
}

const (
	filterBits   = 10 // an id
	filterHashes = 6
)

func newRun(sorted []id) (*run, error) {
	file, err := scratch()
	if err != nil {
		return nil, err
	}
	r := &run{file: file, n: len(sorted), filter: make([]uint64, (len(sorted)*filterBits+63)/64),
		block: make([]byte, runBlock*idBytes)}
	out := bufio.NewWriterSize(file, 64<<10)
	for i, one := range sorted {
		if i%runBlock == 0 {
			r.firsts = append(r.firsts, binary.BigEndian.Uint64(one[:]))
		}
		r.bits(one, func(word int, bit uint64) bool {
			r.filter[word] |= bit
			return true
		})
		_, _ = out.Write(one[:]) // Flush tells the error
	}
	if err := out.Flush(); err != nil {
		file.Close()
		return nil, err
	}
	return r, nil
}

// bits calls fn for the bits of the filter that an id sets, until it says no.
func (r *run) bits(one id, fn func(word int, bit uint64) bool) bool {
	a, b := binary.BigEndian.Uint64(one[:]), binary.LittleEndian.Uint64(one[8:])|1
	for range filterHashes {
		a += b
		place, _ := bits.Mul64(a, uint64(len(r.filter)*64))
		if !fn(int(place/64), 1<<(place%64)) {
			return false
		}
	}
	return true
}

func (r *run) has(one id) (bool, error) {
	if !r.bits(one, func(word int, bit uint64) bool { return r.filter[word]&bit != 0 }) {
		return false, nil
	}
	// Ids of one block's first eight bytes may begin in the block before.
	at, same := slices.BinarySearch(r.firsts, binary.BigEndian.Uint64(one[:]))
	for first := max(0, at-1); first < len(r.firsts) && (first < at || same && r.firsts[first] == r.firsts[at]); first++ {
		held := r.block[:min(runBlock, r.n-first*runBlock)*idBytes]
		if _, err := r.file.ReadAt(held, int64(first*runBlock*idBytes)); err != nil {
			return false, fmt.Errorf("look up an event id: %w", err)
		}
		low, high := 0, len(held)/idBytes
		for low < high {
			middle := (low + high) / 2
			switch bytes.Compare(held[middle*idBytes:(middle+1)*idBytes], one[:]) {
			case 0:
				return true, nil
			case -1:
				low = middle + 1
			default:
				high = middle
			}
		}
	}
	return false, nil
}
