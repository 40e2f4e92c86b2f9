package daemon

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// TLS is a server's side of mutual TLS 1.3, from files that may change while it serves, or from a SPIFFE Workload API. One from LoadTLS demands and verifies a client's certificate; only
// LoadTokenTLS makes one that lets clients in without, for servers that know them by something else. What can't be used replaces nothing: the last good files go on serving.
type TLS struct {
	files   TLSFiles
	svid    *SPIFFE // in place of files, if not nil
	tokens  bool    // a client may come without a certificate
	logger  *slog.Logger
	present atomic.Pointer[material]

	reloads  atomic.Uint64
	failures atomic.Uint64
	lastGood atomic.Int64 // when files were last found good, in Unix seconds

	mu      sync.Mutex
	failed  string // what was wrong the last time; guarded by mu
	changed func() // guarded by mu
}

// LoadTLS reads the files for the first time. The logger gets what becomes of later readings.
func LoadTLS(files TLSFiles, logger *slog.Logger) (*TLS, error) {
	return loadTLS(files, false, logger)
}

// LoadTokenTLS is LoadTLS for a server whose clients may show a token instead of a certificate: it has to look at each request, since the handshake keeps nobody out. A
// certificate that a client does show is verified as ever, and a wrong one ends the handshake. Without files.ClientCA none is asked for.
func LoadTokenTLS(files TLSFiles, logger *slog.Logger) (*TLS, error) {
	return loadTLS(files, true, logger)
}

func loadTLS(files TLSFiles, tokens bool, logger *slog.Logger) (*TLS, error) {
	m, err := files.load(tokens)
	if err != nil {
		return nil, err
	}

	if now := time.Now(); now.After(m.certificate.NotAfter) || now.Before(m.certificate.NotBefore) {
		// Not a reason to stay down: the clock may be wrong at boot, and the file may be replaced any moment.
		logger.Error("the server's certificate is not valid now", "not_before", m.certificate.NotBefore, "not_after", m.certificate.NotAfter)
	}

	t := &TLS{files: files, tokens: tokens, logger: logger, changed: func() {}}
	t.present.Store(m)
	t.lastGood.Store(time.Now().Unix())
	t.warn(m)

	return t, nil
}

// ServerTLS returns a server's side that follows the Workload API. With tokens, a client may come without a certificate, as with LoadTokenTLS. Its Run is that of s.
func (s *SPIFFE) ServerTLS(tokens bool) *TLS {
	return &TLS{svid: s, tokens: tokens, logger: s.logger}
}

// material returns what counts now.
func (t *TLS) material() (*material, error) {
	if t.svid == nil {
		return t.present.Load(), nil
	}

	present, err := t.svid.now(time.Now())
	if err != nil {
		return nil, err
	}

	return present.server, nil
}

// Config returns a config that follows the files. Its VerifyConnection can be asked again at any time whether a connection would still be let in.
func (t *TLS) Config() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		ClientAuth:         tls.RequireAndVerifyClientCert,
		ClientCAs:          x509.NewCertPool(), // nobody, should the files' own config ever be passed by
		VerifyConnection:   t.VerifyConnection,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return t.config() },
	}
}

func (t *TLS) config() (*tls.Config, error) {
	m, err := t.material()
	if err != nil {
		return nil, err
	}

	return &tls.Config{
		MinVersion:       tls.VersionTLS13,
		Certificates:     []tls.Certificate{m.pair},
		ClientAuth:       t.clientAuth(m),
		ClientCAs:        m.authorities,
		VerifyConnection: t.VerifyConnection,
	}, nil
}

// clientAuth is what the handshake demands of a client.
func (t *TLS) clientAuth(m *material) tls.ClientAuthType {
	switch {
	case !t.tokens:
		return tls.RequireAndVerifyClientCert
	case len(m.accepted) == 0:
		return tls.NoClientCert // to ask for one, and to refuse each, would only shut out who has one for somebody else
	default:
		return tls.VerifyClientCertIfGiven
	}
}

