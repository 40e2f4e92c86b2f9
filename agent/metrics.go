package agent

import (
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/trustpool/trustpool/agent/internal/tpm"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
)

// metrics are what the agent counts. Label values come from closed sets (labels.go), and all that can be counted is there from the start, as 0: a rate that begins with the first
// failure would miss it. Nothing is counted per caller.
type metrics struct {
	quotes  *prometheus.CounterVec
	seconds *prometheus.HistogramVec
	denials *prometheus.CounterVec
	lost    prometheus.Counter
	panics  prometheus.Counter

	errors  *prometheus.CounterVec
	retries *prometheus.CounterVec
	queued  prometheus.Gauge
	batches prometheus.Histogram

	ready   prometheus.Gauge
	akState *prometheus.GaugeVec
	launch  *prometheus.GaugeVec
	events  *prometheus.CounterVec
	// transient and notAfter are of the AK in use.
	transient prometheus.Gauge
	notAfter  prometheus.Gauge
}

// prefix is that of all the agent's metrics.
const prefix = "trustpool_agent_"

func newMetrics(registerer prometheus.Registerer) *metrics {
	m := &metrics{}
	factory := promauto.With(registerer)

	m.addCalls(factory)
	m.addTPM(factory)
	m.addState(factory)

	// The process collector's start time needs all of /proc, which a hardened unit does not have.
	factory.NewGauge(prometheus.GaugeOpts{Name: prefix + "start_time_seconds", Help: "When the agent was started, in Unix time."}).
		Set(float64(time.Now().Unix()))

	return m
}

// addCalls adds what tells of callers and of the agent's own files.
func (m *metrics) addCalls(factory promauto.Factory) {
	m.quotes = factory.NewCounterVec(prometheus.CounterOpts{
		Name: prefix + "quotes_total",
		Help: "Calls of Quote that were let in, by result (ok; refused: the caller's doing; failed: the node's) and reason (that of the reply, none if it is ok).",
	}, []string{"result", "reason"})
	for _, reason := range quoteReasons() {
		m.quotes.WithLabelValues(resultFor(reason), reason)
	}

	m.seconds = factory.NewHistogramVec(prometheus.HistogramOpts{
		Name:    prefix + "quote_duration_seconds",
		Help:    "How long quotes took that were given, by stage: queue (waiting for the TPM), tpm (having it), total (from request to reply).",
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
	}, []string{"stage"})
	for _, stage := range []string{stageQueue, stageTPM, stageTotal} {
		m.seconds.WithLabelValues(stage)
	}

	m.batches = factory.NewHistogram(prometheus.HistogramOpts{
		Name:    prefix + "quote_batch_size",
		Help:    "How many callers each quote was for that was signed for those who take one together with others.",
		Buckets: []float64{1, 2, 4, 8, 16, 32, 64, 128, 256},
	})

	m.denials = factory.NewCounterVec(prometheus.CounterOpts{
		Name: prefix + "denials_total",
		Help: "Connections and calls that were not let in, by reason.",
	}, []string{"reason"})
	for _, reason := range denialReasons() {
		m.denials.WithLabelValues(reason)
	}

	m.lost = factory.NewCounter(prometheus.CounterOpts{
		Name: prefix + "audit_failures_total",
		Help: "Lines that could not be written to the audit file.",
	})
	m.panics = factory.NewCounter(prometheus.CounterOpts{
		Name: prefix + "panics_total",
		Help: "Calls and handshakes at which the agent failed by a mistake of its own; the log has the stack of each.",
	})
}

// addTPM adds what tells of the TPM itself.
func (m *metrics) addTPM(factory promauto.Factory) {
	m.errors = factory.NewCounterVec(prometheus.CounterOpts{
		Name: prefix + "tpm_errors_total",
		Help: "TPM commands that were not carried out, by the name of the response code in small letters, other, or unreachable if there was no response.",
	}, []string{"code"})
	m.retries = factory.NewCounterVec(prometheus.CounterOpts{
		Name: prefix + "tpm_retries_total",
		Help: "TPM commands that were repeated because the TPM asked for it, by the name of the response code in small letters.",
	}, []string{"code"})

	m.queued = factory.NewGauge(prometheus.GaugeOpts{Name: prefix + "tpm_queue_length", Help: "How many callers wait for the TPM now."})

	for _, code := range tpmCodes() {
		m.errors.WithLabelValues(codeName(code))
	}

	for _, code := range retriedCodes() {
		m.retries.WithLabelValues(codeName(code))
	}

	m.errors.WithLabelValues(codeOther)
	m.errors.WithLabelValues(codeUnreachable)
}

