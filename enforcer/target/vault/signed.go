package vault

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"strings"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/leastwise/leastwise/enforcer/target"
)

const (
	// maxSigned bounds a CRL: a million revoked certificates are about 40 MB.
	maxSigned = 64 << 20
	// maxIssuers of a mount that are tried.
	maxIssuers = 64
)

// signedWord is what the issuer's CRL and its OCSP responder say of a
// certificate, to anybody who asks. proven: at least one of the two names the
// serial as revoked, in words that the issuer signed. An answer whose signature
// is not the issuer's is an error: somebody stands in between.
func (k *certificate) signedWord(ctx context.Context, s stored) (said string, proven bool, err error) {
	issuer, ref, err := k.issuer(ctx, s)
	if err != nil {
		return "", false, err
	}
	crlPath := k.mount + "/crl"
	if ref != "" {
		crlPath = k.mount + "/issuer/" + ref + "/crl/der"
	}
	var words []string
	raw, err := k.t.fetch(ctx, http.MethodGet, crlPath, nil, "fetch the CRL")
	switch {
	case err == nil:
		at, listed, number, err := inCRL(raw, issuer, s.cert.SerialNumber)
		if err != nil {
			return "", false, &target.Error{Op: "read " + crlPath, Err: err}
		}
		if listed {
			words = append(words, fmt.Sprintf("CRL %s of %q (%s) lists serial %s since %s", number, issuer.Subject.CommonName, crlPath, k.serial, stamp(at)))
			proven = true
		} else {
			words = append(words, fmt.Sprintf("CRL %s (%s) does not list it", number, crlPath))
		}
	case target.KindOf(err) == target.Retryable:
		return "", false, err
	default:
		words = append(words, crlPath+" can not be had")
	}
	question, err := ocsp.CreateRequest(s.cert, issuer, nil)
	if err != nil {
		return "", false, impossible("ask the OCSP responder", err)
	}
	ocspPath := k.mount + "/ocsp"
	raw, err = k.t.fetch(ctx, http.MethodPost, ocspPath, question, "ask the OCSP responder")
	switch {
	case err == nil:
		at, revoked, err := inOCSP(raw, s.cert, issuer)
		if err != nil {
			return "", false, &target.Error{Op: "read the answer of " + ocspPath, Err: err}
		}
		if revoked {
			words = append(words, fmt.Sprintf("OCSP (%s) says revoked since %s", ocspPath, stamp(at)))
			proven = true
		} else {
			words = append(words, "OCSP ("+ocspPath+") does not say revoked")
		}
	case target.KindOf(err) == target.Retryable:
		return "", false, err
	default:
		words = append(words, ocspPath+" answers nobody")
	}
	return strings.Join(words, "; "), proven, nil
}

// issuer finds the mount's issuer that signed the certificate, and Vault's name
// of it; empty: the mount's default.
func (k *certificate) issuer(ctx context.Context, s stored) (*x509.Certificate, string, error) {
	step := "find the certificate's issuer"
	signed := func(path string) (*x509.Certificate, error) {
		raw, err := k.t.fetch(ctx, http.MethodGet, path, nil, step)
		if err != nil {
			return nil, err
		}
		cert, err := x509.ParseCertificate(raw)
		if err != nil || s.cert.CheckSignatureFrom(cert) != nil {
			return nil, nil
		}
		return cert, nil
	}
	if s.issuer == "" || !safe(s.issuer) {
		// Older servers have the one issuer, and it has no name.
		cert, err := signed(k.mount + "/ca")
		if cert != nil || err != nil && target.KindOf(err) == target.Retryable {
			return cert, "", err
		}
	}
	refs := []string{s.issuer}
	if s.issuer == "" || !safe(s.issuer) {
		secret, err := k.t.call(ctx, request{method: "LIST", path: k.mount + "/issuers", capability: "list", step: step})
		if err != nil {
			return nil, "", err
		}
		refs = nil
		if secret != nil {
			list, _ := secret.Data["keys"].([]any)
			for _, v := range list[:min(len(list), maxIssuers)] {
				if ref, ok := v.(string); ok && safe(ref) {
					refs = append(refs, ref)
				}
			}
		}
	}
	for _, ref := range refs {
		cert, err := signed(k.mount + "/issuer/" + ref + "/der")
		if err != nil && target.KindOf(err) == target.Retryable {
			return nil, "", err
		}
		if cert != nil {
			return cert, ref, nil
		}
	}
	return nil, "", impossible(step, fmt.Errorf("no issuer of mount %s signed it", k.mount))
}

