package ssf

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/leastwise/leastwise/enforcer/notify"
)

// answerMost bounds what is read of an answer.
const answerMost = 16 << 10

func pushClient(p Push, timeout time.Duration) (*http.Client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if p.CAFile != "" {
		raw, err := os.ReadFile(p.CAFile)
		if err != nil {
			return nil, fmt.Errorf("push.ca_file: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(raw) {
			return nil, fmt.Errorf("push.ca_file: %s holds no certificate", p.CAFile)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	return &http.Client{
		Transport: transport, Timeout: timeout,
		// A redirect would carry the authorization to somebody else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// refusal is a receiver's answer that is no 202.
type refusal struct {
	status     int
	code, text string // of the error body (RFC 8935, section 2.3)
	after      time.Duration
}

func (r *refusal) Error() string {
	text := fmt.Sprintf("the receiver answered %d", r.status)
	if r.code != "" {
		text += ": " + r.code
	}
	if r.text != "" {
		text += ": " + r.text
	}
	return text
}

// push delivers what is due.
func (t *Transmitter) push(ctx context.Context, s *stream) {
	for ctx.Err() == nil {
		i := s.first(t.now())
		if i == nil {
			return
		}
		err := t.post(ctx, s, i.token)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			s.taken(i.jti)
			s.mu.Lock()
			s.fails, s.next = 0, time.Time{}
			s.mu.Unlock()
			t.count(s.Name, "delivered")
			continue
		}
		// A 400 is tried again as well: a receiver that has not fetched a new
		// key says invalid_key, one that was misconfigured invalid_audience,
		// and both are mended by people while the event still matters.
		result, asked := "failed", time.Duration(0)
		var r *refusal
		if errors.As(err, &r) {
			asked = r.after
			if r.status == http.StatusBadRequest {
				result = "refused"
			}
		}
		s.rest(t.now(), i, asked)
		t.count(s.Name, result)
		t.log.Warn("ssf: event not delivered, it will be tried again", "receiver", s.Name, "jti", i.jti, "error", notify.Clean(err.Error(), 400))
	}
}

// post is one push (RFC 8935, section 2.1): 202 is the only acceptance.
func (t *Transmitter) post(ctx context.Context, s *stream, token string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.Push.URL, bytes.NewReader([]byte(token)))
	if err != nil {
		return errors.New("push.url can not be asked")
	}
	req.Header.Set("Content-Type", "application/secevent+jwt")
	req.Header.Set("Accept", "application/json")
	if s.Push.AuthorizationFile != "" {
		header, err := secret(s.Push.AuthorizationFile)
		if err != nil {
			return fmt.Errorf("push.authorization_file: %w", err)
		}
		req.Header.Set("Authorization", header)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return noAnswer(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, answerMost)) // the status alone decides
	if resp.StatusCode == http.StatusAccepted {
		return nil
	}
	r := &refusal{status: resp.StatusCode}
	var told struct {
		Err         string `json:"err"`
		Description string `json:"description"`
	}
	if json.Unmarshal(body, &told) == nil {
		r.code, r.text = notify.Clean(told.Err, 60), notify.Clean(told.Description, 200)
	}
	if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && n > 0 {
		r.after = min(time.Duration(n)*time.Second, time.Hour)
	}
	return r
}

// noAnswer drops the URL, which an operator may have put a key into.
func noAnswer(err error) error {
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(inner) {
		err = inner
	}
	return fmt.Errorf("no answer: %w", err)
}

func secret(file string) (string, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(string(raw))
	if text == "" || strings.ContainsAny(text, "\r\n") {
		return "", fmt.Errorf("%s has to hold one line", file)
	}
	return text, nil
}
