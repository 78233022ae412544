package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/vault/api"
)

const deliveryPoll = 100 * time.Millisecond

// delivery is what the enforcer leaves for an agent; it holds more than an agent needs.
type delivery struct {
	WrappingToken string `json:"wrapping_token"`
}

// awaitReissue waits for the enforcer's delivery, unwraps it and goes on with the token in it. A wrapping token that
// Vault does not know (spent or too old) counts as a failure and is thrown away; the agent waits for another.
func (s *Session) awaitReissue(ctx context.Context) error {
	s.tell(Lost)
	if s.delivery == "" {
		<-ctx.Done()
		return ctx.Err()
	}
	path := filepath.Join(s.delivery, s.name+".json")
	for {
		wrapped, err := readDelivery(path)
		if err != nil {
			return err
		}
		if wrapped != "" {
			taken, refused, err := s.unwrap(ctx, wrapped)
			if err != nil {
				return err
			}
			if taken != nil || refused {
				if err := removeFile(path); err != nil {
					return err
				}
			}
			if taken != nil {
				return s.take(ctx, taken, Reissued)
			}
		}
		if err := sleep(ctx, deliveryPoll); err != nil {
			return err
		}
	}
}

// readDelivery returns the wrapping token of a delivery, or "" if there is none yet.
func readDelivery(path string) (string, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read what was delivered: %w", err)
	}
	var d delivery
	if err := json.Unmarshal(content, &d); err != nil || d.WrappingToken == "" {
		// Half-written, unless the writer renames into place: it is read again on the next look. The error would
		// quote the file, so it is not kept.
		return "", nil //nolint:nilerr // see above
	}
	return d.WrappingToken, nil
}

// unwrap returns nil when there is no token to be had: Vault is away, or it refused the wrapping token.
func (s *Session) unwrap(ctx context.Context, wrapping string) (auth *api.SecretAuth, refused bool, err error) {
	// With a token set, the client would show that one, which is revoked, and only mention the wrapping token.
	s.client.ClearToken()
	secret, err := s.client.Logical().UnwrapWithContext(ctx, wrapping)
	s.client.ClearToken()
	switch {
	case ctx.Err() != nil:
		return nil, false, ctx.Err()
	case err == nil && secret != nil && secret.Auth != nil:
		return secret.Auth, false, nil
	case err != nil && !answered(err):
		s.calls.Unanswered++
		return nil, false, nil
	default:
		s.calls.Failed++
		s.calls.Failure = "unwrap: vault refused the wrapping token, or there was no token in it"
		return nil, true, nil
	}
}
