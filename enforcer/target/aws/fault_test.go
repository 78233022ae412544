package aws

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/enforcer/target"
	"github.com/leastwise/leastwise/enforcer/target/aws/mototest"
)

const someSecret = "CANARY-secret-access-key"

// fake answers as AWS does, but for what a case breaks.
func fake(t *testing.T, c Config, handle func(action string, w http.ResponseWriter, r *http.Request) bool) *Target {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		form, _ := url.ParseQuery(string(body))
		r.Form = form
		w.Header().Set("X-Amzn-Requestid", "1")
		if handle(form.Get("Action"), w, r) {
			return
		}
		switch form.Get("Action") {
		case "GetCallerIdentity":
			fmt.Fprint(w, `<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:iam::123456789012:user/e</Arn><UserId>AIDA1</UserId><Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`)
		case "GetAccessKeyLastUsed":
			fmt.Fprint(w, `<GetAccessKeyLastUsedResponse><GetAccessKeyLastUsedResult><UserName>u</UserName></GetAccessKeyLastUsedResult></GetAccessKeyLastUsedResponse>`)
		case "ListAccessKeys":
			fmt.Fprint(w, `<ListAccessKeysResponse><ListAccessKeysResult><AccessKeyMetadata><member><AccessKeyId>AKIAOFSOMEBODY000000</AccessKeyId><Status>Active</Status></member></AccessKeyMetadata></ListAccessKeysResult></ListAccessKeysResponse>`)
		default:
			mototest.Refuse(w, 404, "NoSuchEntity", "no such thing")
		}
	}))
	t.Cleanup(srv.Close)
	for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": "AKIAOWN0000000000000", "AWS_SECRET_ACCESS_KEY": someSecret, "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": "/nonexistent", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent", "AWS_EC2_METADATA_DISABLED": "true"} {
		t.Setenv(name, value)
	}
	c.Endpoint = srv.URL
	if c.Timeout == 0 {
		c.Timeout = 300 * time.Millisecond
	}
	x, err := Open(c, History{}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

var keyCred = target.Credential{Key: "cloudtrail/default/access_key/AKIAOFSOMEBODY000000"}

func TestEachFailureHasItsKindAndNeverCountsAsGone(t *testing.T) {
	says := func(status int, code string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) { mototest.Refuse(w, status, code, "CANARY text of AWS") }
	}
	for name, c := range map[string]struct {
		answer func(http.ResponseWriter, *http.Request)
		kind   target.Kind
		text   string
	}{
		"throttling":      {says(400, "Throttling"), target.Retryable, "Throttling"},
		"throttling, too": {says(400, "ThrottlingException"), target.Retryable, "Throttling"},
		"request limit":   {says(503, "RequestLimitExceeded"), target.Retryable, "RequestLimitExceeded"},
		"service failure": {says(500, "ServiceFailure"), target.Retryable, "ServiceFailure"},
		"changing":        {says(409, "EntityTemporarilyUnmodifiable"), target.Retryable, "EntityTemporarilyUnmodifiable: CANARY text"},
		"expired":         {says(403, "ExpiredToken"), target.Retryable, "ExpiredToken"},
		"access denied":   {says(403, "AccessDenied"), target.Permission, `"iam:ListAccessKeys" on "user/u"`},
		"bad signature":   {says(403, "SignatureDoesNotMatch"), target.Permission, "credentials that AWS accepts"},
		"unknown key":     {says(403, "InvalidClientTokenId"), target.Permission, "credentials that AWS accepts"},
		"limit":           {says(409, "LimitExceeded"), target.Impossible, "LimitExceeded: CANARY text"},
		"invalid":         {says(400, "ValidationError"), target.Impossible, "ValidationError"},
		"a proxy's page":  {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502); fmt.Fprint(w, "<html>CANARY") }, target.Retryable, "502"},
		"a page with 200": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Del("X-Amzn-Requestid")
			fmt.Fprint(w, "CANARY")
		}, target.Retryable, "can not be read"},
		"cut off":             {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, target.Retryable, "no answer"},
		"no answer":           {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, target.Retryable, "no answer in time"},
		"no such user's keys": {says(404, "NoSuchEntity"), target.Retryable, ""},
	} {
		t.Run(name, func(t *testing.T) {
			x := fake(t, Config{}, func(action string, w http.ResponseWriter, r *http.Request) bool {
				if action == "ListAccessKeys" {
					c.answer(w, r)
					return true
				}
				return false
			})
			proof, err := x.Verify(t.Context(), keyCred)
			if name == "no such user's keys" {
				if err != nil || !proof.Gone {
					t.Errorf("Verify = %+v, %v", proof, err)
				}
				return
			}
			if err == nil {
				t.Fatalf("Verify = %+v", proof)
			}
			if proof.Gone || target.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.text) {
				t.Errorf("Verify = %+v, %v (%v)", proof, err, target.KindOf(err))
			}
			if text := err.Error(); strings.Contains(text, someSecret) || strings.Contains(text, "CANARY") && !strings.Contains(c.text, "CANARY") {
				t.Errorf("it shows what it must not: %s", text)
			}
		})
	}
}

func TestHowLongAWSAsksToBeLeftAloneIsTold(t *testing.T) {
	x := fake(t, Config{}, func(action string, w http.ResponseWriter, _ *http.Request) bool {
		if action != "ListAccessKeys" {
			return false
		}
		w.Header().Set("Retry-After", "7")
		mototest.Refuse(w, 429, "TooManyRequestsException", "")
		return true
	})
	_, err := x.Verify(t.Context(), keyCred)
	var e *target.Error
	if !errors.As(err, &e) || e.RetryAfter != 7*time.Second || e.Kind != target.Retryable {
		t.Errorf("%v", err)
	}
}

