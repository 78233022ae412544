package gcpaudit

import (
	"bytes"
	"strings"
)

// keyName is what the resource name of a service account key says:
// //iam.googleapis.com/projects/P/serviceAccounts/EMAIL/keys/ID.
type keyName struct {
	credential string // the key's key; empty if there is none
	owner      string // the service account's principal key; empty if it is named by its number
}

// caller is who called, and with which key.
type caller struct {
	key    keyName
	member string // the principal's key
	// plain: its name says nothing of where it comes from, and the key is its own or none.
	plain bool
}

// callerOf a record. Most records of a log are of the same few callers.
func (d *Decoder) callerOf(e *entry) caller {
	text := append(append(append(append(append(d.line[:0], e.keyName...), ' '), e.subject...), ' '), e.email...)
	d.line = text
	if known, ok := d.callers.get(text); ok {
		return known
	}
	c := caller{key: d.serviceAccountKey(e.keyName), member: d.principal(e.subject, e.email)}
	c.plain = (c.key.owner == "" || c.key.owner == c.member) && !bytes.Contains(e.subject, []byte("iam.googleapis.com/")) &&
		!bytes.Contains(e.subject, []byte("svc.id.goog")) && !bytes.Contains(e.email, []byte("svc.id.goog"))
	d.callers.put(text, c)
	return c
}

func (d *Decoder) serviceAccountKey(name []byte) keyName {
	if len(name) == 0 {
		return keyName{}
	}
	if known, ok := d.owned.get(name); ok {
		return known
	}
	var k keyName
	account, id, ok := bytes.Cut(name, []byte("/keys/"))
	if id, _, _ = bytes.Cut(id, []byte("/")); ok && len(id) > 0 {
		k.credential = d.keys.key + safe(id, maxName)
	}
	if at := bytes.LastIndex(account, []byte("/serviceAccounts/")); at >= 0 {
		k.owner = d.account(account[at+len("/serviceAccounts/"):])
	}
	d.owned.put(name, k)
	return k
}

// account is the principal of a service account named by its email; empty for a number or the wildcard.
func (d *Decoder) account(email []byte) string {
	if bytes.IndexByte(email, '@') < 0 {
		return ""
	}
	return d.keys.principal + "serviceAccount:" + lower(safe(email, maxName))
}

// principal is the key of who called, in the member form of IAM policies, so that logs and policies name it alike. Empty
// if the record names nobody.
func (d *Decoder) principal(subject, email []byte) string {
	text := subject
	if len(text) == 0 {
		text = email
	}
	if len(text) == 0 {
		return ""
	}
	if known, ok := d.people.get(text); ok {
		return known
	}
	key := d.keys.principal + member(text)
	d.people.put(text, key)
	return key
}

// member is a principal as IAM policies write it: serviceAccount:EMAIL, user:EMAIL, principal://...
func member(text []byte) string {
	clean := safe(text, maxResource)
	kind, rest, typed := strings.Cut(clean, ":")
	switch {
	case strings.HasPrefix(clean, "//iam.googleapis.com/"):
		return "principal:" + clean
	case typed && (kind == "principal" || kind == "principalSet"):
		return clean
	case typed && (kind == "user" || kind == "serviceAccount" || kind == "group" || kind == "deleted" || kind == "domain"):
		return kind + ":" + lowerMail(rest)
	case strings.Contains(clean, ".svc.id.goog["):
		return "serviceAccount:" + clean
	case !strings.Contains(clean, "@") || strings.HasPrefix(clean, "system:"):
		return clean // allUsers, system:serviceaccount:NAMESPACE:NAME of Kubernetes, the subject of another issuer
	case strings.HasSuffix(clean, "gserviceaccount.com"):
		return "serviceAccount:" + lower(clean)
	}
	return "user:" + lower(clean)
}

// lowerMail: mail addresses are the same in whatever case; the names of other things may not be.
func lowerMail(text string) string {
	if strings.Contains(text, "@") {
		return lower(text)
	}
	return text
}

func lower(text string) string { return strings.ToLower(text) }

// memberOf is a principal's key without its first parts.
func (d *Decoder) memberOf(key string) string { return strings.TrimPrefix(key, d.keys.principal) }

// federated splits the principal of a workload or workforce identity into its pool and its subject there.
func federated(member string) (pool, subject string, ok bool) {
	rest, ok := strings.CutPrefix(member, "principal://iam.googleapis.com/")
	if !ok {
		return "", "", false
	}
	pool, subject, ok = strings.Cut(rest, "/subject/")
	return pool, subject, ok
}

// workload is the namespace and name of a Kubernetes service account in the older form
// serviceAccount:PROJECT.svc.id.goog[NAMESPACE/NAME].
func workload(member string) (pool, subject string, ok bool) {
	rest, ok := strings.CutPrefix(member, "serviceAccount:")
	if !ok || !strings.HasSuffix(rest, "]") {
		return "", "", false
	}
	pool, subject, ok = strings.Cut(strings.TrimSuffix(rest, "]"), "[")
	return pool, subject, ok && strings.HasSuffix(pool, ".svc.id.goog")
}

// identityLabels say what a principal's name proves of where it comes from.
func identityLabels(labels map[string]string, member string) {
	pool, subject, ok := federated(member)
	if !ok {
		pool, subject, ok = workload(member)
	}
	if !ok {
		return
	}
	label(labels, "web_identity_provider", []byte(pool))
	label(labels, "web_identity_subject", []byte(subject))
}
