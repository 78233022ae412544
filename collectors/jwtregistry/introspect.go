package jwtregistry

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/leastwise/leastwise/collectors/collect"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/valyala/fastjson"
)

// introspecting asks the issuer about each token that a record holds whole, and gives its answer as a record of its own,
// just after: RFC 7662. A token is held for as long as that takes and no longer, so it is asked about once, when its
// record is read; registries tell of later revocations themselves.
//
// While the endpoint is away records go on without its answers, and health says so.
type introspecting struct {
	collect.Feed
	cfg    IntrospectionConfig
	client *http.Client
	say    func(part string, err error)
	now    func() time.Time

	// Only in Read.
	parser fastjson.Parser
	next   time.Time // not asked before
}

const introspectionRest = 30 * time.Second

func (c *Collector) introspecting(feed collect.Feed) (collect.Feed, error) {
	cfg := *c.cfg.Introspection
	cfg.Rate = cmp.Or(cfg.Rate, 50)
	client, err := httpClient(cfg.CAFile)
	if err != nil {
		return nil, errors.Join(err, feed.Close())
	}
	return &introspecting{Feed: feed, cfg: cfg, client: client, say: c.Say, now: c.Now}, nil
}

// Read implements collect.Feed. It gives no more than a second's questions at once.
func (f *introspecting) Read(ctx context.Context, limit int, wait time.Duration, take collect.Take) (int, func() error, error) {
	var tokens [][]byte
	var position string
	n, commit, err := f.Feed.Read(ctx, max(min(limit/2, f.cfg.Rate), 1), wait, func(rec source.Record, bad *source.Malformed) {
		take(rec, bad)
		if token := f.tokenOf(rec.Bytes); bad == nil && len(token) > 0 {
			tokens, position = append(tokens, bytes.Clone(token)), rec.Position
		}
	})
	for _, token := range tokens {
		answer, asked := f.ask(ctx, token)
		if !asked {
			break
		}
		take(source.Record{Bytes: answer, Position: position}, nil)
		n++
	}
	return n, commit, err
}

// tokenOf is the token that a record holds whole; nil if it holds none, or a revocation, which needs no asking.
func (f *introspecting) tokenOf(record []byte) []byte {
	if !bytes.Contains(record, []byte(`"token"`)) {
		return nil
	}
	root, err := f.parser.ParseBytes(record)
	if err != nil {
		return nil
	}
	switch string(root.GetStringBytes("event")) {
	case "revoked", "introspected":
		return nil
	}
	if token := root.GetStringBytes("token"); len(token) > 0 {
		return token
	}
	return root.GetStringBytes("data", "token")
}

// ask gives the issuer's answer as a record of the registry schema. It holds the token, so that the decoder names it as it
// named it in the record before.
func (f *introspecting) ask(ctx context.Context, token []byte) (record []byte, asked bool) {
	if f.now().Before(f.next) {
		return nil, false
	}
	if !collect.Pause(ctx, time.Second/time.Duration(f.cfg.Rate)) {
		return nil, false
	}
	answer, err := f.call(ctx, token)
	if ctx.Err() != nil {
		return nil, false
	}
	if f.say("introspection", err); err != nil {
		f.next = f.now().Add(introspectionRest)
		return nil, false
	}
	record, err = json.Marshal(struct {
		Version int    `json:"version"`
		Event   string `json:"event"`
		Time    string `json:"time"`
		Token   string `json:"token"`
		Active  bool   `json:"active"`
		Expires int64  `json:"exp,omitempty"`
	}{SchemaVersion, "introspected", f.now().UTC().Format(time.RFC3339Nano), string(token), answer.Active, answer.Expires})
	return record, err == nil
}

type introspectionAnswer struct {
	Active  bool  `json:"active"`
	Expires int64 `json:"exp"`
}

func (f *introspecting) call(ctx context.Context, token []byte) (answer introspectionAnswer, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	body := url.Values{"token": {string(token)}}.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, f.cfg.URL, strings.NewReader(body))
	if err != nil {
		return answer, errors.New("introspect: url is none")
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Accept", "application/json")
	if err = authorise(request, "", f.cfg.ClientIDFile, f.cfg.ClientSecretFile); err != nil {
		return answer, fmt.Errorf("introspect: %w", err)
	}
	reply, err := f.client.Do(request)
	if err != nil {
		return answer, fmt.Errorf("introspect: %w", hideQuery(err))
	}
	defer reply.Body.Close()
	switch reply.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized, http.StatusForbidden:
		return answer, fmt.Errorf("introspect: the endpoint answered with status %d; the client of client_id_file must be allowed to introspect", reply.StatusCode)
	default:
		return answer, fmt.Errorf("introspect: the endpoint answered with status %d", reply.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(reply.Body, 1<<20))
	if err != nil {
		return answer, fmt.Errorf("introspect: %w", err)
	}
	if err = json.Unmarshal(text, &answer); err != nil || !fastjson.Exists(text, "active") {
		return answer, errors.New("introspect: the answer has no field active (RFC 7662 section 2.2)")
	}
	return answer, nil
}
