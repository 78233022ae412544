package notify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
)

// Config is one channel of the `channels` section, by its name.
type Config struct {
	// Type is alertmanager, shoutrrr, webhook or stdout.
	Type string `yaml:"type"`
	// URL of an Alertmanager or of a webhook that needs no secret.
	URL string `yaml:"url"`
	// URLFile holds the URL where it is a secret: always for shoutrrr
	// (https://shoutrrr.nickfedor.com: slack://, smtp://, teams:// and more).
	URLFile string `yaml:"url_file"`
	// TokenFile holds a bearer token for alertmanager or webhook.
	TokenFile string `yaml:"token_file"`
	// Timeout of one delivery; default 10s.
	Timeout time.Duration `yaml:"timeout"`
}

// Section is the `channels` section: configurations by channel name.
type Section map[string]Config

// Types of channels.
var Types = []string{"alertmanager", "shoutrrr", "webhook", "stdout"}

// Validate names the first channel that can not work and the key to mend.
func (s Section) Validate() error {
	for name, c := range s {
		if err := c.validate(); err != nil {
			return fmt.Errorf("channels.%s: %w", name, err)
		}
	}
	return nil
}

func (c Config) validate() error {
	switch {
	case !slices.Contains(Types, c.Type):
		return fmt.Errorf("type %q: want one of %s", c.Type, strings.Join(Types, ", "))
	case c.Timeout < 0:
		return errors.New("timeout is negative")
	case c.Type == "stdout":
		if c.URL != "" || c.URLFile != "" || c.TokenFile != "" {
			return errors.New("stdout takes no url, url_file or token_file")
		}
		return nil
	case c.Type == "shoutrrr" && c.URL != "":
		return errors.New("url: a shoutrrr URL holds secrets: write it to a file and give url_file")
	case c.Type == "shoutrrr" && c.TokenFile != "":
		return errors.New("token_file: the secrets of a shoutrrr channel are in its url_file")
	case (c.URL == "") == (c.URLFile == ""):
		return errors.New("give one of url and url_file")
	}
	if c.URL != "" {
		return checkHTTP(c.URL)
	}
	return nil
}

func checkHTTP(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return errors.New("url: want http://host… or https://host…")
	}
	if u.User != nil {
		return errors.New("url: a password in it is a secret: use url_file or token_file")
	}
	return nil
}

// Channel is one configured way to people.
type Channel interface {
	Kind() string
	Send(ctx context.Context, m Message) error
}

// Open makes the channels of a section. out is where stdout channels write.
func Open(section Section, out io.Writer) (map[string]Channel, error) {
	if err := section.Validate(); err != nil {
		return nil, err
	}
	channels := make(map[string]Channel, len(section))
	for name, c := range section {
		ch, err := open(c, out)
		if err != nil {
			return nil, fmt.Errorf("channels.%s: %w", name, err)
		}
		channels[name] = ch
	}
	return channels, nil
}

func open(c Config, out io.Writer) (Channel, error) {
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Second
	}
	if c.Type == "stdout" {
		return &Stdout{w: out}, nil
	}
	address := c.URL
	if c.URLFile != "" {
		text, err := secretFile("url_file", c.URLFile)
		if err != nil {
			return nil, err
		}
		address = text
	}
	if c.Type == "shoutrrr" {
		return newShoutrrr(address, c.Timeout)
	}
	if c.URLFile != "" {
		if u, err := url.Parse(address); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, fmt.Errorf("url_file: %s holds no http:// or https:// URL", c.URLFile)
		}
	}
	p := poster{client: &http.Client{Timeout: c.Timeout, CheckRedirect: noRedirect}, url: address, tokenFile: c.TokenFile}
	if c.Type == "alertmanager" {
		p.url = strings.TrimSuffix(p.url, "/") + "/api/v2/alerts"
		return &Alertmanager{p}, nil
	}
	return &Webhook{p}, nil
}

// noRedirect keeps bearer tokens and messages at the host that was configured.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

func secretFile(key, path string) (string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", key, err)
	}
	text := strings.TrimSpace(string(raw))
	if text == "" {
		return "", fmt.Errorf("%s: %s is empty", key, path)
	}
	return text, nil
}
