package page

// policies in force while the page is measured; fleet.sql violates the first four, as its credentials' columns say.
var policies = map[string]string{
	"long-lived": `policy_id: "long-lived"
description: "A credential is meant to last for more than thirty days."
rationale: "What a stolen credential is worth is how long it still works."
metrics:
  - {name: lifetime, source: any, threshold: "30d", condition: greater_than}
action:
  - {severity: high, channel: owners, remediation_hint: "Log in anew for each task."}
enforcement: {mode: enforce, grace: 7d, remind: [3d, 1d]}
`,
	"broad": `policy_id: "broad"
description: "The granted permissions weigh more than an agent's task needs."
rationale: "One permission to write policies is worth all others."
metrics:
  - {name: scope_weight, source: any, threshold: "150", condition: greater_than}
action:
  - {severity: medium, channel: owners, remediation_hint: "Split the task."}
enforcement: {mode: enforce, grace: 7d}
`,
	"probing": `policy_id: "probing"
description: "An agent tries what it was never granted."
rationale: "Refusals of many different kinds are somebody looking for what else the token can do."
metrics:
  - {name: elevation_attempts, source: any, threshold: "5", condition: greater_or_equal}
action:
  - {severity: critical, channel: owners, remediation_hint: "Ask the owner what the agent was looking for."}
enforcement: {mode: notify, grace: 1d}
`,
	"nobody-answers": `policy_id: "nobody-answers"
description: "Nobody answers for a credential."
rationale: "What belongs to nobody is rotated by nobody."
metrics:
  - {name: unresolved_identity, source: any, threshold: "true", condition: equals}
action:
  - {severity: medium, channel: security, remediation_hint: "Say in the catalog who runs this agent."}
enforcement: {mode: notify, grace: 7d}
`,
	"old-batch": `policy_id: "old-batch"
description: "A batch job works with a credential that is older than three weeks."
rationale: "A batch job can log in each time it begins."
metrics:
  - {name: credential_age, source: any, threshold: "21d", condition: greater_than}
applies_to:
  labels: {tier: "batch"}
action:
  - {severity: low, channel: owners, remediation_hint: "Log in when the job begins."}
`,
	"idle-broad": `policy_id: "idle-broad"
description: "A credential with a broad scope was not used for two weeks."
match: all
metrics:
  - {name: idle_time, source: any, threshold: "14d", condition: greater_than}
  - {name: permission_scope_complexity, source: any, threshold: "20", condition: greater_than}
action:
  - {severity: medium, channel: owners, remediation_hint: "If the agent is gone, revoke it."}
`,
}

// whatIfs are thresholds that somebody tries, by policy: its metric, and where the slider is moved.
var whatIfs = []struct {
	policy, metric string
	thresholds     []string
}{
	{"long-lived", "lifetime", []string{"14d", "10d", "60d", "90d"}},
	{"broad", "scope_weight", []string{"100", "200", "50"}},
	{"probing", "elevation_attempts", []string{"3", "4", "8"}},
	{"old-batch", "credential_age", []string{"14d", "7d", "30d"}},
}
