package certlog

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/transparency-dev/tessera/ctonly"
	"golang.org/x/crypto/cryptobyte"
)

func TestEveryEntryOfATesseraLogIsPublished(t *testing.T) {
	ca := newAuthority(t, "CA")
	l := newStaticLog(t, nil)
	l.issuer(ca)
	l.add(workloads(ca, 1, 301)...) // more than a tile
	for _, verify := range []string{VerifySampled, VerifyFull} {
		s := newSite(t, verify, l.config())
		stop := s.start()
		s.wait(serials(1, 301)...)
		s.waitPosition("tiles", 300)
		stop()
		if alarms := s.alarms(); len(alarms) > 0 {
			t.Errorf("%s: alarms %v", verify, alarms)
		}
		for _, ev := range s.broker.Events() {
			if ev.Credential != keyOf(ca, ev.Labels["serial_number"]) || ev.Labels["log"] != "tiles" {
				t.Errorf("event %v", ev)
			}
		}
	}
	s := newSite(t, VerifyFull, l.config())
	stop := s.start()
	s.wait(serials(1, 301)...)
	stop()
	l.add(workloads(ca, 301, 304)...)
	s.start()
	s.wait(serials(1, 304)...)
	if n := len(s.broker.Events()); n != 303 {
		t.Errorf("%d events, want 303", n)
	}
}

func TestReadingATesseraLogFromNow(t *testing.T) {
	ca := newAuthority(t, "CA")
	l := newStaticLog(t, nil)
	l.issuer(ca)
	l.add(workloads(ca, 1, 271)...)
	cfg := l.config()
	cfg.Start = StartNow
	s := newSite(t, VerifyFull, cfg)
	s.start()
	s.waitPosition("tiles", 270)
	l.add(workloads(ca, 600, 603)...)
	s.wait(serials(600, 603)...)
	if alarms := s.alarms(); len(alarms) > 0 {
		t.Errorf("alarms %v", alarms)
	}
}

func TestPartialTilesThatAreGoneAreTakenFromTheFullOne(t *testing.T) {
	ca := newAuthority(t, "CA")
	l := newStaticLog(t, nil)
	l.issuer(ca)
	l.add(workloads(ca, 1, 101)...)
	checkpoint, err := os.ReadFile(filepath.Join(l.dir, "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	l.add(workloads(ca, 101, 301)...)
	for _, gone := range []string{"tile/data/000.p", "tile/0/000.p"} {
		if err := os.RemoveAll(filepath.Join(l.dir, gone)); err != nil {
			t.Fatal(err)
		}
	}
	l.set(func(l *staticLog) { // the old checkpoint first
		l.fault = func(w http.ResponseWriter, path string) bool {
			if path == "/checkpoint" {
				w.Write(checkpoint)
			}
			return path == "/checkpoint"
		}
	})
	s := newSite(t, VerifyFull, l.config())
	s.start()
	s.waitPosition("tiles", 100)
	if n := len(s.serials()); n != 100 {
		t.Errorf("%d certificates, want 100", n)
	}
	l.set(func(l *staticLog) { l.fault = nil })
	s.wait(serials(1, 301)...)
	if alarms := s.alarms(); len(alarms) > 0 {
		t.Errorf("alarms %v", alarms)
	}
}

// broken answers some paths by changing what is there; nil: not found.
func broken(l *staticLog, prefix string, change func([]byte) []byte) func(w http.ResponseWriter, path string) bool {
	return func(w http.ResponseWriter, path string) bool {
		if !strings.HasPrefix(path, prefix) {
			return false
		}
		text, err := os.ReadFile(filepath.Join(l.serve, path))
		if err == nil && change != nil {
			text = change(bytes.Clone(text))
		}
		if err != nil || text == nil || change == nil {
			http.Error(w, "no", http.StatusNotFound)
			return true
		}
		w.Write(text)
		return true
	}
}

func flip(at int) func([]byte) []byte {
	return func(text []byte) []byte {
		if at < 0 {
			at += len(text)
		}
		text[min(at, len(text)-1)] ^= 1
		return text
	}
}

func TestFaultsOfATiledLogRaiseAnAlarmAndStopReading(t *testing.T) {
	ca := newAuthority(t, "CA")
	l := newStaticLog(t, nil)
	l.issuer(ca)
	l.add(workloads(ca, 1, 21)...)
	early := filepath.Join(t.TempDir(), "early")
	if err := os.CopyFS(early, os.DirFS(l.dir)); err != nil {
		t.Fatal(err)
	}
	l.add(workloads(ca, 21, 401)...)
	other := newStaticLog(t, l.signer) // the same key, another history
	other.issuer(ca)
	other.add(workloads(ca, 1001, 1031)...)

	for name, c := range map[string]struct {
		verify string
		fault  func(l *staticLog)
		alarm  string
	}{
		"a checkpoint that is not signed": {VerifySampled, func(l *staticLog) {
			l.fault = broken(l, "/checkpoint", func(text []byte) []byte {
				return bytes.Replace(text, []byte("\n400\n"), []byte("\n399\n"), 1)
			})
		}, AlarmBadSignature},
		"a checkpoint of another origin": {VerifySampled, func(l *staticLog) {
			l.fault = broken(l, "/checkpoint", func(text []byte) []byte {
				return bytes.ReplaceAll(text, []byte(staticOrigin), []byte("ct.example.test/2027"))
			})
		}, AlarmBadSignature},
		"another history": {VerifySampled, func(l *staticLog) { l.serve = other.dir }, AlarmRewrittenHistory},
		"a data tile that is gone": {VerifySampled, func(l *staticLog) {
			l.fault = broken(l, "/tile/data/", nil)
		}, AlarmGap},
		"a data tile that is cut": {VerifySampled, func(l *staticLog) {
			l.fault = broken(l, "/tile/data/", func(text []byte) []byte { return text[:len(text)/8] })
		}, AlarmGap},
		"another certificate in a data tile, sampled": {VerifySampled, func(l *staticLog) {
			l.fault = broken(l, "/tile/data/", func([]byte) []byte { return dataTile(ca, 256) })
		}, AlarmWrongInclusion},
		"another certificate in a data tile, full": {VerifyFull, func(l *staticLog) {
			l.fault = broken(l, "/tile/data/", func([]byte) []byte { return dataTile(ca, 256) })
		}, AlarmWrongInclusion},
		"hashes that are wrong": {VerifySampled, func(l *staticLog) {
			l.fault = broken(l, "/tile/0/", flip(32*8))
		}, AlarmRewrittenHistory},
		"hashes that are gone": {VerifySampled, func(l *staticLog) {
			l.fault = broken(l, "/tile/0/", nil)
		}, AlarmUnproven},
		"an issuer that is gone": {VerifySampled, func(l *staticLog) {
			l.fault = broken(l, "/issuer/", nil)
		}, AlarmGap},
		"an issuer that is another": {VerifySampled, func(l *staticLog) {
			l.fault = broken(l, "/issuer/", flip(-1))
		}, AlarmGap},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, c.verify, l.config())
			l.set(func(l *staticLog) { l.serve, l.fault = early, nil })
			stop := s.drive()
			s.waitPosition("tiles", 20)
			stop()
			l.set(func(l *staticLog) { l.serve = l.dir; c.fault(l) })
			stop = s.drive()
			s.waitAlarm(c.alarm)
			if !slices.Equal(s.serials(), serials(1, 21)) || s.state("tiles").Position != 20 {
				t.Errorf("entries that are not proven were published: %v", s.serials())
			}
			l.set(func(l *staticLog) { l.serve, l.fault = l.dir, nil })
			s.wait(serials(1, 401)...)
			stop()
			for _, ev := range s.events() {
				if ev.Labels["alarm"] != "" && ev.Kind != leastwisev1.Event_NOTED {
					t.Errorf("event %v", ev)
				}
			}
		})
	}
}

