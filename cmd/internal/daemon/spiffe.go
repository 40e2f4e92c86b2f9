package daemon

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/trustpool/trustpool/internal/spiffe"
)

// SPIFFE follows a SPIFFE Workload API: the X.509-SVID that this process has, and the bundles by which others are verified. While the API is away, the last ones count until that X.509-SVID ends; then,
// and before the first answer, there are none, and nothing is served or called. Make one with NewSPIFFE, and run it.
type SPIFFE struct {
	config spiffe.Config
	logger *slog.Logger
	// present is nil if there is no X.509-SVID: not yet, or not any more.
	present atomic.Pointer[identity]

	up       atomic.Bool
	updates  atomic.Uint64
	failures atomic.Uint64

	mu      sync.Mutex
	why     string // why the API gives nothing now; guarded by mu, as all below
	said    string // the last remark
	remark  func(string)
	changed func()
	// ending wakes who waits for the end of the X.509-SVID: it is another one.
	ending chan struct{}
}

// NewSPIFFE returns one for a valid config. The logger gets what becomes of the Workload API.
func NewSPIFFE(config spiffe.Config, logger *slog.Logger) *SPIFFE {
	return &SPIFFE{
		config: config, logger: logger, why: "it has not answered yet", remark: func(string) {}, changed: func() {}, ending: make(chan struct{}, 1),
	}
}

// OnChange has a function called after each change of the X.509-SVID or of the bundles, also when there is none any more.
func (s *SPIFFE) OnChange(changed func()) {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.changed = changed
}

// OnRemark has a function called with a line for people, now and when it changes: what is wrong with the Workload API; empty if nothing is.
func (s *SPIFFE) OnRemark(remark func(line string)) {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.remark, s.said = remark, ""
	s.tell()
}

// Ready says why there is no X.509-SVID to serve with; nil if there is one, also while the API is away.
func (s *SPIFFE) Ready() error {
	_, err := s.now(time.Now())

	return err
}

// now returns what counts at that time.
func (s *SPIFFE) now(now time.Time) (*identity, error) {
	present := s.present.Load()
	if present == nil {
		return nil, fmt.Errorf("there is no X.509-SVID from the SPIFFE Workload API at %s: %s", s.config.Socket, s.reason())
	}

	if present.ended(now) {
		return nil, fmt.Errorf("the X.509-SVID ended at %s, and the SPIFFE Workload API at %s gave no other: %s", present.end(), s.config.Socket, s.reason())
	}

	return present, nil
}

func (s *SPIFFE) reason() string {
	s.mu.Lock()
	defer s.mu.Unlock()

	return cmp.Or(s.why, sentNone)
}

// sentNone is why there is no other X.509-SVID if nothing else is wrong.
const sentNone = "it sends none"

// take takes over an answer of the API. One that can't be used replaces nothing, but for one that has the X.509-SVID no more.
func (s *SPIFFE) take(response *workload.X509SVIDResponse) {
	next, err := parseSVIDs(response, s.config)
	if errors.Is(err, errNoSVID) {
		s.withdraw(err)

		return
	}

	if err != nil {
		s.failures.Add(1)
		s.up.Store(true)
		s.note(err.Error())
		s.logger.Error("what the SPIFFE Workload API sent can't be used, the last good X.509-SVID and bundles stay", "error", err)

		return
	}

	next.keep(s.present.Load(), s.verifyCalled)
	s.present.Store(next)
	s.updates.Add(1)
	s.up.Store(true)
	s.logger.Info("X.509-SVID taken over", "spiffe_id", next.id.String(), "not_after", next.server.certificate.NotAfter)

	for _, missing := range next.missing {
		s.logger.Warn("the SPIFFE Workload API has no bundle of a trust domain that counts: nobody of it is let in", "trust_domain", missing.Name())
	}

	s.note("")
	s.wake()
	s.hasChanged()
}

// wake has watchEnd look again.
func (s *SPIFFE) wake() {
	select {
	case s.ending <- struct{}{}:
	default: // it was woken already, and has not looked yet
	}
}

// withdraw has no X.509-SVID count any more: the API said that there is none (SPIFFE Workload API, 5.2.1).
func (s *SPIFFE) withdraw(err error) {
	had := s.present.Swap(nil) != nil

	s.failures.Add(1)
	s.note(err.Error())

	if had {
		s.logger.Error("the SPIFFE Workload API took the X.509-SVID back: nobody is served or called until it gives one", "error", err)
		s.hasChanged()
	} else {
		s.logger.Warn("the SPIFFE Workload API has no X.509-SVID for this process; make a registration entry for it", "error", err)
	}
}

