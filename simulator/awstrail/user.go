package awstrail

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// Key is an access key of an IAM user, with which something works for as long as nobody takes it away.
type Key struct {
	ID, User string

	site        *Site
	arn, userID string

	mu     sync.Mutex
	status string // as IAM said last; under mu
}

// active and inactive are IAM's words.
const active, inactive = "Active", "Inactive"

// MakeKey makes a user that may write the reports' bucket, and a key for it, as the user itself would: the trail tells of it.
func (s *Site) MakeKey(ctx context.Context, user string) (*Key, error) {
	made, err := s.aws.query(ctx, operator, "iam", iamVersion, "CreateUser", "UserName", user)
	if err != nil {
		return nil, fmt.Errorf("make user %s: %w", user, err)
	}
	var who struct {
		ARN string `xml:"CreateUserResult>User>Arn"`
		ID  string `xml:"CreateUserResult>User>UserId"`
	}
	if err := made.read(&who); err != nil {
		return nil, err
	}
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:PutObject","Resource":"arn:aws:s3:::` + ReportsBucket + `/*"}]}`
	if _, err := s.aws.query(ctx, operator, "iam", iamVersion, "PutUserPolicy", "UserName", user, "PolicyName", "backup", "PolicyDocument", policy); err != nil {
		return nil, fmt.Errorf("let user %s write: %w", user, err)
	}
	at := time.Now().UTC()
	if made, err = s.aws.query(ctx, operator, "iam", iamVersion, "CreateAccessKey", "UserName", user); err != nil {
		return nil, fmt.Errorf("make a key of user %s: %w", user, err)
	}
	var given struct {
		ID string `xml:"CreateAccessKeyResult>AccessKey>AccessKeyId"`
	}
	if err := made.read(&given); err != nil {
		return nil, err
	}
	k := &Key{ID: given.ID, User: user, site: s, arn: who.ARN, userID: who.ID, status: active}
	s.record(record{"userIdentity": k.identity(""), "eventSource": "iam.amazonaws.com", "eventName": "CreateAccessKey",
		"requestParameters": object{"userName": user},
		"responseElements":  object{"accessKey": object{"accessKeyId": k.ID, "status": active, "userName": user}}}, at, made.requestID, false)
	return k, nil
}

func (k *Key) identity(key string) object {
	i := object{"type": "IAMUser", "principalId": k.userID, "arn": k.arn, "accountId": Account, "userName": k.User}
	if key != "" {
		i["accessKeyId"] = key
	}
	return i
}

// Write writes an object with the key. moto takes every key, so it is IAM that is asked whether it is active: a key that is
// not is refused as AWS refuses it, which is no error here.
func (k *Key) Write(ctx context.Context, name string, content []byte) (Call, error) {
	now, err := k.Active(ctx)
	if err != nil {
		return Call{}, err
	}
	at := time.Now().UTC()
	failure, requestID := "", newUUID()
	if now {
		made, err := k.site.aws.do(ctx, http.MethodPut, "/"+ReportsBucket+"/"+name, k.ID, "s3", "application/octet-stream", content)
		if err != nil {
			return Call{}, fmt.Errorf("PutObject: %w", err)
		}
		requestID = made.requestID
	} else {
		failure = "InvalidAccessKeyId"
	}
	if failure == "" { // CloudTrail knows no caller of a key that is not valid
		k.site.record(record{"userIdentity": k.identity(k.ID), "eventSource": "s3.amazonaws.com", "eventName": "PutObject",
			"requestParameters": object{"bucketName": ReportsBucket, "key": name}, "responseElements": nil,
			"resources": []object{
				{"type": "AWS::S3::Object", "ARN": fmt.Sprintf("arn:aws:s3:::%s/%s", ReportsBucket, name)},
				{"accountId": Account, "type": "AWS::S3::Bucket", "ARN": "arn:aws:s3:::" + ReportsBucket}}}, at, requestID, true)
	}
	return Call{At: at, Service: "S3", Action: "PutObject", Failure: failure}, nil
}

// Active asks IAM. A change since the last time goes into the trail, as CloudTrail tells of it: moto keeps none.
func (k *Key) Active(ctx context.Context) (bool, error) {
	at := time.Now().UTC()
	made, err := k.site.aws.query(ctx, operator, "iam", iamVersion, "ListAccessKeys", "UserName", k.User)
	if err != nil {
		return false, fmt.Errorf("list the keys of user %s: %w", k.User, err)
	}
	var listed struct {
		Keys []struct {
			ID     string `xml:"AccessKeyId"`
			Status string `xml:"Status"`
		} `xml:"ListAccessKeysResult>AccessKeyMetadata>member"`
	}
	if err := made.read(&listed); err != nil {
		return false, err
	}
	status := inactive
	for _, key := range listed.Keys {
		if key.ID == k.ID {
			status = key.Status
		}
	}
	k.mu.Lock()
	changed := status != k.status
	k.status = status
	k.mu.Unlock()
	if changed {
		const enforcer = "leastwise-enforcer"
		k.site.record(record{"userIdentity": object{"type": "IAMUser", "principalId": "AIDADEMOENFORCER00000", "accountId": Account,
			"arn": "arn:aws:iam::" + Account + ":user/" + enforcer, "userName": enforcer},
			"eventSource": "iam.amazonaws.com", "eventName": "UpdateAccessKey",
			"requestParameters": object{"userName": k.User, "accessKeyId": k.ID, "status": status}, "responseElements": nil}, at, made.requestID, false)
	}
	return status == active, nil
}
