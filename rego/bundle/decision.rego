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

candidates := input.policies

candidates := applicability.applicable(data.leastwise.policies, input.subject) if not input.policies

# METADATA
# description: >-
#   The violated policies, each with the deviation and metric of every condition that its value stands past. One list, made
#   once: a partial rule with policies as keys would be evaluated anew for each key.
violated := [{"policy": policy, "hits": hits} |
	some policy in candidates
	hits := [[margin(limit.condition, value, limit.threshold) / limit.scale, limit.metric] |
		some limit in policy.conditions
		value := input.values[limit.metric]
	]
	enough(policy.match, count(hits), count(policy.conditions))
]

enough("any", hits, _) if hits > 0

enough("all", hits, of) if hits == of

# METADATA
# description: How far a value stands past a threshold; undefined where it does not. An equal value stands 0 past.
margin("greater_than", value, threshold) := value - threshold if value > threshold

margin("greater_or_equal", value, threshold) := value - threshold if value >= threshold

margin("less_than", value, threshold) := threshold - value if value < threshold

margin("less_or_equal", value, threshold) := threshold - value if value <= threshold

margin("equals", value, value) := 0

margin("not_equals", value, threshold) := abs(value - threshold) if value != threshold

# METADATA
# description: >-
#   One entry a violated policy, with the metric that stands furthest past its threshold, and the entries of free-form Rego
#   (packages leastwise.custom.*), which may name a policy_id of their own.
violations contains {"policy_id": entry.policy.policy_id, "reason": "threshold_passed", "metric": worst[1], "deviation": worst[0]} if {
	some entry in violated
	worst := max(entry.hits)
}

violations contains violation if some violation in custom_violations

custom_violations contains object.union(object.union({"policy_id": name}, violation), {"reason": "rego"}) if {
	some name, module in data.leastwise.custom
	some violation in module.violations
}

# METADATA
# description: Conditions that can not be judged, because their value is not known.
unknowns contains {"policy_id": policy.policy_id, "metric": limit.metric} if {
	some policy in candidates
	some limit in policy.conditions
	not known(limit.metric)
}

known(metric) if is_number(input.values[metric])

rank := {"observe": 0, "notify": 1, "enforce": 2}

# METADATA
# description: What a violation of free-form Rego asks for where it does not say.
observing := {
	"mode": "observe",
	"grace_ms": 86400000,
	"remind_ms": [],
	"revoke": false,
	"reissue": false,
	"revoke_untold": false,
	"requires_approval": false,
}

# METADATA
# description: What the violated policies ask for, each different wish once.
stances := {entry.policy.enforcement | some entry in violated} | {stance |
	some violation in custom_violations
	stance := object.union(observing, object.get(violation, "enforcement", {}))
}

mode := max({rank[stance.mode] | some stance in stances})

# METADATA
# description: >-
#   Only the stances of the highest mode speak: a policy that merely observes neither shortens the grace period of one that
#   enforces, nor takes anything away.
speaking := [stance | some stance in stances; rank[stance.mode] == mode]

revoking := [stance | mode == 2; some stance in speaking; stance.revoke]

grace_ms := min([stance.grace_ms | some stance in speaking])

# METADATA
# description: What is to happen, the strictest of what the violated policies ask for.
ladder := {
	"mode": mode,
	"grace_ms": grace_ms,
	"remind_ms": array.reverse(sort({before |
		some stance in speaking
		some before in stance.remind_ms
		before < grace_ms
	})),
	"revoke": count(revoking) > 0,
	"reissue": true in [stance.reissue | some stance in revoking],
	"revoke_untold": {stance.revoke_untold | some stance in revoking} == {true},
	"requires_approval": true in [stance.requires_approval | mode == 2; some stance in speaking],
} if {
	count(stances) > 0
} else := {
	"mode": 0,
	"grace_ms": 0,
	"remind_ms": [],
	"revoke": false,
	"reissue": false,
	"revoke_untold": false,
	"requires_approval": false,
}
