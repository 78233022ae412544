package certlog

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

func recorded(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "recorded", name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// serving answers one path.
func serving(t *testing.T, path string, text []byte) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != path {
			http.NotFound(w, r)
			return
		}
		w.Write(text)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestTreeHeadsOfPublicLogsVerify(t *testing.T) {
	for _, c := range []struct {
		cfg  LogConfig
		size uint64
	}{
		{LogConfig{Name: "pilot", Kind: KindRFC6962, URL: serving(t, "/ct/v1/get-sth", recorded(t, "get-sth.json")), PublicKeyFile: "testdata/recorded/pilot.pem"}, 3721782},
		{LogConfig{Name: "rome", Kind: KindStaticCT, URL: serving(t, "/checkpoint", recorded(t, "checkpoint")), PublicKeyFile: "testdata/recorded/rome.b64", Origin: "rome.ct.filippo.io/2024h1"}, 115474666},
	} {
		l, err := newLog(c.cfg, Config{})
		if err != nil {
			t.Fatal(err)
		}
		if h, err := l.client.head(t.Context()); err != nil || h.Size != c.size || len(h.Root) != 32 || h.Timestamp < 1390000000000 {
			t.Errorf("%s: %+v, %v", c.cfg.Name, h, err)
		}
	}
}

func TestEntriesOfPublicLogsAreRead(t *testing.T) {
	want := map[string][]string{
		"get-entries.json":  {"dns/mail.google.com", "dns/www.struleartscentre.purchase-tickets-online.co.uk", "dns/www.netkeiba.com", "dns/oxfordplayhouse.com"},
		"more-entries.json": {"dns/kjasdhf.trust", "dns/csrcn.ssl24.jp"},
	}
	for name, principals := range want {
		records, d := Records(bytes.NewReader(recorded(t, name)), 0), NewDecoder(Options{All: true})
		var got []string
		for {
			line, err := records.Next()
			if err != nil {
				break
			}
			events, err := d.Decode(nil, source.Record{Bytes: line.Bytes})
			if err != nil || len(events) != 1 || events[0].Kind != leastwisev1.Event_ISSUED || events[0].Lifetime.ExpiresAt == nil || events[0].Labels["issuer_key"] != "" {
				t.Errorf("%s: %v, %v", name, events, err)
				continue
			}
			got = append(got, events[0].Principal[len("certlog/default/"):])
		}
		if !slices.Equal(got, principals) {
			t.Errorf("%s: %q, want %q", name, got, principals)
		}
	}
}
