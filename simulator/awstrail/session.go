package awstrail

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// Audience is for whom a token that is shown to STS must have been made.
const Audience = "sts.amazonaws.com"

// Session is what STS gave. Only the key's id is kept: calls of moto need no secret.
type Session struct {
	KeyID string
	Until time.Time

	site *Site
	name string
	arn  string // of the session
	id   string // role's id and session's name
	from time.Time
}

// Call is one call that was made with a session.
type Call struct {
	At time.Time
	// Service and Action as AWS's SDKs name them: S3, PutObject.
	Service, Action string
	// Failure is AWS's code, empty if the call went through.
	Failure string
}

// Assume shows STS a token that the issuer made for the subject, and records the call.
func (s *Site) Assume(ctx context.Context, token, subject string) (*Session, error) {
	at := time.Now().UTC()
	name := s.role + "-agent"
	made, err := s.aws.query(ctx, operator, "sts", stsVersion, "AssumeRoleWithWebIdentity", "RoleArn", s.RoleARN, "RoleSessionName", name,
		"WebIdentityToken", token, "DurationSeconds", "900")
	if err != nil {
		return nil, fmt.Errorf("assume role %s: %w", s.RoleARN, err)
	}
	var given struct {
		KeyID string    `xml:"AssumeRoleWithWebIdentityResult>Credentials>AccessKeyId"`
		Until time.Time `xml:"AssumeRoleWithWebIdentityResult>Credentials>Expiration"`
		ARN   string    `xml:"AssumeRoleWithWebIdentityResult>AssumedRoleUser>Arn"`
		ID    string    `xml:"AssumeRoleWithWebIdentityResult>AssumedRoleUser>AssumedRoleId"`
	}
	if err := made.read(&given); err != nil {
		return nil, err
	}
	session := &Session{KeyID: given.KeyID, Until: given.Until, site: s, name: name, arn: given.ARN, id: s.roleID + ":" + name, from: at}
	s.record(record{"userIdentity": object{"type": "WebIdentityUser", "principalId": s.ProviderARN + ":" + Audience + ":" + subject,
		"userName": subject, "identityProvider": s.ProviderARN},
		"eventSource": "sts.amazonaws.com", "eventName": "AssumeRoleWithWebIdentity",
		"requestParameters": object{"roleArn": s.RoleARN, "roleSessionName": name, "durationSeconds": 900},
		"responseElements": object{
			"credentials":                 object{"accessKeyId": given.KeyID, "expiration": given.Until.UTC().Format("Jan 2, 2006, 3:04:05 PM")},
			"subjectFromWebIdentityToken": subject, "audience": Audience, "provider": s.ProviderARN,
			"assumedRoleUser": object{"assumedRoleId": given.ID, "arn": given.ARN}},
		"resources": []object{{"accountId": Account, "type": "AWS::IAM::Role", "ARN": s.RoleARN}}}, at, made.requestID, false)
	return session, nil
}

// WhoAmI asks STS whose session it is: moto answers with what it knows of the key. A session of somebody else is an error.
func (s *Session) WhoAmI(ctx context.Context) (Call, error) {
	at := time.Now().UTC()
	made, err := s.site.aws.query(ctx, s.KeyID, "sts", stsVersion, "GetCallerIdentity")
	if err != nil {
		return Call{}, fmt.Errorf("get caller identity: %w", err)
	}
	var caller struct {
		ARN string `xml:"GetCallerIdentityResult>Arn"`
		ID  string `xml:"GetCallerIdentityResult>UserId"`
	}
	if err := made.read(&caller); err != nil {
		return Call{}, err
	}
	if caller.ARN != s.arn {
		return Call{}, fmt.Errorf("STS says that the session %s is %s", s.arn, caller.ARN)
	}
	s.id = caller.ID
	s.call(at, made.requestID, "sts.amazonaws.com", "GetCallerIdentity", nil, "", false)
	return Call{At: at, Service: "STS", Action: "GetCallerIdentity"}, nil
}

// Report writes a report into S3, or reads one. A refusal of AWS's is a result, not an error.
func (s *Session) Report(ctx context.Context, name string, content []byte) (Call, error) {
	method, action := http.MethodGet, "GetObject"
	if content != nil {
		method, action = http.MethodPut, "PutObject"
	}
	at := time.Now().UTC()
	made, err := s.site.aws.do(ctx, method, "/"+ReportsBucket+"/"+name, s.KeyID, "s3", "application/octet-stream", content)
	failure, answered := refusal(err)
	if err != nil && !answered {
		return Call{}, fmt.Errorf("%s: %w", action, err)
	}
	s.call(at, made.requestID, "s3.amazonaws.com", action, object{"bucketName": ReportsBucket, "key": name}, failure, true)
	return Call{At: at, Service: "S3", Action: action, Failure: failure}, nil
}

// call records a call that was made with the session.
func (s *Session) call(at time.Time, requestID, source, action string, request object, failure string, data bool) {
	r := record{"userIdentity": s.identity(), "eventSource": source, "eventName": action, "requestParameters": request, "responseElements": nil}
	if data {
		r["resources"] = []object{
			{"type": "AWS::S3::Object", "ARN": fmt.Sprintf("arn:aws:s3:::%s/%s", request["bucketName"], request["key"])},
			{"accountId": Account, "type": "AWS::S3::Bucket", "ARN": fmt.Sprintf("arn:aws:s3:::%s", request["bucketName"])}}
	}
	if failure != "" {
		r["errorCode"] = failure
	}
	s.site.record(r, at, requestID, data)
}

func (s *Session) identity() object {
	return object{"type": "AssumedRole", "principalId": s.id, "arn": s.arn, "accountId": Account, "accessKeyId": s.KeyID,
		"sessionContext": object{
			"sessionIssuer":       object{"type": "Role", "principalId": s.site.roleID, "arn": s.site.RoleARN, "accountId": Account, "userName": s.site.role},
			"webIdFederationData": object{"federatedProvider": s.site.ProviderARN, "attributes": object{}},
			"attributes":          object{"creationDate": s.from.Format(time.RFC3339), "mfaAuthenticated": "false"}}}
}
