package processor

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// eventMessage wraps a derived event with the headers of the CloudEvents Kafka binding (binary mode).
func eventMessage(ev *pb.Event) (stream.Message, error) {
	value, err := ev.MarshalVT()
	if err != nil {
		return stream.Message{}, fmt.Errorf("event of %s: %w", ev.Credential, err)
	}
	header := func(key, value string) stream.Header { return stream.Header{Key: key, Value: []byte(value)} }
	return stream.Message{Topic: schemas.TopicEvents, Key: []byte(ev.Credential), Value: value, Headers: []stream.Header{
		header("ce_specversion", "1.0"), header("ce_id", hex.EncodeToString(ev.Id)),
		header("ce_source", "/leastwise/processor"),
		header("ce_type", "io.leastwise.event."+strings.ToLower(ev.Kind.String())),
		header("content-type", "application/protobuf"),
	}}, nil
}

// deadLetter tells of a message of leastwise.events that can not be read.
func deadLetter(m stream.Message, detail string) stream.Message {
	sum := sha256.Sum256(m.Value)
	position := fmt.Sprintf("%s/%d/%d", m.Topic, m.Partition, m.Offset)
	id := schemas.EventID("leastwise", "processor", position, 0)
	letter := &pb.DeadLetter{Id: id[:], Source: "processor", Position: position, Reason: "rejected", Detail: detail,
		Sha256: sum[:], Length: uint64(len(m.Value)), ObservedAt: timestamppb.New(m.Time)}
	value, _ := letter.MarshalVT() // fails only on invalid UTF-8, and there is none
	return stream.Message{Topic: schemas.TopicDeadLetter, Key: []byte("processor"), Value: value}
}