// dataTile is a well-formed tile of entries that are not the log's.
func dataTile(ca *authority, n int) []byte {
	e := workloads(ca, 999, 1000)[0]
	var out []byte
	for i := range n {
		out = append(out, e.entry.LeafData(uint64(i))...)
	}
	return out
}

func TestTileLeavesAreThoseOfTheMerkleTree(t *testing.T) {
	ca := newAuthority(t, "CA")
	for i, e := range workloads(ca, 1, 3) {
		data := cryptobyte.String(append(e.entry.LeafData(7), 0xff))
		l, _, ok := readTileLeaf(&data)
		if !ok || !bytes.Equal(l.input, e.entry.MerkleTreeLeaf(7)) || len(data) != 1 || (len(l.issuer) == 32) != (i == 0) {
			t.Errorf("entry %d: %v, %d bytes left, issuer %x", i, ok, len(data), l.issuer)
		}
	}
}

func FuzzTileLeaf(f *testing.F) {
	f.Add((&ctonly.Entry{Certificate: []byte("certificate"), FingerprintsChain: [][32]byte{{1}}}).LeafData(7))
	f.Add((&ctonly.Entry{IsPrecert: true, Certificate: []byte("tbs"), Precertificate: []byte("precertificate"), IssuerKeyHash: make([]byte, 32)}).LeafData(8))
	f.Fuzz(func(t *testing.T, text []byte) {
		s := cryptobyte.String(text)
		l, _, ok := readTileLeaf(&s)
		if ok && (len(s) >= len(text) || len(l.input) < 14) {
			t.Fatalf("%d of %d bytes left", len(s), len(text))
		}
	})
}

func FuzzCheckpoint(f *testing.F) {
	key := newSigner(f)
	s := newStatic(nil, &logKey{public: &key.key.PublicKey}, staticOrigin)
	f.Add([]byte(staticOrigin+"\n1\nAAAA\n"), []byte("12345678"))
	f.Add([]byte(staticOrigin+"\n1\nAAAA\n"), make([]byte, 12))
	f.Fuzz(func(t *testing.T, text, signature []byte) {
		if s.verifier().Verify(text, signature) {
			t.Fatal("verified")
		}
	})
}

func TestTilePathsAreOfThreeDigits(t *testing.T) {
	var asked []string
	l := newStaticLog(t, nil)
	l.set(func(l *staticLog) {
		l.fault = func(w http.ResponseWriter, path string) bool { asked = append(asked, path); return false }
	})
	g, err := newGetter(l.config())
	if err != nil {
		t.Fatal(err)
	}
	s := newStatic(g, nil, staticOrigin)
	s.partly(t.Context(), "tile/data", 1234067, 12, 10)
	s.tile(t.Context(), 2, 7, 0)
	want := "[/tile/data/x001/x234/067.p/12 /tile/data/x001/x234/067 /tile/2/007]"
	if got := fmt.Sprint(asked); got != want {
		t.Errorf("asked for %s, want %s", got, want)
	}
}
