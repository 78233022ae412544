package agentusage

import (
	"cmp"
	"io"

	"github.com/leastwise/leastwise/collectors/jsonrecord"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/valyala/fastjson"
)

// System is the source of every event of this package. The keys are the issuers'.
const System = "agentusage"

// Indexes of the events of one record. Fixed for ever: event ids are made of them.
const (
	indexUse     = 0
	indexUnknown = 15
)

// Options of a Decoder. The zero value reads OTLP in JSON, Bedrock's invocation logs and the normal form.
type Options struct {
	// Instance names this log; "default" if empty.
	Instance string
	// Mapping reads JSON lines of a form of the site's own. Nil: there are none.
	Mapping *Mapping
	// Credentials tell in which source's keys a kind of credential is found, where that is not the default instance.
	Credentials map[string]Target
	// BedrockAgent is the key of requestMetadata that holds the agent's id. Default "agent_id".
	BedrockAgent string
	// MaxBytes of a record; 0 is source.DefaultMaxLine.
	MaxBytes int
}

// Decoder turns what agents log into events. It is not safe for concurrent use.
type Decoder struct {
	opts   Options
	keys   keys
	parser fastjson.Parser
}

// NewDecoder returns a decoder for one log.
func NewDecoder(opts Options) *Decoder {
	opts.Instance = cmp.Or(opts.Instance, "default")
	opts.BedrockAgent = cmp.Or(opts.BedrockAgent, "agent_id")
	return &Decoder{opts: opts, keys: newKeys(opts.Credentials)}
}

// Decode implements source.Decoder.
func (d *Decoder) Decode(dst []*leastwisev1.Event, rec source.Record) ([]*leastwisev1.Event, error) {
	root, err := jsonrecord.Parse(&d.parser, rec.Bytes, d.opts.MaxBytes)
	if err != nil {
		return dst, err
	}
	switch formOf(root) {
	case formNormal:
		return d.normal(dst, root, rec)
	case formOTLP:
		return d.otlp(dst, root, rec)
	case formBedrock:
		return d.bedrock(dst, root, rec)
	}
	if d.opts.Mapping == nil {
		return dst, jsonrecord.Malformed("the record is none of the forms known: OTLP spans or logs in JSON, a Bedrock invocation log, " +
			"the normal form; other JSON lines need a mapping file")
	}
	return d.mapped(dst, root, rec)
}

// unknown keeps a record of a kind that is not known.
func (d *Decoder) unknown(root *fastjson.Value, rec source.Record, action []byte) *leastwisev1.Event {
	at, _ := jsonrecord.Time(root.Get("time"))
	ev := jsonrecord.Event(System, d.opts.Instance, jsonrecord.Hash(root), indexUnknown, leastwisev1.Event_UNKNOWN, at, rec)
	ev.Action = jsonrecord.Word(action)
	return ev
}

// form is how a record is written.
type form int

const (
	formNone form = iota
	formNormal
	formOTLP
	formBedrock
)

func formOf(root *fastjson.Value) form {
	switch {
	case root.Exists("agent_usage"):
		return formNormal
	case isArray(root.Get("resourceSpans")), isArray(root.Get("resourceLogs")):
		return formOTLP
	case string(root.GetStringBytes("schemaType")) == "ModelInvocationLog",
		root.Exists("modelId") && root.Exists("operation") && root.Exists("requestId") && root.Exists("accountId"):
		return formBedrock
	}
	return formNone
}

func isArray(v *fastjson.Value) bool { return v != nil && v.Type() == fastjson.TypeArray }

// Records splits a file into records: one a line, over many lines, or an array. A record of OTLP is one export, which
// holds many spans.
func Records(r io.Reader, max int) source.Reader {
	return source.NewDocuments(r, max, "records", "events")
}

var parsers fastjson.ParserPool

// Recognise tells a record by its form. Lines that a mapping file describes are not recognised: they are the site's own.
func Recognise(record []byte) bool {
	parser := parsers.Get()
	defer parsers.Put(parser)
	root, err := parser.ParseBytes(record)
	if err != nil || root.Type() != fastjson.TypeObject {
		return false
	}
	return formOf(root) != formNone
}
