// Package remote asks a running console by its API, for commands that are pointed at a server.
//
// It signs in with a client certificate (an SVID) or with a session, and never sends either over plain text to another
// machine, nor to where a redirect leads. Nothing is retried: a write whose answer was lost may have been done, and the
// error says so.
package remote

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/console/contract"
)

// ErrUsage marks what the caller mends by calling otherwise.
var ErrUsage = errors.New("usage")

// Options say where the server is and how to sign in there.
type Options struct {
	URL string
	// Session is a file that holds a session's token, or a one-time link as `leastwise link` prints it: the link is used, and
	// the session written in its place.
	Session string
	// Cert, Key and CA are PEM files: a client certificate with a SPIFFE ID, its key, and who signed the server's.
	Cert, Key, CA string
}

// Client of one server.
type Client struct {
	base    *url.URL
	http    *http.Client
	opts    Options
	session string
	csrf    string
}

// maxAnswer is the longest answer that is read.
const maxAnswer = 64 << 20

// New reads the files that opts name. The server is asked for nothing yet, but for a session if the file holds a link.
func New(ctx context.Context, opts Options) (*Client, error) {
	base, err := url.Parse(strings.TrimSuffix(opts.URL, "/"))
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" || base.Path != "" {
		return nil, fmt.Errorf("%w: --server %q; expected an address such as https://leastwise.example.org", ErrUsage, opts.URL)
	}
	if base.Scheme == "http" && !loopback(base.Hostname()) {
		return nil, fmt.Errorf("%w: --server %s: beyond this machine it has to be https", ErrUsage, opts.URL)
	}
	if (opts.Cert == "") != (opts.Key == "") {
		return nil, fmt.Errorf("%w: --cert and --key belong together", ErrUsage)
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if opts.Cert != "" {
		pair, err := tls.LoadX509KeyPair(opts.Cert, opts.Key)
		if err != nil {
			return nil, fmt.Errorf("%w: --cert and --key: %w", ErrUsage, err)
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	if opts.CA != "" {
		pem, err := os.ReadFile(opts.CA)
		if err != nil {
			return nil, fmt.Errorf("%w: --ca: %w", ErrUsage, err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%w: --ca: %s holds no PEM certificate", ErrUsage, opts.CA)
		}
	}
	c := &Client{base: base, opts: opts, http: &http.Client{Timeout: time.Minute,
		Transport:     &http.Transport{TLSClientConfig: conf, Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	if opts.Session == "" {
		return c, nil
	}
	text, err := os.ReadFile(opts.Session)
	if err != nil {
		return nil, fmt.Errorf("%w: --session: %w", ErrUsage, err)
	}
	c.session = strings.TrimSpace(string(text))
	if strings.Contains(c.session, "/auth/link?") {
		return c, c.redeem(ctx, c.session)
	}
	if c.session == "" || strings.ContainsAny(c.session, " ;,\r\n\"\\") {
		return nil, fmt.Errorf("%w: --session: %s holds no session: expected its token alone, or a link that `leastwise link` prints", ErrUsage, opts.Session)
	}
	return c, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// redeem uses a one-time link, and keeps the session in its place.
func (c *Client) redeem(ctx context.Context, link string) error {
	u, err := url.Parse(link)
	if err != nil || u.Host != c.base.Host || u.Scheme != c.base.Scheme {
		return fmt.Errorf("%w: --session: the link is for another server than %s", ErrUsage, c.base)
	}
	ask, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return fmt.Errorf("%w: --session: %w", ErrUsage, err)
	}
	answer, err := c.http.Do(ask)
	if err != nil {
		return fmt.Errorf("sign in at %s: %w", c.base, unwrap(err))
	}
	defer answer.Body.Close()
	for _, cookie := range answer.Cookies() {
		if strings.HasSuffix(cookie.Name, "leastwise") && cookie.Value != "" {
			c.session = cookie.Value
			if err := source.ReplaceFile(c.opts.Session, []byte(c.session+"\n")); err != nil {
				return fmt.Errorf("keep the session: %w", err)
			}
			return nil
		}
	}
	return fmt.Errorf("sign in at %s: the link was used, or is too old; `leastwise link > %s` makes another", c.base, c.opts.Session)
}

// unwrap leaves the address out, which may hold a link.
func unwrap(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// Error is what the server answered.
type Error struct {
	Status        int
	Title, Detail string
	hint          string
}

func (e *Error) Error() string {
	text := cmp.Or(e.Title, http.StatusText(e.Status), "the server answered "+fmt.Sprint(e.Status))
	if e.Detail != "" && e.Detail != e.Title {
		text += ": " + e.Detail
	}
	if e.hint != "" {
		text += "\n" + e.hint
	}
	return text
}

// Get reads into out.
func (c *Client) Get(ctx context.Context, path string, query url.Values, out any) error {
	return c.do(ctx, http.MethodGet, path, query, nil, out)
}

// Post writes. What proves that it is meant is fetched before the first.
func (c *Client) Post(ctx context.Context, path string, body, out any) error {
	if c.csrf == "" {
		var me contract.Me
		if err := c.Get(ctx, "/v1/me", nil, &me); err != nil {
			return err
		}
		c.csrf = me.CSRF
	}
	return c.do(ctx, http.MethodPost, path, nil, body, out)
}

func (c *Client) do(ctx context.Context, method, path string, query url.Values, body, out any) error {
	u := c.base.JoinPath(path)
	u.RawQuery = query.Encode()
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = bytes.NewReader(text)
	}
	ask, err := http.NewRequestWithContext(ctx, method, u.String(), content)
	if err != nil {
		return err
	}
	ask.Header.Set("Accept", "application/json")
	if body != nil {
		ask.Header.Set("Content-Type", "application/json")
	}
	if method != http.MethodGet {
		ask.Header.Set("X-CSRF-Token", c.csrf)
	}
	if c.session != "" { // the name depends on whether people reach it encrypted
		ask.Header.Set("Cookie", "__Host-leastwise="+c.session+"; leastwise="+c.session)
	}
	answer, err := c.http.Do(ask)
	if err != nil {
		done := ""
		if method != http.MethodGet {
			done = " (whether it was done is not known; look before you try again)"
		}
		return fmt.Errorf("ask %s: %w%s", c.base, unwrap(err), done)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("ask %s: %w", c.base, err)
	}
	if answer.StatusCode != http.StatusOK && answer.StatusCode != http.StatusCreated {
		return c.problem(answer.StatusCode, text)
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("%s%s answers with what this release does not understand: %w", c.base, path, err)
	}
	return nil
}

// problem reads an answer as RFC 9457 has it.
func (c *Client) problem(status int, text []byte) error {
	var p struct {
		Title, Detail string
		Errors        []struct{ Message, Location string }
	}
	_ = json.Unmarshal(text, &p) // what is no problem document has neither
	for _, e := range p.Errors {
		p.Detail = strings.TrimSpace(p.Detail + "; " + e.Location + ": " + e.Message)
	}
	e := &Error{Status: status, Title: p.Title, Detail: strings.TrimPrefix(p.Detail, "; ")}
	if status == http.StatusUnauthorized {
		e.Title, e.Detail = "not signed in at "+c.base.String(), ""
		switch {
		case c.opts.Cert != "":
			e.hint = "The server did not take the certificate: it has to carry one SPIFFE ID and be signed by a CA of console.tls.client_ca_file."
		case c.opts.Session != "":
			e.hint = "The session has ended. Make another: `leastwise link > FILE` on the server's machine, or sign in with the browser and put the cookie leastwise (or __Host-leastwise) into FILE; then --session FILE."
		default:
			e.hint = "Machines: --cert, --key and --ca. People: `leastwise link > FILE` on the server's machine, or sign in with the browser and put the cookie leastwise (or __Host-leastwise) into FILE; then --session FILE."
		}
	}
	return e
}
