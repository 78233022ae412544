package gcpaudit

import (
	"bytes"
	"strconv"
	"time"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/valyala/fastjson"
)

// entry is what one log entry says, as far as events need it. Its JSON values and texts die with the next record.
type entry struct {
	rec source.Record
	id  string
	at  time.Time

	// Of the entry.
	logName, insertID, timestamp, received []byte
	log                                    []byte // the log's name without its parent
	payload, resource                      *fastjson.Value
	operationID, producer                  []byte
	first, last                            bool

	// Of the payload.
	payloadType, service, method, resourceName []byte
	status, authentication                     *fastjson.Value
	authorizations                             []*fastjson.Value
	request, response, metadata, serviceData   *fastjson.Value
	requestText, responseText, metadataText    []byte // the same as JSON in text, as BigQuery has it
	callerIP                                   []byte

	// Of authenticationInfo.
	email, subject, keyName, oauthClient []byte
	delegation                           []*fastjson.Value

	code     int64
	checks   checks
	key      keyName // the caller's key
	caller   string  // the caller's principal key
	mentions authorization
}

// checks are the permissions that were asked for.
type checks struct {
	count, granted   int
	allowed, refused authorization   // the first of each
	more             []authorization // the others, maxMore at most
}

// maxMore permissions beside the first are told of a call.
const maxMore = 12

// authorization is one element of authorizationInfo.
type authorization struct {
	permission, kind, resource []byte
	granted                    bool
}

// visitors read an object in one pass each: looking each field up by its name would go through the object as often. They
// are made once, because a method's value is an allocation.
type visitors struct {
	top, payload, authentication, authorization, operation func([]byte, *fastjson.Value)
}

func (e *entry) visitors() visitors {
	return visitors{top: e.topField, payload: e.payloadField, authentication: e.authenticationField,
		authorization: e.authorizationField, operation: e.operationField}
}

// topField knows the names of the JSON form (protoPayload), of BigQuery's columns and of protobuf.
func (e *entry) topField(key []byte, v *fastjson.Value) {
	switch string(key) {
	case "logName", "log_name":
		e.logName = stringOf(v)
	case "insertId", "insert_id":
		e.insertID = stringOf(v)
	case "timestamp":
		e.timestamp = stringOf(v)
	case "receiveTimestamp", "receive_timestamp":
		e.received = stringOf(v)
	case "protoPayload", "protopayload_auditlog", "proto_payload":
		e.payload = v
	case "operation":
		object(v).GetObject().Visit(e.operationField)
	case "resource":
		e.resource = v
	}
}

func (e *entry) operationField(key []byte, v *fastjson.Value) {
	switch string(key) {
	case "id":
		e.operationID = stringOf(v)
	case "producer":
		e.producer = stringOf(v)
	case "first":
		e.first = isTrue(v)
	case "last":
		e.last = isTrue(v)
	}
}

func (e *entry) payloadField(key []byte, v *fastjson.Value) {
	switch string(key) {
	case "@type":
		e.payloadType = stringOf(v)
	case "serviceName", "service_name":
		e.service = stringOf(v)
	case "methodName", "method_name":
		e.method = stringOf(v)
	case "resourceName", "resource_name":
		e.resourceName = stringOf(v)
	case "status":
		e.status = v
	case "authenticationInfo", "authentication_info":
		e.authentication = v
	case "authorizationInfo", "authorization_info":
		e.authorizations = v.GetArray()
	case "requestMetadata", "request_metadata":
		if e.callerIP = v.GetStringBytes("callerIp"); e.callerIP == nil {
			e.callerIP = v.GetStringBytes("caller_ip")
		}
	case "request":
		e.request = object(v)
	case "response":
		e.response = object(v)
	case "metadata":
		e.metadata = object(v)
	case "serviceData", "service_data", "servicedata_v1_iam":
		if e.serviceData == nil {
			e.serviceData = object(v)
		}
	case "requestJson":
		e.requestText = stringOf(v)
	case "responseJson":
		e.responseText = stringOf(v)
	case "metadataJson":
		e.metadataText = stringOf(v)
	}
}

func (e *entry) authenticationField(key []byte, v *fastjson.Value) {
	switch string(key) {
	case "principalEmail", "principal_email":
		e.email = stringOf(v)
	case "principalSubject", "principal_subject":
		e.subject = stringOf(v)
	case "serviceAccountKeyName", "service_account_key_name":
		e.keyName = stringOf(v)
	case "serviceAccountDelegationInfo", "service_account_delegation_info":
		e.delegation = v.GetArray()
	case "oauthInfo", "oauth_info":
		e.oauthClient = v.GetStringBytes("oauthClientId")
	}
}