// away says that the API does not answer. The log has it once for each reason.
func (s *SPIFFE) away(err error) {
	s.up.Store(false)
	s.failures.Add(1)

	if !s.note(err.Error()) {
		return
	}

	if present := s.present.Load(); present != nil {
		s.logger.Error("the SPIFFE Workload API is away: the last X.509-SVID and bundles count until it ends", "socket", s.config.Socket, "not_after", present.server.certificate.NotAfter, "error", err)
	} else {
		s.logger.Warn("waiting for the SPIFFE Workload API", "socket", s.config.Socket, "error", err)
	}
}

// note keeps why the API gives nothing, on one line of a bearable length, and reports whether it was another reason before.
func (s *SPIFFE) note(why string) (changed bool) {
	why = fmt.Sprintf("%.300s", strings.Join(strings.Fields(why), " "))

	s.mu.Lock()
	defer s.mu.Unlock()

	changed = s.why != why
	s.why = why
	s.tell()

	return changed
}

// tell gives the remark, if it is another one. The caller holds the lock.
func (s *SPIFFE) tell() {
	line, present := "", s.present.Load()

	switch {
	case present == nil:
		line = "no X.509-SVID from the SPIFFE Workload API: " + s.why
	case present.ended(time.Now()):
		line = fmt.Sprintf("the X.509-SVID ended at %s, the SPIFFE Workload API gave no other: %s", present.end(), cmp.Or(s.why, sentNone))
	case s.why != "":
		line = fmt.Sprintf("nothing new from the SPIFFE Workload API, the X.509-SVID is good until %s: %s", present.end(), s.why)
	}

	if line != s.said {
		s.said = line
		s.remark(line)
	}
}

// hasChanged tells who wants to know that something else counts now.
func (s *SPIFFE) hasChanged() {
	s.mu.Lock()
	changed := s.changed
	s.mu.Unlock()

	changed()
}

// verifyCalled says why who answers a call may not (or no longer) be talked to, by the bundles as they are now. Which SPIFFE ID it is to have is for the caller to say.
func (s *SPIFFE) verifyCalled(state tls.ConnectionState) error {
	if len(state.PeerCertificates) == 0 {
		return errors.New("no server certificate")
	}

	present, err := s.now(time.Now())
	if err != nil {
		return err
	}

	return present.called.verifySVID(state.PeerCertificates, x509.ExtKeyUsageServerAuth, time.Now())
}

// ClientConfig returns a config for calling who has that SPIFFE ID. It is the same until there is another X.509-SVID or bundle: then a new connection has to be made. Whether the ID is the
// right one is for the caller to look at; that it is one of its trust domain, its VerifyConnection says, at any time.
func (s *SPIFFE) ClientConfig(id string) (*tls.Config, error) {
	present, err := s.now(time.Now())
	if err != nil {
		return nil, err
	}

	parsed, err := spiffeid.FromString(id)
	if err != nil {
		return nil, fmt.Errorf("%.128q is no SPIFFE ID: %w", id, err)
	}

	config := present.clients[parsed.TrustDomain()]
	if config == nil {
		return nil, fmt.Errorf("calling %s: the SPIFFE Workload API has no bundle of its trust domain, or that does not count", id)
	}

	return config, nil
}

// Register shows its state in the daemon's metrics, whose prefix is name.
func (s *SPIFFE) Register(registerer prometheus.Registerer, name string) {
	registerer.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: name + "_spiffe_workload_api_up",
			Help: "1 while the SPIFFE Workload API answers, else 0.",
		}, func() float64 {
			if s.up.Load() {
				return 1
			}

			return 0
		}),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: name + "_spiffe_updates_total",
			Help: "How often an X.509-SVID with its bundles was taken over.",
		}, func() float64 { return float64(s.updates.Load()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: name + "_spiffe_failures_total",
			Help: "How often the SPIFFE Workload API could not be asked, or gave nothing that can be used.",
		}, func() float64 { return float64(s.failures.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: name + "_spiffe_svid_not_after_timestamp_seconds",
			Help: "When the X.509-SVID ends, in Unix time; 0 if there is none.",
		}, func() float64 {
			if present := s.present.Load(); present != nil {
				return float64(present.server.certificate.NotAfter.Unix())
			}

			return 0
		}),
	)
}
