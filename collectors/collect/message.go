package collect

import (
	"encoding/hex"
	"slices"
	"strings"

	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/schemas"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

var protobufHeaders = []stream.Header{{Key: "content-type", Value: []byte("application/protobuf")}}

// kinds counts the kinds of events.
const kinds = leastwisev1.Event_NOTED + 1

// kindName is the kind as it stands in metrics and in ce_type.
func kindName(kind leastwisev1.Event_Kind) string { return strings.ToLower(kind.String()) }

// headers are those of the CloudEvents Kafka binding, binary mode, but for ce_id: the same for every event of a kind.
type headers struct {
	source  []byte
	version []byte
	types   [kinds][]byte
}

func newHeaders(source, instance string) *headers {
	h := &headers{source: []byte(source + "/" + instance), version: []byte("1.0")}
	for kind := range h.types {
		h.types[kind] = []byte("io.leastwise.event." + kindName(leastwisev1.Event_Kind(kind)))
	}
	return h
}

// room is what the messages of a batch of events are made in: large pieces of memory that grow in the first batches and
// are then used again and again.
type room struct {
	messages []stream.Message
	text     []byte // keys, ids and values
	headers  []stream.Header
}

// maxRoom is the most text that is kept for the next batch.
const maxRoom = 32 << 20

// empty makes room for the next batch. Nobody may hold what was made in it.
func (r *room) empty() {
	if cap(r.text) > maxRoom {
		*r = room{}
	}
	clear(r.messages) // they may point elsewhere, too
	r.messages, r.text, r.headers = r.messages[:0], r.text[:0], r.headers[:0]
}

// event adds an event's message. Events that name no credential are spread by their record id.
func (r *room) event(h *headers, ev *leastwisev1.Event) {
	key := ev.Credential
	if key == "" {
		key = ev.RecordId
	}
	size, id := ev.SizeVT(), hex.EncodedLen(len(ev.Id))
	from := len(r.text)
	r.text = slices.Grow(r.text, len(key)+id+size)[:from+len(key)+id+size]
	text := r.text[from:]
	copy(text, key)
	hex.Encode(text[len(key):], ev.Id)
	value := text[len(key)+id:]
	_, _ = ev.MarshalToSizedBufferVT(value) // as in FactMessage
	first := len(r.headers)
	r.headers = append(r.headers,
		stream.Header{Key: "ce_specversion", Value: h.version},
		stream.Header{Key: "ce_id", Value: text[len(key) : len(key)+id : len(key)+id]},
		stream.Header{Key: "ce_source", Value: h.source},
		stream.Header{Key: "ce_type", Value: h.types[ev.Kind]},
		protobufHeaders[0])
	r.messages = append(r.messages, stream.Message{Topic: schemas.TopicEvents, Key: text[:len(key):len(key)], Value: value[:size:size],
		Headers: r.headers[first:len(r.headers):len(r.headers)]})
}

func (*headers) deadLetter(letter *leastwisev1.DeadLetter) stream.Message {
	value, _ := letter.MarshalVT() // as in FactMessage
	return stream.Message{Topic: schemas.TopicDeadLetter, Key: []byte(letter.Source), Value: value, Headers: protobufHeaders}
}

// FactMessage is a message of the topic leastwise.identity: key names what the fact replaces.
func FactMessage(key string, fact *leastwisev1.Fact) stream.Message {
	value, _ := fact.MarshalVT() // fails for no message of ours: there is no required field and all text is UTF-8
	return stream.Message{Topic: schemas.TopicIdentity, Key: []byte(key), Value: value, Headers: protobufHeaders}
}

// Topics are those that collectors write to. The partitions of the events are the configuration's.
func Topics() []stream.Topic {
	var topics []stream.Topic
	for _, t := range schemas.Topics() {
		switch t.Name {
		case schemas.TopicEvents:
			topics = append(topics, stream.Topic{Name: t.Name, Settings: t.Settings})
		case schemas.TopicIdentity, schemas.TopicDeadLetter:
			topics = append(topics, stream.Topic{Name: t.Name, Partitions: 1, Settings: t.Settings})
		}
	}
	return topics
}
