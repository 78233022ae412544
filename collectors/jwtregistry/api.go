package jwtregistry

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/leastwise/leastwise/collectors/collect"
	"github.com/leastwise/leastwise/collectors/jsonrecord"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/valyala/fastjson"
)

// place is up to where a registry has been published: the feed's checkpoint.
type place struct {
	Cursor string    `json:"cursor,omitempty"`
	ETag   string    `json:"etag,omitempty"`
	Since  time.Time `json:"since,omitzero"`
}

// apiFeed reads a registry's pages one after another. Only one page is held.
type apiFeed struct {
	cfg        APIConfig
	client     *http.Client
	checkpoint string
	maxRecord  int
	now        func() time.Time

	// Only in Read.
	at      place
	idle    time.Time // nothing is asked before
	records [][]byte  // of the page, not given yet
	after   place     // once they are published
	url     string
}

func newAPIFeed(cfg APIConfig, checkpoint string, maxRecord int, now func() time.Time) (*apiFeed, error) {
	client, err := httpClient(cfg.CAFile)
	if err != nil {
		return nil, err
	}
	cfg.Paging = cmp.Or(cfg.Paging, "cursor")
	cfg.CursorField = cmp.Or(cfg.CursorField, "next_cursor")
	cfg.CursorParameter = cmp.Or(cfg.CursorParameter, "cursor")
	cfg.SinceParameter = cmp.Or(cfg.SinceParameter, "since")
	cfg.Overlap = cmp.Or(cfg.Overlap, 5*time.Minute)
	cfg.Interval = cmp.Or(cfg.Interval, 10*time.Second)
	cfg.MaxPageBytes = cmp.Or(cfg.MaxPageBytes, int64(64<<20))
	f := &apiFeed{cfg: cfg, client: client, checkpoint: checkpoint, maxRecord: cmp.Or(maxRecord, source.DefaultMaxLine), now: now}
	text, err := os.ReadFile(checkpoint)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return f, nil
	case err != nil:
		return nil, fmt.Errorf("read checkpoint: %w", err)
	}
	if err := json.Unmarshal(text, &f.at); err != nil {
		return nil, fmt.Errorf("checkpoint %s is damaged; remove it to read the registry from its start again, which is safe: events are counted once", checkpoint)
	}
	return f, nil
}

// Close implements collect.Feed.
func (f *apiFeed) Close() error {
	f.client.CloseIdleConnections()
	return nil
}

// Read implements collect.Feed.
func (f *apiFeed) Read(ctx context.Context, limit int, wait time.Duration, take collect.Take) (int, func() error, error) {
	if len(f.records) == 0 {
		if left := f.idle.Sub(f.now()); left > 0 {
			collect.Pause(ctx, min(wait, left))
			return 0, nil, nil
		}
		if err := f.page(ctx); err != nil {
			if ctx.Err() != nil {
				return 0, nil, nil
			}
			return 0, nil, err
		}
	}
	n := min(limit, len(f.records))
	for _, record := range f.records[:n] {
		var bad *source.Malformed
		if len(record) > f.maxRecord {
			bad = &source.Malformed{Reason: source.ReasonTooLong, Detail: "a record of the page is longer than the limit"}
		}
		take(source.Record{Bytes: record, Position: f.url}, bad)
	}
	if f.records = f.records[n:]; len(f.records) > 0 {
		return n, nil, nil
	}
	f.records = nil
	if f.after == f.at {
		return n, nil, nil
	}
	f.at = f.after
	at := f.at
	return n, func() error { return at.save(f.checkpoint) }, nil
}

func (p place) save(path string) error {
	text, err := json.Marshal(p)
	if err == nil {
		err = source.ReplaceFile(path, append(text, '\n'))
	}
	if err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	return nil
}

// page asks for the next page. Without anything new there are no records, and asking rests for the interval.
func (f *apiFeed) page(ctx context.Context) error {
	f.after = f.at
	request, err := f.request(ctx)
	if err != nil {
		return err
	}
	answer, err := f.client.Do(request)
	if err != nil {
		return fmt.Errorf("ask the registry: %w", hideQuery(err))
	}
	defer answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusNotModified:
		f.rest()
		return nil
	case http.StatusOK:
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("ask the registry: it answered with status %d; check token_file or client_id_file", answer.StatusCode)
	case http.StatusGone:
		// RFC 9110 section 15.5.11: what the cursor pointed at is gone. Records are counted once, so begin again.
		f.at = place{}
		return errors.New("ask the registry: it has forgotten the cursor (status 410); reading begins at its start again")
	default:
		return fmt.Errorf("ask the registry: it answered with status %d", answer.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, f.cfg.MaxPageBytes+1))
	if err != nil {
		return fmt.Errorf("read the registry's answer: %w", err)
	}
	if int64(len(body)) > f.cfg.MaxPageBytes {
		return fmt.Errorf("read the registry's answer: it is longer than max_page_bytes (%d)", f.cfg.MaxPageBytes)
	}
	if fastjson.ValidateBytes(body) != nil {
		return errors.New("read the registry's answer: it is not JSON")
	}
	f.records = pageRecords(body)
	f.move(body, answer.Header.Get("ETag"))
	return nil
}

