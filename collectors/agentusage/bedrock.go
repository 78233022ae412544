package agentusage

import (
	"bytes"
	"strings"

	"github.com/leastwise/leastwise/collectors/jsonrecord"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/valyala/fastjson"
)

// bedrock reads a record of Amazon Bedrock's model invocation logging. It names the caller's ARN and no key id, so it is
// tied to a role, never to a session: a session's name is what the caller chose. Prompts and answers are not looked at.
func (d *Decoder) bedrock(dst []*leastwisev1.Event, root *fastjson.Value, rec source.Record) ([]*leastwisev1.Event, error) {
	u := usage{form: "bedrock", outcome: success}
	var arn, region, model, inference []byte
	var bad, known bool
	var id []byte
	root.GetObject().Visit(func(key []byte, v *fastjson.Value) {
		switch string(key) {
		case "timestamp":
			var ok bool
			u.at, ok = jsonrecord.Time(v)
			bad = !ok
		case "schemaType":
			known = string(v.GetStringBytes()) == "ModelInvocationLog"
		case "requestId":
			id = v.GetStringBytes()
		case "operation":
			u.action = v.GetStringBytes()
		case "modelId":
			model = v.GetStringBytes()
		case "region":
			region = v.GetStringBytes()
		case "inferenceRegion":
			inference = v.GetStringBytes()
		case "identity":
			arn = v.GetStringBytes("arn")
		case "errorCode":
			u.failure = v.GetStringBytes()
		case "requestMetadata":
			u.agent = v.GetStringBytes(d.opts.BedrockAgent)
		}
	})
	if bad || u.at.IsZero() {
		return dst, jsonrecord.Malformed("the invocation log has no timestamp that can be read")
	}
	if root.Exists("schemaType") && !known {
		return append(dst, d.unknown(root, rec, u.action)), nil
	}
	if len(u.failure) > 0 {
		u.outcome = failure
		if bytes.HasPrefix(u.failure, []byte("AccessDenied")) {
			u.outcome = denied
		}
	}
	u.resource, u.permission = model, bedrockPermission(u.action)
	role, session := roleOf(arn)
	u.labels = []fact{{"session_issuer", role}, {"session_name", session}, {"region", region}, {"inference_region", inference},
		{"aws_request_id", id}}
	if len(role) == 0 {
		u.labels = append(u.labels, fact{"reported_principal", arn})
	}
	if !u.tells() && len(arn) == 0 {
		return append(dst, d.unknown(root, rec, nil)), nil
	}
	u.id = jsonrecord.ID(id)
	if len(id) == 0 {
		u.id = jsonrecord.Hash(root)
	}
	return append(dst, d.event(&u, rec)), nil
}

// bedrockPermission is the IAM action of an operation: Converse needs what InvokeModel needs.
func bedrockPermission(operation []byte) []byte {
	switch name := jsonrecord.Word(operation); name {
	case "":
		return nil
	case "Converse":
		return []byte("bedrock:InvokeModel")
	case "ConverseStream":
		return []byte("bedrock:InvokeModelWithResponseStream")
	default:
		return []byte("bedrock:" + name)
	}
}

// roleOf gives the role of an assumed-role ARN, and the session's name:
// arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION. The ARN of a session leaves out the role's path.
func roleOf(arn []byte) (role, session []byte) {
	parts := strings.SplitN(string(arn), ":", 6)
	if len(parts) != 6 || parts[2] != "sts" {
		return nil, nil
	}
	name, ok := strings.CutPrefix(parts[5], "assumed-role/")
	name, called, ok2 := strings.Cut(name, "/")
	if !ok || !ok2 {
		return nil, nil
	}
	return []byte("arn:" + parts[1] + ":iam::" + parts[4] + ":role/" + name), []byte(called)
}
