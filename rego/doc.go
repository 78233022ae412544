// Package rego decides by policy: it reads policies in YAML and free-form Rego, and says of a credential's measured values
// which policies they stand past and what is to happen.
//
// It promises:
//   - a set of policies comes into force whole or not at all. A bad file is refused with file, line, key and what was
//     expected, and the last good set stays in force (Engine.Watch).
//   - the same values under the same set give the same decision: Rego sees no clock, no network, no environment.
//   - what is not known violates nothing and is told (Result.Unknowns).
//   - OPA decides and is never the trigger. An Index answers without OPA whether a condition changed (Signature) and when
//     the clock alone will change one (NextCrossing).
//
// It blocks nowhere but in Watch, and it loses nothing, since it keeps nothing but the policies. It refuses to be asked for
// more than its thresholds need: the caller measures, this package compares.
//
// # Bundle
//
// The folder bundle holds the Rego that decides: leastwise.decision at run time, leastwise.admission at issuance, both over
// the policies as data. Options.BundleDir overrides it whole; WriteBundle gives a start. The same folder, with the policies
// as data.leastwise.policies, serves an OPA server.
//
// # Free-form Rego
//
// A .rego file beside the YAML declares a package leastwise.custom.<name> whose METADATA say how often it wants to be asked,
// and defines violations:
//
//	# METADATA
//	# scope: package
//	# schemas:
//	#   - input: schema.decision_input
//	# custom:
//	#   leastwise:
//	#     ask_every: 1m
//	package leastwise.custom.night
//
//	violations contains {
//		"severity": "high",
//		"channel": "ops",
//		"hint": "Stop the batch agent before it is asked to.",
//		"enforcement": {"mode": "enforce", "grace_ms": 60000, "remind_ms": [], "asks": {"revoke": true}},
//	} if {
//		input.subject.labels.role_name == "batch"
//		input.values.credential_age > 3600
//	}
//
// Optional keys are policy_id (else <name>), metric, value, threshold, condition, deviation, and enforcement (else observe).
// Its tests go into a package leastwise.test.<name> in a file *_test.rego; TestDir runs them.
//
// # What a ladder is made of
//
// Of all violated policies those of the highest mode speak. Among them: the shortest grace period; all reminders that are
// shorter than it; revoke, reissue and approval if any asks for it; revocation of an untold owner's credential only if every
// one that revokes says so in words.
//
// How carefully it is done (approvals by act, business hours, freezes, escalation, max_collateral, corrected) the bundle does
// not see: Evaluate adds to the ladder what the YAML of each speaking policy says, and all of it holds.
package rego
