package collect

import (
	"errors"

	"github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/prometheus/client_golang/prometheus"
)

// counters are a collector's metrics. All labels are from closed sets. The three vectors are shared by all collectors of
// a process: whoever comes second uses those that are registered.
type counters struct {
	records, deadLetters, publishErrors *prometheus.CounterVec
	bytes, paired                       prometheus.Counter
	lag, delay, last, gaps              prometheus.Gauge
	kinds                               [kinds]prometheus.Counter
}

func (c *counters) kind(kind leastwisev1.Event_Kind) prometheus.Counter { return c.kinds[kind] }

func newCounters(reg prometheus.Registerer, source string) (*counters, error) {
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "leastwise_collector_" + name, Help: help}, labels)
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "leastwise_collector_" + name, Help: help,
			ConstLabels: prometheus.Labels{"source": source}})
	}
	c := &counters{
		records:       vec("records_total", "Events made, by kind; paired: a record that told nothing new.", "source", "kind"),
		deadLetters:   vec("dead_letters_total", "Records that could not be read, by reason.", "source", "reason"),
		publishErrors: vec("publish_errors_total", "Attempts to publish that failed; each is repeated.", "source"),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{Name: "leastwise_collector_bytes_total",
			Help: "Bytes of records read.", ConstLabels: prometheus.Labels{"source": source}}),
		lag:   gauge("lag_bytes", "Bytes of the log not read yet."),
		delay: gauge("lag_seconds", "How long ago the newest record was written."),
		last:  gauge("last_record_timestamp_seconds", "When the last record was read, in unix time."),
		gaps:  gauge("log_gaps", "Parts of the log since start that were gone before they were read to the end."),
	}
	var err error
	if reg != nil {
		c.records, err = register(reg, c.records, err)
		c.deadLetters, err = register(reg, c.deadLetters, err)
		c.publishErrors, err = register(reg, c.publishErrors, err)
		c.bytes, err = register(reg, c.bytes, err)
		c.lag, err = register(reg, c.lag, err)
		c.delay, err = register(reg, c.delay, err)
		c.last, err = register(reg, c.last, err)
		c.gaps, err = register(reg, c.gaps, err)
	}
	c.paired = c.records.WithLabelValues(source, "paired")
	for kind := range c.kinds {
		c.kinds[kind] = c.records.WithLabelValues(source, kindName(leastwisev1.Event_Kind(kind)))
	}
	return c, err
}

func register[C prometheus.Collector](reg prometheus.Registerer, metric C, before error) (C, error) {
	err := reg.Register(metric)
	var there prometheus.AlreadyRegisteredError
	if errors.As(err, &there) {
		if same, ok := there.ExistingCollector.(C); ok {
			return same, before
		}
	}
	return metric, errors.Join(before, err)
}
