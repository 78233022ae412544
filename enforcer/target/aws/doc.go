// Package aws takes credentials away at Amazon Web Services: access keys of IAM
// users, and sessions of roles.
//
// # What it promises
//
// An access key is deactivated first, which can be taken back at once; after a
// further period it is deleted, unless somebody enabled or used it in between.
//
// A session can not be ended at AWS: what it may do is evaluated with each
// request, so a deny is put on its role
// (https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_temp_control-access_disable-perms.html).
// The deny is as narrow as the evidence allows: sessions of that name, else of
// that source identity, else of the role, in each case those issued before a
// time. All denies of a role stand in one inline policy, DenyPolicy; one more
// is added to it and replaces none, and what somebody else wrote there stays.
// Denies of sessions that have expired are taken out with the next change.
//
// Re-issue narrows the role's or user's own policies to observed use: one
// inline policy, ScopePolicy, made of the statements that stand there now, with
// no action that was not used. Denies and conditions are kept, so that it
// never permits what was not permitted before. Permission boundaries are not
// touched, managed policies are detached and never changed, and Rollback puts
// back exactly what was there. No new key is made.
//
// Roles that AWS keeps (service-linked, IAM Identity Center) are never touched,
// nor is the user or role by which the enforcer itself acts.
//
// # What blocks, and what it may lose
//
// Calls block for at most Config.Timeout a request and are not retried: an
// error does not say that nothing was done. IAM is eventually consistent: AWS
// says that changes may take a few minutes to take effect and names no bound,
// so a proof says what IAM answers, and that. IAM has no conditional write
// either: two enforcers that change the denies of one role in the same moment
// can undo each other's. Each reads again after it wrote, and the ladder asks
// for the proof after that; a deny lost later still is not noticed.
//
// Kept in memory only: the ids of the own keys, and denies written within the
// last minute, which a reading that is still old must not lose.
package aws
