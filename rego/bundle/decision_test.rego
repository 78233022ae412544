package leastwise.decision_test

import data.leastwise.decision

observed := {"mode": "observe", "grace_ms": 86400000, "remind_ms": [], "asks": {}}

enforced := {
	"mode": "enforce",
	"grace_ms": 3600000,
	"remind_ms": [600000],
	"asks": {"revoke": true, "tell_first": true},
}

policy(id, needed, conditions, enforcement) := {
	"policy_id": id,
	"needed": needed,
	"conditions": conditions,
	"applies_to": {},
	"enforcement": enforcement,
}

asked(policies, values) := result if {
	result := decision.decision with input as {"subject": {"source": "vault"}, "values": values, "policies": policies}
}

age := ["credential_age", "greater_than", 3600, []]

scope := ["permission_scope_complexity", "greater_or_equal", 5, []]

test_any_metric_violates if {
	result := asked([policy("p", 1, [age, scope], observed)], {"credential_age": 3601, "permission_scope_complexity": 1})
	result.violations == {{"policy_id": "p", "reason": "threshold_passed", "metrics": ["credential_age"], "stance": observed}}
}

test_all_metrics_are_needed_where_the_policy_says_so if {
	policies := [policy("p", 2, [age, scope], observed)]
	asked(policies, {"credential_age": 3601, "permission_scope_complexity": 4}).violations == set()
	count(asked(policies, {"credential_age": 3601, "permission_scope_complexity": 5}).violations) == 1
}

test_unknown_violates_nothing_and_is_listed if {
	policies := [policy("p", 1, [age, scope], observed)]
	asked(policies, {}).violations == set()
	unknowns := decision.unknowns with input as {"values": {"credential_age": 1}, "policies": policies}
	unknowns == {{"policy_id": "p", "metric": "permission_scope_complexity"}}
}

test_each_condition_at_below_and_above_its_threshold if {
	expected := {
		"greater_than": [false, false, true],
		"greater_or_equal": [false, true, true],
		"less_than": [true, false, false],
		"less_or_equal": [true, true, false],
		"equals": [false, true, false],
		"not_equals": [true, false, true],
	}
	every condition, truths in expected {
		every i, truth in truths {
			result := asked([policy("p", 1, [["novelty", condition, 5, []]], observed)], {"novelty": 4 + i})
			(count(result.violations) == 1) == truth
		}
	}
}

test_no_violation_leads_to_nothing if {
	ladder := asked([policy("p", 1, [age], enforced)], {"credential_age": 3600}).ladder
	ladder == {"mode": "observe", "grace_ms": 0, "remind_ms": [], "asks": {}}
}

test_one_stance_is_the_ladder if {
	asked([policy("p", 1, [age], enforced)], {"credential_age": 3601}).ladder == enforced
}

test_highest_mode_shortest_grace_all_reminders if {
	slower := object.union(enforced, {"grace_ms": 7200000, "remind_ms": [3600000, 1800000, 60000]})
	ladder := asked(
		[policy("p", 1, [age], enforced), policy("q", 1, [age], slower)],
		{"credential_age": 3601},
	).ladder
	ladder.grace_ms == 3600000
	ladder.remind_ms == [1800000, 600000, 60000] # a reminder as long before as the grace period can not be sent
}

test_observing_policy_does_not_shorten_the_grace_period if {
	hasty := object.union(observed, {"grace_ms": 1, "remind_ms": [0]})
	ladder := asked(
		[policy("p", 1, [age], enforced), policy("q", 1, [age], hasty)],
		{"credential_age": 3601},
	).ladder
	ladder == enforced
}

test_one_policy_is_enough_to_revoke_and_reissue if {
	reissuing := object.union(enforced, {"asks": {"reissue": true}})
	keeping := {"mode": "enforce", "grace_ms": 3600000, "remind_ms": [], "asks": {}}
	ladder := asked(
		[policy("p", 1, [age], reissuing), policy("q", 1, [age], keeping)],
		{"credential_age": 3601},
	).ladder
	ladder.asks == {"revoke": true, "reissue": true, "tell_first": true}
}

test_untold_revocation_needs_all_revoking_policies if {
	untold := {"mode": "enforce", "grace_ms": 3600000, "remind_ms": [], "asks": {"revoke": true}}
	keeping := {"mode": "enforce", "grace_ms": 60000, "remind_ms": [], "asks": {}}
	not asked([policy("p", 1, [age], untold), policy("q", 1, [age], keeping)], {"credential_age": 3601}).ladder.asks.tell_first
	asked([policy("p", 1, [age], untold), policy("q", 1, [age], enforced)], {"credential_age": 3601}).ladder.asks.tell_first
}

test_free_form_rego_adds_violations_and_its_wishes if {
	custom := {"night": {"violations": {{"severity": "high", "enforcement": {"mode": "notify", "grace_ms": 1000}}}}}
	result := decision.decision with input as {"values": {}, "policies": []} with data.leastwise.custom as custom
	some violation in result.violations
	violation.policy_id == "night"
	violation.reason == "rego"
	result.ladder == {"mode": "notify", "grace_ms": 1000, "remind_ms": [], "asks": {}}
}

test_free_form_rego_tells_first_unless_it_says_otherwise if {
	wish := {"mode": "enforce", "asks": {"revoke": true, "tell_first": false}}
	untold := decision.decision with input as {"values": {}, "policies": []}
		with data.leastwise.custom as {"night": {"violations": {{"enforcement": wish}}}}
	untold.ladder.asks == {"revoke": true}
	told := decision.decision with input as {"values": {}, "policies": []}
		with data.leastwise.custom as {"night": {"violations": {{"enforcement": {"mode": "enforce", "asks": {"revoke": true}}}}}}
	told.ladder.asks == {"revoke": true, "tell_first": true}
}

test_without_policies_in_the_input_those_of_the_data_that_apply_are_taken if {
	other := object.union(policy("other", 1, [age], observed), {"applies_to": {"sources": ["spire"]}})
	result := decision.decision with input as {"subject": {"source": "vault"}, "values": {"credential_age": 3601}}
		with data.leastwise.policies as [policy("p", 1, [age], observed), other]
	{v.policy_id | some v in result.violations} == {"p"}
}
