package notify

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

var at = time.Date(2026, 3, 4, 10, 0, 0, 0, time.UTC)

func sample() Message {
	end := at.Add(time.Hour)
	return Message{Kind: Violation, Title: "Credential of ingest", Text: "Owner: data\n", Credential: "vault/default/token/a", Agent: "ingest", Owner: "data",
		Severity: "high", LadderID: "l1", At: at, RevokeAt: &end, Until: at.Add(2 * time.Hour),
		Violations: []Violated{{Policy: "long-lived", Metric: "credential_age", Value: "2h", Threshold: "1h"}}}
}

type seen struct {
	path, auth string
	body       []byte
}

func receiver(t *testing.T, code int) (*httptest.Server, *seen) {
	t.Helper()
	got := &seen{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got.path, got.auth = r.URL.Path, r.Header.Get("Authorization")
		got.body, _ = io.ReadAll(r.Body)
		w.WriteHeader(code)
	}))
	t.Cleanup(srv.Close)
	return srv, got
}

func channel(t *testing.T, c Config) Channel {
	t.Helper()
	channels, err := Open(Section{"c": c}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return channels["c"]
}

func secret(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAlertmanagerGetsOneAlertOfItsAPIWithBoundedLabels(t *testing.T) {
	srv, got := receiver(t, 200)
	c := channel(t, Config{Type: "alertmanager", URL: srv.URL + "/", TokenFile: secret(t, "bearer-1")})
	m := sample()
	m.Agent = strings.Repeat("a", 5000)
	if err := c.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	var alerts []struct {
		Labels, Annotations map[string]string
		StartsAt, EndsAt    time.Time
	}
	if err := json.Unmarshal(got.body, &alerts); err != nil || len(alerts) != 1 {
		t.Fatalf("%s: %v", got.body, err)
	}
	a := alerts[0]
	if got.path != "/api/v2/alerts" || got.auth != "Bearer bearer-1" {
		t.Errorf("path %q, auth %q", got.path, got.auth)
	}
	if a.Labels["alertname"] == "" || a.Labels["policy"] != "long-lived" || len(a.Labels) > 8 || utf8.RuneCountInString(a.Labels["agent"]) > 101 {
		t.Errorf("labels %v", a.Labels)
	}
	if a.Annotations["revoke_at"] != "2026-03-04T11:00:00Z" || !a.StartsAt.Equal(at) || !a.EndsAt.Equal(m.Until) {
		t.Errorf("%+v", a)
	}
}

func TestWebhookGetsTheMessageAsJSON(t *testing.T) {
	srv, got := receiver(t, 202)
	if err := channel(t, Config{Type: "webhook", URLFile: secret(t, srv.URL+"/hook")}).Send(t.Context(), sample()); err != nil {
		t.Fatal(err)
	}
	var m Message
	if err := json.Unmarshal(got.body, &m); err != nil || got.path != "/hook" || m.Credential != "vault/default/token/a" || !m.RevokeAt.Equal(at.Add(time.Hour)) {
		t.Errorf("%s %s %v", got.path, got.body, err)
	}
}

func TestShoutrrrDeliversThroughItsService(t *testing.T) {
	srv, got := receiver(t, 200)
	url := "generic+" + srv.URL + "/CANARY-hook"
	if err := channel(t, Config{Type: "shoutrrr", URLFile: secret(t, url)}).Send(t.Context(), sample()); err != nil {
		t.Fatal(err)
	}
	if got.path != "/CANARY-hook" || !strings.Contains(string(got.body), "Credential of ingest") || !strings.Contains(string(got.body), "Owner: data") {
		t.Errorf("%s %s", got.path, got.body)
	}
}

func TestFailuresAreErrorsThatDoNotTellTheURL(t *testing.T) {
	bad, _ := receiver(t, 503)
	redirecting := httptest.NewServer(http.RedirectHandler("http://127.0.0.1:1/", http.StatusTemporaryRedirect))
	defer redirecting.Close()
	for name, c := range map[string]Config{
		"webhook answers 503":       {Type: "webhook", URLFile: secret(t, bad.URL+"/CANARY")},
		"alertmanager answers 503":  {Type: "alertmanager", URLFile: secret(t, bad.URL+"/CANARY")},
		"shoutrrr answers 503":      {Type: "shoutrrr", URLFile: secret(t, "generic+"+bad.URL+"/CANARY")},
		"webhook refused":           {Type: "webhook", URLFile: secret(t, "http://127.0.0.1:1/CANARY")},
		"shoutrrr refused":          {Type: "shoutrrr", URLFile: secret(t, "generic+http://127.0.0.1:1/CANARY")},
		"webhook redirects":         {Type: "webhook", URLFile: secret(t, redirecting.URL+"/CANARY")},
		"webhook has no such host":  {Type: "webhook", URLFile: secret(t, "http://host.invalid/CANARY")},
		"shoutrrr has no such host": {Type: "shoutrrr", URLFile: secret(t, "slack://hook:CANARYCAN-CANARYCAN-CANARYCANCANARYCANCANAR@webhook?channel=host.invalid")},
	} {
		t.Run(name, func(t *testing.T) {
			if strings.Contains(name, "shoutrrr has no such host") {
				t.Skip("would leave the machine")
			}
			c.Timeout = 2 * time.Second
			err := channel(t, c).Send(t.Context(), sample())
			if err == nil || strings.Contains(err.Error(), "CANARY") || strings.Contains(err.Error(), "://") {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestSendEndsWithItsContext(t *testing.T) {
	gone := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-r.Context().Done():
		case <-gone:
		}
	}))
	defer srv.Close()
	defer close(gone)
	for _, typ := range []string{"webhook", "shoutrrr"} {
		url := srv.URL
		if typ == "shoutrrr" {
			url = "generic+" + url
		}
		c := channel(t, Config{Type: typ, URLFile: secret(t, url), Timeout: time.Minute})
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if err := c.Send(ctx, sample()); err == nil {
			t.Errorf("%s: nothing was delivered", typ)
		}
		cancel()
	}
}

func TestStdoutWritesTheText(t *testing.T) {
	var b strings.Builder
	channels, err := Open(Section{"out": {Type: "stdout"}}, &b)
	if err != nil {
		t.Fatal(err)
	}
	if err := channels["out"].Send(t.Context(), sample()); err != nil || b.String() != "Credential of ingest\nOwner: data\n\n" {
		t.Errorf("%q, %v", b.String(), err)
	}
}

func TestBadChannelsAreRefusedWithoutTellingTheirSecrets(t *testing.T) {
	for want, c := range map[string]Config{
		"type":       {Type: "pager"},
		"one of url": {Type: "webhook"},
		"url_file":   {Type: "shoutrrr", URL: "slack://CANARY"},
		"stdout":     {Type: "stdout", URL: "http://x"},
		"http://":    {Type: "webhook", URL: "ftp://x"},
		"password":   {Type: "webhook", URL: "http://u:CANARY@x"},
		"negative":   {Type: "stdout", Timeout: -1},
		"no such":    {Type: "webhook", URLFile: "/nonesuch"},
		"shoutrrr":   {Type: "shoutrrr", URLFile: secret(t, "nonesuch://CANARY")},
		"holds no":   {Type: "shoutrrr", URLFile: secret(t, "CANARY")},
	} {
		_, err := Open(Section{"c": c}, io.Discard)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "CANARY") || !strings.Contains(err.Error(), "channels.c") {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestCleanIsBoundedAndIdempotentOnHarmlessText(t *testing.T) {
	if got := Clean("vault/default/token/abc-1_2.3", 100); got != "vault/default/token/abc-1_2.3" {
		t.Errorf("%q", got)
	}
	if got := Clean(strings.Repeat("é", 1000), 10); utf8.RuneCountInString(got) != 11 {
		t.Errorf("%q", got)
	}
}

func FuzzCleanLeavesNothingThatActs(f *testing.F) {
	f.Add("@everyone <!here> \x1b[2J \xff\u202e\u2028")
	f.Fuzz(func(t *testing.T, text string) {
		got := Clean(text, 50)
		if !utf8.ValidString(got) || utf8.RuneCountInString(got) > 101 { // a word joiner after each @
			t.Errorf("%q", got)
		}
		if strings.ContainsAny(got, "\x00\x1b\r\n\t<>`[]\u202e\u2028") || strings.Contains(got, "@everyone") {
			t.Errorf("%q", got)
		}
	})
}
