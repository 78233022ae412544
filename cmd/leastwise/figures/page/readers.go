package page

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/leastwise/leastwise/console"
	"github.com/leastwise/leastwise/console/contract"
)

// site is the running console, with names of what there is to look at.
type site struct {
	base, socket string
	keys         []string // of credentials past policy, and of some others
	names        []string // of identities
}

// reader is somebody signed in, with a browser's cookie and its cache of answers.
type reader struct {
	site   *site
	client *http.Client
	random *rand.Rand
	tags   map[string]string
	cached map[string][]byte
	note   func(name string, took time.Duration, err error)
}

// join signs somebody in with a link of their own.
func (s *site) join(ctx context.Context, number int, note func(string, time.Duration, error)) (*reader, error) {
	roles, owners := []string{"owner"}, []string{fmt.Sprintf("team-%d", 1+number%59)}
	if number%4 == 0 {
		roles, owners = []string{"viewer", "security", "approver"}, nil
	}
	link, err := console.AskLink(ctx, s.socket, fmt.Sprintf("reader-%d", number), roles, owners)
	if err != nil {
		return nil, err
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	r := &reader{site: s, client: &http.Client{Jar: jar, Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 8}},
		random: rand.New(rand.NewPCG(uint64(number), 1)), tags: map[string]string{}, cached: map[string][]byte{}, note: note}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, link, nil)
	if err != nil {
		return nil, err
	}
	answer, err := r.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("sign in: %w", err)
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return r, err
}

// get asks as the page does: with the tag of the answer that it has. What is noted is the time until the answer is read.
func (r *reader) get(ctx context.Context, name, path string, values url.Values) ([]byte, error) {
	if len(values) > 0 {
		path += "?" + values.Encode()
	}
	begin := time.Now()
	body, err := r.fetch(ctx, path)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	r.note(name, time.Since(begin), err)
	return body, err
}

func (r *reader) fetch(ctx context.Context, path string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.site.base+path, nil)
	if err != nil {
		return nil, err
	}
	if tag := r.tags[path]; tag != "" {
		request.Header.Set("If-None-Match", tag)
	}
	answer, err := r.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	switch {
	case err != nil:
		return nil, err
	case answer.StatusCode == http.StatusNotModified:
		return r.cached[path], nil
	case answer.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%s: %d %.200s", path, answer.StatusCode, body)
	}
	if tag := answer.Header.Get("ETag"); tag != "" {
		r.tags[path], r.cached[path] = tag, body
	}
	return body, nil
}

// visit waits until the console has read the fleet, and notes what there is to look at.
func visit(ctx context.Context, base, socket string) (*site, error) {
	s := &site{base: base, socket: socket}
	r, err := s.join(ctx, 0, func(string, time.Duration, error) {})
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(2 * time.Minute); ; {
		var page contract.Page[contract.Credential]
		body, err := r.fetch(ctx, "/v1/credentials?limit=500")
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(body, &page); err != nil {
			return nil, err
		}
		if len(page.Items) > 0 {
			for _, c := range page.Items {
				s.keys = append(s.keys, c.Key)
			}
			break
		}
		if time.Now().After(deadline) {
			return nil, errors.New("the console shows no credential after two minutes")
		}
		time.Sleep(200 * time.Millisecond)
	}
	// Others, which stand within their policies, too.
	for _, sort := range []string{"last_used_at", "seconds_left", "scope_weight"} {
		var page contract.Page[contract.Credential]
		body, err := r.fetch(ctx, "/v1/credentials?limit=200&sort="+sort)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(body, &page); err != nil {
			return nil, err
		}
		for _, c := range page.Items {
			s.keys = append(s.keys, c.Key)
			if c.Principal != nil {
				s.names = append(s.names, *c.Principal)
			}
		}
	}
	return s, nil
}

func pick[T any](r *reader, list []T) T { return list[r.random.IntN(len(list))] }

// question is one request of a page.
type question struct {
	name, path string
	values     url.Values
}

