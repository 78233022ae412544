package scan

import (
	"encoding/binary"
	"math/rand"
	"testing"
)

func TestIdsAreToldApartExactlyHoweverManyAreOnDisk(t *testing.T) {
	rng := rand.New(rand.NewSource(3))
	s := newIDs(1 << 8) // a run on disk for every 192 ids
	defer s.close()
	known := map[id]bool{}
	var all []id
	for range 20_000 {
		var one id
		switch {
		case len(all) > 0 && rng.Intn(3) == 0:
			one = all[rng.Intn(len(all))]
		case rng.Intn(4) == 0: // of equal first bytes, so that blocks begin with the same
			binary.BigEndian.PutUint64(one[:], uint64(rng.Intn(2)))
			binary.BigEndian.PutUint64(one[8:], rng.Uint64())
		default:
			rng.Read(one[:])
		}
		fresh, err := s.add(one)
		if err != nil {
			t.Fatal(err)
		}
		if fresh == known[one] {
			t.Fatalf("%x: new %v after %d ids in %d runs", one, fresh, len(all), len(s.runs))
		}
		if fresh {
			known[one] = true
			all = append(all, one)
		}
	}
	if len(s.runs) < 50 || len(s.held) > 1<<8 {
		t.Errorf("%d runs, %d places in memory", len(s.runs), len(s.held))
	}
}

func TestTheIdOfZerosIsAnIdToo(t *testing.T) {
	s := newIDs(1 << 8)
	for want := range 2 {
		if fresh, err := s.add(id{}); err != nil || fresh != (want == 0) {
			t.Errorf("time %d: new %v %v", want+1, fresh, err)
		}
	}
}
