package gate

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of the webhook. All labels come from closed sets.
type metrics struct {
	reviews    *prometheus.CounterVec
	seconds    prometheus.Histogram
	identities *prometheus.CounterVec
	reloads    *prometheus.CounterVec
	good       prometheus.Gauge
	expiry     prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		reviews: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "leastwise_gate_reviews_total",
			Help: "Admission reviews by outcome (allowed, refused, open, ignored, bad) and kind of object."}, []string{"outcome", "kind"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "leastwise_gate_review_seconds",
			Help: "Time from a review's request to its answer.", Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1, 5}}),
		identities: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "leastwise_gate_identities_total",
			Help: "Identities judged, by kind and state."}, []string{"kind", "state"}),
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "leastwise_gate_reloads_total",
			Help: "Files read again: what (certificate, catalog, exceptions), and whether they were good."}, []string{"what", "result"}),
		good: prometheus.NewGauge(prometheus.GaugeOpts{Name: "leastwise_gate_catalog_ok",
			Help: "1 while the catalog's files are in force, 0 while they are refused or missing."}),
		expiry: prometheus.NewGauge(prometheus.GaugeOpts{Name: "leastwise_gate_certificate_expiry_timestamp_seconds",
			Help: "When the serving certificate ends."}),
	}
	reg.MustRegister(m.reviews, m.seconds, m.identities, m.reloads, m.good, m.expiry)
	return m
}

func (m *metrics) reviewed(o outcome, kind string, took time.Duration) {
	if kind != "ServiceAccount" && !workloadKinds[kind] {
		kind = "other"
	}
	m.reviews.WithLabelValues(string(o), kind).Inc()
	m.seconds.Observe(took.Seconds())
}

func (m *metrics) judged(v *Verdict) {
	for _, s := range v.Identities {
		m.identities.WithLabelValues(string(s.Kind), string(s.State)).Inc()
	}
}

func (m *metrics) reloaded(what string, err error) {
	result := "taken"
	if err != nil {
		result = "refused"
	}
	m.reloads.WithLabelValues(what, result).Inc()
}

func (m *metrics) catalog(c *Catalog) {
	m.good.Set(0)
	if c.InForce() != nil && c.Problem() == nil {
		m.good.Set(1)
	}
}
