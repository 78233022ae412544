package house

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/leastwise/leastwise/enforcer"
	"github.com/leastwise/leastwise/enforcer/target/vault"
)

var rewrite = flag.Bool("rewrite", false, "write deploy/vault's policies anew from the code")

// deployed is the configuration of the enforcer's Vault in Compose.
func deployed(t *testing.T) vault.Config {
	t.Helper()
	var cfg struct {
		Enforcer enforcer.Config `yaml:"enforcer"`
	}
	if err := yaml.Unmarshal([]byte(read(t, configFile)), &cfg); err != nil {
		t.Fatal(err)
	}
	if len(cfg.Enforcer.Vault) != 1 {
		t.Fatalf("%s has %d Vaults, want 1", configFile, len(cfg.Enforcer.Vault))
	}
	return cfg.Enforcer.Vault[0]
}

func TestDeployedVaultPoliciesAreThoseTheDoctorPrints(t *testing.T) {
	cfg := deployed(t)
	for name, want := range map[string]string{"enforcer.hcl": cfg.PolicyHCL(), "collector.hcl": cfg.CollectorPolicyHCL()} {
		file := filepath.Join(top(t), "deploy", "vault", name)
		if *rewrite {
			if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got := read(t, "deploy/vault/"+name); got != want {
			t.Errorf("deploy/vault/%s is not what `leastwise doctor` prints; go test ./house -run %s -rewrite", name, t.Name())
		}
	}
	if script := read(t, "deploy/vault/setup.sh"); !strings.Contains(script, "\n"+cfg.TokenRole()+"\n") {
		t.Errorf("deploy/vault/setup.sh does not make the token role:\n%s", cfg.TokenRole())
	}
}

// The enforcer may write every policy with this prefix: were its own among
// them, it could give itself more.
func TestTheEnforcersOwnPolicyIsNotOneItMayWrite(t *testing.T) {
	for line := range strings.Lines(read(t, "deploy/vault/setup.sh")) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "role" && strings.HasPrefix(fields[1], vault.PolicyPrefix) {
			t.Errorf("setup.sh names a policy %s: the enforcer may write %s*", fields[1], vault.PolicyPrefix)
		}
	}
}
