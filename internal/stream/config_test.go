package stream_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/leastwise/leastwise/internal/broker"
	"github.com/leastwise/leastwise/internal/kafkatest"
	"github.com/leastwise/leastwise/internal/stream"
)

type document struct {
	Kafka stream.Config `yaml:"kafka"`
}

func TestConfigFromYAML(t *testing.T) {
	for text, want := range map[string]stream.Config{
		"kafka: embedded": {Embedded: true, SyncWrites: true},
		"kafka: {embedded: true, data_dir: /d, listen: '127.0.0.1:9092', sync_writes: false}": {Embedded: true, DataDir: "/d", Listen: "127.0.0.1:9092"},
		"kafka:\n  brokers: [a:1, b:2]\n  partitions: 8\n  replication_factor: 2\n  tls: {}\n  sasl: {mechanism: plain, username: u, password_file: /p}": {
			Brokers: []string{"a:1", "b:2"}, Partitions: 8, ReplicationFactor: 2, SyncWrites: true, TLS: &stream.TLS{},
			SASL: &stream.SASL{Mechanism: "plain", Username: "u", PasswordFile: "/p"}},
	} {
		var got document
		if err := yaml.UnmarshalWithOptions([]byte(text), &got, yaml.Strict()); err != nil {
			t.Errorf("%s: %v", text, err)
		} else if !reflect.DeepEqual(got.Kafka, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", text, got.Kafka, want)
		}
	}
}

func TestBadConfigNamesTheKey(t *testing.T) {
	for text, want := range map[string]string{
		"kafka: local":                                                                  "want `embedded`",
		"kafka: {}":                                                                     "brokers is empty",
		"kafka: {brokers: [a]}":                                                         `"a" is not host:port`,
		"kafka: {brokers: ['a:1'], listen: x}":                                          "listen",
		"kafka: {brokers: ['a:1'], borkers: [b]}":                                       "borkers",
		"kafka: {brokers: ['a:1'], partitions: -1}":                                     "partitions",
		"kafka: {brokers: ['a:1'], tls: {cert_file: c}}":                                "cert_file and key_file",
		"kafka: {brokers: ['a:1'], sasl: {mechanism: md5, username: u}}":                "mechanism",
		"kafka: {brokers: ['a:1'], sasl: {mechanism: plain}}":                           "username",
		"kafka: {brokers: ['a:1'], sasl: {mechanism: plain, username: u}}":              "password_file",
		"kafka: {brokers: ['a:1'], sasl: {mechanism: plain, username: u, password: x}}": "password",
	} {
		var got document
		err := yaml.UnmarshalWithOptions([]byte(text), &got, yaml.Strict())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}

func TestOpenFailsOnFilesThatAreNotThere(t *testing.T) {
	for name, cfg := range map[string]stream.Config{
		"ca_file":       {Brokers: []string{"a:1"}, TLS: &stream.TLS{CAFile: "/nowhere"}},
		"cert_file":     {Brokers: []string{"a:1"}, TLS: &stream.TLS{CertFile: "/nowhere", KeyFile: "/nowhere"}},
		"password_file": {Brokers: []string{"a:1"}, SASL: &stream.SASL{Mechanism: "plain", Username: "u", PasswordFile: "/nowhere"}},
	} {
		if _, err := stream.Open(t.Context(), cfg, nil); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want %s", err, name)
		}
	}
	_, err := stream.Open(t.Context(), stream.Config{Embedded: true}, nil)
	if !errors.Is(err, stream.ErrEmbedded) || err.Error() != "kafka: embedded works only in `leastwise up`; give brokers" {
		t.Errorf("got %v", err)
	}
}

func TestSASLAndTLS(t *testing.T) {
	const password = "correct-horse"
	serverTLS, caFile := certificate(t)
	good, bad := filepath.Join(t.TempDir(), "good"), filepath.Join(t.TempDir(), "bad")
	_ = os.WriteFile(good, []byte(password+"\n"), 0o600)
	_ = os.WriteFile(bad, []byte("wrong-donkey"), 0o600)
	for mechanism, theirs := range map[string]string{
		"plain": "PLAIN", "scram-sha-256": "SCRAM-SHA-256", "scram-sha-512": "SCRAM-SHA-512",
	} {
		t.Run(mechanism, func(t *testing.T) {
			b := kafkatest.Broker(t, broker.Config{TLS: serverTLS,
				Users: []broker.User{{Mechanism: theirs, Name: "leastwise", Password: password}}})
			cfg := stream.Config{
				Brokers: b.Addrs(), ReplicationFactor: 1, TLS: &stream.TLS{CAFile: caFile},
				SASL: &stream.SASL{Mechanism: mechanism, Username: "leastwise", PasswordFile: good},
			}
			c := kafkatest.OpenConfig(t, cfg)
			create(t, c, "t", 2)
			publish(t, c, "t", 0, 50) // with compression, since it is not embedded
			n := 0
			for _, msgs := range readAll(t, c, "t") {
				n += len(msgs)
			}
			all := newTally()
			m := join(t, c, all.add)
			waitFor(t, all.n, 50)
			m.leave(t)
			if n != 50 {
				t.Errorf("%d messages, want 50", n)
			}

			cfg.SASL = &stream.SASL{Mechanism: mechanism, Username: "leastwise", PasswordFile: bad}
			wrong := kafkatest.OpenConfig(t, cfg)
			err := wrong.Ping(t.Context())
			if err == nil || strings.Contains(err.Error(), "donkey") {
				t.Errorf("wrong password: %v", err)
			}
			cfg.SASL.PasswordFile, cfg.TLS = good, &stream.TLS{} // the system's roots do not know it
			if err := kafkatest.OpenConfig(t, cfg).Ping(t.Context()); err == nil {
				t.Error("an unknown certificate was accepted")
			}
		})
	}
}

// certificate makes a certificate for 127.0.0.1 that is its own authority.
func certificate(t *testing.T) (*tls.Config, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, file
}
