package leastwise.admission_test

import data.leastwise.admission

policy(mode, needed, conditions) := {
	"policy_id": "p",
	"needed": needed,
	"conditions": conditions,
	"applies_to": {},
	"enforcement": {"mode": mode, "grace_ms": 1, "remind_ms": [], "asks": {}},
}

age := ["credential_age", "greater_than", 3600, []]

scope := ["permission_scope_complexity", "greater_than", 5, []]

owner := ["unresolved_identity", "equals", 1, []]

idle := ["idle_time", "greater_than", 60, []]

asked(policies, request) := result if {
	result := admission.admission with input as {"subject": {"source": "vault", "owner": "payments"}, "request": request}
		with data.leastwise.policies as policies
}

test_short_and_narrow_is_allowed if {
	result := asked([policy("enforce", 1, [age, scope, owner, idle])], {"lifetime_seconds": 3600, "permission_scope_complexity": 5})
	result == {"allow": true, "justify": set(), "advise": set()}
}

test_a_lifetime_past_the_age_threshold_must_be_justified if {
	result := asked([policy("enforce", 1, [age])], {"lifetime_seconds": 3601})
	not result.allow
	some finding in result.justify
	finding.reason == "threshold_passed"
	finding.value == 3601
}

test_what_the_request_does_not_say_must_be_justified if {
	result := asked([policy("enforce", 1, [age, scope])], {"lifetime_seconds": 60})
	not result.allow
	{[f.metric, f.reason] | some f in result.justify} == {["permission_scope_complexity", "value_unknown"]}
}

test_an_observed_policy_only_advises if {
	result := asked([policy("observe", 1, [age])], {"lifetime_seconds": 3601})
	result.allow
	count(result.advise) == 1
}

test_nobody_to_answer_must_be_justified if {
	every subject in [{"source": "vault"}, {"source": "vault", "owner": ""}] {
		result := admission.admission with input as {"subject": subject, "request": {}}
			with data.leastwise.policies as [policy("enforce", 1, [owner])]
		not result.allow
	}
}

test_all_of_a_policy_must_be_foreseeable if {
	long := {"lifetime_seconds": 3601, "permission_scope_complexity": 6}
	asked([policy("enforce", 2, [age, idle])], long).allow
	not asked([policy("enforce", 2, [age, scope])], long).allow
	asked([policy("enforce", 2, [age, scope])], {"lifetime_seconds": 3601, "permission_scope_complexity": 5}).allow
}

test_every_credential_is_young_once if {
	asked([policy("enforce", 1, [["credential_age", "less_than", 60, []]])], {"lifetime_seconds": 30}).allow
}
