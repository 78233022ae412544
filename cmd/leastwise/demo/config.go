package demo

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/leastwise/leastwise/cmd/leastwise/allinone"
)

// ConfigFile is what other commands take with --config to look at a running demo.
const ConfigFile = "leastwise.yaml"

// The demo gives its owners' channels itself, so there they are only named.
var configText = template.Must(template.New(ConfigFile).Parse(`# For other commands, while this demo runs: leastwise plan --config {{.File}}
data_dir: {{.DataDir}}
listen: none
kafka: {embedded: true}
clickhouse: {embedded: true}
policies: {dir: {{.Policies}}}
catalog: {path: {{.Catalog}}}
channels:
  owners: {type: stdout}
  security_team: {type: stdout}
enforcer:
  mode: {{.Mode}}
  budget: {{.Budget}}
  escalation: [security_team]
  vault:
    - address: {{.Vault}}
      audit_device: {{.Device}}
      approle: {role_id_file: {{.RoleID}}, secret_id_file: {{.SecretID}}}
      reissue: {directory: {{.Delivery}}, max_ttl: 10m, wrap_ttl: 5m}
{{- if .AWS}}
  # moto looks at no secret: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to anything.
  aws:
    - {region: {{.Region}}, endpoint: {{.AWS}}}
{{- end}}
`))

// writeConfig writes ConfigFile: where the engines of this demo are, what it goes by, and the targets it acts at.
func writeConfig(dir string, cfg allinone.Config) error {
	target := cfg.Enforcer.Vault[0]
	path := filepath.Join(dir, ConfigFile)
	v := map[string]string{"File": path, "DataDir": cfg.DataDir, "Policies": cfg.Policies.Dir, "Catalog": cfg.Catalog.Path,
		"Mode": cfg.Enforcer.Mode, "Budget": cfg.Enforcer.Budget, "Vault": target.Address, "Device": target.AuditDevice,
		"RoleID": target.AppRole.RoleIDFile, "SecretID": target.AppRole.SecretIDFile, "Delivery": target.Reissue.Directory}
	if len(cfg.Enforcer.AWS) > 0 {
		v["AWS"], v["Region"] = cfg.Enforcer.AWS[0].Endpoint, cfg.Enforcer.AWS[0].Region
	}
	for name, text := range v {
		if name != "File" {
			v[name] = quoted(text)
		}
	}
	var text strings.Builder
	if err := configText.Execute(&text, v); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		return fmt.Errorf("write the configuration for other commands: %w", err)
	}
	return nil
}

// quoted is a text of YAML in double quotes.
func quoted(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}
