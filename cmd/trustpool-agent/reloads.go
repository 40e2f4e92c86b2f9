package main

import "github.com/prometheus/client_golang/prometheus"

// reloads counts how the config was read again.
type reloads struct {
	good, bad prometheus.Counter
	last      prometheus.Gauge
}

func newReloads(registerer prometheus.Registerer) reloads {
	r := reloads{
		good: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "trustpool_agent_config_reloads_total",
			Help: "How often the config was taken over at SIGHUP.",
		}),
		bad: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "trustpool_agent_config_reload_failures_total",
			Help: "How often SIGHUP found a config that can't be used, so that the last good one stayed.",
		}),
		last: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "trustpool_agent_config_last_reload_successful",
			Help: "1 if the config could be used when it was last read, else 0.",
		}),
	}
	r.last.Set(1)
	registerer.MustRegister(r.good, r.bad, r.last)

	return r
}

func (r reloads) done() {
	r.good.Inc()
	r.last.Set(1)
}

func (r reloads) failed() {
	r.bad.Inc()
	r.last.Set(0)
}