// inCRL reads a CRL (RFC 5280, section 5), checks that issuer signed it, and
// looks for the serial.
func inCRL(raw []byte, issuer *x509.Certificate, serial *big.Int) (at time.Time, listed bool, number string, err error) {
	list, err := x509.ParseRevocationList(raw)
	if err != nil {
		return at, false, "", fmt.Errorf("the CRL can not be read: %w", err)
	}
	if err := list.CheckSignatureFrom(issuer); err != nil {
		return at, false, "", fmt.Errorf("the CRL is not signed by %q: %w", issuer.Subject.CommonName, err)
	}
	number = "without number"
	if list.Number != nil {
		number = "number " + list.Number.String()
	}
	for _, e := range list.RevokedCertificateEntries {
		// 8 is removeFromCRL, of delta CRLs (RFC 5280, section 5.3.1).
		if e.SerialNumber.Cmp(serial) == 0 && e.ReasonCode != 8 {
			return e.RevocationTime, true, number, nil
		}
	}
	return at, false, number, nil
}

// inOCSP reads an answer of RFC 6960 about cert, signed by issuer or by a
// responder that issuer delegated to.
func inOCSP(raw []byte, cert, issuer *x509.Certificate) (at time.Time, revoked bool, err error) {
	answer, err := ocsp.ParseResponseForCert(raw, cert, issuer)
	var refused ocsp.ResponseError
	if errors.As(err, &refused) {
		return at, false, nil // an answer without signature says nothing of the certificate
	}
	if err != nil {
		return at, false, fmt.Errorf("the OCSP answer can not be read, or is not signed by %q: %w", issuer.Subject.CommonName, err)
	}
	if answer.SerialNumber == nil || answer.SerialNumber.Cmp(cert.SerialNumber) != 0 {
		return at, false, errors.New("the OCSP answer is about another certificate")
	}
	return answer.RevokedAt, answer.Status == ocsp.Revoked, nil
}

// fetch asks without a token for what Vault shows anybody.
func (t *Target) fetch(ctx context.Context, method, path string, body []byte, step string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, t.cfg.Timeout)
	defer cancel()
	req := t.client.NewRequest(method, "/v1/"+path)
	req.ClientToken = ""
	if body != nil {
		req.BodyBytes = body
		req.Headers.Set("Content-Type", "application/ocsp-request")
	}
	//nolint:staticcheck // Logical() reads JSON alone.
	resp, err := t.client.RawRequestWithContext(ctx, req)
	if resp != nil {
		defer resp.Body.Close()
	}
	if err != nil {
		return nil, t.classify(request{method: method, path: path, step: step}, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, impossible(step, &answer{code: resp.StatusCode, text: http.StatusText(resp.StatusCode)})
	}
	var out bytes.Buffer
	if n, err := io.Copy(&out, io.LimitReader(resp.Body, maxSigned+1)); err != nil {
		return nil, &target.Error{Op: step, Err: noAnswer(err)}
	} else if n > maxSigned {
		return nil, impossible(step, fmt.Errorf("%s is larger than %d MB", path, maxSigned>>20))
	}
	return out.Bytes(), nil
}

// safe tells whether a name may be part of a path.
func safe(name string) bool {
	return name != "" && !strings.ContainsAny(name, "/?#%\\ ") && name != "." && name != ".."
}

func safeName(what, name string) error {
	if safe(name) {
		return nil
	}
	return impossible("name the "+what, fmt.Errorf("%q can not be part of a path", name))
}
