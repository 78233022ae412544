package cloudtrail

import (
	"bytes"
	"compress/gzip"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/collectors/source"
)

func packed(text []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(text)
	w.Close()
	return out.Bytes()
}

func hexSum(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// signer writes digest files as CloudTrail does.
type signer struct {
	*site
	private           *rsa.PrivateKey
	previous          string
	previousHash      string
	previousSignature string
}

func (s *signer) write(key string, logs map[string]string) {
	s.t.Helper()
	type logFile struct {
		Bucket    string `json:"s3Bucket"`
		Object    string `json:"s3Object"`
		Hash      string `json:"hashValue"`
		Algorithm string `json:"hashAlgorithm"`
	}
	said := map[string]any{"awsAccountId": "111122223333", "digestEndTime": "2026-10-02T10:00:00Z", "digestS3Bucket": testBucket,
		"digestS3Object": key, "digestPublicKeyFingerprint": "f1", "digestSignatureAlgorithm": "SHA256withRSA"}
	previous := "null"
	if s.previous != "" {
		said["previousDigestS3Bucket"], said["previousDigestS3Object"] = testBucket, s.previous
		said["previousDigestHashValue"], said["previousDigestSignature"] = s.previousHash, s.previousSignature
		previous = s.previousSignature
	}
	list := []logFile{}
	for object, hash := range logs {
		list = append(list, logFile{testBucket, object, hash, "SHA-256"})
	}
	said["logFiles"] = list
	text, _ := json.Marshal(said)
	hashed := sha256.Sum256([]byte(fmt.Sprintf("%s\n%s/%s\n%s\n%s", said["digestEndTime"], testBucket, key, hexSum(text), previous)))
	signature, err := rsa.SignPKCS1v15(rand.Reader, s.private, crypto.SHA256, hashed[:])
	if err != nil {
		s.t.Fatal(err)
	}
	s.previous, s.previousHash, s.previousSignature = key, hexSum(text), hex.EncodeToString(signature)
	s.put(key, packed(text), map[string]string{"signature": s.previousSignature, "signature-algorithm": "SHA256withRSA"})
}

func TestMotoDigestFilesVouchForLogFiles(t *testing.T) {
	s := &signer{site: startMoto(t)}
	var err error
	if s.private, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	keys := filepath.Join(t.TempDir(), "keys.json")
	d := newDigests(keys, s.cloud)
	folder := "AWSLogs/111122223333/CloudTrail-Digest/eu-central-1/2026/10/02/"
	log := key("eu-central-1", "2026/10/02", "a")
	content := []byte(`{"Records":[` + call("a") + `]}`)
	s.put(log, packed(content), nil)
	s.write(folder+"1.json.gz", map[string]string{log: hexSum(content)})
	s.write(folder+"2.json.gz", nil)

	verify := func(name string) error {
		body, err := d.open(testBucket, folder+name)(t.Context())
		if err == nil {
			body.Close()
		}
		return err
	}
	var bad *source.Malformed
	if err := verify("1.json.gz"); err == nil || errors.As(err, &bad) {
		t.Errorf("without a file of keys: %v; want an error that is tried again", err)
	}
	writeKeys := func(fingerprint string) {
		text := fmt.Sprintf(`{"PublicKeyList":[{"Value":%q,"ValidityStartTime":"2026-01-01T00:00:00Z","Fingerprint":%q}]}`,
			base64.StdEncoding.EncodeToString(x509.MarshalPKCS1PublicKey(&s.private.PublicKey)), fingerprint)
		if err := os.WriteFile(keys, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	writeKeys("other")
	if err := verify("1.json.gz"); err == nil || errors.As(err, &bad) || !strings.Contains(err.Error(), "list-public-keys") {
		t.Errorf("with another key: %v; want an error that says what to do", err)
	}
	writeKeys("f1")
	for _, name := range []string{"1.json.gz", "2.json.gz"} {
		if err := verify(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	refused := func(what, name, detail string) {
		t.Helper()
		err := verify(name)
		if !errors.As(err, &bad) || bad.Reason != source.ReasonRejected || !strings.Contains(bad.Detail, detail) {
			t.Errorf("%s: %v; want …%s…", what, err, detail)
		}
	}
	s.put(log, packed(append(bytes.Clone(content), ' ')), nil)
	refused("a log file was changed", "1.json.gz", "was changed")
	s.put(log, packed(content)[:30], nil)
	refused("a log file was cut", "1.json.gz", "gone or damaged")
	s.put(log, packed(content), nil)

	s.write(folder+"3.json.gz", map[string]string{key("eu-central-1", "2026/10/02", "never"): hexSum(content)})
	refused("a log file is gone", "3.json.gz", "gone")
	s.put(folder+"3.json.gz", packed([]byte("{}")), nil)
	refused("another digest in its place", "3.json.gz", "another place")
	s.previous = folder + "gone.json.gz"
	s.write(folder+"4.json.gz", nil)
	refused("the digest before is gone", "4.json.gz", "before it is gone")
	s.previous = folder + "2.json.gz"
	s.previousHash = hexSum(nil)
	s.write(folder+"5.json.gz", nil)
	refused("the digest before was changed", "5.json.gz", "before it was changed")

	text := fmt.Sprintf(`{"digestEndTime":"2026-10-02T10:00:00Z","digestS3Bucket":%q,"digestS3Object":%q,"digestPublicKeyFingerprint":"f1","digestSignatureAlgorithm":"SHA256withRSA","logFiles":[]}`,
		testBucket, folder+"6.json.gz")
	s.put(folder+"6.json.gz", packed([]byte(text)), map[string]string{"signature": s.previousSignature})
	refused("a signature of another digest", "6.json.gz", "signature of the digest file is wrong")
	s.put(folder+"6.json.gz", packed([]byte(text)), nil)
	refused("no signature", "6.json.gz", "no signature")
}
