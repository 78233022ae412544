package cloudtrail

import (
	"bytes"
	"strings"

	"github.com/leastwise/leastwise/collectors/jsonrecord"
)

// verb is what a call does: the event's name, and the permission that it needs.
type verb struct {
	action, permission string
	service            string
}

// prefixes of IAM actions, where they are not the first part of eventSource.
var prefixes = map[string]string{
	"monitoring": "cloudwatch", "email": "ses", "tagging": "tag", "models.lex": "lex", "runtime.lex": "lex",
	"runtime.sagemaker": "sagemaker", "servicecatalog-appregistry": "servicecatalog", "oam": "oam",
	"data.iot": "iot", "applicationautoscaling": "application-autoscaling",
}

// permissions of calls whose IAM action has another name than the event: Amazon S3, from the list of actions, resources
// and condition keys in the Service Authorization Reference. Events that stand in no table need an action of their own
// name. Several calls of one permission are one permission.
var permissions = map[string]string{
	"s3:HeadObject": "GetObject", "s3:SelectObjectContent": "GetObject", "s3:GetObjectTorrent": "GetObject",
	"s3:ListObjects": "ListBucket", "s3:ListObjectsV2": "ListBucket", "s3:HeadBucket": "ListBucket",
	"s3:ListBuckets": "ListAllMyBuckets", "s3:ListObjectVersions": "ListBucketVersions",
	"s3:ListMultipartUploads": "ListBucketMultipartUploads", "s3:ListParts": "ListMultipartUploadParts",
	"s3:DeleteObjects": "DeleteObject", "s3:CopyObject": "PutObject", "s3:PostObject": "PutObject",
	"s3:CreateMultipartUpload": "PutObject", "s3:UploadPart": "PutObject", "s3:UploadPartCopy": "PutObject",
	"s3:CompleteMultipartUpload": "PutObject",
	"s3:GetBucketEncryption":     "GetEncryptionConfiguration", "s3:PutBucketEncryption": "PutEncryptionConfiguration",
	"s3:DeleteBucketEncryption": "PutEncryptionConfiguration",
	"s3:GetBucketLifecycle":     "GetLifecycleConfiguration", "s3:GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
	"s3:PutBucketLifecycle": "PutLifecycleConfiguration", "s3:PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
	"s3:DeleteBucketLifecycle": "PutLifecycleConfiguration",
	"s3:GetBucketReplication":  "GetReplicationConfiguration", "s3:PutBucketReplication": "PutReplicationConfiguration",
	"s3:DeleteBucketReplication": "PutReplicationConfiguration",
	"s3:GetBucketCors":           "GetBucketCORS", "s3:PutBucketCors": "PutBucketCORS", "s3:DeleteBucketCors": "PutBucketCORS",
	"s3:GetPublicAccessBlock": "GetBucketPublicAccessBlock", "s3:PutPublicAccessBlock": "PutBucketPublicAccessBlock",
	"s3:DeletePublicAccessBlock":            "PutBucketPublicAccessBlock",
	"s3:GetBucketNotificationConfiguration": "GetBucketNotification", "s3:PutBucketNotificationConfiguration": "PutBucketNotification",
	"s3:DeleteBucketTagging": "PutBucketTagging",
	"lambda:Invoke":          "InvokeFunction", "lambda:InvokeAsync": "InvokeFunction",
}

// verb of the record.
func (d *Decoder) verb(e *record) verb {
	key := append(append(append(d.scratch[:0], e.eventSource...), 0), e.eventName...)
	d.scratch = key
	if v, ok := d.verbs.get(key); ok {
		return v
	}
	service, _, _ := strings.Cut(jsonrecord.Text(e.eventSource, maxName), ".amazonaws.com")
	v := verb{action: jsonrecord.Text(e.eventName, maxName), service: service}
	if service != "" && v.action != "" {
		v.permission = permission(service, v.action)
	}
	d.verbs.put(string(key), v)
	return v
}

func permission(service, event string) string {
	if prefix, ok := prefixes[service]; ok {
		service = prefix
	}
	switch service {
	case "lambda", "cloudfront":
		event = withoutVersion(event)
	}
	if action, ok := permissions[service+":"+event]; ok {
		event = action
	}
	return service + ":" + event
}

// withoutVersion cuts the API's version, which Lambda and CloudFront append: GetFunction20150331v2,
// CreateDistribution2020_05_31.
func withoutVersion(event string) string {
	at := strings.IndexFunc(event, func(r rune) bool { return r >= '0' && r <= '9' })
	if at <= 0 {
		return event
	}
	version := strings.ReplaceAll(event[at:], "_", "")
	version, revision, _ := strings.Cut(version, "v")
	for _, text := range []string{version, revision} {
		if strings.Trim(text, "0123456789") != "" {
			return event
		}
	}
	if len(version) != 8 {
		return event
	}
	return event[:at]
}

// resource is what the call was about: the ARN that CloudTrail gives, else a well-known parameter of the request.
func (d *Decoder) resource(e *record) string {
	if len(e.arn) > 0 {
		return jsonrecord.Text(e.arn, maxResource)
	}
	if len(e.bucket) == 0 {
		if looksSecret(e.named) { // the next may not
			d.part.Open(e.requestText)
			e.readRequest(&d.part, func(text []byte) bool { return len(text) > 0 && !looksSecret(text) })
		}
		return jsonrecord.Text(e.named, maxResource)
	}
	arn := append(append(d.scratch[:0], "arn:aws:s3:::"...), e.bucket...)
	if len(e.object) > 0 {
		arn = append(append(arn, '/'), e.object...)
	}
	d.scratch = arn
	return jsonrecord.Text(arn, maxResource)
}

// readRequest takes what the request is about: of the parameters that fit the most telling.
func (e *record) readRequest(w *jsonrecord.Walk, fit func([]byte) bool) {
	e.bucket, e.object, e.named = nil, nil, nil
	if !w.Object() {
		return
	}
	best := len(parameters)
	for key, more := w.Field(); more; key, more = w.Field() {
		switch string(key) {
		case "bucketName":
			e.bucket = first(e.bucket, w)
			continue
		case "key":
			e.object = first(e.object, w)
			continue
		}
		rank := rankOf(key)
		if rank >= best {
			w.Skip()
		} else if text := w.Text(); fit(text) {
			best, e.named = rank, text
		}
	}
}

// rankOf a parameter among those that name what a request is about.
func rankOf(key []byte) int {
	if len(key) < len(ranks) {
		for _, rank := range ranks[len(key)] {
			if bytes.EqualFold(key, []byte(parameters[rank])) {
				return rank
			}
		}
	}
	return len(parameters)
}

// ranks of the parameters, by the lengths of their names.
var ranks = func() (of [24][]int) {
	for rank, name := range parameters {
		of[len(name)] = append(of[len(name)], rank)
	}
	return of
}()

// parameters of requests that name what they are about, the most telling first.
var parameters = []string{"roleArn", "resourceArn", "policyArn", "topicArn", "functionName", "tableName", "queueUrl", "secretId",
	"keyId", "streamName", "stateMachineArn", "clusterName", "repositoryName", "logGroupName", "roleName", "userName", "groupName",
	"instanceProfileName", "modelId", "instanceId", "stackName", "trailName", "domainName", "dBInstanceIdentifier", "resourceId", "name"}
