package agent

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trustpool/trustpool/agent/internal/logs"
)

// logCollector shows the state of each log when it is asked. The store reads anew only what it has not got, and no more than every few seconds.
type logCollector struct {
	store *logs.Store
	state *prometheus.Desc
}

func newLogCollector(store *logs.Store) logCollector {
	return logCollector{store, prometheus.NewDesc(prefix+"log_source_state",
		"1 for the state that an event log is in, 0 for the others; the states are those of LogState in the contract.", []string{"source", "state"}, nil)}
}

// Describe implements prometheus.Collector.
func (c logCollector) Describe(descriptions chan<- *prometheus.Desc) { descriptions <- c.state }

// Collect implements prometheus.Collector.
func (c logCollector) Collect(metrics chan<- prometheus.Metric) {
	for _, snapshot := range c.store.Snapshots() {
		for state := logs.Absent; state <= logs.Available; state++ {
			name := strings.ReplaceAll(state.String(), "-", "_")
			metrics <- prometheus.MustNewConstMetric(c.state, prometheus.GaugeValue, oneIf(state == snapshot.State), snapshot.Source, name)
		}
	}
}
