package certlog

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"golang.org/x/crypto/cryptobyte"
)

// Head is a signed tree head, RFC 6962 section 3.5, whatever form it came in.
type Head struct {
	Size uint64 `json:"tree_size"`
	Root []byte `json:"root_hash"`
	// Timestamp in milliseconds of unix time.
	Timestamp uint64 `json:"timestamp"`
	// Signature is the TLS encoding of the digitally-signed value.
	Signature []byte `json:"signature"`
}

// errSignature says that a tree head is not signed by the log's key.
var errSignature = errors.New("the signature of the tree head does not verify with the configured public key")

// logKey is a log's public key, and its id: the SHA-256 of the key.
type logKey struct {
	public crypto.PublicKey
	id     [sha256.Size]byte
}

// ID as log lists write it.
func (k *logKey) ID() string { return base64.StdEncoding.EncodeToString(k.id[:]) }

// loadKey reads a key in any of the forms in which they are published. Errors do not quote the file.
func loadKey(path string) (*logKey, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read public key: %w", err)
	}
	der := text
	if block, _ := pem.Decode(text); block != nil {
		if block.Type != "PUBLIC KEY" {
			return nil, fmt.Errorf("public key %s: the PEM block is not a PUBLIC KEY", path)
		}
		der = block.Bytes
	} else if decoded, err := base64.StdEncoding.DecodeString(string(bytes.Join(bytes.Fields(text), nil))); err == nil {
		der = decoded
	}
	public, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, fmt.Errorf("public key %s: no public key in DER, base64 of it, or PEM", path)
	}
	switch key := public.(type) { // RFC 6962 section 2.1.4
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() {
			return nil, fmt.Errorf("public key %s: logs sign with the curve P-256, this key has another", path)
		}
	case *rsa.PublicKey:
		if key.N.BitLen() < 2048 {
			return nil, fmt.Errorf("public key %s: RSA with %d bits; logs have 2048 at least", path, key.N.BitLen())
		}
	default:
		return nil, fmt.Errorf("public key %s: logs sign with ECDSA P-256 or RSA, this key is neither", path)
	}
	return &logKey{public: public, id: sha256.Sum256(der)}, nil
}

// Algorithms of TLS 1.2 that logs may use, RFC 5246 section 7.4.1.4.1.
const (
	hashSHA256 = 4
	signRSA    = 1
	signECDSA  = 3
)

// verify fails with errSignature.
func (k *logKey) verify(h Head) error {
	s := cryptobyte.String(h.Signature)
	var hash, algorithm uint8
	var signature cryptobyte.String
	if len(h.Root) != sha256.Size || !s.ReadUint8(&hash) || !s.ReadUint8(&algorithm) || !s.ReadUint16LengthPrefixed(&signature) || !s.Empty() || hash != hashSHA256 {
		return errSignature
	}
	signed := []byte{0 /* v1 */, 1 /* tree_hash */}
	signed = binary.BigEndian.AppendUint64(signed, h.Timestamp)
	signed = binary.BigEndian.AppendUint64(signed, h.Size)
	sum := sha256.Sum256(append(signed, h.Root...))
	switch key := k.public.(type) {
	case *ecdsa.PublicKey:
		if algorithm == signECDSA && ecdsa.VerifyASN1(key, sum[:], signature) {
			return nil
		}
	case *rsa.PublicKey:
		if algorithm == signRSA && rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature) == nil {
			return nil
		}
	}
	return errSignature
}
