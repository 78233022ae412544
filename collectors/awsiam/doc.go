// Package awsiam takes inventory of what an AWS account's IAM policies grant: snapshots of
// GetAccountAuthorizationDetails, from the API or from files that `aws iam get-account-authorization-details` wrote, as
// grants. Every managed policy, by its default version alone, and every inline policy is one grant; every user and role
// is one, which lists what is attached to it, a user's groups included, and its permissions boundary.
//
// What it promises: policies are published before the principals that they are attached to; what did not change is not
// published again; what is gone from a later snapshot is told deleted. A policy that can not be read makes a grant that
// says so, never an empty one. A snapshot that is cut is refused whole: a principal with half its policies would look
// narrow.
//
// What it may lose: a principal or a policy deleted while the process was down stays as it was; it holds no live
// credentials of its own then. What the account's own policies do not say is not in a snapshot: service control policies
// and resource control policies of the organization, and policies on resources.
//
// It runs beside a collector in rounds and never stops it: trouble is told as the part "inventory".
package awsiam