// addState adds what tells whether the node can be attested, and what as.
func (m *metrics) addState(factory promauto.Factory) {
	m.ready = factory.NewGauge(prometheus.GaugeOpts{Name: prefix + "ready", Help: "1 if quotes can be made now, else 0."})
	m.akState = factory.NewGaugeVec(prometheus.GaugeOpts{
		Name: prefix + "ak_state",
		Help: "1 for the state that the attestation key is in, 0 for the others; the states are those of AkState in the contract.",
	}, []string{"state"})
	m.launch = factory.NewGaugeVec(prometheus.GaugeOpts{
		Name: prefix + "launch_state",
		Help: "1 for what the last quote of PCR 17 said of the measured launch, 0 for the rest; the states are those of LaunchStatus in the contract, unknown before that quote.",
	}, []string{"state"})
	m.events = factory.NewCounterVec(prometheus.CounterOpts{
		Name: prefix + "ak_events_total",
		Help: "What befell the attestation key: tpm_cleared, tpm_replaced, ak_rotation, ak_certificate.",
	}, []string{"event"})
	m.transient = factory.NewGauge(prometheus.GaugeOpts{
		Name: prefix + "ak_transient",
		Help: "1 if the attestation key could not be kept at its persistent handle, so that each quote costs more, else 0.",
	})
	m.notAfter = factory.NewGauge(prometheus.GaugeOpts{
		Name: prefix + "ak_certificate_not_after_timestamp_seconds",
		Help: "When the attestation key's certificate ends, in Unix time; 0 if there is none.",
	})

	for _, event := range akEvents() {
		m.events.WithLabelValues(event)
	}

	m.setLaunch(agentv1.LaunchStatus_LAUNCH_STATUS_UNSPECIFIED)
}

// addGauges adds what is looked up when somebody asks.
func (m *metrics) addGauges(registerer prometheus.Registerer, capacity int, owner *tpm.TPM) {
	factory := promauto.With(registerer)
	factory.NewGaugeFunc(prometheus.GaugeOpts{
		Name: prefix + "tpm_hung",
		Help: "1 if a command has been in the TPM for so long that only a restart can help, else 0.",
	}, func() float64 { return oneIf(owner.Hung() != nil) })
	factory.NewGauge(prometheus.GaugeOpts{
		Name: prefix + "tpm_queue_capacity",
		Help: "How many callers may wait for the TPM; more are told to come again.",
	}).Set(float64(capacity))
}

// quoted counts a call that had come in.
func (m *metrics) quoted(err error, took time.Duration, timing tpm.Timing) {
	if err != nil {
		reason := resultOf(err)
		m.quotes.WithLabelValues(resultFor(reason), reason).Inc()

		return
	}

	m.quotes.WithLabelValues(resultOK, reasonNone).Inc()
	m.seconds.WithLabelValues(stageQueue).Observe(timing.Queue.Seconds())
	m.seconds.WithLabelValues(stageTPM).Observe(timing.TPM.Seconds())
	m.seconds.WithLabelValues(stageTotal).Observe(took.Seconds())
}

// failed counts a TPM command that was not carried out.
func (m *metrics) failed(err error) {
	m.errors.WithLabelValues(codeLabel(err)).Inc()
}

// retried counts a repeated TPM command.
func (m *metrics) retried(code tpm2.TPMRC) {
	m.retries.WithLabelValues(codeName(code)).Inc()
}

// denied counts somebody who was not let in, or a call that was not made.
func (m *metrics) denied(reason string) {
	m.denials.WithLabelValues(reason).Inc()
}

// setState shows what became of the attestation key.
func (m *metrics) setState(state tpm.State) {
	now := akStateName(akState(state))
	for _, name := range akStates() {
		m.akState.WithLabelValues(name).Set(oneIf(name == now))
	}

	if state.Event != tpm.EventNone {
		m.events.WithLabelValues(eventName(state.Event)).Inc()
	}

	if state.Err == nil {
		m.transient.Set(oneIf(state.AK.Transient))
		m.notAfter.Set(float64(notAfter(state.AK)))
	}
}

// launched shows what a quote said of the launch, if it said something.
func (m *metrics) launched(status agentv1.LaunchStatus) {
	if status != agentv1.LaunchStatus_LAUNCH_STATUS_UNSPECIFIED {
		m.setLaunch(status)
	}
}

func (m *metrics) setLaunch(status agentv1.LaunchStatus) {
	now := launchName(status)
	for _, name := range launchStates() {
		m.launch.WithLabelValues(name).Set(oneIf(name == now))
	}
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}

	return 0
}
