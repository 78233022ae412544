package gcpaudit

import (
	"bytes"
	"strconv"
	"time"

	"github.com/leastwise/leastwise/collectors/jsonrecord"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/valyala/fastjson"
)

// entry is what one log entry says, as far as events need it. Its texts and JSON values die with the next record.
type entry struct {
	rec source.Record
	id  string
	at  time.Time

	logName, insertID, timestamp, received []byte
	log                                    []byte // the log's name without its parent
	operationID, producer                  []byte
	first, last                            bool
	projectID, emailID                     []byte // labels of the resource
	payload

	kind     methodKind
	resource string
	caller
}

// payload is the audit log inside an entry.
type payload struct {
	found, object bool // the entry has one, and it is an object

	payloadType, service, method, resourceName []byte
	callerIP                                   []byte
	code                                       int64
	checks                                     checks

	// Of authenticationInfo.
	email, subject, keyName, oauthClient []byte

	// Few events need what is in these: they are taken as they stand, and parsed then.
	delegationText                                     []byte
	requestText, responseText, metadataText, deltaText []byte
	delegation                                         []*fastjson.Value
	request, response, metadata, serviceData           *fastjson.Value
}

// checks are the permissions that were asked for.
type checks struct {
	count, granted   int
	allowed, refused authorization // the first of each
	others           int
	more             [maxMore]authorization // the others, as many as fit
}

// maxMore permissions beside the first are told of a call.
const maxMore = 12

// authorization is one element of authorizationInfo.
type authorization struct {
	permission, kind, resource []byte
	granted                    bool
}

// read takes what the record says, and tells whether the record is an object in JSON. It knows the names of the JSON form
// (protoPayload), of BigQuery's columns and of protobuf.
func (e *entry) read(w *jsonrecord.Walk, text []byte) bool {
	w.Open(text)
	if !w.Object() {
		return false
	}
	for {
		key, more := w.Field()
		if !more {
			return w.Close()
		}
		switch string(key) {
		case "logName", "log_name":
			e.logName = w.Text()
		case "insertId", "insert_id":
			e.insertID = w.Text()
		case "timestamp":
			e.timestamp = w.Text()
		case "receiveTimestamp", "receive_timestamp":
			e.received = w.Text()
		case "protoPayload", "protopayload_auditlog", "proto_payload":
			e.payload = payload{found: true}
			if e.object = w.Object(); e.object {
				e.readPayload(w)
			}
		case "operation":
			if w.Object() {
				e.readOperation(w)
			}
		case "resource":
			e.projectID, e.emailID = nil, nil
			if w.Object() {
				e.readResource(w)
			}
		default:
			w.Skip()
		}
	}
}

// texts are those of the entry that read takes from the record.
func (e *entry) texts() []*[]byte {
	texts := []*[]byte{&e.logName, &e.insertID, &e.timestamp, &e.received, &e.operationID, &e.producer, &e.projectID, &e.emailID,
		&e.payloadType, &e.service, &e.method, &e.resourceName, &e.callerIP, &e.email, &e.subject, &e.keyName, &e.oauthClient,
		&e.delegationText, &e.requestText, &e.responseText, &e.metadataText, &e.deltaText}
	for _, a := range []*authorization{&e.checks.allowed, &e.checks.refused} {
		texts = append(texts, &a.permission, &a.kind, &a.resource)
	}
	for i := range e.checks.more {
		a := &e.checks.more[i]
		texts = append(texts, &a.permission, &a.kind, &a.resource)
	}
	return texts
}

func (e *entry) readOperation(w *jsonrecord.Walk) {
	for key, more := w.Field(); more; key, more = w.Field() {
		switch string(key) {
		case "id":
			e.operationID = w.Text()
		case "producer":
			e.producer = w.Text()
		case "first":
			e.first = isYes(w.Plain())
		case "last":
			e.last = isYes(w.Plain())
		default:
			w.Skip()
		}
	}
}

func (e *entry) readResource(w *jsonrecord.Walk) {
	for key, more := w.Field(); more; key, more = w.Field() {
		if string(key) != "labels" {
			w.Skip()
			continue
		}
		for key, more := w.Within(w.Object()); more; key, more = w.Field() {
			switch string(key) {
			case "project_id":
				e.projectID = w.Text()
			case "email_id":
				e.emailID = w.Text()
			default:
				w.Skip()
			}
		}
	}
}

