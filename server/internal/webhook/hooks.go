package webhook

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Hooks are all hooks of a server.
type Hooks struct{ hooks []*Hook }

// hookMetrics are those of one hook.
type hookMetrics struct{ delivered, failed, dropped prometheus.Counter }

// New returns Hooks that Run sets going.
func New(config Config, targets []Target, registerer prometheus.Registerer) *Hooks {
	deliveries := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "trustpool_server_webhook_deliveries_total",
		Help: "Attempts to tell webhooks of changes, by what came of them: delivered, failed (it is tried again), dropped (too old).",
	}, []string{"webhook", "outcome"})
	registerer.MustRegister(deliveries)
	all := &Hooks{}
	for _, target := range targets {
		h := &Hook{config: config, target: target, sender: sender{target: target, read: config.ReadFile}, metrics: &hookMetrics{
			delivered: deliveries.WithLabelValues(target.Name, "delivered"),
			failed:    deliveries.WithLabelValues(target.Name, "failed"),
			dropped:   deliveries.WithLabelValues(target.Name, "dropped"),
		}}
		registerer.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name:        "trustpool_server_webhook_lag_seconds",
			Help:        "How long ago the change was made that a webhook is to be told of next; 0 if it knows all, or another server tells it.",
			ConstLabels: prometheus.Labels{"webhook": target.Name},
		}, func() float64 { return h.lag(time.Now()).Seconds() }))
		all.hooks = append(all.hooks, h)
	}
	return all
}

// Run tells all hooks until ctx ends, each by itself.
func (h *Hooks) Run(ctx context.Context) {
	var group sync.WaitGroup
	for _, hook := range h.hooks {
		group.Go(func() { hook.Run(ctx) })
	}
	group.Wait()
}

// CheckFiles tells what is wrong with the files that a Target names.
func (t Target) CheckFiles(read func(string) ([]byte, error)) error {
	s := sender{target: t, read: read}
	if _, err := s.files(); err != nil {
		return fmt.Errorf("the webhook %s: %w", t.Name, err)
	}
	return nil
}
