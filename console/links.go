package console

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/leastwise/leastwise/console/signin"
)

// wish is what `leastwise link` asks for.
type wish struct {
	Name   string   `json:"name"`
	Roles  []string `json:"roles"`
	Owners []string `json:"owners"`
}

type wished struct {
	Link  string `json:"link"`
	Error string `json:"error"`
}

// openSocket opens one that only this user may use.
func openSocket(ctx context.Context, path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("console socket: %w", err)
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("console socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		_ = listener.Close()
		return nil, fmt.Errorf("console socket: %w", err)
	}
	return listener, nil
}

// serveLinks gives links to whoever may open the socket: this user, who may read and write everything here anyway.
func (c *Console) serveLinks(ctx context.Context, listener net.Listener) error {
	server := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var asked wish
		answer := wished{}
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(&asked); err != nil {
			answer.Error = err.Error()
		} else if asked.Name = strings.TrimSpace(asked.Name); asked.Name == "" {
			answer.Error = "say whose link it is"
		}
		for _, role := range asked.Roles {
			if !slices.Contains(signin.Roles, role) {
				answer.Error = fmt.Sprintf("role %q; expected %s", role, strings.Join(signin.Roles, ", "))
			}
		}
		if answer.Error == "" {
			if len(asked.Roles) == 0 {
				asked.Roles = everything
			}
			answer.Link = c.Link(signin.Person{Name: asked.Name, Roles: asked.Roles, Owners: asked.Owners})
		}
		_ = json.NewEncoder(w).Encode(answer) // the client may be gone
	})}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("console socket: %w", err)
	}
	return nil
}

// ErrRefused says that the running console gives no such link.
var ErrRefused = errors.New("no link")

// AskLink asks the console that runs with a data directory's socket for a one-time link. Without roles it may everything.
func AskLink(ctx context.Context, socket, name string, roles, owners []string) (string, error) {
	body, err := json.Marshal(wish{name, roles, owners})
	if err != nil {
		return "", fmt.Errorf("ask for a link: %w", err)
	}
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://console/link", bytes.NewReader(body))
	if err != nil {
		return "", fmt.Errorf("ask for a link: %w", err)
	}
	response, err := client.Do(request)
	if err != nil {
		return "", fmt.Errorf("ask the running console for a link (does `leastwise up` run with this configuration, on loopback?): %w", err)
	}
	defer response.Body.Close()
	var answer wished
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return "", fmt.Errorf("ask for a link: %w", err)
	}
	if answer.Error != "" {
		return "", fmt.Errorf("%w: %s", ErrRefused, answer.Error)
	}
	return answer.Link, nil
}
