package demo

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/leastwise/leastwise/cmd/leastwise/allinone"
	"github.com/leastwise/leastwise/collectors/agentusage"
	"github.com/leastwise/leastwise/collectors/awsiam"
	"github.com/leastwise/leastwise/collectors/cloudtrail"
	"github.com/leastwise/leastwise/collectors/jwtregistry"
	"github.com/leastwise/leastwise/collectors/spire"
	"github.com/leastwise/leastwise/enforcer/target/aws"
	"github.com/leastwise/leastwise/simulator/awstrail"
	"github.com/leastwise/leastwise/simulator/fleet"
	"github.com/leastwise/leastwise/simulator/sources"
	"github.com/leastwise/leastwise/simulator/vaultserver"
)

// servers are those that the demo starts.
type servers struct {
	vault   *vaultserver.Server
	sources *sources.Sources
}

// startServers starts all of them side by side. The caller calls stop.
func startServers(ctx context.Context, opts Options, board *board) (*servers, error) {
	s := &servers{}
	others := make(chan error, 1)
	go func() {
		var err error
		s.sources, err = sources.Start(ctx, filepath.Join(opts.Dir, "sources"), func(text string) { board.say("%s", text) })
		others <- err
	}()
	board.say("starting a Vault server (%s) …", vaultserver.Version)
	var err error
	s.vault, err = vaultserver.Start(ctx, vaultserver.Options{Dir: filepath.Join(opts.Dir, "vault")})
	if err = errors.Join(err, <-others); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// stop ends them. What they say at their end matters to nobody.
func (s *servers) stop() {
	if s.vault != nil {
		_ = s.vault.Stop()
	}
	if s.sources != nil {
		_ = s.sources.Stop()
	}
}

// collect adds the collectors of the sources that run.
func collect(cfg *allinone.Config, s *sources.Sources) error {
	const heartbeat, wait, round = 2 * time.Second, 100 * time.Millisecond, 2 * time.Second
	if s.SPIRELog != "" {
		cfg.SPIRECollector = &spire.Config{File: s.SPIRELog, BatchWait: wait, Heartbeat: heartbeat,
			Inventory: &spire.InventoryConfig{Address: s.SPIRESocket, Interval: round}}
	}
	if s.AWS != nil {
		if err := forgetOwnAWS(cfg.DataDir); err != nil {
			return err
		}
		cfg.CloudTrailCollector = &cloudtrail.Config{Queue: &cloudtrail.QueueConfig{URL: s.AWS.QueueURL},
			AWS:       cloudtrail.AWSConfig{Region: awstrail.Region, Endpoint: s.Moto, PathStyle: true},
			IAM:       &awsiam.Config{Region: awstrail.Region, Endpoint: s.Moto, Interval: round},
			BatchWait: time.Second, Heartbeat: heartbeat}
		cfg.Enforcer.AWS = []aws.Config{{Region: awstrail.Region, Endpoint: s.Moto}}
	}
	cfg.JWTRegistryCollector = &jwtregistry.Config{BatchWait: wait, Heartbeat: heartbeat,
		API:  &jwtregistry.APIConfig{URL: s.Issuer.URL + "/registry", TokenFile: s.Issuer.TokenFile, Interval: time.Second},
		JWKS: &jwtregistry.JWKSConfig{URL: s.Issuer.URL + "/jwks"}}
	cfg.AgentUsageCollector = &agentusage.Config{BatchWait: wait, Heartbeat: heartbeat, OTLP: &agentusage.OTLPConfig{HTTP: s.OTLP}}
	return nil
}

// forgetOwnAWS takes the reader's own AWS settings out of this process: neither a profile nor an endpoint of theirs may
// lead the demo to a real account, nor their keys to moto.
func forgetOwnAWS(dir string) error {
	var errs []error
	for _, setting := range os.Environ() {
		if name, _, _ := strings.Cut(setting, "="); strings.HasPrefix(name, "AWS_") {
			errs = append(errs, os.Unsetenv(name))
		}
	}
	none := filepath.Join(dir, "no-aws-settings")
	for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": "AKIADEMOCOLLECTOR000", "AWS_SECRET_ACCESS_KEY": "none",
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": none, "AWS_SHARED_CREDENTIALS_FILE": none} {
		errs = append(errs, os.Setenv(name, value))
	}
	return errors.Join(errs...)
}

// tellSources says in which sources the steady agent lives, and which are left out and why.
func (b *board) tellSources(s *sources.Sources) {
	leftOut := map[string]string{}
	for _, l := range s.LeftOut {
		leftOut[l.Source] = l.Why
	}
	if b.once {
		b.step("sources", fleet.Steady, "running", s.Running(), "left_out", leftOut)
	}
}

// inWords are the sources beside Vault, for a sentence.
func inWords(s *sources.Sources) string {
	var words []string
	if s.SPIRELog != "" {
		words = append(words, "a real SPIRE")
	}
	if s.AWS != nil {
		words = append(words, "AWS (moto) with its CloudTrail")
	}
	return strings.Join(append(words, "a registry of JWTs"), ", ")
}
