package notify

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/nicholas-fedor/shoutrrr"
	"github.com/nicholas-fedor/shoutrrr/pkg/router"
	"github.com/nicholas-fedor/shoutrrr/pkg/types"
)

// Shoutrrr sends through one service of the shoutrrr library: Slack, mail,
// Teams and the others it knows.
type Shoutrrr struct {
	scheme string
	sender *router.ServiceRouter
}

func newShoutrrr(url string, timeout time.Duration) (*Shoutrrr, error) {
	scheme, _, ok := strings.Cut(url, "://")
	if !ok {
		return nil, errors.New("url_file: holds no shoutrrr URL such as slack://… or smtp://…")
	}
	scheme, _, _ = strings.Cut(scheme, "+")
	sender, err := shoutrrr.CreateSender(url)
	if err != nil {
		// The library's text quotes the URL.
		return nil, fmt.Errorf("url_file: shoutrrr does not take this %s URL: check it against the service's documentation", Clean(scheme, 20))
	}
	sender.Timeout = timeout
	return &Shoutrrr{scheme: Clean(scheme, 20), sender: sender}, nil
}

// Kind is "shoutrrr".
func (*Shoutrrr) Kind() string { return "shoutrrr" }

// status finds an HTTP or SMTP code in the library's text.
var status = regexp.MustCompile(`\b[45][0-9]{2}\b`)

// Send blocks at most the channel's timeout, also when ctx ends later. A
// message given up on because of ctx may still be delivered.
func (s *Shoutrrr) Send(ctx context.Context, m Message) error {
	params := types.Params{}
	text := m.Text
	if s.scheme == "slack" || s.scheme == "smtp" || s.scheme == "teams" || s.scheme == "discord" {
		params.SetTitle(m.Title)
	} else {
		text = m.Title + "\n" + text
	}
	select {
	case err := <-s.sender.SendAsync(text, &params):
		return s.classify(err)
	case <-ctx.Done():
		return fmt.Errorf("shoutrrr: %s: %w", s.scheme, context.Cause(ctx))
	}
}

// classify drops the library's text, which may quote the URL with its secret,
// and keeps what helps: a timeout or the service's code.
func (s *Shoutrrr) classify(err error) error {
	switch code := ""; {
	case err == nil:
		return nil
	case errors.Is(err, router.ErrServiceTimeout) || errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("shoutrrr: %s: no answer in time", s.scheme)
	default:
		if code = status.FindString(err.Error()); code != "" {
			return fmt.Errorf("shoutrrr: %s: answered %s", s.scheme, code)
		}
		return fmt.Errorf("shoutrrr: %s: could not deliver", s.scheme)
	}
}
