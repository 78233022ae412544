// Package cloudtrail reads AWS CloudTrail: from S3 as SQS announces new objects or as a listing shows them, and from
// local files and directories.
//
// A credential is an access key, named by its key id: access_key for long-term keys (AKIA…), session for those that STS
// gives (ASIA…). Issuance and use meet in the key id, and never in the name of a session. An identity is a principal,
// named by its ARN; the principal of a session is its role, as sessionContext.sessionIssuer gives it.
//
// Of one record come, each under an index of its own:
//
//   - the call, under the caller's key: USED, DENIED if it was refused for want of permission, NOTED if it was throttled,
//     was not authenticated, or is no call at all (a login, an event of a service's own, an insight);
//   - ISSUED for each key in the answer of STS, of CreateAccessKey and of IAM Roles Anywhere. The caller's key is the
//     parent, but AWS does not end the child with it (label ends_with_parent=false). A key that a service, a web identity
//     or SAML asked for has no parent;
//   - REVOKED when an access key is deleted, or made inactive (label how=deactivated); OBSERVED when it is made active;
//   - UNKNOWN if the type of the event is not known to this release.
//
// A record's id is its sharedEventID, else its eventID: copies that the trails of several accounts receive are one. A
// copy that does not name the caller's key tells its events under other indexes, so that it can not hide the other copy.
//
// Read are: log files ({"Records":[…]}), JSON lines, arrays, single events, events inside EventBridge and CloudWatch Logs
// envelopes, the answer of lookup-events, and CloudTrail Lake rows that hold eventJson, or fields as columns where nested
// ones are objects (rows in which userIdentity is a text of the form {type=…} are refused as malformed).
//
// A policy that is written out in a request for a session becomes a Grant (actions and resources, and whether there is a
// condition), named by its hash, and the session names it among its policies: what the session may do is what both the
// role and its session policies allow. One that can not be read leaves the session's scope unknown.
//
// Session tokens, secret keys and all else of request bodies never leave the decoder: fields are copied by an allow list.
//
// A collector blocks only on its source and on Kafka. It loses nothing that it was handed: a queue's message is deleted,
// and a file or an object is remembered as read, after its events are published; a crash before that publishes some again
// under the same ids. It can not see what the trail does not record: keys of instance profiles and of Lambda often have
// no issuance, data events are off by default, and a deleted object that was never announced is gone.
package cloudtrail
