package vault

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/leastwise/leastwise/enforcer/target"
)

// Finding is one thing the doctor looked at.
type Finding struct {
	Name string
	OK   bool
	// Text is what was seen; Fix what to do, empty if nothing has to be done.
	Text string
	Fix  string
}

// Report of the doctor.
type Report struct {
	Findings []Finding
	// Policy is the Vault policy the enforcer needs, Collector that of the
	// collector's inventory, TokenRole the command that makes the role.
	Policy    string
	Collector string
	TokenRole string
}

// OK tells whether every finding is.
func (r *Report) OK() bool {
	return !slices.ContainsFunc(r.Findings, func(f Finding) bool { return !f.OK })
}

func (r *Report) add(name string, ok bool, fix, format string, args ...any) {
	if ok {
		fix = ""
	}
	r.Findings = append(r.Findings, Finding{Name: name, OK: ok, Text: fmt.Sprintf(format, args...), Fix: fix})
}

// String is the report as a person reads it.
func (r *Report) String() string {
	var b strings.Builder
	for _, f := range r.Findings {
		mark := "ok  "
		if !f.OK {
			mark = "FAIL"
		}
		fmt.Fprintf(&b, "%s  %s: %s\n", mark, f.Name, f.Text)
		if f.Fix != "" {
			fmt.Fprintf(&b, "      %s\n", f.Fix)
		}
	}
	fmt.Fprintf(&b, "\nThe policy the enforcer needs:\n\n%s\nThe token role for re-issued tokens:\n\n%s\n\nThe policy the collector's inventory needs:\n\n%s", r.Policy, r.TokenRole, r.Collector)
	return b.String()
}

// Doctor looks at everything the enforcer depends on at Vault and changes
// nothing. It fails only where Vault can not be asked at all.
func (t *Target) Doctor(ctx context.Context) (*Report, error) {
	r := &Report{Policy: t.cfg.PolicyHCL(), Collector: t.cfg.CollectorPolicyHCL(), TokenRole: t.cfg.TokenRole()}
	if err := t.checkSelf(ctx, r); err != nil {
		return nil, err
	}
	missing, err := t.Capabilities(ctx)
	if err != nil {
		r.add("capabilities", false, "attach the policy below to the enforcer's role", "%v", err)
	}
	for _, m := range missing {
		r.add("capabilities", false, "add the line for this path from the policy below", "%s", m)
	}
	if err == nil && len(missing) == 0 {
		r.add("capabilities", true, "", "the own token may do everything it needs")
	}
	t.checkAudit(ctx, r)
	t.checkTuning(ctx, r)
	t.checkTokenRole(ctx, r)
	return r, nil
}

func (t *Target) checkSelf(ctx context.Context, r *Report) error {
	secret, err := t.call(ctx, request{method: http.MethodGet, path: "auth/token/lookup-self", capability: "read", step: "look up the enforcer's own token"})
	if err != nil {
		return err
	}
	policies, _ := secret.TokenPolicies()
	ttl, _ := secret.TokenTTL()
	renewable, _ := secret.TokenIsRenewable()
	switch writable := slices.ContainsFunc(policies, func(p string) bool { return strings.HasPrefix(p, PolicyPrefix) }); {
	case slices.Contains(policies, "root"):
		r.add("own token", false, "give the enforcer an AppRole with the policy below", "it is root: nothing of Leastwise runs with root")
	case writable:
		r.add("own token", false, "rename the enforcer's own policy", "one of its policies (%s) begins with %q: the enforcer could rewrite it", strings.Join(policies, ", "), PolicyPrefix)
	default:
		r.add("own token", true, "", "policies %s", strings.Join(policies, ", "))
	}
	switch {
	case ttl == 0:
		r.add("own token's end", false, "give it a TTL (token_period on its role)", "it never ends")
	case !renewable && t.cfg.AppRole == nil && ttl < 30*24*time.Hour:
		r.add("own token's end", false, "use approle, or a renewable token", "it ends in %s and can not be renewed", ttl)
	default:
		r.add("own token's end", true, "", "in %s, renewable: %t, logs in anew: %t", ttl, renewable, t.cfg.AppRole != nil)
	}
	return nil
}

