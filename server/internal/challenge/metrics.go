package challenge

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trustpool/trustpool/server/internal/store"
)

type metrics struct {
	duration      *prometheus.HistogramVec
	storeFailures prometheus.Counter
}

func newMetrics(registerer prometheus.Registerer, s *store.Store) *metrics {
	m := &metrics{
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "trustpool_server_challenge_duration_seconds",
			Help:    "How long nodes took to be asked and judged, by what came out: trusted, untrusted, unknown, unanswered.",
			Buckets: []float64{0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 30},
		}, []string{"outcome"}),
		storeFailures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "trustpool_server_store_failures_total",
			Help: "How often answers of nodes could not be stored, so that verdicts were not renewed.",
		}),
	}
	for _, outcome := range []string{"trusted", "untrusted", "unknown", "unanswered"} {
		m.duration.WithLabelValues(outcome) // what has never happened is there as 0
	}
	registerer.MustRegister(m.duration, m.storeFailures, newNodeCollector(s))
	return m
}

func (m *metrics) observe(outcome string, took time.Duration) {
	m.duration.WithLabelValues(outcome).Observe(took.Seconds())
}

// nodeCollector counts nodes when somebody asks.
type nodeCollector struct {
	store      *store.Store
	nodes, lag *prometheus.Desc
}

func newNodeCollector(s *store.Store) *nodeCollector {
	return &nodeCollector{
		store: s,
		nodes: prometheus.NewDesc("trustpool_server_nodes", "Nodes by pool and verdict as it stands now.", []string{"pool", "verdict"}, nil),
		lag: prometheus.NewDesc("trustpool_server_schedule_lag_seconds",
			"How long the node that waits the longest for its challenge has been due. It grows where more nodes are due than the server can challenge.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *nodeCollector) Describe(descs chan<- *prometheus.Desc) {
	descs <- c.nodes
	descs <- c.lag
}

// Collect implements prometheus.Collector.
func (c *nodeCollector) Collect(metrics chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	census, err := c.store.Census(ctx)
	if err != nil {
		metrics <- prometheus.NewInvalidMetric(c.nodes, err)
		return
	}
	for _, n := range census.Counts {
		metrics <- prometheus.MustNewConstMetric(c.nodes, prometheus.GaugeValue, float64(n.Nodes), n.Pool, n.Level.String())
	}
	metrics <- prometheus.MustNewConstMetric(c.lag, prometheus.GaugeValue, census.Lag.Seconds())
}
