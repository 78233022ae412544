package processor

import (
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/leastwise/leastwise/processor/record"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// metrics of the processor; every label has a bounded set of values.
type metrics struct {
	events       *prometheus.CounterVec
	byKind       [16]prometheus.Counter // events by kind, resolved once
	duplicates   prometheus.Counter
	lookups      prometheus.Counter
	rejected     prometheus.Counter
	lag          *prometheus.GaugeVec
	credentials  *prometheus.GaugeVec
	decided      *prometheus.CounterVec
	latency      prometheus.Histogram
	evaluations  *prometheus.CounterVec
	writeSeconds prometheus.Histogram
	writeErrors  prometheus.Counter
	silence      *prometheus.GaugeVec
	recorded     *prometheus.CounterVec
	who          *prometheus.GaugeVec
	wrong        *prometheus.GaugeVec
	found        *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	gauges := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	}
	m := &metrics{
		events:      counters("leastwise_processor_events_total", "Events applied, by kind; repeats are not among them.", "kind"),
		duplicates:  counter("leastwise_processor_duplicates_total", "Events whose id was seen before: counted once all the same."),
		lookups:     counter("leastwise_processor_dedup_lookups_total", "Event ids older than memory, looked up in ClickHouse."),
		rejected:    counter("leastwise_processor_rejected_total", "Messages that are no event or fact."),
		lag:         gauges("leastwise_processor_lag_events", "Events in the partition that were not applied yet.", "partition"),
		credentials: gauges("leastwise_processor_credentials", "Credentials held in memory.", "partition"),
		decided:     counters("leastwise_processor_decisions_total", "Decisions published.", "violating"),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "leastwise_processor_decision_seconds",
			Help: "Time of one evaluation of the policies for one credential.", Buckets: prometheus.ExponentialBuckets(1e-5, 2, 16)}),
		evaluations: counters("leastwise_processor_evaluations_total", "Evaluations, by whether OPA had to be asked.", "asked"),
		writeSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "leastwise_processor_write_seconds",
			Help: "Time of one write to ClickHouse.", Buckets: prometheus.ExponentialBuckets(1e-3, 2, 14)}),
		writeErrors: counter("leastwise_processor_write_errors_total", "Writes to ClickHouse that failed and were tried again."),
		silence:     gauges("leastwise_source_last_record_timestamp_seconds", "Time of the last record of a source, as its collector tells it.", "source", "instance"),
		recorded:    counters("leastwise_recorder_records_total", "Records copied to ClickHouse for the auditors.", "topic"),
	}
	m.who = gauges("leastwise_identities", "Identities, by whether somebody answers: owned, unowned, conflict.", "status")
	m.wrong = gauges("leastwise_identity_conflicts", "Standing conflicts about identities, by kind.", "kind")
	m.found = gauges("leastwise_findings", "Standing findings of sources, by source and kind.", "source", "kind")
	reg.MustRegister(m.who, m.wrong, m.found)
	for value, name := range pb.Event_Kind_name {
		m.byKind[value] = m.events.WithLabelValues(name)
	}
	reg.MustRegister(m.events, m.duplicates, m.lookups, m.rejected, m.lag, m.credentials, m.decided, m.latency,
		m.evaluations, m.writeSeconds, m.writeErrors, m.silence, m.recorded)
	return m
}

func (m *metrics) eventsBy(kind pb.Event_Kind) prometheus.Counter {
	if kind < 0 || int(kind) >= len(m.byKind) || m.byKind[kind] == nil {
		kind = pb.Event_UNKNOWN
	}
	return m.byKind[kind]
}

func (m *metrics) decision(took time.Duration, asked bool) {
	m.latency.Observe(took.Seconds())
	m.evaluations.WithLabelValues(strconv.FormatBool(asked)).Inc()
}

func (m *metrics) decisions(violating bool) prometheus.Counter {
	return m.decided.WithLabelValues(strconv.FormatBool(violating))
}

func (m *metrics) lagOf(partition int) prometheus.Gauge {
	return m.lag.WithLabelValues(strconv.Itoa(partition))
}

func (m *metrics) credentialsOf(partition int) prometheus.Gauge {
	return m.credentials.WithLabelValues(strconv.Itoa(partition))
}

func (m *metrics) heartbeat(beat *pb.Heartbeat) {
	if beat.LastRecordAt != nil {
		m.silence.WithLabelValues(beat.Source, beat.Instance).Set(float64(beat.LastRecordAt.AsTime().UnixMilli()) / 1000)
	}
}

func (m *metrics) identities(status, conflicts map[string]int) {
	for name, n := range status {
		m.who.WithLabelValues(name).Set(float64(n))
	}
	for kind, n := range conflicts {
		m.wrong.WithLabelValues(kind).Set(float64(n))
	}
}

func (m *metrics) findings(totals []record.FindingTotal) {
	m.found.Reset()
	for _, t := range totals {
		if !slices.Contains(schemas.FindingKinds(), t.Kind) {
			t.Kind = "other"
		}
		m.found.WithLabelValues(t.Source, t.Kind).Add(float64(t.Standing))
	}
}