func (t *Target) checkAudit(ctx context.Context, r *Report) {
	secret, err := t.call(ctx, request{method: http.MethodGet, path: "sys/audit", capability: "read and sudo", step: "see the audit devices"})
	if err != nil {
		r.add("audit device", false, "", "%v", err)
		return
	}
	device, ok := secret.Data[t.cfg.AuditDevice+"/"].(map[string]any)
	if !ok {
		var names []string
		for name := range secret.Data {
			names = append(names, strings.Trim(name, "/"))
		}
		slices.Sort(names)
		r.add("audit device", false, fmt.Sprintf("vault audit enable -path=%s file file_path=/var/log/vault/audit.log, or set enforcer.vault.audit_device", t.cfg.AuditDevice),
			"there is no device %q (there are: %s)", t.cfg.AuditDevice, strings.Join(names, ", "))
		return
	}
	options, _ := device["options"].(map[string]any)
	hashed := "accessors are hashed and will be resolved by sys/audit-hash"
	if options["hmac_accessor"] == "false" {
		hashed = "accessors are in clear"
	}
	r.add("audit device", true, "", "%s, type %v; %s", t.cfg.AuditDevice, device["type"], hashed)
	if options["log_raw"] == "true" {
		r.add("audit device's log_raw", false, "switch log_raw off: every secret is in that log", "the device writes secrets in clear")
	}
}

// checkTuning tells of a help, not of a need: without it the target of a
// revocation by accessor is hashed with the body's rules in the log.
func (t *Target) checkTuning(ctx context.Context, r *Report) {
	secret, err := t.call(ctx, request{method: http.MethodGet, path: "sys/mounts/auth/token/tune", capability: "read", step: "see the tuning of auth/token"})
	if err != nil {
		r.add("tuning of auth/token", false, "", "%v", err)
		return
	}
	keys, _ := secret.Data["audit_non_hmac_request_keys"].([]any)
	if slices.Contains(keys, any("accessor")) {
		r.add("tuning of auth/token", true, "", "accessors in requests are in clear")
		return
	}
	r.add("tuning of auth/token", true, "", "accessors in requests are hashed; with hmac_accessor=false on the device, also run: vault auth tune -audit-non-hmac-request-keys=accessor token/")
}

func (t *Target) checkTokenRole(ctx context.Context, r *Report) {
	if t.deliver == nil {
		r.add("re-issue", true, "", "off: no delivery is configured")
		return
	}
	secret, err := t.call(ctx, request{method: http.MethodGet, path: "auth/token/roles/" + t.cfg.Reissue.TokenRole, capability: "read", step: "see the token role"})
	if err != nil {
		if status(err, http.StatusNotFound) {
			err = &target.Error{Kind: target.Impossible, Op: "see the token role", Err: fmt.Errorf("there is no token role %q", t.cfg.Reissue.TokenRole)}
		}
		r.add("re-issue", false, t.cfg.TokenRole(), "%v", err)
		return
	}
	globs, _ := secret.Data["allowed_policies_glob"].([]any)
	exact, _ := secret.Data["allowed_policies"].([]any)
	orphan, _ := secret.Data["orphan"].(bool)
	switch {
	case len(globs) != 1 || globs[0] != any(PolicyPrefix+"*") || len(exact) > 0:
		r.add("re-issue", false, t.cfg.TokenRole(), "token role %s allows other policies than %s*", t.cfg.Reissue.TokenRole, PolicyPrefix)
	case !orphan:
		r.add("re-issue", false, t.cfg.TokenRole(), "token role %s makes children of the enforcer's token: they would end with it", t.cfg.Reissue.TokenRole)
	default:
		r.add("re-issue", true, "", "token role %s", t.cfg.Reissue.TokenRole)
	}
}
