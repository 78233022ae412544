package gcp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"time"

	"google.golang.org/api/cloudresourcemanager/v1"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/iam/v1"
	"google.golang.org/api/option"

	"github.com/leastwise/leastwise/enforcer/notify"
	"github.com/leastwise/leastwise/enforcer/target"
)

// open makes the clients; it connects to nothing but the metadata server,
// where the machine's own credentials are asked for.
func (c Config) open(ctx context.Context) (*iam.Service, *cloudresourcemanager.Service, error) {
	common := []option.ClientOption{option.WithUserAgent("leastwise")}
	switch {
	case c.IAMEndpoint != "" && local(c.IAMEndpoint):
		common = append(common, option.WithoutAuthentication())
	case c.CredentialsFile != "":
		//nolint:staticcheck // The file is the operator's own, not one that a stranger hands in.
		common = append(common, option.WithCredentialsFile(c.CredentialsFile), option.WithScopes(iam.CloudPlatformScope))
	default:
		common = append(common, option.WithScopes(iam.CloudPlatformScope))
	}
	at := func(endpoint string) []option.ClientOption {
		if endpoint == "" {
			return common
		}
		return append(append([]option.ClientOption(nil), common...), option.WithEndpoint(endpoint))
	}
	accounts, err := iam.NewService(ctx, at(c.IAMEndpoint)...)
	if err != nil {
		return nil, nil, fmt.Errorf("credentials_file: %w", err)
	}
	manager, err := cloudresourcemanager.NewService(ctx, at(c.ResourceManagerEndpoint)...)
	if err != nil {
		return nil, nil, fmt.Errorf("credentials_file: %w", err)
	}
	return accounts, manager, nil
}

// call bounds a call and classes its error. path and permission are what has
// to be granted for it.
func call[T any](ctx context.Context, t *Target, step, path, permission string, do func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, t.cfg.Timeout)
	defer cancel()
	answer, err := do(ctx)
	if err != nil {
		return answer, classify(err, step, path, permission)
	}
	return answer, nil
}

// classify is the one place that says what is retried (Google's API design
// guide, "Errors").
//
//   - 403: somebody has to grant the permission.
//   - 401: the own credentials are renewed by themselves or are wrong; trying
//     again is harmless.
//   - 404: an answer; callers know what it means.
//   - 409 and 412: somebody else changed the policy in between (ABORTED).
//   - 408, 429 and 5xx pass by themselves.
//   - other 4xx: the same request stays wrong.
//   - no answer: it may have been done.
func classify(err error, step, path, permission string) error {
	var refused *googleapi.Error
	if !errors.As(err, &refused) {
		switch {
		case errors.Is(err, context.Canceled):
			return &target.Error{Op: step, Err: context.Canceled}
		case errors.Is(err, context.DeadlineExceeded), os.IsTimeout(err):
			return &target.Error{Op: step, Err: errors.New("no answer in time: it may have been done")}
		}
		return &target.Error{Op: step, Err: fmt.Errorf("no answer: %s", notify.Clean(err.Error(), 200))}
	}
	e := &target.Error{Kind: target.Impossible, Op: step, Err: &answer{code: refused.Code, text: notify.Clean(refused.Message, 200)}}
	switch code := refused.Code; {
	case code == http.StatusForbidden:
		e.Kind, e.Missing = target.Permission, target.Missing{Path: path, Capability: permission, Step: step}
	case code == http.StatusUnauthorized, code == http.StatusConflict, code == http.StatusPreconditionFailed,
		code == http.StatusTooManyRequests, code == http.StatusRequestTimeout, code >= 500:
		e.Kind = target.Retryable
		if n, err := strconv.Atoi(refused.Header.Get("Retry-After")); err == nil && n > 0 {
			e.RetryAfter = min(time.Duration(n)*time.Second, time.Hour)
		}
	}
	return e
}

// answer is Google's refusal.
type answer struct {
	code int
	text string
}

func (a *answer) Error() string { return fmt.Sprintf("Google answered %d: %s", a.code, a.text) }

func status(err error, code int) bool {
	var a *answer
	return errors.As(err, &a) && a.code == code
}

func impossible(op string, err error) error {
	return &target.Error{Kind: target.Impossible, Op: op, Err: err}
}
