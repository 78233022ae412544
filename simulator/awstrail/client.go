package awstrail

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Region of everything in the account.
const Region = "us-east-1"

// Error is what AWS answers a call that it does not carry out.
type Error struct{ Code string }

func (e *Error) Error() string { return "AWS answers " + e.Code }

// client speaks AWS's query protocol and S3's, to moto alone.
type client struct {
	endpoint string
	http     *http.Client
}

// answer is what a call gave: its body, and the id that the service gave the request.
type answer struct {
	body      []byte
	requestID string
}

// scope says which key calls which service. moto reads both here, as AWS does, and believes the signature, so there is
// none to make.
func scope(key, service string) string {
	return fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/%s/%s/%s/aws4_request, SignedHeaders=host, Signature=none",
		key, time.Now().UTC().Format("20060102"), Region, service)
}

// query makes a call of the query protocol. args are name, value, name, value …
func (c *client) query(ctx context.Context, key, service, version, action string, args ...string) (answer, error) {
	form := url.Values{"Action": {action}, "Version": {version}}
	for i := 0; i+1 < len(args); i += 2 {
		form.Set(args[i], args[i+1])
	}
	return c.do(ctx, http.MethodPost, "/", key, service, "application/x-www-form-urlencoded", []byte(form.Encode()))
}

func (c *client) do(ctx context.Context, method, path, key, service, contentType string, body []byte) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, method, c.endpoint+path, bytes.NewReader(body))
	if err != nil {
		return answer{}, fmt.Errorf("%s %s: %w", service, path, err)
	}
	request.Header.Set("Authorization", scope(key, service))
	request.Header.Set("Content-Type", contentType)
	response, err := c.http.Do(request)
	if err != nil {
		return answer{}, fmt.Errorf("%s %s: %w", service, path, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return answer{}, fmt.Errorf("%s %s: read the answer: %w", service, path, err)
	}
	out := answer{text, response.Header.Get("x-amzn-requestid")}
	if response.StatusCode >= http.StatusMultipleChoices {
		return out, &Error{code(text, response.StatusCode)}
	}
	return out, nil
}

// code of an error: S3 has it at the top, the others within Error.
func code(body []byte, status int) string {
	var failure struct {
		Code  string `xml:"Code"`
		Inner string `xml:"Error>Code"`
	}
	if xml.Unmarshal(body, &failure) == nil {
		if text := strings.TrimSpace(failure.Code + failure.Inner); text != "" {
			return text
		}
	}
	return fmt.Sprintf("status %d", status)
}

func (a answer) read(to any) error {
	if err := xml.Unmarshal(a.body, to); err != nil {
		return fmt.Errorf("read AWS's answer: %w", err)
	}
	return nil
}

// refusal gives AWS's code if err is AWS's own answer, which is as real as a success.
func refusal(err error) (string, bool) {
	var answered *Error
	if errors.As(err, &answered) {
		return answered.Code, true
	}
	return "", false
}
