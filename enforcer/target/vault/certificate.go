package vault

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/leastwise/leastwise/enforcer/target"
)

// certificate of a PKI mount, by serial.
type certificate struct {
	t      *Target
	mount  string
	serial string
}

// stored is what is known of a certificate.
type stored struct {
	cert *x509.Certificate
	// text is its PEM.
	text string
	// inVault: Vault has it, and knows since when it is revoked; zero: it is not.
	inVault bool
	revoked time.Time
	issuer  string // Vault's id of the issuer, of revoked ones; may be empty
}

// errNotStored: Vault does not have the certificate, and its PEM is not known.
var errNotStored = errors.New("Vault does not store this certificate (a role with no_store?): it can be revoked with its PEM alone; put it into enforcer.vault.certificate_directory")

func (k *certificate) ask(ctx context.Context) (stored, error) {
	step := "read the certificate"
	secret, err := k.t.call(ctx, request{method: http.MethodGet, path: k.mount + "/cert/" + k.serial, capability: "read", step: step})
	if status(err, http.StatusNotFound) {
		return k.fromDirectory()
	}
	if err != nil {
		return stored{}, err
	}
	s := stored{inVault: true}
	s.text, _ = secret.Data["certificate"].(string)
	if s.cert, err = k.parse(s.text); err != nil {
		return stored{}, impossible(step, err)
	}
	// Without the field nothing is known; 0 is Vault's word for "not revoked".
	at, ok := secret.Data["revocation_time"].(json.Number)
	if !ok {
		return stored{}, &target.Error{Op: step, Err: errors.New("Vault's answer holds no revocation_time")}
	}
	if seconds, err := at.Int64(); err == nil && seconds > 0 {
		s.revoked = time.Unix(seconds, 0)
	}
	s.issuer, _ = secret.Data["issuer_id"].(string)
	return s, nil
}

// fromDirectory reads what a person or the agent left there.
func (k *certificate) fromDirectory() (stored, error) {
	step := "read the certificate's PEM"
	if k.t.cfg.CertificateDirectory == "" {
		return stored{}, impossible(step, errNotStored)
	}
	serial := strings.ReplaceAll(strings.ToLower(k.serial), ":", "-")
	if strings.Trim(serial, "0123456789abcdef-") != "" {
		return stored{}, impossible(step, fmt.Errorf("serial %q can not be a file's name", k.serial))
	}
	name := serial + ".pem"
	path := filepath.Join(k.t.cfg.CertificateDirectory, name)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return stored{}, impossible(step, fmt.Errorf("%w as %s", errNotStored, name))
	case err != nil:
		return stored{}, &target.Error{Op: step, Err: err}
	case info.Mode().Perm()&0o077 != 0:
		return stored{}, impossible(step, fmt.Errorf("others may read or write %s: chmod 600 it", path))
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return stored{}, &target.Error{Op: step, Err: err}
	}
	cert, err := k.parse(string(text))
	if err != nil {
		return stored{}, impossible(step, fmt.Errorf("%s: %w", path, err))
	}
	return stored{cert: cert, text: string(text)}, nil
}

// parse refuses another certificate than the one that is asked about: were it
// taken, another one would be revoked.
func (k *certificate) parse(text string) (*x509.Certificate, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("it holds no certificate")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	if got, want := serialHex(cert), bareSerial(k.serial); got != want {
		return nil, fmt.Errorf("it holds another certificate: serial %s", got)
	}
	return cert, nil
}

func serialHex(c *x509.Certificate) string {
	return strings.TrimLeft(fmt.Sprintf("%x", c.SerialNumber), "0")
}

func bareSerial(serial string) string {
	return strings.TrimLeft(strings.NewReplacer(":", "", "-", "").Replace(strings.ToLower(serial)), "0")
}

func (k *certificate) lookup(ctx context.Context) (target.Sighting, error) {
	s, err := k.ask(ctx)
	switch {
	case errors.Is(err, errNotStored):
		return target.Sighting{Detail: errors.Unwrap(err).Error()}, nil
	case err != nil:
		return target.Sighting{}, err
	case !s.revoked.IsZero():
		return target.Sighting{Status: target.Gone, Found: k.serial, Detail: k.mount + "/cert: revoked at " + stamp(s.revoked)}, nil
	case !s.cert.NotAfter.After(k.t.now()):
		return target.Sighting{Status: target.Gone, Found: k.serial, Detail: "it expired at " + stamp(s.cert.NotAfter)}, nil
	}
	return target.Sighting{Status: target.Alive, Found: k.serial, Detail: "valid until " + stamp(s.cert.NotAfter)}, nil
}

// revoke names the serial where Vault knows it, and gives the PEM where it does
// not: with that Vault checks that it signed it, and stores it.
func (k *certificate) revoke(ctx context.Context) error {
	s, err := k.ask(ctx)
	if err != nil {
		return err
	}
	body := map[string]string{"serial_number": k.serial}
	if !s.inVault {
		body = map[string]string{"certificate": s.text}
	}
	_, err = k.t.call(ctx, request{method: http.MethodPost, path: k.mount + "/revoke",
		body: body, capability: "update", step: "revoke the certificate"})
	return err
}

// verify proves the revocation by what the issuer signed: its CRL or its OCSP
// responder names the serial. That a time of revocation is stored is not
// enough, since nobody who accepts the certificate sees it. Who asks neither
// accepts the certificate until it expires.
func (k *certificate) verify(ctx context.Context) (target.Proof, error) {
	s, err := k.ask(ctx)
	switch {
	case err != nil:
		return target.Proof{}, err
	case !s.cert.NotAfter.After(k.t.now()):
		p := target.Proof{Gone: true, Text: "the certificate expired at " + stamp(s.cert.NotAfter)}
		if !s.revoked.IsZero() {
			p.Text += "; " + k.mount + "/cert: revoked at " + stamp(s.revoked)
		}
		return p, nil
	case s.revoked.IsZero():
		return target.Proof{Text: k.mount + "/cert: not revoked"}, nil
	}
	said, proven, err := k.signedWord(ctx, s)
	if err != nil {
		return target.Proof{}, err
	}
	p := target.Proof{Gone: proven, Text: fmt.Sprintf("%s/cert: revoked at %s; %s", k.mount, stamp(s.revoked), said)}
	if proven {
		p.WorksUntil = s.cert.NotAfter
	} else {
		p.Text += "; nobody who accepts it can know (see " + k.mount + "/config/crl: disable, ocsp_disable, auto_rebuild)"
	}
	return p, nil
}
