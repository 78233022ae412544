package schemas

// Names of the Kafka topics.
const (
	TopicEvents      = "leastwise.events"
	TopicIdentity    = "leastwise.identity"
	TopicDecisions   = "leastwise.decisions"
	TopicEnforcement = "leastwise.enforcement"
	TopicExceptions  = "leastwise.exceptions"
	TopicControl     = "leastwise.control"
	TopicDeadLetter  = "leastwise.deadletter"
)

// Topic is one row of the topic table.
type Topic struct {
	Name string
	// Key and Value tell a reader what the records hold.
	Key, Value string
	// CoPartitioned topics have one partition count and one partitioner (murmur2), so that one instance owns a
	// credential end to end. The others have a single partition.
	CoPartitioned bool
	// Settings of the topic at the broker.
	Settings map[string]string
}

// Topics returns the topic table.
func Topics() []Topic {
	compact := map[string]string{"cleanup.policy": "compact"}
	return []Topic{
		{Name: TopicEvents, Key: "credential key", Value: "Event", CoPartitioned: true,
			Settings: map[string]string{"cleanup.policy": "delete", "retention.ms": "604800000"}}, // 7 d
		{Name: TopicIdentity, Key: "link, grant, heartbeat or finding id", Value: "Fact", Settings: compact},
		{Name: TopicDecisions, Key: "credential key", Value: "Decision", CoPartitioned: true, Settings: compact},
		{Name: TopicEnforcement, Key: "credential key", Value: "LadderState", CoPartitioned: true,
			Settings: map[string]string{"cleanup.policy": "compact", "min.compaction.lag.ms": "604800000"}}, // 7 d
		{Name: TopicExceptions, Key: "exception id", Value: "Exception", Settings: compact},
		{Name: TopicControl, Key: "setting", Value: "Control", Settings: compact},
		{Name: TopicDeadLetter, Key: "source", Value: "DeadLetter",
			Settings: map[string]string{"cleanup.policy": "delete", "retention.ms": "2592000000"}}, // 30 d
	}
}
