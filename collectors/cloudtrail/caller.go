package cloudtrail

import (
	"bytes"
	"strings"

	"github.com/leastwise/leastwise/collectors/jsonrecord"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

// caller is who made a call, and with which credential. It is shared by all records of that caller.
type caller struct {
	credential, principal string
	// unparented: what it is given has no parent, since it holds no key of AWS's.
	unparented bool
	// region and identity are those of the records; none if they are too long to be remembered.
	region, identity string
	user             string // its name in account
	account          string
	life             *leastwisev1.Lifetime
	labels           map[string]string
	failed           []failedCall
}

// identity are the fields of userIdentity that tell the caller.
type identity struct {
	kind, arn, account, key, user, principalID, invokedBy, provider []byte
	issuer, created, mfa, source, federated, delivery               []byte
	behalf, store                                                   []byte
}

func (i *identity) read(w *jsonrecord.Walk, text []byte) {
	w.Open(text)
	if !w.Object() {
		return
	}
	for key, more := w.Field(); more; key, more = w.Field() {
		switch string(key) {
		case "type":
			i.kind = w.Text()
		case "arn":
			i.arn = w.Text()
		case "accountId":
			i.account = w.Text()
		case "accessKeyId":
			i.key = w.Text()
		case "userName":
			i.user = w.Text()
		case "principalId":
			i.principalID = w.Text()
		case "invokedBy":
			i.invokedBy = w.Text()
		case "identityProvider":
			i.provider = w.Text()
		case "sessionContext":
			i.readSession(w)
		case "onBehalfOf":
			i.behalf, i.store = pair(w, "userId", "identityStoreArn")
		default:
			w.Skip()
		}
	}
}

func (i *identity) readSession(w *jsonrecord.Walk) {
	if !w.Object() {
		return
	}
	for key, more := w.Field(); more; key, more = w.Field() {
		switch string(key) {
		case "sessionIssuer":
			i.issuer, _ = pair(w, "arn", "")
		case "attributes":
			i.created, i.mfa = pair(w, "creationDate", "mfaAuthenticated")
		case "sourceIdentity":
			i.source = w.Text()
		case "webIdFederationData":
			i.federated, _ = pair(w, "federatedProvider", "")
		case "ec2RoleDelivery":
			i.delivery = w.Text()
		default:
			w.Skip()
		}
	}
}

// beginning is how much of an identity tells whose it most likely is: its key's id stands within.
const beginning = 256

// identity goes past the identity, and gives it as it stands. Most are such as were seen before: comparing is quicker than
// reading.
func (d *Decoder) identity(w *jsonrecord.Walk) ([]byte, *caller) {
	rest := w.Rest()
	if len(rest) >= beginning {
		if c, ok := d.likely.get(rest[:beginning]); ok && w.Same(c.identity) {
			return rest[:len(c.identity)], c
		}
	}
	return w.Raw(), nil
}

// caller of the record.
func (d *Decoder) caller(e *record) *caller {
	likely := e.likely
	if likely == nil && len(e.identity) >= beginning {
		if c, ok := d.likely.get(e.identity[:beginning]); ok && string(e.identity) == c.identity {
			likely = c
		}
	}
	if likely != nil && string(e.region) == likely.region {
		return likely
	}
	key := append(append(append(d.scratch[:0], e.region...), 0), e.identity...)
	d.scratch = key
	c, ok := d.callers.get(key)
	if !ok {
		var i identity
		i.read(&d.part, e.identity)
		c = d.newCaller(&i, e.region)
		if text := string(key); len(text) <= maxCacheKey {
			c.region, c.identity = text[:len(e.region)], text[len(e.region)+1:]
			d.callers.put(text, c)
		}
	}
	if len(c.identity) >= beginning {
		d.likely.put(c.identity[:beginning], c)
	}
	return c
}

func (d *Decoder) newCaller(i *identity, region []byte) *caller {
	kind := string(i.kind)
	c := &caller{credential: d.key(i.key), account: jsonrecord.Text(i.account, maxName)}
	c.principal = d.principalOf(kind, i)
	switch kind {
	case "AWSService", "WebIdentityUser", "SAMLUser", "IdentityCenterUser":
		c.unparented = c.credential == ""
	case "IAMUser":
		c.user = jsonrecord.Text(i.user, maxName)
	}
	c.life = lifeSeen(c.credential, i.created)
	c.labels = make(map[string]string, 8)
	label(c.labels, "user_type", i.kind)
	label(c.labels, "region", region)
	label(c.labels, "account", i.account)
	label(c.labels, "session_issuer", i.issuer)
	label(c.labels, "session_name", sessionName(i.arn))
	label(c.labels, "source_identity", i.source)
	label(c.labels, "invoked_by", i.invokedBy)
	label(c.labels, "web_identity_provider", i.federated)
	label(c.labels, "on_behalf_of", i.behalf)
	label(c.labels, "role_delivery", i.delivery)
	if string(i.mfa) == "true" {
		c.labels["mfa"] = "true"
	}
	if kind == "AWSAccount" {
		label(c.labels, "principal_id", i.principalID)
	}
	switch kind {
	case "WebIdentityUser":
		label(c.labels, "web_identity_provider", i.provider)
		label(c.labels, "web_identity_subject", i.user)
	case "SAMLUser":
		label(c.labels, "saml_issuer", i.provider)
		label(c.labels, "saml_subject", i.user)
	}
	return c
}

// principalOf names who a caller is. A name that somebody typed at a login is not copied: it may be a password.
func (d *Decoder) principalOf(kind string, i *identity) string {
	arn := jsonrecord.Text(i.arn, maxResource)
	switch kind {
	case "AssumedRole", "Role":
		if len(i.issuer) > 0 {
			return d.role(i.issuer).key
		}
		return d.principal("principal", roleOf(arn))
	case "WebIdentityUser":
		return d.principal("web_identity", joined(i.provider, i.user))
	case "SAMLUser":
		return d.principal("saml", joined(i.provider, i.user))
	case "AWSService":
		return d.principal("service", jsonrecord.Text(i.invokedBy, maxID))
	case "IdentityCenterUser":
		return d.principal("identity_center_user", joined(i.store, i.behalf))
	case "AWSAccount":
		if arn == "" {
			return d.principal("account", jsonrecord.Text(i.account, maxName))
		}
	case "Root":
		if account := jsonrecord.Text(i.account, maxName); arn == "" || strings.HasSuffix(arn, ":assumed-root") {
			if account == "" {
				return ""
			}
			return d.principal("principal", rootOf(account))
		}
	}
	return d.principal("principal", roleOf(arn))
}

// joined gives a name that is unique with its provider; none if either is missing.
func joined(provider, user []byte) string {
	if len(provider) == 0 || len(user) == 0 {
		return ""
	}
	return jsonrecord.Text(provider, maxID) + "/" + jsonrecord.Text(user, maxID)
}

func rootOf(account string) string { return "arn:aws:iam::" + account + ":root" }

// roleOf gives the role of an assumed-role ARN, which leaves the role's path out; other ARNs stay.
func roleOf(arn string) string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 || parts[2] != "sts" {
		return arn
	}
	rest, ok := strings.CutPrefix(parts[5], "assumed-role/")
	if !ok {
		return arn
	}
	role, _, _ := strings.Cut(rest, "/")
	return parts[0] + ":" + parts[1] + ":iam::" + parts[4] + ":role/" + role
}

// sessionName is for people to read; nothing is joined by it.
func sessionName(arn []byte) []byte {
	at := bytes.Index(arn, []byte(":assumed-role/"))
	if at < 0 {
		return nil
	}
	return arn[bytes.LastIndexByte(arn, '/')+1:]
}

// lifeSeen is what a call tells of its credential's life: a session's start, and that a long-term key has no end. A
// long-term key may stand in a session too (with MFA, or on behalf of a service): that one's start is not the key's.
func lifeSeen(credential string, created []byte) *leastwisev1.Lifetime {
	switch {
	case credential == "":
		return nil
	case strings.Contains(credential, "/access_key/AKIA"):
		return &leastwisev1.Lifetime{NeverExpires: true}
	}
	if at, ok := parseTime(created); ok && strings.Contains(credential, "/session/") {
		return &leastwisev1.Lifetime{IssuedAt: timestamp(at)}
	}
	return nil
}
