package leastwise.applicability_test

import data.leastwise.applicability

subject := {
	"type": "token",
	"source": "vault",
	"principal": "vault/default/entity/e1",
	"agent": "ingest",
	"owner": "payments",
	"policies": ["default", "storage-write"],
	"labels": {"role_name": "ingest"},
}

applies(filter) if {
	policy := {"policy_id": "p", "needed": 1, "conditions": [["novelty", "greater_than", 1, []]], "applies_to": filter}
	count(applicability.applicable([policy], subject)) == 1
}

test_no_filter_applies_to_all if applies({})

test_filters_that_match if {
	every filter in [
		{"types": ["lease", "token"]},
		{"sources": ["vault"]},
		{"identities": ["vault/*/entity/e1"]},
		{"identities": ["ing*"]},
		{"owners": ["pay*"]},
		{"policies": ["*-write"]},
		{"labels": {"role_name": "in?est"}},
	] {
		applies(filter)
	}
}

test_filters_that_do_not_match if {
	every filter in [
		{"types": ["lease"]},
		{"sources": ["spire"]},
		{"identities": ["vault/*/entity/e2"]},
		{"owners": ["platform"]},
		{"policies": ["*-read"]},
		{"labels": {"role_name": "other"}},
		{"labels": {"namespace": "*"}},
		{"types": ["token"], "owners": ["platform"]},
	] {
		not applies(filter)
	}
}

test_unknown_owner_is_not_any_owner if {
	policy := {"policy_id": "p", "needed": 1, "conditions": [["novelty", "greater_than", 1, []]], "applies_to": {"owners": ["*"]}}
	applicability.applicable([policy], object.remove(subject, ["owner"])) == []
	applicability.applicable([policy], object.union(subject, {"owner": ""})) == []
}

test_conditions_of_other_sources_are_left_out if {
	ours := ["credential_age", "greater_than", 1, ["vault"]]
	theirs := ["permission_scope_complexity", "greater_than", 1, ["cloudtrail", "gcpaudit"]]
	policy := {"policy_id": "p", "needed": 1, "conditions": [ours, theirs], "applies_to": {}}
	[kept] := applicability.applicable([policy], subject)
	kept.conditions == [ours]
	applicability.applicable([object.union(policy, {"needed": 2})], subject) == []
	applicability.applicable([object.union(policy, {"conditions": [theirs]})], subject) == []
}