func (e *entry) readPayload(w *jsonrecord.Walk) {
	for key, more := w.Field(); more; key, more = w.Field() {
		switch string(key) {
		case "@type":
			e.payloadType = w.Text()
		case "serviceName", "service_name":
			e.service = w.Text()
		case "methodName", "method_name":
			e.method = w.Text()
		case "resourceName", "resource_name":
			e.resourceName = w.Text()
		case "status":
			e.code = 0
			for key, more := w.Within(w.Object()); more; key, more = w.Field() {
				if string(key) == "code" {
					e.code, _ = strconv.ParseInt(string(w.Plain()), 10, 64)
				} else {
					w.Skip()
				}
			}
		case "authenticationInfo", "authentication_info":
			if w.Object() {
				e.readAuthentication(w)
			}
		case "authorizationInfo", "authorization_info":
			e.checks = checks{}
			if w.Array() {
				e.readAuthorizations(w)
			}
		case "requestMetadata", "request_metadata":
			for key, more := w.Within(w.Object()); more; key, more = w.Field() {
				if string(key) == "callerIp" || string(key) == "caller_ip" {
					e.callerIP = w.Text()
				} else {
					w.Skip()
				}
			}
		case "request", "requestJson":
			inside(w, &e.requestText)
		case "response", "responseJson":
			inside(w, &e.responseText)
		case "metadata", "metadataJson":
			inside(w, &e.metadataText)
		case "serviceData", "service_data", "servicedata_v1_iam":
			inside(w, &e.deltaText)
		default:
			w.Skip()
		}
	}
}

// inside takes an object as it stands. BigQuery has it as JSON in a text.
func inside(w *jsonrecord.Walk, text *[]byte) {
	var found []byte
	if w.IsText() {
		found = w.Plain()
	} else {
		found = w.Raw()
	}
	if len(found) > 0 && found[0] == '{' {
		*text = found
	}
}

func (e *entry) readAuthentication(w *jsonrecord.Walk) {
	for key, more := w.Field(); more; key, more = w.Field() {
		switch string(key) {
		case "principalEmail", "principal_email":
			e.email = w.Text()
		case "principalSubject", "principal_subject":
			e.subject = w.Text()
		case "serviceAccountKeyName", "service_account_key_name":
			e.keyName = w.Text()
		case "serviceAccountDelegationInfo", "service_account_delegation_info":
			e.delegationText = w.Raw()
		case "oauthInfo", "oauth_info":
			for key, more := w.Within(w.Object()); more; key, more = w.Field() {
				if string(key) == "oauthClientId" {
					e.oauthClient = w.Text()
				} else {
					w.Skip()
				}
			}
		default:
			w.Skip()
		}
	}
}

func (e *entry) readAuthorizations(w *jsonrecord.Walk) {
	for w.Item() {
		if !w.Object() {
			continue
		}
		asked, empty := authorization{}, true
		for key, more := w.Field(); more; key, more = w.Field() {
			empty = false
			switch string(key) {
			case "permission":
				asked.permission = w.Text()
			case "granted":
				asked.granted = isYes(w.Plain())
			case "resource":
				asked.resource = w.Text()
			case "permissionType", "permission_type":
				asked.kind = w.Text()
			default:
				w.Skip()
			}
		}
		if !empty {
			e.checks.add(asked)
		}
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

// know makes of the payload's texts what they stand for.
func (d *Decoder) know(e *entry) {
	e.caller = d.callerOf(e)
	e.log = logOf(e.logName)
	e.kind = e.methodKind()
	e.resource = resource(resourcePath(e.resourceName))
	if len(e.delegationText) > len("[]") && e.delegationText[0] == '[' {
		e.delegation = d.inside(0, e.delegationText).GetArray()
	}
	if e.kind != plainCall && e.kind != writesPolicy {
		e.request = object(d.inside(1, e.requestText))
		if e.kind != mintsToken {
			e.response = object(d.inside(2, e.responseText))
		}
	}
	if e.kind != plainCall || mentions(e.metadataText, "bindingDeltas") || mentions(e.metadataText, "identityDelegationChain") {
		e.metadata = object(d.inside(3, e.metadataText))
	}
	if mentions(e.deltaText, "bindingDeltas") {
		e.serviceData = object(d.inside(4, e.deltaText))
	}
}

// inside parses a part of the record; nil if it is none. Each part has a parser of its own.
func (d *Decoder) inside(part int, text []byte) *fastjson.Value {
	if len(text) == 0 {
		return nil
	}
	root, err := d.inner[part].ParseBytes(text)
	if err != nil {
		return nil
	}
	return root
}

// mentions is whether a part of the record may have a field: its name may be written with escapes.
func mentions(text []byte, name string) bool {
	return bytes.Contains(text, []byte(name)) || bytes.IndexByte(text, '\\') >= 0
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
	if c.others < maxMore && len(a.permission) > 0 {
		c.more[c.others] = a
		c.others++
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

// isYes is a boolean, which BigQuery writes as text.
func isYes(text []byte) bool { return string(text) == "true" }

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
