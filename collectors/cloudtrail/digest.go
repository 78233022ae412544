package cloudtrail

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/leastwise/leastwise/collectors/source"
)

// maxDigest is the largest digest file that is read: one names the log files of an hour.
const maxDigest = 32 << 20

// digests verifies digest files: the signature of each, that the one before it is still there, and that every log file
// that it names is there and as it was when CloudTrail wrote it. Log files are fetched once more for this.
// https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-custom-validation.html
type digests struct {
	path  string
	cloud *cloud
	say   func(error)

	mu   sync.Mutex // guards keys
	keys map[string]*rsa.PublicKey
}

func newDigests(path string, cloud *cloud) *digests {
	return &digests{path: path, cloud: cloud, say: func(error) {}}
}

// digest are the fields of a digest file that the check needs.
type digest struct {
	EndTime           string  `json:"digestEndTime"`
	Bucket            string  `json:"digestS3Bucket"`
	Object            string  `json:"digestS3Object"`
	Fingerprint       string  `json:"digestPublicKeyFingerprint"`
	Algorithm         string  `json:"digestSignatureAlgorithm"`
	PreviousBucket    string  `json:"previousDigestS3Bucket"`
	PreviousObject    string  `json:"previousDigestS3Object"`
	PreviousHash      string  `json:"previousDigestHashValue"`
	PreviousSignature *string `json:"previousDigestSignature"`
	LogFiles          []struct {
		Bucket    string `json:"s3Bucket"`
		Object    string `json:"s3Object"`
		Hash      string `json:"hashValue"`
		Algorithm string `json:"hashAlgorithm"`
	} `json:"logFiles"`
}

// open verifies a digest file as if reading it: a file without records if all is well, a dead letter if it is not.
func (d *digests) open(bucket, key string) func(context.Context) (io.ReadCloser, error) {
	return func(ctx context.Context) (io.ReadCloser, error) {
		err := d.verify(ctx, bucket, key)
		var bad *source.Malformed
		if errors.As(err, &bad) {
			d.say(fmt.Errorf("s3://%s/%s: %s", bucket, key, bad.Detail))
		}
		if err != nil {
			return nil, err
		}
		return io.NopCloser(bytes.NewReader(nil)), nil
	}
}

func untrue(format string, args ...any) error {
	return &source.Malformed{Reason: source.ReasonRejected, Detail: fmt.Sprintf(format, args...)}
}

func (d *digests) verify(ctx context.Context, bucket, key string) error {
	text, metadata, err := d.fetch(ctx, bucket, key)
	if err != nil {
		return err
	}
	var said digest
	if json.Unmarshal(text, &said) != nil {
		return untrue("the digest file is not JSON")
	}
	if said.Bucket != bucket || said.Object != key {
		return untrue("the digest file was written for another place")
	}
	if said.Algorithm != "SHA256withRSA" {
		return untrue("the digest file is signed by an algorithm that is not known")
	}
	public, err := d.key(said.Fingerprint)
	if err != nil {
		return err
	}
	signature, err := hex.DecodeString(metadata["signature"])
	if err != nil || len(signature) == 0 {
		return untrue("the digest file has no signature in its metadata")
	}
	hashed := sha256.Sum256([]byte(said.signed(text)))
	if rsa.VerifyPKCS1v15(public, crypto.SHA256, hashed[:], signature) != nil {
		return untrue("the signature of the digest file is wrong: it was changed after CloudTrail wrote it")
	}
	return d.contents(ctx, &said)
}

// signed is the text that CloudTrail signs.
func (d *digest) signed(text []byte) string {
	previous := "null"
	if d.PreviousSignature != nil && *d.PreviousSignature != "" {
		previous = *d.PreviousSignature
	}
	sum := sha256.Sum256(text)
	return d.EndTime + "\n" + d.Bucket + "/" + d.Object + "\n" + hex.EncodeToString(sum[:]) + "\n" + previous
}

