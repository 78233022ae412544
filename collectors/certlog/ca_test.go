package certlog

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"
	ctx509 "github.com/google/certificate-transparency-go/x509"
	"github.com/transparency-dev/tessera/ctonly"
)

var testBegin = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// authority issues certificates.
type authority struct {
	t    testing.TB
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name, Organization: []string{"Test"}},
		NotBefore: testBegin, NotAfter: testBegin.AddDate(10, 0, 0), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{t: t, key: key, cert: cert}
}

// keyHash is the issuer's part of the keys of its certificates.
func (a *authority) keyHash() [32]byte { return sha256.Sum256(a.cert.RawSubjectPublicKeyInfo) }

// leafTemplate is a certificate as a workload gets it.
func leafTemplate(serial int64, names ...string) *x509.Certificate {
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{Organization: []string{"Workload"}},
		NotBefore: testBegin, NotAfter: testBegin.Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature}
	for _, name := range names {
		if strings.Contains(name, "://") {
			uri, err := url.Parse(name)
			if err != nil {
				panic(err)
			}
			template.URIs = append(template.URIs, uri)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	return template
}

func (a *authority) issue(template *x509.Certificate) []byte {
	a.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &a.key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return der
}

var poison = pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 3}, Critical: true, Value: []byte{5, 0}}

// logged is an entry, as each kind of log holds it.
type logged struct {
	leaf  ct.MerkleTreeLeaf
	extra []byte
	entry *ctonly.Entry
}

// input is the MerkleTreeLeaf of RFC 6962.
func (l *logged) input(t testing.TB) []byte {
	t.Helper()
	raw, err := tls.Marshal(l.leaf)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// certificate is the entry of a certificate.
func (a *authority) certificate(template *x509.Certificate, at time.Time) *logged {
	a.t.Helper()
	der := a.issue(template)
	extra, err := tls.Marshal(ct.CertificateChain{Entries: []ct.ASN1Cert{{Data: a.cert.Raw}}})
	if err != nil {
		a.t.Fatal(err)
	}
	return &logged{leaf: *ct.CreateX509MerkleTreeLeaf(ct.ASN1Cert{Data: der}, uint64(at.UnixMilli())), extra: extra,
		entry: &ctonly.Entry{Timestamp: uint64(at.UnixMilli()), Certificate: der, FingerprintsChain: [][32]byte{sha256.Sum256(a.cert.Raw)}}}
}

// precertificate is the entry of the precertificate that goes before a certificate.
func (a *authority) precertificate(template *x509.Certificate, at time.Time) *logged {
	a.t.Helper()
	with := *template
	with.ExtraExtensions = append([]pkix.Extension{poison}, with.ExtraExtensions...)
	der := a.issue(&with)
	chain := []ct.ASN1Cert{{Data: der}, {Data: a.cert.Raw}}
	leaf, err := ct.MerkleTreeLeafFromRawChain(chain, ct.PrecertLogEntryType, uint64(at.UnixMilli()))
	if err != nil {
		a.t.Fatal(err)
	}
	extra, err := tls.Marshal(ct.PrecertChainEntry{PreCertificate: chain[0], CertificateChain: chain[1:]})
	if err != nil {
		a.t.Fatal(err)
	}
	pre := leaf.TimestampedEntry.PrecertEntry
	if cert, err := ctx509.ParseTBSCertificate(pre.TBSCertificate); err != nil || cert.SerialNumber.Cmp(template.SerialNumber) != 0 {
		a.t.Fatal(err)
	}
	return &logged{leaf: *leaf, extra: extra, entry: &ctonly.Entry{Timestamp: uint64(at.UnixMilli()), IsPrecert: true,
		Certificate: pre.TBSCertificate, Precertificate: der, IssuerKeyHash: pre.IssuerKeyHash[:], FingerprintsChain: [][32]byte{sha256.Sum256(a.cert.Raw)}}}
}

// text is the entry as a record.
func (l *logged) text(t testing.TB, log string, index uint64) []byte {
	t.Helper()
	out, err := json.Marshal(map[string]any{"log": log, "index": index, "timestamp": l.leaf.TimestampedEntry.Timestamp,
		"leaf_input": l.input(t), "extra_data": l.extra})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func b64(raw []byte) string { return base64.StdEncoding.EncodeToString(raw) }
