package daemon

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// probeReady asks the component that was started with the same configuration
// and flags whether it is ready. Images without a shell use it as their health
// check.
func probeReady(ctx context.Context, a Args) error {
	var cfg struct {
		Common `yaml:",inline"`
	}
	if err := Load(a.Config, &cfg); err != nil {
		return err
	}
	addr := first(a.listen, cfg.Listen, DefaultListen)
	return Probe(ctx, "http", addr)
}

// Probe asks /readyz of what listens at addr on this machine, by http or https, and gives what it says if that is not
// that it is ready. Whose certificate it shows is not asked: the name in it is the one that others call.
func Probe(ctx context.Context, scheme, addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("probe: nothing listens at %q: %w", addr, err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		addr = net.JoinHostPort("127.0.0.1", port)
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	ask, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+addr+"/readyz", nil)
	if err != nil {
		return fmt.Errorf("probe %s: %w", addr, err)
	}
	unchecked := &tls.Config{InsecureSkipVerify: true} //nolint:gosec // it asks itself, and sends no secret
	client := http.Client{Transport: &http.Transport{TLSClientConfig: unchecked, DisableKeepAlives: true}}
	answer, err := client.Do(ask)
	if err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(answer.Body, 4096))
		return fmt.Errorf("probe: not ready: %s", strings.TrimSpace(string(body)))
	}
	return nil
}