// contents checks what the digest tells of other objects.
func (d *digests) contents(ctx context.Context, said *digest) error {
	var gone *source.Malformed
	if said.PreviousObject != "" {
		sum, err := d.hash(ctx, said.PreviousBucket, said.PreviousObject)
		if errors.As(err, &gone) {
			return untrue("the digest file before it is gone or damaged: log files of that hour can not be vouched for")
		} else if err != nil {
			return err
		} else if sum != said.PreviousHash {
			return untrue("the digest file before it was changed")
		}
	}
	for _, one := range said.LogFiles {
		if one.Algorithm != "" && one.Algorithm != "SHA-256" {
			return untrue("a log file is hashed by an algorithm that is not known")
		}
		sum, err := d.hash(ctx, one.Bucket, one.Object)
		if errors.As(err, &gone) {
			return untrue("log file %s is gone or damaged", one.Object)
		} else if err != nil {
			return err
		} else if sum != one.Hash {
			return untrue("log file %s was changed after CloudTrail wrote it", one.Object)
		}
	}
	return nil
}

// body opens an object and unpacks it.
func (d *digests) body(ctx context.Context, bucket, key string) (io.Reader, *watched, io.Closer, map[string]string, error) {
	packed, metadata, err := d.cloud.get(ctx, bucket, key)
	if err != nil {
		return nil, nil, nil, nil, err
	}
	watch := &watched{from: packed}
	text, _, err := source.Unpack(watch)
	if err != nil {
		packed.Close()
		return nil, nil, nil, nil, damaged(watch, bucket, key)
	}
	return text, watch, packed, metadata, nil
}

func damaged(watch *watched, bucket, key string) error {
	if watch.failed != nil {
		return fmt.Errorf("read s3://%s/%s: %w", bucket, key, watch.failed)
	}
	return untrue("the packed file is damaged")
}

// hash is the SHA-256 of an unpacked object, in hexadecimal.
func (d *digests) hash(ctx context.Context, bucket, key string) (string, error) {
	text, watch, closer, _, err := d.body(ctx, bucket, key)
	if err != nil {
		return "", err
	}
	defer closer.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, text); err != nil {
		return "", damaged(watch, bucket, key)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func (d *digests) fetch(ctx context.Context, bucket, key string) ([]byte, map[string]string, error) {
	from, watch, closer, metadata, err := d.body(ctx, bucket, key)
	if err != nil {
		return nil, nil, err
	}
	defer closer.Close()
	text, err := io.ReadAll(io.LimitReader(from, maxDigest+1))
	if err != nil {
		return nil, nil, damaged(watch, bucket, key)
	}
	if len(text) > maxDigest {
		return nil, nil, &source.Malformed{Reason: source.ReasonTooLong, Detail: fmt.Sprintf("the digest file is larger than %d bytes", maxDigest)}
	}
	return text, metadata, nil
}

// key finds a public key by its fingerprint. A key that is not known yet is the operator's to add: no dead letter, it is
// tried again.
func (d *digests) key(fingerprint string) (*rsa.PublicKey, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if public := d.keys[fingerprint]; public != nil {
		return public, nil
	}
	keys, err := readKeys(d.path)
	if err != nil {
		return nil, err
	}
	if d.keys = keys; keys[fingerprint] == nil {
		return nil, fmt.Errorf("digests: %s does not hold the public key that a digest file names; write it anew with `aws cloudtrail list-public-keys --start-time TIME`, for the digest's region", d.path)
	}
	return keys[fingerprint], nil
}

// readKeys reads the answer of ListPublicKeys: keys are PKCS #1, DER, base64.
func readKeys(path string) (map[string]*rsa.PublicKey, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("digests: read public keys: %w", err)
	}
	var list struct {
		PublicKeyList []struct{ Value, Fingerprint string }
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("digests: %s is not the answer of `aws cloudtrail list-public-keys`: %w", path, err)
	}
	keys := map[string]*rsa.PublicKey{}
	for _, one := range list.PublicKeyList {
		der, err := base64.StdEncoding.DecodeString(one.Value)
		if err != nil {
			return nil, fmt.Errorf("digests: %s: a key is not base64: %w", path, err)
		}
		public, err := x509.ParsePKCS1PublicKey(der)
		if err != nil {
			return nil, fmt.Errorf("digests: %s: a key is not PKCS #1: %w", path, err)
		}
		keys[one.Fingerprint] = public
	}
	return keys, nil
}
