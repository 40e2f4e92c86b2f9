package agent

import (
	"fmt"
	"strings"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/trustpool/trustpool/agent/internal/tpm"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
)

// metrics are what the agent counts. Label values come from closed sets: reasons of refusal and TPM response codes that are retried.
type metrics struct {
	quotes  *prometheus.CounterVec
	seconds prometheus.Histogram
	retries *prometheus.CounterVec
	ready   prometheus.Gauge
	akState *prometheus.GaugeVec
	// transient and notAfter are of the AK in use.
	transient prometheus.Gauge
	notAfter  prometheus.Gauge
	denials   *prometheus.CounterVec
	lost      prometheus.Counter
	panics    prometheus.Counter
}

func newMetrics(registerer prometheus.Registerer) *metrics {
	m := &metrics{
		quotes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "trustpool_agent_quotes_total",
			Help: "Calls of Quote by result: ok, or the reason of the refusal.",
		}, []string{"result"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "trustpool_agent_quote_duration_seconds",
			Help:    "How long calls of Quote took that were not refused, from request to reply.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "trustpool_agent_tpm_retries_total",
			Help: "TPM commands that were repeated because the TPM asked for it, by response code.",
		}, []string{"code"}),
		ready: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "trustpool_agent_ready",
			Help: "1 if quotes can be made now, else 0.",
		}),
	}
	m.akState = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "trustpool_agent_ak_state",
		Help: "1 for the state that the attestation key is in, 0 for the others; the states are those of AkState in the contract.",
	}, []string{"state"})
	m.transient = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "trustpool_agent_ak_transient",
		Help: "1 if the attestation key could not be kept at its persistent handle, so that each quote costs more, else 0.",
	})
	m.notAfter = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "trustpool_agent_ak_certificate_not_after_seconds",
		Help: "When the attestation key's certificate ends, in seconds since 1970; 0 if there is none.",
	})
	registerer.MustRegister(m.akState, m.transient, m.notAfter)
	m.denials = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "trustpool_agent_denials_total",
		Help: "Connections and calls that were not let in, by reason: connections, connections_per_address, connections_arriving, handshake, certificate, no_rule, " +
			"no_longer, role_missing, rate_limited, too_many_calls.",
	}, []string{"reason"})
	m.lost = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "trustpool_agent_audit_failures_total",
		Help: "Lines that could not be written to the audit file.",
	})
	m.panics = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "trustpool_agent_panics_total",
		Help: "Calls and handshakes at which the agent failed by a mistake of its own; the log has the stack of each.",
	})
	registerer.MustRegister(m.quotes, m.seconds, m.retries, m.ready, m.denials, m.lost, m.panics)

	return m
}

// quoted counts one call.
func (m *metrics) quoted(result string, took time.Duration) {
	m.quotes.WithLabelValues(result).Inc()

	if result == "ok" {
		m.seconds.Observe(took.Seconds())
	}
}

// retried counts one repeated command.
func (m *metrics) retried(code tpm2.TPMRC) {
	m.retries.WithLabelValues(fmt.Sprintf("0x%03x", uint32(code))).Inc()
}

// denied counts somebody who was not let in, or a call that was not made.
func (m *metrics) denied(reason string) {
	m.denials.WithLabelValues(reason).Inc()
}

// setState shows what became of the attestation key.
func (m *metrics) setState(state tpm.State) {
	m.ready.Set(oneIf(state.Err == nil))

	now := akState(state)
	for number, name := range agentv1.AkState_name {
		if number != int32(agentv1.AkState_AK_STATE_UNSPECIFIED) {
			m.akState.WithLabelValues(strings.ToLower(strings.TrimPrefix(name, "AK_STATE_"))).Set(oneIf(number == int32(now)))
		}
	}

	if state.Err == nil {
		m.transient.Set(oneIf(state.AK.Transient))
		m.notAfter.Set(float64(notAfter(state.AK)))
	}
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}

	return 0
}
