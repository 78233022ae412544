# METADATA
# title: Applicability
# description: >-
#   Which policies speak of a credential. The processor answers this by its own index before it asks; these rules give the
#   same answer to whoever asks an OPA server with nothing but the subject.
package leastwise.applicability

# METADATA
# description: >-
#   The policies that apply to the subject, each with those of its conditions that speak of the subject's source. A policy
#   is left out where fewer of them are left than it needs.
applicable(policies, subject) := [object.union(policy, {"conditions": conditions}) |
	some policy in policies
	not excluded(policy.applies_to, subject)
	conditions := [limit | some limit in policy.conditions; speaks_of(limit, subject)]
	count(conditions) >= policy.needed
]

speaks_of([_, _, _, []], _)

speaks_of([_, _, _, sources], subject) if subject.source in sources

excluded(filter, subject) if {
	filter.types
	not subject.type in filter.types
}

excluded(filter, subject) if {
	filter.sources
	not subject.source in filter.sources
}

excluded(filter, subject) if {
	filter.identities
	not matches_any(filter.identities, [object.get(subject, "principal", ""), object.get(subject, "agent", "")])
}

excluded(filter, subject) if {
	filter.owners
	not matches_any(filter.owners, [object.get(subject, "owner", "")])
}

excluded(filter, subject) if {
	filter.policies
	not matches_any(filter.policies, object.get(subject, "policies", []))
}

excluded(filter, subject) if {
	some label, pattern in filter.labels
	not labelled(subject, label, pattern)
}

# A helper, since "not" around a missing field would be undefined and the filter silently match.
labelled(subject, label, pattern) if glob.match(pattern, null, subject.labels[label])

matches_any(patterns, texts) if {
	some pattern in patterns
	some text in texts
	text != ""
	glob.match(pattern, null, text)
}
