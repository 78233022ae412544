package ssf

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/leastwise/leastwise/enforcer/notify"
)

const (
	pollMost  = 100     // events in one answer
	pollBody  = 1 << 20 // of one request
	setErrLog = 20      // errors of one request that are logged
	methods   = "urn:ietf:rfc:8935 urn:ietf:rfc:8936"
	bearer    = "Bearer "
)

// pollWait is how long a long poll is held open; a minute is what proxies
// bear.
const pollWait = 30 * time.Second

// Handler serves the transmitter's configuration (SSF 1.0, section 7), its
// keys, and the poll endpoints of receivers (RFC 8936).
func (t *Transmitter) Handler() http.Handler {
	base := ""
	if u, err := url.Parse(t.cfg.Issuer); err == nil {
		base = u.Path
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/ssf-configuration"+base, t.configuration)
	mux.HandleFunc("GET "+base+"/ssf/jwks", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, t.signer.keys) })
	mux.HandleFunc("POST "+base+"/ssf/poll/{receiver}", t.poll)
	return mux
}

func (t *Transmitter) configuration(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{
		"spec_version": "1_0", "issuer": t.cfg.Issuer, "jwks_uri": t.cfg.Issuer + "/ssf/jwks",
		"delivery_methods_supported": strings.Fields(methods), "default_subjects": "ALL",
		"authorization_schemes": []map[string]string{{"spec_urn": "urn:ietf:rfc:6750"}},
	})
}

// pollRequest is RFC 8936, section 2.2.
type pollRequest struct {
	MaxEvents         *int     `json:"maxEvents"`
	ReturnImmediately bool     `json:"returnImmediately"`
	Ack               []string `json:"ack"`
	SetErrs           map[string]struct {
		Err         string `json:"err"`
		Description string `json:"description"`
	} `json:"setErrs"`
}

func (t *Transmitter) poll(w http.ResponseWriter, r *http.Request) {
	s := t.receiver(r)
	if s == nil {
		// The same answer for a wrong name and a wrong token.
		w.Header().Set("WWW-Authenticate", "Bearer")
		answer(w, http.StatusUnauthorized, map[string]string{"err": "authentication_failed", "description": "show the receiver's bearer token"})
		return
	}
	var ask pollRequest
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, pollBody)).Decode(&ask); err != nil {
		answer(w, http.StatusBadRequest, map[string]string{"err": "invalid_request", "description": "the body is no JSON object of RFC 8936"})
		return
	}
	t.settle(s, ask)
	most := pollMost
	if ask.MaxEvents != nil {
		most = min(max(0, *ask.MaxEvents), pollMost)
	}
	if most > 0 && !ask.ReturnImmediately {
		s.await(r.Context())
	}
	sets, more := s.oldest(most)
	answer(w, http.StatusOK, map[string]any{"sets": sets, "moreAvailable": more})
}

// receiver by its path and bearer token.
func (t *Transmitter) receiver(r *http.Request) *stream {
	for _, s := range t.streams {
		if s.Poll == nil || s.Name != r.PathValue("receiver") {
			continue
		}
		want, err := secret(s.Poll.BearerFile)
		if err != nil {
			t.log.Error("ssf: a receiver can not be let in", "receiver", s.Name, "error", err)
			return nil
		}
		got := r.Header.Get("Authorization")
		if len(got) > len(bearer) && strings.EqualFold(got[:len(bearer)], bearer) && subtle.ConstantTimeCompare([]byte(got[len(bearer):]), []byte(want)) == 1 {
			return s
		}
	}
	return nil
}

// settle takes acknowledgements and errors: both end an event (RFC 8936,
// section 2.6), an error is the receiver's own last word and is logged.
func (t *Transmitter) settle(s *stream, ask pollRequest) {
	for _, jti := range ask.Ack {
		if s.taken(jti) {
			t.count(s.Name, "delivered")
		}
	}
	logged := 0
	for jti, e := range ask.SetErrs {
		if !s.taken(jti) {
			continue
		}
		t.count(s.Name, "refused")
		if logged++; logged <= setErrLog {
			t.log.Error("ssf: a receiver refused an event: it does not act on this revocation", "receiver", s.Name, "jti", jti,
				"err", notify.Clean(e.Err, 60), "description", notify.Clean(e.Description, 200))
		}
	}
}

// await holds a long poll open until something waits for the receiver.
func (s *stream) await(ctx context.Context) {
	s.mu.Lock()
	more, some := s.more, len(s.queue) > 0
	s.mu.Unlock()
	if some {
		return
	}
	wait := time.NewTimer(pollWait)
	defer wait.Stop()
	select {
	case <-more:
	case <-wait.C:
	case <-ctx.Done():
	}
}

func (s *stream) oldest(most int) (map[string]string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sets := map[string]string{}
	for _, i := range s.queue[:min(most, len(s.queue))] {
		sets[i.jti] = i.token
	}
	return sets, len(s.queue) > len(sets)
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client may be gone; there is nobody to tell
}

func (t *Transmitter) serve(ctx context.Context) error {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", t.cfg.Listen)
	if err != nil {
		return fmt.Errorf("serve security events (enforcer.ssf.listen): %w", err)
	}
	server := &http.Server{
		Handler: t.Handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second, WriteTimeout: pollWait + 15*time.Second,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10, BaseContext: func(net.Listener) context.Context { return ctx },
	}
	ended := make(chan error, 1)
	go func() {
		if t.cfg.TLSCertFile != "" {
			ended <- server.ServeTLS(listener, t.cfg.TLSCertFile, t.cfg.TLSKeyFile)
			return
		}
		ended <- server.Serve(listener)
	}()
	select {
	case err := <-ended:
		return fmt.Errorf("serve security events: %w", err)
	case <-ctx.Done():
	}
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_ = server.Shutdown(late) // what is under way is asked for again by its client
	<-ended
	return nil
}
