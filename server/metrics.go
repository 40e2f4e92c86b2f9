package server

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trustpool/trustpool/server/internal/store"
)

// metrics are those of the server as a whole; the packages below it have their own.
type metrics struct {
	pollHosts *prometheus.CounterVec
	away      *prometheus.CounterVec
}

func newMetrics(registerer prometheus.Registerer, s *store.Store, ready func() error) *metrics {
	m := &metrics{
		pollHosts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "trustpool_server_pollhosts_requests_total",
			Help: "Requests of known callers for PollHosts, by the status of the answer.",
		}, []string{"status"}),
		away: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "trustpool_server_connections_refused_total",
			Help: "Connections that were closed before a word was said, by the bound that they exceeded.",
		}, []string{"reason"}),
	}
	m.pollHosts.WithLabelValues("200")
	for _, reason := range []string{"connections", "connections_per_address"} {
		m.away.WithLabelValues(reason)
	}
	started := float64(time.Now().Unix())
	registerer.MustRegister(m.pollHosts, m.away, newStatsCollector(s), prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "trustpool_server_start_time_seconds",
		Help: "When the server was started, in Unix time.",
	}, func() float64 { return started }), prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "trustpool_server_ready",
		Help: "1 if callers can be answered now, else 0.",
	}, func() float64 {
		if ready() != nil {
			return 0
		}
		return 1
	}))
	return m
}

func (m *metrics) turnedAway(reason string) { m.away.WithLabelValues(reason).Inc() }

// countPollHosts counts the requests that next answers.
func (m *metrics) countPollHosts(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := &answer{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(answer, r)
		m.pollHosts.WithLabelValues(strconv.Itoa(answer.status)).Inc()
	})
}

// answer notes the status of an answer.
type answer struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// statsCollector tells what the database knows when somebody asks.
type statsCollector struct {
	store                                          *store.Store
	due, asking, unreachable, quoted, alarms, size *prometheus.Desc
}

func newStatsCollector(s *store.Store) *statsCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("trustpool_server_"+name, help, labels, nil)
	}
	return &statsCollector{
		store:       s,
		due:         desc("schedule_due_nodes", "Nodes that wait to be asked."),
		asking:      desc("schedule_asking_nodes", "Nodes that are being asked."),
		unreachable: desc("unreachable_nodes", "Nodes that could not be asked the last time."),
		quoted:      desc("last_quote_timestamp_seconds", "When the nonce of the newest verdict was made, in Unix time; 0 if there is none."),
		alarms:      desc("alarms_open", "Alarms that no administrator has acknowledged, by kind.", "kind"),
		size:        desc("database_size_bytes", "What the database takes on the disk."),
	}
}

// Describe implements prometheus.Collector.
func (c *statsCollector) Describe(descs chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{c.due, c.asking, c.unreachable, c.quoted, c.alarms, c.size} {
		descs <- desc
	}
}

// Collect implements prometheus.Collector.
func (c *statsCollector) Collect(metrics chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	stats, err := c.store.Census(ctx)
	if err != nil {
		metrics <- prometheus.NewInvalidMetric(c.size, err)
		return
	}
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	gauge(c.due, float64(stats.Due))
	gauge(c.asking, float64(stats.Asking))
	gauge(c.unreachable, float64(stats.Unreachable))
	gauge(c.size, float64(stats.Bytes))
	quoted := 0.0
	if !stats.LastQuote.IsZero() {
		quoted = float64(stats.LastQuote.UnixMilli()) / 1000
	}
	gauge(c.quoted, quoted)
	for _, kind := range store.AlarmKinds() {
		gauge(c.alarms, float64(stats.Alarms[kind]), kind)
	}
}
