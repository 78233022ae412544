package aws

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/leastwise/leastwise/enforcer/target"
)

// clients of AWS and the credentials they sign with.
type clients struct {
	iam *iam.Client
	sts *sts.Client
	// signers are those that may stand in a log as the enforcer's: the one that
	// signs, and the one that assumed its role.
	signers []sdk.CredentialsProvider
}

// connect reads the SDK's configuration and asks nobody.
func connect(ctx context.Context, c Config) (*clients, error) {
	options := []func(*config.LoadOptions) error{
		config.WithDefaultRegion("us-east-1"),
		// The ladder retries, and it has to know of each failure.
		config.WithRetryer(func() sdk.Retryer { return sdk.NopRetryer{} }),
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTimeout(c.Timeout + time.Second)), // the context ends first
	}
	if c.Region != "" {
		options = append(options, config.WithRegion(c.Region))
	}
	if c.Profile != "" {
		options = append(options, config.WithSharedConfigProfile(c.Profile))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("configure the AWS SDK: %w", err)
	}
	cfg.HTTPClient = wire{cfg.HTTPClient}
	atSTS := func(o *sts.Options) {
		if c.Endpoint != "" {
			o.BaseEndpoint = &c.Endpoint
		}
	}
	signers := []sdk.CredentialsProvider{cfg.Credentials}
	if c.RoleARN != "" {
		cfg.Credentials = sdk.NewCredentialsCache(stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg, atSTS), c.RoleARN, func(o *stscreds.AssumeRoleOptions) {
			o.RoleSessionName = "leastwise-enforcer"
			if c.ExternalID != "" {
				o.ExternalID = &c.ExternalID
			}
		}))
		signers = append(signers, cfg.Credentials)
	}
	return &clients{signers: signers, sts: sts.NewFromConfig(cfg, atSTS), iam: iam.NewFromConfig(cfg, func(o *iam.Options) {
		if c.Endpoint != "" {
			o.BaseEndpoint = &c.Endpoint
		}
	})}, nil
}

// wire refuses what is no answer of AWS's. The SDK takes a page of a proxy, with
// status 200, for an answer that lists nothing; and no key listed is a proof.
type wire struct{ next sdk.HTTPClient }

// Do is sdk.HTTPClient's.
func (w wire) Do(r *http.Request) (*http.Response, error) {
	resp, err := w.next.Do(r)
	if err != nil || resp.StatusCode >= http.StatusMultipleChoices || resp.Header.Get("X-Amzn-Requestid") != "" {
		return resp, err
	}
	_ = resp.Body.Close()
	return nil, &unreadable{resp.StatusCode}
}

// step is one request: which action it needs on what, and what for.
type step struct{ action, resource, words string }

// call does one request of IAM or STS within its time, and classes its error.
func call[I, O, P any](ctx context.Context, t *Target, s step, method func(context.Context, *I, ...func(*P)) (*O, error), in *I) (*O, error) {
	ctx, cancel := context.WithTimeout(ctx, t.cfg.Timeout)
	defer cancel()
	out, err := method(ctx, in)
	if err != nil {
		return nil, t.classed(ctx, s, err)
	}
	return out, nil
}

// answer is what AWS said no with.
type answer struct{ code, text string }

func (a *answer) Error() string {
	if a.text == "" {
		return a.code
	}
	return a.code + ": " + a.text
}

// says tells whether err is AWS's answer of that code.
func says(err error, code string) bool {
	var a *answer
	return errors.As(err, &a) && a.code == code
}

// gone tells whether what was asked about does not exist.
func gone(err error) bool { return says(err, "NoSuchEntity") }

// told are codes whose text helps and holds no secret. Others are not shown:
// the text of SignatureDoesNotMatch holds the whole request, session token
// included.
var told = []string{"NoSuchEntity", "LimitExceeded", "MalformedPolicyDocument", "UnmodifiableEntity", "EntityTemporarilyUnmodifiable", "InvalidInput", "DeleteConflict"}

// classed makes the one error of this package out of the SDK's. Codes:
// https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html
func (t *Target) classed(ctx context.Context, s step, err error) error {
	var api smithy.APIError
	var response *smithyhttp.ResponseError
	status, after := 0, time.Duration(0)
	if errors.As(err, &response) {
		status, after = response.HTTPStatusCode(), retryAfter(response)
	}
	var page *unreadable
	if errors.As(err, &page) {
		return &target.Error{Op: s.words, Err: page}
	}
	// UnknownError is the SDK's name for an answer without a code.
	if !errors.As(err, &api) || api.ErrorCode() == "" || api.ErrorCode() == "UnknownError" {
		return &target.Error{Op: s.words, RetryAfter: after, Err: t.silence(ctx, status)}
	}
	a := &answer{code: clean(strings.TrimSuffix(api.ErrorCode(), "Exception"), 60)}
	if slices.Contains(told, a.code) {
		a.text = clean(api.ErrorMessage(), 300)
	}
	e := &target.Error{Kind: target.Impossible, Op: s.words, RetryAfter: after, Err: a}
	switch {
	case a.code == "AccessDenied" || a.code == "UnauthorizedOperation" || a.code == "AuthorizationError":
		e.Kind, e.Missing = target.Permission, target.Missing{Path: s.resource, Capability: s.action, Step: s.words}
	case slices.Contains([]string{"InvalidClientTokenId", "UnrecognizedClient", "SignatureDoesNotMatch", "AuthFailure", "MissingAuthenticationToken", "InvalidAccessKeyId"}, a.code):
		e.Kind, e.Missing = target.Permission, target.Missing{Path: "sts", Capability: "credentials that AWS accepts", Step: s.words}
	case strings.Contains(a.code, "Throttl") || slices.Contains([]string{"RequestLimitExceeded", "TooManyRequests", "SlowDown", "PriorRequestNotComplete",
		"ConcurrentModification", "EntityTemporarilyUnmodifiable", "ServiceFailure", "InternalFailure", "InternalError", "ServiceUnavailable",
		"RequestExpired", "ExpiredToken", "RequestTimeout"}, a.code), status >= 500 && status != http.StatusNotImplemented, status == http.StatusTooManyRequests:
		e.Kind = target.Retryable
	}
	return e
}

// unreadable is an answer that is none of AWS's.
type unreadable struct{ status int }

func (u *unreadable) Error() string {
	return fmt.Sprintf("an answer that can not be read, status %d", u.status)
}

// silence says why there is no answer of AWS's. The SDK's own text is not
// shown: it may quote what was sent.
func (t *Target) silence(ctx context.Context, status int) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("no answer in time: %w", ctx.Err())
	case status != 0:
		return &unreadable{status}
	}
	for _, s := range t.aws.signers {
		if _, err := s.Retrieve(ctx); err != nil {
			return errors.New("the AWS SDK finds no credentials, or may not assume role_arn (see `aws sts get-caller-identity`)")
		}
	}
	return errors.New("no answer")
}

func retryAfter(r *smithyhttp.ResponseError) time.Duration {
	if r.Response == nil || r.Response.Response == nil {
		return 0
	}
	seconds, err := strconv.Atoi(r.Response.Header.Get("Retry-After"))
	if err != nil || seconds <= 0 {
		return 0
	}
	return min(time.Duration(seconds)*time.Second, time.Hour)
}

// clean bounds text from outside to one line.
func clean(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// str is the text that p points at.
func str(p *string) string { return sdk.ToString(p) }

func impossible(op string, err error) error {
	return &target.Error{Kind: target.Impossible, Op: op, Err: err}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