func TestWithoutCredentialsNothingIsAskedAndTheErrorSaysWhatToDo(t *testing.T) {
	asked := 0
	x := fake(t, Config{}, func(string, http.ResponseWriter, *http.Request) bool { asked++; return false })
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	x, err := Open(x.cfg, History{}, nil, nil)
	if err == nil {
		_, err = x.Live(t.Context())
	}
	if err == nil || asked != 0 || !strings.Contains(err.Error(), "credentials") {
		t.Errorf("%v, asked %d times", err, asked)
	}
}

func TestTheRootUsersKeyCanNotBeTaken(t *testing.T) {
	x := fake(t, Config{}, func(action string, w http.ResponseWriter, _ *http.Request) bool {
		if action == "GetAccessKeyLastUsed" {
			fmt.Fprint(w, `<GetAccessKeyLastUsedResponse><GetAccessKeyLastUsedResult><UserName>&lt;root_account&gt;</UserName></GetAccessKeyLastUsedResult></GetAccessKeyLastUsedResponse>`)
		}
		return action == "GetAccessKeyLastUsed"
	})
	if err := x.Revoke(t.Context(), keyCred); target.KindOf(err) != target.Impossible || err == nil || !strings.Contains(err.Error(), "root user") {
		t.Errorf("Revoke = %v", err)
	}
}

func TestAKeyThatIAMDoesNotKnowIsGoneOnlyIfItWasThisAccounts(t *testing.T) {
	for account, gone := range map[string]bool{"123456789012": true, "999999999999": false} {
		x := fake(t, Config{}, func(action string, w http.ResponseWriter, _ *http.Request) bool {
			switch action {
			case "GetAccessKeyLastUsed":
				mototest.Refuse(w, 404, "NoSuchEntity", "no such key")
			case "GetAccessKeyInfo":
				fmt.Fprintf(w, `<GetAccessKeyInfoResponse><GetAccessKeyInfoResult><Account>%s</Account></GetAccessKeyInfoResult></GetAccessKeyInfoResponse>`, account)
			default:
				return false
			}
			return true
		})
		if p, err := x.Verify(t.Context(), keyCred); err != nil || p.Gone != gone || p.Text == "" {
			t.Errorf("of account %s: %+v, %v", account, p, err)
		}
	}
}

func TestFinishDeletesNoKeyThatWasUsedAfterItWasTaken(t *testing.T) {
	revoked := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for used, deleted := range map[string]bool{"2026-03-01T11:00:00Z": true, "2026-03-01T12:30:00Z": true, "2026-03-01T14:00:00Z": false} {
		got := false
		x := fake(t, Config{}, func(action string, w http.ResponseWriter, _ *http.Request) bool {
			switch action {
			case "GetAccessKeyLastUsed":
				fmt.Fprintf(w, `<GetAccessKeyLastUsedResponse><GetAccessKeyLastUsedResult><UserName>u</UserName><AccessKeyLastUsed><LastUsedDate>%s</LastUsedDate></AccessKeyLastUsed></GetAccessKeyLastUsedResult></GetAccessKeyLastUsedResponse>`, used)
			case "ListAccessKeys":
				fmt.Fprint(w, `<ListAccessKeysResponse><ListAccessKeysResult><AccessKeyMetadata><member><AccessKeyId>AKIAOFSOMEBODY000000</AccessKeyId><Status>Inactive</Status></member></AccessKeyMetadata></ListAccessKeysResult></ListAccessKeysResponse>`)
			case "DeleteAccessKey":
				got = true
				fmt.Fprint(w, `<DeleteAccessKeyResponse></DeleteAccessKeyResponse>`)
			default:
				return false
			}
			return true
		})
		c := keyCred
		c.RevokedAt = revoked
		err := x.Finish(t.Context(), c)
		if got != deleted || (err == nil) != deleted || err != nil && target.KindOf(err) != target.Impossible {
			t.Errorf("used %s: deleted %t, %v", used, got, err)
		}
	}
}

func TestKeysAreDeletedAfterTheConfiguredTimeOrNever(t *testing.T) {
	none := func(string, http.ResponseWriter, *http.Request) bool { return false }
	for _, c := range []struct {
		cfg  Config
		key  string
		want time.Duration
	}{
		{Config{}, keyCred.Key, 7 * 24 * time.Hour}, {Config{DeleteAfter: time.Hour}, keyCred.Key, time.Hour}, {Config{KeepKeys: true}, keyCred.Key, 0},
		{Config{}, "cloudtrail/default/session/ASIAOFSOMEBODY000000", 0}, {Config{}, "vault/default/token/x", 0},
	} {
		x := fake(t, c.cfg, none)
		if got := x.FinishAfter(target.Credential{Key: c.key}); got != c.want {
			t.Errorf("%+v %s: %s", c.cfg, c.key, got)
		}
		if c.want == 0 {
			if err := x.Finish(t.Context(), target.Credential{Key: c.key}); target.KindOf(err) != target.Impossible || err == nil {
				t.Errorf("Finish = %v", err)
			}
		}
	}
}

func TestADeletedKeyCanNotBeGivenBack(t *testing.T) {
	x := fake(t, Config{}, func(action string, w http.ResponseWriter, _ *http.Request) bool {
		if action == "ListAccessKeys" {
			fmt.Fprint(w, `<ListAccessKeysResponse><ListAccessKeysResult></ListAccessKeysResult></ListAccessKeysResponse>`)
		}
		return action == "ListAccessKeys"
	})
	if err := x.Restore(context.Background(), keyCred); target.KindOf(err) != target.Impossible || err == nil || !strings.Contains(err.Error(), "new one") {
		t.Errorf("Restore = %v", err)
	}
}
