package cloudtrail

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go"
	"github.com/leastwise/leastwise/collectors/source"
)

// cloud is AWS.
type cloud struct {
	s3  *s3.Client
	sqs *sqs.Client
}

func openCloud(ctx context.Context, cfg AWSConfig) (*cloud, error) {
	var options []func(*config.LoadOptions) error
	if cfg.Region != "" {
		options = append(options, config.WithRegion(cfg.Region))
	}
	if cfg.Profile != "" {
		options = append(options, config.WithSharedConfigProfile(cfg.Profile))
	}
	if cfg.CredentialsFile != "" {
		options = append(options, config.WithSharedCredentialsFiles([]string{cfg.CredentialsFile}))
	}
	loaded, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("find out how to reach AWS: %w", err)
	}
	if loaded.Region == "" {
		return nil, errors.New("aws: region: set the region of the bucket or the queue")
	}
	if cfg.Endpoint != "" {
		loaded.BaseEndpoint = aws.String(cfg.Endpoint)
	}
	return &cloud{
		s3: s3.NewFromConfig(loaded, func(o *s3.Options) {
			o.UsePathStyle = cfg.PathStyle
			o.DisableLogOutputChecksumValidationSkipped = true // objects of CloudTrail's have none
		}),
		sqs: sqs.NewFromConfig(loaded),
	}, nil
}

// get opens an object. One that is gone fails with a *source.Malformed: it will not come back.
func (c *cloud) get(ctx context.Context, bucket, key string) (body io.ReadCloser, metadata map[string]string, err error) {
	answer, err := c.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	var noKey *types.NoSuchKey
	var noBucket *types.NoSuchBucket
	switch {
	case errors.As(err, &noKey), errors.As(err, &noBucket):
		return nil, nil, &source.Malformed{Reason: source.ReasonRejected, Detail: "the object was announced, but is not there (any more)"}
	case err != nil:
		return nil, nil, refused("read s3://"+bucket+"/"+key, err, "s3:GetObject, and kms:Decrypt if the bucket is encrypted with a key of KMS")
	}
	return answer.Body, answer.Metadata, nil
}

// refused tells what failed at AWS, and which permission is missing if it is that. The code is AWS's; of the text only
// what the SDK made itself is kept where there is no code.
func refused(what string, err error, needs string) error {
	var answer smithy.APIError
	if !errors.As(err, &answer) {
		return fmt.Errorf("%s: %w", what, err)
	}
	if category := classify(answer.ErrorCode()); category == failedDenied {
		return fmt.Errorf("%s: AWS refuses (%s): grant the collector %s", what, answer.ErrorCode(), needs)
	}
	return fmt.Errorf("%s: AWS answers %s", what, answer.ErrorCode())
}
