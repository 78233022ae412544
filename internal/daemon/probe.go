package daemon

import (
	"context"
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
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("probe: nothing listens at %q: %w", addr, err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		addr = net.JoinHostPort("127.0.0.1", port)
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	ask, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/readyz", nil)
	if err != nil {
		return fmt.Errorf("probe %s: %w", addr, err)
	}
	answer, err := http.DefaultClient.Do(ask)
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
