package agentlog

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestWhatTheReceiverDoesNotTakeIsSentAgainWithTheSameIDs(t *testing.T) {
	status := http.StatusServiceUnavailable
	var got [][]string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var export struct {
			ResourceSpans []struct {
				ScopeSpans []struct {
					Spans []struct{ SpanID, Name string }
				}
			}
		}
		if err := json.NewDecoder(r.Body).Decode(&export); err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("%s: %v", r.URL.Path, err)
		}
		var ids []string
		for _, s := range export.ResourceSpans[0].ScopeSpans[0].Spans {
			ids = append(ids, s.Name+" "+s.SpanID)
		}
		got = append(got, ids)
		w.WriteHeader(status)
	}))
	defer server.Close()
	l := New(strings.TrimPrefix(server.URL, "http://"), "service", "agent")
	l.Add(Span{Start: time.Now(), End: time.Now(), Name: "one", Attributes: map[string]string{"a": "b"}})
	if err := l.export(t.Context()); err == nil || l.Sent() != 0 {
		t.Fatalf("error %v, %d sent", err, l.Sent())
	}
	l.Add(Span{Name: "two"})
	status = http.StatusOK
	if err := l.export(t.Context()); err != nil || l.Sent() != 2 {
		t.Fatalf("error %v, %d sent", err, l.Sent())
	}
	if err := l.export(t.Context()); err != nil || len(got) != 2 {
		t.Errorf("error %v, exports %v: what was taken is sent again", err, got)
	}
	if len(got[0]) != 1 || len(got[1]) != 2 || got[0][0] != got[1][0] {
		t.Errorf("exports %v", got)
	}
}
