package publish

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trustpool/trustpool/server/api"
)

// Metrics are those of a Publisher, with the prefix trustpool_publisher_.
type Metrics struct {
	// Conflicts counts writes that a sink had to repeat since somebody else wrote meanwhile: Env.Conflict.
	Conflicts prometheus.Counter

	hosts, barred, up          *prometheus.GaugeVec
	failing, stream            prometheus.Gauge
	lastSuccess, lastAnswer    prometheus.Gauge
	writes, reconciles, alarms *prometheus.CounterVec
	duration                   prometheus.Histogram
}

// NewMetrics makes and registers the metrics of a Publisher.
func NewMetrics(registerer prometheus.Registerer) *Metrics {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "trustpool_publisher_" + name, Help: help})
	}
	gauges := func(name, help, label string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "trustpool_publisher_" + name, Help: help}, []string{label})
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "trustpool_publisher_" + name, Help: help}, labels)
	}
	m := &Metrics{
		Conflicts:   prometheus.NewCounter(prometheus.CounterOpts{Name: "trustpool_publisher_conflicts_total", Help: "Writes that were repeated since somebody else wrote meanwhile."}),
		hosts:       gauges("hosts", "Hosts of the sink, by what they are taken for now.", "trust"),
		barred:      gauges("barred_hosts", "Hosts that have a bar of the publisher's, by the bar.", "bar"),
		up:          gauges("up", "1 if the attestation server (server) answered the last question, and the sink (sink) could be read the last time, else 0.", "what"),
		failing:     gauge("failing_hosts", "Hosts that could not be written the last time."),
		stream:      gauge("event_stream_up", "1 if the attestation server tells of changes as they happen; else they are found at the next full reconcile."),
		lastSuccess: gauge("last_success_timestamp_seconds", "When all hosts were last as they should be after a full reconcile, in Unix time; 0: never."),
		lastAnswer:  gauge("last_answer_timestamp_seconds", "When the last question was asked that the attestation server answered, in Unix time; 0: never."),
		writes:      counters("writes_total", "Hosts written, by whether something was taken from them or given to them, and what became of it.", "kind", "outcome"),
		reconciles:  counters("reconciles_total", "Full reconciles, by what failed first in them, if anything did.", "outcome"),
		alarms:      counters("alarms_total", "Things that a human has to look at, by kind.", "kind"),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "trustpool_publisher_reconcile_duration_seconds", Help: "How long full reconciles took.", Buckets: []float64{0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60},
		}),
	}
	m.fill()
	registerer.MustRegister(m.Conflicts, m.hosts, m.barred, m.up, m.failing, m.stream, m.lastSuccess, m.lastAnswer, m.writes, m.reconciles, m.alarms, m.duration)
	return m
}

// fill has all series there from the start.
func (m *Metrics) fill() {
	m.hostsAre(nil, nil, 0)
	for _, what := range []string{"server", "sink"} {
		m.up.WithLabelValues(what)
	}
	for _, kind := range []string{"take", "give"} {
		for _, outcome := range []string{"ok", "failed", "no_host"} {
			m.writes.WithLabelValues(kind, outcome)
		}
	}
	for _, outcome := range []string{"ok", "sink_unreadable", "server_silent", "writes_failed"} {
		m.reconciles.WithLabelValues(outcome)
	}
	for _, kind := range []string{alarmForeignMark, alarmClaimedTwice, alarmIdentityChanged} {
		m.alarms.WithLabelValues(kind)
	}
}

func (m *Metrics) hostsAre(counts map[api.Trust]int, barred map[Bar]int, failing int) {
	for _, t := range []api.Trust{api.Trusted, api.Untrusted, api.Unknown} {
		m.hosts.WithLabelValues(string(t)).Set(float64(counts[t]))
	}
	for _, b := range []Bar{NoNewGuests, NoGuests} {
		m.barred.WithLabelValues(b.String()).Set(float64(barred[b]))
	}
	m.failing.Set(float64(failing))
}

// is says whether the server, or the sink, is there.
func (m *Metrics) is(what string, err error) {
	value := 1.0
	if err != nil {
		value = 0
	}
	m.up.WithLabelValues(what).Set(value)
}

// written counts a write.
func (m *Metrics) written(c *change) {
	kind, outcome := "give", "ok"
	if c.urgent {
		kind = "take"
	}
	switch {
	case errors.Is(c.err, ErrNoHost):
		outcome = "no_host"
	case c.err != nil:
		outcome = "failed"
	}
	m.writes.WithLabelValues(kind, outcome).Inc()
}

// reconciled counts a full reconcile.
func (m *Metrics) reconciled(at time.Time, took time.Duration, readErr, askErr error, behind int) {
	outcome := "ok"
	switch {
	case readErr != nil:
		outcome = "sink_unreadable"
	case askErr != nil:
		outcome = "server_silent"
	case behind > 0:
		outcome = "writes_failed"
	}
	m.reconciles.WithLabelValues(outcome).Inc()
	m.duration.Observe(took.Seconds())
	if outcome == "ok" {
		m.lastSuccess.Set(float64(at.UnixMilli()) / 1000)
	}
}
