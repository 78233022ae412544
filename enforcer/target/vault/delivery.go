package vault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/leastwise/leastwise/enforcer/target"
)

// parcel is what the agent gets. It holds a secret: it goes to the delivery
// and nowhere else.
type parcel struct {
	WrappingToken    string `json:"wrapping_token"`
	WrappingAccessor string `json:"wrapping_accessor"`
	Accessor         string `json:"accessor"`
	TTL              int    `json:"ttl"` // seconds left to unwrap
	CreationPath     string `json:"creation_path"`
	Policy           string `json:"policy"`
	LadderID         string `json:"ladder_id"`
	Credential       string `json:"credential"` // that it replaces
}

// delivery brings a parcel to its agent. nil means that it arrived.
type delivery interface {
	deliver(ctx context.Context, agent string, p parcel) error
}

func openDelivery(c ReissueConfig) (delivery, error) {
	switch {
	case c.Directory != "":
		if err := os.MkdirAll(c.Directory, 0o700); err != nil {
			return nil, fmt.Errorf("reissue.directory: %w", err)
		}
		return directory(c.Directory), nil
	case c.WebhookURLFile != "":
		text, err := readSecret("reissue.webhook_url_file", c.WebhookURLFile)
		if err != nil {
			return nil, err
		}
		u, err := url.Parse(text)
		if err != nil || u.Host == "" || u.Scheme != "https" && !(u.Scheme == "http" && loopback(u.Hostname())) {
			return nil, errors.New("reissue.webhook_url_file: want https://… (http:// to loopback only): it carries a token")
		}
		return &webhook{url: text, client: &http.Client{Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}, nil
	default:
		return nil, nil
	}
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// directory holds one file an agent, replaced in one step.
type directory string

func (d directory) deliver(_ context.Context, agent string, p parcel) (err error) {
	op := "write the delivery file"
	defer func() {
		if err != nil {
			err = &target.Error{Op: op, Err: err}
		}
	}()
	raw, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(string(d), "."+agent+"-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // does nothing once it was renamed
	_, err = f.Write(append(raw, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(string(d), agent+".json"))
}

type webhook struct {
	url    string
	client *http.Client
}

func (w *webhook) deliver(ctx context.Context, agent string, p parcel) error {
	op := "deliver by webhook"
	raw, err := json.Marshal(struct {
		Agent string `json:"agent"`
		parcel
	}{agent, p})
	if err != nil {
		return impossible(op, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(raw))
	if err != nil {
		return impossible(op, errors.New("the URL can not be used"))
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := w.client.Do(req)
	if err != nil {
		return &target.Error{Op: op, Err: noAnswer(err)}
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return &target.Error{Op: op, Err: fmt.Errorf("the receiver answered %d", resp.StatusCode)}
	}
	return nil
}