// views of the page, with how often each is opened and what it asks at once; then what readers do on it.
var views = []struct {
	name  string
	often int
	asks  func(r *reader) []question
	then  func(r *reader) []question // one after another
}{
	{"fleet", 25, func(*reader) []question {
		return []question{{"fleet feed", "/v1/fleet", url.Values{"state": {"active"}}}}
	}, func(r *reader) []question {
		// The rows in view, three times: as it opens, after scrolling, after zooming.
		var out []question
		for _, days := range []int{60, 60, 7} {
			now := time.Now()
			at := r.random.IntN(len(r.site.keys) - 40)
			out = append(out, question{"use of rows in view", "/v1/fleet/use", url.Values{"from": {fmt.Sprint(now.AddDate(0, 0, -days).UnixMilli())}, "to": {fmt.Sprint(now.UnixMilli())},
				"bucket": {fmt.Sprint((time.Duration(days) * 24 * time.Hour / 160).Round(time.Hour).Milliseconds() + 3_600_000)}, "key": r.site.keys[at : at+40]}})
		}
		return out
	}},
	{"duties", 20, func(*reader) []question { return []question{{"duties", "/v1/duties", nil}} }, nil},
	{"credential", 25, func(r *reader) []question {
		key := pick(r, r.site.keys)
		return []question{{"credential", "/v1/credential", url.Values{"key": {key}}}, {"its permissions", "/v1/credential/scope", url.Values{"key": {key}}},
			{"its events", "/v1/credential/events", url.Values{"key": {key}, "limit": {"50"}}}}
	}, nil},
	{"identity", 8, func(r *reader) []question {
		return []question{{"identity", "/v1/identity", url.Values{"name": {pick(r, r.site.names)}}}}
	}, func(r *reader) []question {
		return []question{{"identity, two weeks ago", "/v1/identity", url.Values{"name": {pick(r, r.site.names)}, "as_of": {time.Now().AddDate(0, 0, -14).Format(time.DateOnly)}}}}
	}},
	{"identities", 3, func(*reader) []question { return []question{{"identities", "/v1/identities", nil}} }, func(r *reader) []question {
		return []question{{"identities, searched", "/v1/identities", url.Values{"q": {fmt.Sprintf("team-%d", r.random.IntN(60))}}}}
	}},
	{"enforcement", 8, func(*reader) []question { return []question{{"enforcement", "/v1/enforcement", nil}} }, nil},
	{"exceptions", 5, func(*reader) []question {
		return []question{{"exceptions", "/v1/exceptions", url.Values{"limit": {"200"}}}}
	}, nil},
	{"policies", 8, func(*reader) []question { return []question{{"policies", "/v1/policies", nil}} }, func(r *reader) []question {
		w := pick(r, whatIfs)
		out := []question{{"policy", "/v1/policies/" + w.policy, nil}, {"who is past it", "/v1/credentials", url.Values{"policy": {w.policy}, "limit": {"50"}}}}
		for _, threshold := range w.thresholds {
			out = append(out, question{"what-if", "/v1/policies/" + w.policy + "/whatif", url.Values{"metric": {w.metric}, "threshold": {threshold}}})
		}
		return out
	}},
	{"sources", 5, func(*reader) []question {
		return []question{{"sources", "/v1/sources", nil}, {"dead letters", "/v1/dead-letters", nil}}
	}, nil},
	{"audit", 5, func(r *reader) []question {
		return []question{{"audit log", "/v1/audit", url.Values{"limit": {"100"}, "topic": {pick(r, []string{"", "", "leastwise.enforcement", "leastwise.decisions"})}}}}
	}, nil},
	{"search", 5, func(r *reader) []question {
		return []question{{"credentials, searched", "/v1/credentials", url.Values{"q": {fmt.Sprintf("reviewer team-%d", r.random.IntN(60))}, "owner": {"*"}}}}
	}, nil},
}

// open opens a view: what the page asks whenever it is loaded, and what the view asks, all at once; then the rest.
func (r *reader) open(ctx context.Context) {
	total := 0
	for _, v := range views {
		total += v.often
	}
	at := r.random.IntN(total)
	for _, v := range views {
		if at -= v.often; at >= 0 {
			continue
		}
		var group sync.WaitGroup
		var mu sync.Mutex
		for _, q := range append(v.asks(r), question{"status", "/v1/status", nil}) {
			one := *r // the cache is the reader's: one at a time changes it
			one.tags, one.cached = map[string]string{}, map[string][]byte{}
			path := q.path
			if len(q.values) > 0 {
				path += "?" + q.values.Encode()
			}
			if tag := r.tags[path]; tag != "" {
				one.tags[path], one.cached[path] = tag, r.cached[path]
			}
			group.Go(func() {
				_, _ = one.get(ctx, q.name, q.path, q.values) // noted
				mu.Lock()
				defer mu.Unlock()
				if strings.HasPrefix(q.path, "/v1/fleet") && one.tags[path] != "" { // the others are larger to keep than to ask
					r.tags[path], r.cached[path] = one.tags[path], nil
				}
			})
		}
		group.Wait()
		if v.then != nil {
			for _, q := range v.then(r) {
				if _, err := r.get(ctx, q.name, q.path, q.values); err != nil && ctx.Err() != nil {
					return
				}
			}
		}
		return
	}
}
