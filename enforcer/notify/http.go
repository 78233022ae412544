package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// poster sends JSON to one URL.
type poster struct {
	client    *http.Client
	url       string
	tokenFile string
}

func (p poster) post(ctx context.Context, kind string, body any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("%s: encode message: %w", kind, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(raw))
	if err != nil {
		return fmt.Errorf("%s: the configured URL can not be used", kind)
	}
	req.Header.Set("Content-Type", "application/json")
	if p.tokenFile != "" {
		// Read each time: tokens rotate.
		token, err := secretFile("token_file", p.tokenFile)
		if err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return fmt.Errorf("%s: %w", kind, withoutURL(err))
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection can be used again
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s: answered %s", kind, http.StatusText(resp.StatusCode)+" ("+fmt.Sprint(resp.StatusCode)+")")
	}
	return nil
}

// withoutURL keeps what went wrong and drops where: net/http's errors quote
// the URL, which may hold a secret.
func withoutURL(err error) error {
	var timeout net.Error
	var dial *net.OpError
	switch {
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.As(err, &timeout) && timeout.Timeout():
		return errors.New("no answer in time")
	case errors.As(err, &dial):
		return fmt.Errorf("%s: %w", dial.Op, dial.Err)
	default:
		return errors.New("the exchange failed")
	}
}

// Webhook posts the message as JSON.
type Webhook struct{ p poster }

// Kind is "webhook".
func (*Webhook) Kind() string { return "webhook" }

// Send posts m.
func (w *Webhook) Send(ctx context.Context, m Message) error { return w.p.post(ctx, "webhook", m) }

// Alertmanager posts alerts to its API v2.
type Alertmanager struct{ p poster }

// Kind is "alertmanager".
func (*Alertmanager) Kind() string { return "alertmanager" }

type alert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      time.Time         `json:"endsAt,omitzero"`
}

// Send posts m as one alert. Its labels identify it, so they are few and
// bounded: what differs from message to message sits in annotations. Messages
// of one ladder and kind are one alert, which a later one replaces; an outcome
// is an alert of its own that ends by itself.
func (a *Alertmanager) Send(ctx context.Context, m Message) error {
	labels := map[string]string{
		"alertname":  "LeastwiseCredential",
		"kind":       string(m.Kind),
		"credential": bound(m.Credential, 200),
		"severity":   bound(m.Severity, 32),
	}
	for name, value := range map[string]string{"owner": bound(m.Owner, 100), "agent": bound(m.Agent, 100)} {
		if value != "" {
			labels[name] = value
		}
	}
	if len(m.Violations) > 0 {
		labels["policy"] = bound(m.Violations[0].Policy, 100)
	}
	if labels["severity"] == "" {
		delete(labels, "severity")
	}
	annotations := map[string]string{"summary": m.Title, "description": m.Text, "ladder_id": m.LadderID}
	if m.RevokeAt != nil {
		annotations["revoke_at"] = m.RevokeAt.UTC().Format(time.RFC3339)
	}
	return a.p.post(ctx, "alertmanager", []alert{{Labels: labels, Annotations: annotations, StartsAt: m.At.UTC(), EndsAt: m.Until.UTC()}})
}

func bound(text string, limit int) string { return Clean(text, limit) }

// Stdout writes the message's text, for a laptop and for the demo.
type Stdout struct{ w io.Writer }

// Kind is "stdout".
func (*Stdout) Kind() string { return "stdout" }

// Send writes m in one Write.
func (s *Stdout) Send(_ context.Context, m Message) error {
	if _, err := io.WriteString(s.w, m.Title+"\n"+m.Text+"\n"); err != nil {
		return fmt.Errorf("stdout: %w", err)
	}
	return nil
}
