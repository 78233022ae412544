package vault

import (
	"encoding/hex"
	"strings"
	"time"

	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/schemas"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

var protobufHeaders = []stream.Header{{Key: "content-type", Value: []byte("application/protobuf")}}

// kindName is the kind as it stands in metrics and in ce_type.
func kindName(kind leastwisev1.Event_Kind) string { return strings.ToLower(kind.String()) }

// eventMessage is an event with the headers of the CloudEvents Kafka binding, binary mode. Events that name no
// credential are spread by their record id.
func eventMessage(ev *leastwisev1.Event) stream.Message {
	key := ev.Credential
	if key == "" {
		key = ev.RecordId
	}
	value, _ := ev.MarshalVT() // as in factMessage
	headers := make([]stream.Header, 0, 6)
	headers = append(headers,
		stream.Header{Key: "ce_specversion", Value: []byte("1.0")},
		stream.Header{Key: "ce_id", Value: hex.AppendEncode(nil, ev.Id)},
		stream.Header{Key: "ce_source", Value: []byte(ev.Source + "/" + ev.Instance)},
		stream.Header{Key: "ce_type", Value: []byte("io.leastwise.event." + kindName(ev.Kind))},
		protobufHeaders[0])
	if ev.OccurredAt != nil {
		headers = append(headers, stream.Header{Key: "ce_time", Value: ev.OccurredAt.AsTime().AppendFormat(nil, time.RFC3339Nano)})
	}
	return stream.Message{Topic: schemas.TopicEvents, Key: []byte(key), Value: value, Headers: headers}
}

func deadLetterMessage(letter *leastwisev1.DeadLetter) stream.Message {
	value, _ := letter.MarshalVT() // as in factMessage
	return stream.Message{Topic: schemas.TopicDeadLetter, Key: []byte(letter.Source), Value: value, Headers: protobufHeaders}
}

// Topics are those that the collector writes to. The partitions of the events are the configuration's.
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
