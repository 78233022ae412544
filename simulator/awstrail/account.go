// Package awstrail makes an AWS account on moto, with an agent's role in it, lets the agent use it, and writes the trail.
//
// The calls are real: they go to moto's STS and S3, and the ids in the records are those that moto answered with. moto
// writes no CloudTrail, so this package writes the record of each call it made, in CloudTrail's form, as packed log files
// into the trail's bucket, which announces them to a queue. What was recorded and not delivered yet is lost when the
// process ends.
package awstrail

import (
	"context"
	"encoding/xml"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	// Account is the one that moto gives to keys that it does not know.
	Account = "123456789012"
	// TrailBucket receives the log files.
	TrailBucket = "trail"
	// ReportsBucket is what the agent writes to.
	ReportsBucket = "reports"

	// operator is the key of who sets the account up. Its calls are not recorded: the trail is not on yet.
	operator = "AKIADEMOOPERATOR0000"

	iamVersion = "2010-05-08"
	stsVersion = "2011-06-15"
	sqsVersion = "2012-11-05"
)

// Site is an account that has been set up.
type Site struct {
	// QueueURL is the queue that announces log files.
	QueueURL string
	// RoleARN is the agent's role, ProviderARN the provider whose tokens it trusts.
	RoleARN, ProviderARN string

	role   string
	roleID string
	aws    client

	mu      sync.Mutex
	pending []record // not delivered yet; under mu
	files   int      // delivered; under mu
}

// Setup makes bucket, queue, provider of identities, and a role that its subject may assume for sts.amazonaws.com and that
// may write and read reports, and list all buckets, which the agent never does.
func Setup(ctx context.Context, endpoint, role, issuer, subject string) (*Site, error) {
	s := &Site{role: role, aws: client{endpoint, &http.Client{Timeout: 10 * time.Second}}}
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"make the buckets and the queue", s.makeTrail},
		{"trust the issuer", func(ctx context.Context) error { return s.trust(ctx, issuer) }},
		{"make the role", func(ctx context.Context) error { return s.makeRole(ctx, issuer, subject) }},
	} {
		if err := step.do(ctx); err != nil {
			return nil, fmt.Errorf("set up the AWS account: %s: %w", step.name, err)
		}
	}
	return s, nil
}

func (s *Site) makeTrail(ctx context.Context) error {
	for _, bucket := range []string{TrailBucket, ReportsBucket} {
		if _, err := s.put(ctx, operator, "/"+bucket, nil); err != nil {
			return err
		}
	}
	made, err := s.aws.query(ctx, operator, "sqs", sqsVersion, "CreateQueue", "QueueName", TrailBucket)
	if err != nil {
		return err
	}
	var queue struct {
		URL string `xml:"CreateQueueResult>QueueUrl"`
	}
	if err := made.read(&queue); err != nil {
		return err
	}
	s.QueueURL = queue.URL
	announce := `<NotificationConfiguration><QueueConfiguration><Id>trail</Id><Queue>arn:aws:sqs:` + Region + `:` + Account + `:` + TrailBucket +
		`</Queue><Event>s3:ObjectCreated:*</Event></QueueConfiguration></NotificationConfiguration>`
	_, err = s.put(ctx, operator, "/"+TrailBucket+"?notification", []byte(announce))
	return err
}

func (s *Site) put(ctx context.Context, key, path string, body []byte) (answer, error) {
	return s.aws.do(ctx, http.MethodPut, path, key, "s3", "application/octet-stream", body)
}

func (s *Site) trust(ctx context.Context, issuer string) error {
	// AWS wants the thumbprint of the issuer's CA; of an issuer on loopback there is none, and moto does not look.
	made, err := s.aws.query(ctx, operator, "iam", iamVersion, "CreateOpenIDConnectProvider", "Url", issuer,
		"ClientIDList.member.1", Audience, "ThumbprintList.member.1", strings.Repeat("0", 40))
	if err != nil {
		return err
	}
	var provider struct {
		ARN string `xml:"CreateOpenIDConnectProviderResult>OpenIDConnectProviderArn"`
	}
	if err := made.read(&provider); err != nil {
		return err
	}
	s.ProviderARN = provider.ARN
	return nil
}

func (s *Site) makeRole(ctx context.Context, issuer, subject string) error {
	host := strings.TrimPrefix(issuer, "https://")
	trust := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":%q},"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{%q:%q,%q:%q}}}]}`,
		s.ProviderARN, host+":sub", subject, host+":aud", Audience)
	made, err := s.aws.query(ctx, operator, "iam", iamVersion, "CreateRole", "RoleName", s.role, "AssumeRolePolicyDocument", trust)
	if err != nil {
		return err
	}
	var role struct {
		XMLName xml.Name
		ARN     string `xml:"CreateRoleResult>Role>Arn"`
		ID      string `xml:"CreateRoleResult>Role>RoleId"`
	}
	if err := made.read(&role); err != nil {
		return err
	}
	s.RoleARN, s.roleID = role.ARN, role.ID
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:PutObject","s3:GetObject"],"Resource":"arn:aws:s3:::` + ReportsBucket +
		`/*"},{"Effect":"Allow","Action":"s3:ListAllMyBuckets","Resource":"*"}]}`
	_, err = s.aws.query(ctx, operator, "iam", iamVersion, "PutRolePolicy", "RoleName", s.role, "PolicyName", "reports", "PolicyDocument", policy)
	return err
}
