package enforcer

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics have labels from closed sets only: states, acts, guards, kinds of
// channels, topics.
type metrics struct {
	ladders       *prometheus.GaugeVec
	actions       *prometheus.CounterVec
	refusals      *prometheus.CounterVec
	notifications *prometheus.CounterVec
	invalid       *prometheus.CounterVec
	budgetLeft    prometheus.Gauge
	killSwitch    prometheus.Gauge
	mode          *prometheus.GaugeVec
	decisionAge   prometheus.Histogram
	escalations   prometheus.Counter
	events        *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		ladders: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "leastwise_enforcer_ladders",
			Help: "Credentials on the ladder, by state."}, []string{"state"}),
		actions: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "leastwise_enforcer_actions_total",
			Help: "Acts at targets (look, revoke, verify, reissue, rollback) by result (ok, retryable, permission, impossible)."}, []string{"act", "result"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "leastwise_enforcer_refusals_total",
			Help: "Times a guard held a ladder back."}, []string{"guard"}),
		notifications: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "leastwise_enforcer_notifications_total",
			Help: "Messages by kind of channel and result (ok, failed, paused)."}, []string{"channel", "result"}),
		invalid: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "leastwise_enforcer_invalid_records_total",
			Help: "Records that could not be read, by topic."}, []string{"topic"}),
		budgetLeft: prometheus.NewGauge(prometheus.GaugeOpts{Name: "leastwise_enforcer_budget_left",
			Help: "Revocations the budget still allows this hour, as of the last question."}),
		killSwitch: prometheus.NewGauge(prometheus.GaugeOpts{Name: "leastwise_enforcer_kill_switch",
			Help: "1 while the kill switch is on."}),
		mode: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "leastwise_enforcer_mode",
			Help: "1 for the overall mode in force."}, []string{"mode"}),
		decisionAge: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "leastwise_enforcer_decision_age_seconds",
			Help: "Age of decisions when they arrive.", Buckets: []float64{0.1, 0.3, 1, 3, 10, 30, 60, 300, 1800}}),
		escalations: prometheus.NewCounter(prometheus.CounterOpts{Name: "leastwise_enforcer_escalations_total",
			Help: "Ladders of which somebody was told that they are stuck."}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "leastwise_enforcer_security_events_total",
			Help: "Security events by receiver and result (delivered, failed, refused, given_up)."}, []string{"receiver", "result"}),
	}
	for _, c := range []prometheus.Collector{m.ladders, m.actions, m.refusals, m.notifications, m.invalid, m.budgetLeft,
		m.killSwitch, m.mode, m.decisionAge, m.escalations, m.events} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
