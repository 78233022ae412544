# METADATA
# title: Decision at issuance
# description: >-
#   May a credential of this lifetime, scope and owner be issued, or must somebody justify it first? The same policies
#   answer that answer at run time: whoever asks for a credential that would stand past an enforced policy asks for an
#   exception. A value that the request does not name is not taken for harmless: it has to be justified too.
# schemas:
#   - input: schema.admission_input
#   - data.leastwise.policies: schema.policies
package leastwise.admission

import data.leastwise.applicability
import data.leastwise.decision

# METADATA
# title: Admission
# description: The answer in one document.
# entrypoint: true
admission := {"allow": allow, "justify": justify, "advise": advise}

# METADATA
# description: True if nothing needs a justification.
# entrypoint: true
default allow := false

allow if count(justify) == 0

candidates := applicability.applicable(data.leastwise.policies, input.subject)

# METADATA
# description: Findings under policies that are enforced. Each needs an approved exception before issuance.
justify contains finding if {
	some finding in findings
	finding.mode == "enforce"
}

# METADATA
# description: Findings under policies that only observe or notify.
advise contains finding if {
	some finding in findings
	finding.mode != "enforce"
}

# METADATA
# description: >-
#   What is known of a credential before it exists. It will reach every age up to its lifetime, so its lifetime is judged
#   by thresholds of age too.
requested := object.union_n([
	{"unresolved_identity": unresolved},
	{metric: value |
		some metric in ["lifetime", "credential_age"]
		value := input.request.lifetime_seconds
	},
	{metric: input.request[metric] | some metric in ["permission_scope_complexity", "scope_weight"]},
])

default unresolved := 1

unresolved := 0 if input.subject.owner != ""

# Metrics that issuance decides. Those of use can not be judged before there is any.
foreseeable := {"unresolved_identity", "lifetime", "credential_age", "permission_scope_complexity", "scope_weight"}

# An age below a threshold is no fault of a lifetime: every credential is young once.
foreseen(metric, condition) if {
	metric in foreseeable
	not young(metric, condition)
}

young("credential_age", condition) if condition in {"less_than", "less_or_equal"}

findings contains finding if {
	some policy in candidates
	policy.needed == 1
	some limit in policy.conditions
	finding := finding_of(policy, limit)
}

findings contains finding if {
	some policy in candidates
	policy.needed > 1
	every limit in policy.conditions {
		finding_of(policy, limit)
	}
	some limit in policy.conditions
	finding := finding_of(policy, limit)
}

finding_of(policy, [metric, condition, threshold, _]) := {
	"policy_id": policy.policy_id,
	"mode": policy.enforcement.mode,
	"reason": "threshold_passed",
	"metric": metric,
	"value": requested[metric],
	"threshold": threshold,
} if {
	foreseen(metric, condition)
	decision.holds(condition, requested[metric], threshold)
}

finding_of(policy, [metric, condition, threshold, _]) := {
	"policy_id": policy.policy_id,
	"mode": policy.enforcement.mode,
	"reason": "value_unknown",
	"metric": metric,
	"threshold": threshold,
} if {
	foreseen(metric, condition)
	not known(metric)
}

known(metric) if is_number(requested[metric])