func (f *apiFeed) rest() { f.idle = f.now().Add(f.cfg.Interval) }

// move decides where reading goes on once this page is published.
func (f *apiFeed) move(body []byte, etag string) {
	switch f.cfg.Paging {
	case "cursor":
		if next := fastjson.GetString(body, f.cfg.CursorField); next != "" && next != f.at.Cursor {
			if f.after = (place{Cursor: next}); len(f.records) == 0 {
				f.rest()
			}
			return
		}
		f.after.ETag = etag // the last page, which grows
	case "since":
		for _, record := range f.records {
			if t := recordTime(record); t.After(f.after.Since) && t.Before(f.now().Add(time.Hour)) {
				f.after.Since = t
			}
		}
		f.after.ETag = etag
		if f.after.Since != f.at.Since {
			f.after.ETag = "" // of another question
		}
	default:
		f.after.ETag = etag
	}
	f.rest()
}

func recordTime(record []byte) time.Time {
	v, err := fastjson.ParseBytes(record)
	if err != nil {
		return time.Time{}
	}
	for _, name := range [...]string{"time", "iat"} {
		if t, ok := jsonrecord.Time(v.Get(name)); ok {
			return t
		}
	}
	return time.Time{}
}

// pageRecords splits an answer.
func pageRecords(body []byte) [][]byte {
	var records [][]byte
	root, err := fastjson.ParseBytes(body)
	if err != nil {
		return nil
	}
	list := root.GetArray()
	for _, key := range recordKeys {
		if list == nil {
			list = root.GetArray(key)
		}
	}
	for _, record := range list {
		records = append(records, record.MarshalTo(nil))
	}
	return records
}

func (f *apiFeed) request(ctx context.Context) (*http.Request, error) {
	u, err := url.Parse(f.cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("ask the registry: %w", err)
	}
	query := u.Query()
	switch {
	case f.cfg.Paging == "cursor" && f.at.Cursor != "":
		query.Set(f.cfg.CursorParameter, f.at.Cursor)
	case f.cfg.Paging == "since" && !f.at.Since.IsZero():
		query.Set(f.cfg.SinceParameter, sinceText(f.at.Since.Add(-f.cfg.Overlap), f.cfg.SinceFormat))
	}
	u.RawQuery = query.Encode()
	f.url = u.Scheme + "://" + u.Host + u.Path
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("ask the registry: %w", err)
	}
	request.Header.Set("Accept", "application/json")
	if f.at.ETag != "" {
		request.Header.Set("If-None-Match", f.at.ETag)
	}
	return request, authorise(request, f.cfg.TokenFile, f.cfg.ClientIDFile, f.cfg.ClientSecretFile)
}

// authorise adds a bearer token or a client's id and secret, read from files anew.
func authorise(request *http.Request, tokenFile, idFile, secretFile string) error {
	if tokenFile != "" {
		token, err := readSecret(tokenFile)
		if err != nil {
			return err
		}
		request.Header.Set("Authorization", "Bearer "+token)
	}
	if idFile != "" {
		id, err := readSecret(idFile)
		if err != nil {
			return err
		}
		secret, err := readSecret(secretFile)
		if err != nil {
			return err
		}
		// RFC 6749 section 2.3.1: both are form-encoded first.
		request.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
	}
	return nil
}

func sinceText(t time.Time, format string) string {
	switch format {
	case "unix":
		return strconv.FormatInt(t.Unix(), 10)
	case "unix_ms":
		return strconv.FormatInt(t.UnixMilli(), 10)
	}
	return t.UTC().Format(time.RFC3339)
}

// hideQuery drops the URL from an error of the client: its query is nobody's business.
func hideQuery(err error) error {
	var failed *url.Error
	if errors.As(err, &failed) {
		return failed.Err
	}
	return err
}
