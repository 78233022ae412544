# METADATA
# title: Decision at run time
# description: >-
#   Which policies does a credential stand past, and what is to happen? The policies come as input.policies, narrowed by the
#   caller to those that apply; where the input has none, those of data.leastwise.policies that apply are taken.
#   A value that is not in input.values is unknown: it violates nothing and is listed under unknowns.
# schemas:
#   - input: schema.decision_input
#   - data.leastwise.policies: schema.policies
package leastwise.decision

import data.leastwise.applicability

# METADATA
# title: Decision
# description: Violations and ladder in one document, so that one query gives both.
# entrypoint: true
decision := {"violations": violations, "ladder": ladder}

candidates := input.policies if {
	input.policies
} else := applicability.applicable(data.leastwise.policies, input.subject)

holds("greater_than", value, threshold) if value > threshold

holds("greater_or_equal", value, threshold) if value >= threshold

holds("less_than", value, threshold) if value < threshold

holds("less_or_equal", value, threshold) if value <= threshold

holds("equals", value, threshold) if value == threshold

holds("not_equals", value, threshold) if value != threshold

# METADATA
# description: >-
#   One entry a violated policy, with the metrics that stand past their thresholds and what the policy by itself asks for,
#   and the entries of free-form Rego (packages leastwise.custom.*), which may name a policy_id of their own.
violations := {{"policy_id": policy.policy_id, "reason": "threshold_passed", "metrics": metrics, "stance": policy.enforcement} |
	some policy in candidates
	metrics := [limit[0] | some limit in policy.conditions; holds(limit[1], input.values[limit[0]], limit[2])]
	count(metrics) >= policy.needed
} | custom_violations

custom_violations := {object.union_n([{"policy_id": name}, violation, {"reason": "rego", "stance": stance(violation)}]) |
	some name, module in data.leastwise.custom
	some violation in module.violations
}

stance(violation) := object.union(object.remove(whole, ["asks"]), {"asks": asks}) if {
	whole := object.union(observing, object.get(violation, "enforcement", {}))
	asks := {wish: true | whole.mode == "enforce"; some wish, true in whole.asks}
}

# METADATA
# description: Conditions that can not be judged, because their value is not known.
unknowns contains {"policy_id": policy.policy_id, "metric": metric} if {
	some policy in candidates
	some [metric, _, _, _] in policy.conditions
	not known(metric)
}

known(metric) if is_number(input.values[metric])

# METADATA
# description: >-
#   What the violated policies ask for, each different wish once. Under asks stand the things for which one policy is enough,
#   each as true or not at all: revoke, reissue, requires_approval, and tell_first, which forbids to revoke while the owner
#   could not be told.
stances := {violation.stance | some violation in violations}

# METADATA
# description: What a violation of free-form Rego asks for where it does not say.
observing := {"mode": "observe", "grace_ms": 86400000, "remind_ms": [], "asks": {"tell_first": true}}

# METADATA
# description: >-
#   What is to happen, the strictest of what the violated policies ask for. Only the stances of the highest mode speak: a
#   policy that merely observes neither shortens the grace period of one that enforces, nor takes anything away.
ladder := only if {
	count(stances) == 1
	some only in stances
} else := {
	"mode": mode,
	"grace_ms": grace,
	"remind_ms": [before | some before in array.reverse(sort({b | b := speaking[_].remind_ms[_]})); before < grace],
	"asks": object.union_n([stance.asks | some stance in speaking]),
} if {
	count(stances) > 1
	asked := {stance.mode | some stance in stances}
	mode := [mode | some mode in ["enforce", "notify", "observe"]; mode in asked][0]
	speaking := [stance | some stance in stances; stance.mode == mode]
	grace := min([stance.grace_ms | some stance in speaking])
} else := {"mode": "observe", "grace_ms": 0, "remind_ms": [], "asks": {}}
