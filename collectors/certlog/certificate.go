package certlog

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"math/big"
	"net/url"
	"strings"
	"time"

	"github.com/google/certificate-transparency-go/x509"
	"github.com/leastwise/leastwise/collectors/jsonrecord"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// names are a certificate's subject alternative names that identify workloads, as they stand there.
type names struct {
	uris, dns []string
	// broken: an extension could not be read to its end.
	broken bool
}

// parseCertificate reads the certificate of a leaf. The fork's errors quote the certificate: they are not used.
func parseCertificate(l *leaf) (cert *x509.Certificate, bad *source.Malformed) {
	defer func() {
		// Anybody may submit to a log: a certificate that the parser stumbles over must not stop reading for good.
		if recover() != nil {
			cert, bad = nil, jsonrecord.Malformed("the certificate makes the X.509 parser fail")
		}
	}()
	var err error
	if l.entry == entryPrecert {
		cert, err = x509.ParseTBSCertificate(l.der)
	} else {
		cert, err = x509.ParseCertificate(l.der)
	}
	if x509.IsFatal(err) || cert == nil {
		return nil, jsonrecord.Malformed("the certificate is no X.509 that can be read")
	}
	if cert.SerialNumber == nil {
		return nil, jsonrecord.Malformed("the certificate has no serial number")
	}
	return cert, nil
}

// Tags of GeneralName, RFC 5280 section 4.2.1.6.
var (
	tagDNS = casn1.Tag(2).ContextSpecific()
	tagURI = casn1.Tag(6).ContextSpecific()
)

func readNames(cert *x509.Certificate) (n names) {
	for _, extension := range cert.Extensions {
		if !extension.Id.Equal(x509.OIDExtensionSubjectAltName) {
			continue
		}
		s, list := cryptobyte.String(extension.Value), cryptobyte.String{}
		if !s.ReadASN1(&list, casn1.SEQUENCE) || !s.Empty() {
			n.broken = true
			continue
		}
		for !list.Empty() {
			var tag casn1.Tag
			var value cryptobyte.String
			if !list.ReadAnyASN1(&value, &tag) {
				n.broken = true
				break
			}
			switch tag {
			case tagDNS:
				n.dns = append(n.dns, strings.ToLower(string(value)))
			case tagURI:
				n.uris = append(n.uris, string(value))
			}
		}
	}
	// Names in the subject are long out of use; a certificate without others is still for one.
	if cn := strings.ToLower(cert.Subject.CommonName); len(n.dns) == 0 && dnsLike(cn) {
		n.dns = append(n.dns, cn)
	}
	return n
}

func dnsLike(text string) bool {
	if len(text) == 0 || len(text) > 253 || !strings.Contains(text, ".") {
		return false
	}
	for _, c := range []byte(text) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_' && c != '*' {
			return false
		}
	}
	return true
}

// Why a certificate with SPIFFE URIs is no X509-SVID: values of the label not_svid.
const (
	notOneURI  = "not exactly one URI SAN"
	notID      = "not a valid SPIFFE ID"
	notPath    = "no path in the SPIFFE ID"
	notLeaf    = "a CA"
	notUsage   = "may sign certificates or revocation lists"
	notBroken  = "broken subject alternative names"
	spiffeURI  = "spiffe://"
	neverUntil = "9999-12-31T23:59:59Z" // RFC 5280 section 4.1.2.5: no well-defined end
)

// svid gives the SPIFFE ID of an X509-SVID, or why a certificate is none.
func (n *names) svid(cert *x509.Certificate) (id spiffeid.ID, why string) {
	if n.broken {
		return id, notBroken
	}
	if len(n.uris) != 1 {
		return id, notOneURI
	}
	// Through a URI, as go-spiffe reads certificates: its scheme may be written in capitals, nothing else.
	uri, err := url.Parse(n.uris[0])
	if err == nil {
		id, err = spiffeid.FromURI(uri)
	}
	switch {
	case err != nil:
		return spiffeid.ID{}, notID
	case cert.BasicConstraintsValid && cert.IsCA:
		return spiffeid.ID{}, notLeaf
	case id.Path() == "":
		return spiffeid.ID{}, notPath
	case cert.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0:
		return spiffeid.ID{}, notUsage
	}
	return id, ""
}

// trustDomains are the trust domains that any URI names, SVID or not. The first is returned, and whether one is ours.
func (n *names) trustDomains(in *interest) (first string, spiffe, ours bool) {
	for _, uri := range n.uris {
		if len(uri) < len(spiffeURI) || !strings.EqualFold(uri[:len(spiffeURI)], spiffeURI) {
			continue
		}
		host := strings.ToLower(uri[len(spiffeURI):])
		if end := strings.IndexAny(host, "/?#"); end >= 0 {
			host = host[:end]
		}
		host = host[strings.LastIndexByte(host, '@')+1:]
		host, _, _ = strings.Cut(host, ":")
		host = strings.TrimSuffix(host, ".")
		if !spiffe || in.trustDomains[host] && !ours {
			first = host
		}
		spiffe, ours = true, ours || in.trustDomains[host]
	}
	return first, spiffe, ours
}

// serial of a certificate in hex. Serials beyond what RFC 5280 allows are hashed.
func serial(n *big.Int) string {
	text := n.Text(16)
	if len(text) > 64 {
		sum := sha256.Sum256([]byte(text))
		return "sha256:" + hex.EncodeToString(sum[:])
	}
	return text
}

// issuer names who signed, for the credential's key: by the public key, if it is proven to be the issuer's.
func issuer(l *leaf, cert *x509.Certificate, extra []byte) (name string, proven bool) {
	if l.entry == entryPrecert {
		return hex.EncodeToString(l.issuerKeyHash), true
	}
	signer := cert
	if !bytes.Equal(cert.RawIssuer, cert.RawSubject) {
		signer = parseIssuer(firstOfChain(extra))
	}
	if signer != nil && signedBy(cert, signer) {
		sum := sha256.Sum256(signer.RawSubjectPublicKeyInfo)
		return hex.EncodeToString(sum[:]), true
	}
	sum := sha256.Sum256(cert.RawIssuer)
	return "name-" + hex.EncodeToString(sum[:]), false
}

func parseIssuer(der []byte) *x509.Certificate {
	if len(der) == 0 {
		return nil
	}
	cert, _ := parseCertificate(&leaf{der: der})
	return cert
}

func signedBy(cert, by *x509.Certificate) (ok bool) {
	defer func() { // as in parseCertificate
		if recover() != nil {
			ok = false
		}
	}()
	return by.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature) == nil
}

// moment is a time that an event can hold; zero for others.
func moment(t time.Time) time.Time {
	if t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}
	}
	return t.UTC()
}