func (e *entry) authorizationField(key []byte, v *fastjson.Value) {
	switch string(key) {
	case "permission":
		e.mentions.permission = stringOf(v)
	case "granted":
		e.mentions.granted = isTrue(v)
	case "resource":
		e.mentions.resource = stringOf(v)
	case "permissionType", "permission_type":
		e.mentions.kind = stringOf(v)
	}
}

const auditType = "google.cloud.audit.AuditLog"

// isAudit is whether the payload is an audit log; BigQuery's column is one without saying so.
func (e *entry) isAudit() bool {
	if len(e.payloadType) > 0 {
		return bytes.HasSuffix(e.payloadType, []byte(auditType))
	}
	return len(e.method) > 0 || len(e.service) > 0
}

// logOf is the log's name without its parent: activity, data_access, system_event, policy, or another log's.
func logOf(name []byte) []byte {
	if at := bytes.Index(name, []byte("/logs/")); at >= 0 {
		name = name[at+len("/logs/"):]
	}
	for _, mark := range [...]string{"cloudaudit.googleapis.com%2F", "cloudaudit.googleapis.com/", "externalaudit.googleapis.com%2F"} {
		if len(name) > len(mark) && string(name[:len(mark)]) == mark {
			return name[len(mark):]
		}
	}
	return name
}

// tail is the end of an operation whose beginning is another entry. The beginning tells the call.
func (e *entry) tail() bool { return e.last && !e.first && len(e.operationID) > 0 }

// read takes what the payload says.
func (d *Decoder) read(e *entry) {
	object(e.authentication).GetObject().Visit(d.visit.authentication)
	e.code, _ = number(e.status.Get("code"))
	for _, v := range e.authorizations {
		if o := object(v); o != nil && o.GetObject().Len() > 0 {
			e.mentions = authorization{}
			o.GetObject().Visit(d.visit.authorization)
			e.checks.add(e.mentions)
		}
	}
	e.key = d.serviceAccountKey(e.keyName)
	e.caller = d.principal(e.subject, e.email)
	e.log = logOf(e.logName)
	if len(e.requestText)+len(e.responseText)+len(e.metadataText) > 0 {
		d.readTexts(e)
	}
}

// readTexts parses the JSON that BigQuery holds as text, for those methods alone that events need more of.
func (d *Decoder) readTexts(e *entry) {
	if e.methodKind() == plainCall && !bytes.Contains(e.metadataText, []byte("bindingDeltas")) &&
		!bytes.Contains(e.metadataText, []byte("identityDelegationChain")) {
		return
	}
	for i, part := range [...]struct {
		field **fastjson.Value
		text  []byte
	}{{&e.request, e.requestText}, {&e.response, e.responseText}, {&e.metadata, e.metadataText}} {
		if *part.field != nil || len(part.text) == 0 {
			continue
		}
		if root, err := d.inner[i].ParseBytes(part.text); err == nil {
			*part.field = object(root)
		}
	}
}

func (c *checks) add(a authorization) {
	c.count++
	if a.granted {
		if c.granted++; c.granted == 1 {
			c.allowed = a
			return
		}
	} else if c.count-c.granted == 1 {
		c.refused = a
		return
	}
	if len(c.more) < maxMore && len(a.permission) > 0 {
		c.more = append(c.more, a)
	}
}

// number of a value, which BigQuery writes as text.
func number(v *fastjson.Value) (int64, bool) {
	if v == nil {
		return 0, false
	}
	switch v.Type() {
	case fastjson.TypeNumber:
		n, err := v.Int64()
		return n, err == nil
	case fastjson.TypeString:
		n, err := strconv.ParseInt(string(v.GetStringBytes()), 10, 64)
		return n, err == nil
	}
	return 0, false
}

func isTrue(v *fastjson.Value) bool {
	return v != nil && (v.Type() == fastjson.TypeTrue || v.Type() == fastjson.TypeString && string(v.GetStringBytes()) == "true")
}

// stringOf a value is its text; nil if it is none.
func stringOf(v *fastjson.Value) []byte { return v.GetStringBytes() }

// object is v if it is an object, else nil; the methods of a nil Value give zero values.
func object(v *fastjson.Value) *fastjson.Value {
	if v == nil || v.Type() != fastjson.TypeObject {
		return nil
	}
	return v
}
