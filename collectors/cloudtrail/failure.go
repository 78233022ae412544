package cloudtrail

import (
	"strings"

	"github.com/leastwise/leastwise/collectors/jsonrecord"
)

// Categories of failure, as they stand in Event.error.
const (
	failedNot      = ""
	failedDenied   = "access denied"
	failedThrottle = "throttled"
	failedLogin    = "authentication failed"
	failedNotFound = "not found"
	failedInvalid  = "invalid request"
	failedConflict = "conflict"
	failedLimit    = "limit exceeded"
	failedServer   = "server error"
	failedDryRun   = "dry run"
	failedOther    = "failed"
)

// denials are codes of a refusal for want of permission, besides those that contain AccessDenied or
// UnauthorizedOperation.
var denials = map[string]bool{
	"AuthorizationError": true, "AuthorizationErrorException": true, // SNS
	"UnauthorizedException": true, "Unauthorized": true, "Client.UnauthorizedAccess": true,
	"Forbidden": true, "ForbiddenException": true,
}

// logins are codes of a call whose caller could not be told: nothing was permitted or refused to anybody.
var logins = map[string]bool{
	"InvalidClientTokenId": true, "ExpiredToken": true, "ExpiredTokenException": true, "SignatureDoesNotMatch": true,
	"UnrecognizedClientException": true, "AuthFailure": true, "Client.AuthFailure": true, "InvalidAccessKeyId": true,
	"IncompleteSignature": true, "MissingAuthenticationToken": true, "InvalidSignatureException": true,
	"InvalidIdentityToken": true, "InvalidIdentityTokenException": true, "IDPRejectedClaim": true, "RequestExpired": true,
}

// throttles are parts of codes that refuse a call because there were too many.
var throttles = []string{"Throttl", "SlowDown", "RequestLimitExceeded", "TooManyRequests", "RateExceeded", "ThroughputExceeded",
	"BandwidthLimitExceeded", "PriorRequestNotComplete", "RequestThrottled"}

var parts = []struct{ part, category string }{
	{"DryRunOperation", failedDryRun},
	{"NotFound", failedNotFound}, {"NoSuch", failedNotFound}, {"DoesNotExist", failedNotFound}, {"NotExist", failedNotFound}, {"Unknown", failedNotFound},
	{"AlreadyExists", failedConflict}, {"Conflict", failedConflict}, {"InUse", failedConflict}, {"Duplicate", failedConflict}, {"IncorrectState", failedConflict},
	{"LimitExceeded", failedLimit}, {"Quota", failedLimit}, {"Insufficient", failedLimit},
	{"Invalid", failedInvalid}, {"Validation", failedInvalid}, {"Malformed", failedInvalid}, {"Missing", failedInvalid}, {"Unsupported", failedInvalid},
	{"Internal", failedServer}, {"Unavailable", failedServer}, {"Server.", failedServer}, {"Timeout", failedServer}, {"ServiceException", failedServer},
}

// classify puts a code into its category. A code that is not known is a failure of a call that was permitted.
func classify(code string) string {
	switch {
	case code == "":
		return failedNot
	case strings.Contains(code, "AccessDenied"), strings.Contains(code, "UnauthorizedOperation"), denials[code]:
		return failedDenied
	case logins[code]:
		return failedLogin
	}
	for _, part := range throttles {
		if strings.Contains(code, part) {
			return failedThrottle
		}
	}
	for _, p := range parts {
		if strings.Contains(code, p.part) {
			return p.category
		}
	}
	return failedOther
}

// failure is the category of what went wrong, and the code that says so. Some services leave errorCode out and put the
// error into the answer; some give a message alone.
func (d *Decoder) failure(e *record) (category string, code []byte) {
	code = e.errorCode
	if len(code) == 0 {
		code = e.answeredCode()
	}
	if len(code) > 0 {
		category, known := d.codes.get(code)
		if !known {
			category = classify(jsonrecord.Text(code, maxName))
			d.codes.put(string(code), category)
		}
		return category, code
	}
	if login := e.response.GetStringBytes("ConsoleLogin"); string(login) == "Failure" {
		return failedLogin, nil
	}
	if len(e.errorMessage) > 0 {
		message := string(e.errorMessage[:min(len(e.errorMessage), 1024)])
		switch {
		case strings.Contains(message, "is not authorized to perform"), strings.HasPrefix(message, "Access Denied"):
			return failedDenied, nil
		case string(e.eventType) == typeSignIn:
			return failedLogin, nil
		}
		return failedOther, nil
	}
	if ok := e.response.Get("_return"); ok != nil && ok.String() == "false" {
		return failedOther, nil
	}
	return failedNot, nil
}

// answeredCode is an error's code inside responseElements.
func (e *record) answeredCode() []byte {
	if !e.errs {
		return nil
	}
	for _, name := range []string{"errorCode", "ErrorCode"} {
		if code := e.response.GetStringBytes(name); len(code) > 0 {
			return code
		}
	}
	for _, name := range []string{"error", "Error"} {
		inner := e.response.Get(name)
		if code := inner.GetStringBytes("code"); len(code) > 0 {
			return code
		}
		if code := inner.GetStringBytes("Code"); len(code) > 0 {
			return code
		}
		if code := inner.GetStringBytes(); len(code) > 0 {
			return code
		}
	}
	return nil
}