// VerifyConnection says why the client of a connection may not (or no longer) come in, by the files as they are now: its certificate has to be for clients, valid,
// signed by one of the authorities, and not revoked; only where tokens are taken, it may have none. crypto/tls asks it in every handshake, also of a resumed session, whose
// certificates nothing else looks at.
func (t *TLS) VerifyConnection(state tls.ConnectionState) error {
	if len(state.PeerCertificates) == 0 && t.tokens {
		return nil
	}

	if len(state.PeerCertificates) == 0 {
		return errors.New("no client certificate")
	}

	m, err := t.material()
	if err != nil {
		return err
	}

	return m.verify(state.PeerCertificates, time.Now())
}

// OnChange has a function called after each change of the files that was taken over.
func (t *TLS) OnChange(changed func()) {
	if t.svid != nil {
		t.svid.OnChange(changed)

		return
	}

	t.mu.Lock()
	defer t.mu.Unlock()

	t.changed = changed
}

// Reload reads the files again. Its error was logged and counted, and changes nothing. A Workload API tells by itself what is new.
func (t *TLS) Reload() error {
	if t.svid != nil {
		return nil
	}

	t.mu.Lock()
	defer t.mu.Unlock()

	return t.reload(true)
}

// reload takes over changed files. What was wrong already the last time is told again only if again is set.
func (t *TLS) reload(again bool) error {
	m, err := t.files.load(t.tokens)
	before := t.present.Load()

	if now := time.Now(); err == nil && now.After(m.certificate.NotAfter) && now.Before(before.certificate.NotAfter) {
		err = fmt.Errorf("the server's certificate ended at %s, earlier than the one in use", m.certificate.NotAfter.Format(time.RFC3339))
	}

	if err != nil {
		if again || err.Error() != t.failed {
			t.failures.Add(1)
			t.logger.Error("TLS files can't be used, the last good ones stay", "error", err)
		}

		t.failed = err.Error()

		return err
	}

	t.failed = ""
	t.lastGood.Store(time.Now().Unix())

	if m.digest == before.digest {
		return nil
	}

	t.present.Store(m)
	t.reloads.Add(1)
	t.logger.Info("TLS files reloaded", "not_after", m.certificate.NotAfter)
	t.warn(m)
	t.changed()

	return nil
}

// warn tells what works, but should not be so.
func (t *TLS) warn(m *material) {
	for _, end := range m.outdated(time.Now()) {
		t.logger.Warn("a CRL is outdated: what it revokes stays revoked, what was revoked since is not known", "next_update", end)
	}

	if m.forClients() && !t.tokens {
		t.logger.Warn("the server's certificate is for clients too: a node's certificate should have serverAuth only")
	}
}

// Register shows the files' state in the daemon's metrics, whose prefix is name.
func (t *TLS) Register(registerer prometheus.Registerer, name string) {
	if t.svid != nil {
		t.svid.Register(registerer, name)

		return
	}

	registerer.MustRegister(
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: name + "_tls_reloads_total",
			Help: "How often changed TLS files were taken over.",
		}, func() float64 { return float64(t.reloads.Load()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: name + "_tls_reload_failures_total",
			Help: "How often TLS files were found that can't be used, so that the last good ones stayed.",
		}, func() float64 { return float64(t.failures.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: name + "_tls_last_good_timestamp_seconds",
			Help: "When the TLS files were last read and found good, in Unix time.",
		}, func() float64 { return float64(t.lastGood.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: name + "_tls_certificate_not_after_timestamp_seconds",
			Help: "When the server's certificate ends, in Unix time.",
		}, func() float64 { return float64(t.present.Load().certificate.NotAfter.Unix()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: name + "_tls_client_ca_not_after_timestamp_seconds",
			Help: "When the first of the authorities that sign clients' certificates ends, in Unix time; 0 if there is none.",
		}, func() float64 { return float64(t.present.Load().authoritiesEnd()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: name + "_tls_crl_next_update_timestamp_seconds",
			Help: "When the first of the CRLs is outdated, in Unix time; 0 if there is none.",
		}, func() float64 { return float64(t.present.Load().revoked.nextUpdate()) }),
	)
}
