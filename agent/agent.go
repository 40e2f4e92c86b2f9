package agent

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"github.com/trustpool/trustpool/agent/internal/logs"
	"github.com/trustpool/trustpool/agent/internal/tpm"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
)

// Deps are what an agent gets from the program around it.
type Deps struct {
	// Logger gets what an operator has to know, and one line a quote.
	Logger *slog.Logger
	// Registerer takes the agent's metrics.
	Registerer prometheus.Registerer
	// Tracer, if not nil, gets spans of calls and of their turns at the TPM.
	Tracer trace.TracerProvider
	// Version is told to callers.
	Version string
	// OpenTPM opens the TPM. Nil: Config.TPM.Device.
	OpenTPM func() (transport.TPMCloser, error)
	// Simulated says that OpenTPM gives a software TPM. It is told to callers.
	Simulated bool
	// BootID is this boot's id, for a process that can't read the kernel's own file. Empty: that file's.
	BootID string
	// TCP takes callers with TLS. Nil: nobody.
	TCP net.Listener
	// TLS must ask for and verify callers' certificates, and speak nothing older than TLS 1.3. Its VerifyConnection is asked again for every call; after it changed
	// its mind, call Recheck. Nil VerifyConnection: certificates are verified by ClientCAs.
	TLS *tls.Config
	// TLSKey, if not nil, is given the server's key in the TPM, for a Config whose tls.key is KeyInTPM. It signs for TLS then.
	TLSKey *TLSKey
	// OnStatus, if set, is called with a line that says whether quotes can be made and, if not, why, at the start and whenever that changes.
	OnStatus func(line string)
	// Unix takes callers without TLS, whom the kernel tells apart. Nil: nobody.
	Unix net.Listener
}

// Agent serves quotes.
type Agent struct {
	deps    Deps
	dir     string // the state folder
	tpm     *tpm.TPM
	health  *health.Server
	metrics *metrics
	status  *statusBoard
	shown   shown
	guard   *guard
	servers []listening
	// running is closed when the agent serves, stopping when no new work is taken.
	running, stopping chan struct{}
}

// listening is a gRPC server and where it listens.
type listening struct {
	*grpc.Server
	listener net.Listener
}

const (
	// maxRequest bounds a request, in bytes. Generous, so that an oversized nonce gets an answer that says what is wrong with it.
	maxRequest = 2 << 20
	// drainFor is how long calls under way may take when the agent ends.
	drainFor = 10 * time.Second
	// hangUpFor is how long they may take once their connections are closed. The TPM has ten seconds more; systemd's unit gives 30 s for all.
	hangUpFor = 5 * time.Second
	// recheckEvery is how often the certificates of open connections are looked at, which may have ended.
	recheckEvery = time.Minute
	// maxStreams bounds the calls under way on one connection, maxHeader the headers of each, in bytes.
	maxStreams, maxHeader = 64, 16 << 10
	// A connection may send pings every minPing. One that does not answer ours within pingTimeout after being silent for pingAfter is closed.
	minPing, pingAfter, pingTimeout = 10 * time.Second, time.Minute, 20 * time.Second
	// Windows are fixed, so that what a connection may make us hold does not grow with its speed.
	streamWindow, connWindow = 64 << 10, 256 << 10
)

// New puts an agent together. The config is valid.
func New(config Config, deps Deps) (*Agent, error) {
	if deps.TCP != nil {
		deps.TLS = verifying(deps.TLS)

		if err := checkMutual(deps.TLS); err != nil {
			return nil, err
		}
	}

	if deps.Unix != nil && deps.Unix.Addr().Network() != "unix" {
		return nil, errors.New("only a unix socket may be served without TLS")
	}

	if deps.OpenTPM == nil {
		deps.OpenTPM = func() (transport.TPMCloser, error) { return tpm.Open(config.TPM.Device) }
	}

	deps.BootID = cmp.Or(deps.BootID, kernelBootID())

	auths, err := config.TPM.auths()
	if err != nil {
		return nil, err
	}

	a := &Agent{
		deps: deps, dir: config.StateDir, health: health.NewServer(), metrics: newMetrics(deps.Registerer), status: newStatusBoard(deps.BootID),
		running: make(chan struct{}), stopping: make(chan struct{}),
	}
	a.tpm = tpm.New(tpm.Options{
		Open:          counted(deps.OpenTPM, a.metrics.failed),
		Algorithm:     config.TPM.AK.Algorithm,
		Handle:        tpm2.TPMHandle(config.TPM.AK.Handle),
		TLSHandle:     config.tlsHandle(),
		Auths:         auths,
		RecordFile:    config.recordFile(),
		EKCertificate: config.TPM.EKCertificate,
		Queue:         config.TPM.Queue,
		Logger:        deps.Logger,
		OnRetry:       a.metrics.retried,
		OnState:       a.stateChanged,
		OnQueue:       func(waiting int) { a.metrics.queued.Set(float64(waiting)) },
		OnTurn:        traceTurn,
		OnBatch:       func(size int) { a.metrics.batches.Observe(float64(size)) },
	})
	a.stateChanged(a.tpm.State())
	a.metrics.addGauges(deps.Registerer, config.TPM.Queue, a.tpm)

	if config.TLS.Key == KeyInTPM {
		if a.deps.TLSKey == nil {
			a.deps.TLSKey = NewTLSKey() // only for certificate requests
		}

		a.deps.TLSKey.owner.Store(a.tpm)
	}

	if err := a.addGuard(config); err != nil {
		return nil, err
	}

	a.addServers(config)

	return a, nil
}

// addGuard makes the guard for all listeners.
func (a *Agent) addGuard(config Config) error {
	journal, err := newAudit(a.deps.Logger, config.Audit, a.metrics.lost.Inc)
	if err != nil {
		return err
	}

	a.guard = &guard{
		access:      &access{},
		audit:       journal,
		metrics:     a.metrics,
		stopping:    a.stopping,
		sendTimeout: config.Listen.bounded().SendTimeout,
	}
	a.guard.access.rules.Store(newRules(config))

	if a.deps.TLS != nil {
		a.guard.access.verify = a.deps.TLS.VerifyConnection
	}

	return nil
}

// addServers puts the services behind each listener.
func (a *Agent) addServers(config Config) {
	store := logs.New(config.Logs.options(a.deps.BootID))
	a.deps.Registerer.MustRegister(newLogCollector(store))

	quotes := &quoteService{
		tpm:       a.tpm,
		logs:      store,
		metrics:   a.metrics,
		status:    a.status,
		bootID:    a.deps.BootID,
		simulated: a.deps.Simulated,
		version:   a.deps.Version,
	}
	enrollment := &enrollmentService{tpm: a.tpm, logs: store, tlsKey: a.deps.TLSKey}

	openconfig := newAttestz(config.Attestz, quotes, enrollment)

	bounds := config.Listen.bounded()
	add := func(listener net.Listener, transport credentials.TransportCredentials) {
		gate := newGate(listener, bounds, a.metrics.denied)
		a.guard.gates = append(a.guard.gates, gate)

		server := grpc.NewServer(a.options(bounds, transport)...)
		server.RegisterService(a.guard.waiting(agentv1.QuoteService_ServiceDesc), quotes)
		server.RegisterService(a.guard.waiting(agentv1.EnrollmentService_ServiceDesc), enrollment)
		openconfig.register(server, a.guard)
		healthv1.RegisterHealthServer(server, a.health)

		if config.Listen.Reflection {
			reflection.Register(server)
		}

		a.servers = append(a.servers, listening{server, gate})
	}

	if a.deps.TCP != nil {
		add(a.deps.TCP, tlsTransport{credentials.NewTLS(a.guard.access.mutual(a.deps.TLS)), a.guard})
	}

	if a.deps.Unix != nil {
		add(a.deps.Unix, unixTransport{a.guard})
	}
}

// options bound what a connection can do.
func (a *Agent) options(bounds ListenConfig, transport credentials.TransportCredentials) []grpc.ServerOption {
	options := []grpc.ServerOption{
		grpc.Creds(transport),
		grpc.ForceServerCodecV2(newCodec()),
		grpc.UnaryInterceptor(a.guard.unary),
		grpc.StreamInterceptor(a.guard.stream),
		grpc.ConnectionTimeout(bounds.HandshakeTimeout),
		grpc.MaxRecvMsgSize(maxRequest),
		grpc.MaxHeaderListSize(maxHeader),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.StaticStreamWindowSize(streamWindow),
		grpc.StaticConnWindowSize(connWindow),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: bounds.IdleTimeout, Time: pingAfter, Timeout: pingTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPing, PermitWithoutStream: true}),
	}

	if a.deps.Tracer != nil {
		options = append(options, grpc.StatsHandler(traced(a.deps.Tracer)))
	}

	return options
}

// Recheck closes the connections of callers who would not be let in now. Call it after TLS.VerifyConnection changed its mind.
func (a *Agent) Recheck() {
	a.guard.recheck()
}

// Reload takes over clients and listen.unix_clients of a valid config, and opens the audit file again, which may be an error: then the old one is written on. The rest of a
// config takes a restart.
func (a *Agent) Reload(config Config) error {
	a.guard.access.rules.Store(newRules(config))
	a.guard.recheck()

	return a.guard.audit.reopen()
}

// Running is closed once Run has the state folder for itself and serves. The TPM may not be there yet.
func (a *Agent) Running() <-chan struct{} {
	return a.running
}

// Run serves until ctx ends. Calls under way are then finished, for up to ten seconds. It returns nil after an orderly end, with the listeners closed, and
// ErrRunning at once if another agent uses the state folder.
func (a *Agent) Run(ctx context.Context) (err error) {
	unlock, err := lockState(a.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.guard.audit.close(), unlock()) }()

	close(a.running)

	// The TPM is needed for as long as calls are drained.
	tpmCtx, releaseTPM := context.WithCancel(context.WithoutCancel(ctx))
	defer releaseTPM()

	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.tpm.Run(tpmCtx) })

	for _, server := range a.servers {
		a.deps.Logger.Info("listening", "address", server.listener.Addr().String())
		group.Go(func() error {
			// One that was told to stop before it began has nothing to complain of.
			if err := server.Serve(server.listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
				return fmt.Errorf("serving %s: %w", server.listener.Addr(), err)
			}

			return nil
		})
	}

	group.Go(func() error {
		a.recheckNowAndThen(groupCtx)

		return nil
	})
	group.Go(func() error {
		a.watchHealth(groupCtx)

		return nil
	})

	group.Go(func() error {
		<-groupCtx.Done()
		a.drain()
		releaseTPM()

		return nil
	})

	return group.Wait()
}

// recheckNowAndThen closes the connections whose certificates have ended.
func (a *Agent) recheckNowAndThen(ctx context.Context) {
	ticker := time.NewTicker(recheckEvery)
	defer ticker.Stop()

	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			a.guard.recheck()
		}
	}
}

// drain lets calls under way finish, but not for ever: one that waits for a TPM which hangs is left behind.
func (a *Agent) drain() {
	a.deps.Logger.Info("stopping")
	a.health.Shutdown()
	close(a.stopping)

	drained := make(chan struct{})

	go func() {
		defer close(drained)

		for _, server := range a.servers {
			server.GracefulStop() // waits for what was called, whatever it waits for itself
		}
	}()

	select {
	case <-drained:
		return
	case <-time.After(drainFor):
	}

	for _, server := range a.servers {
		server.Stop()
	}

	select {
	case <-drained:
	case <-time.After(hangUpFor):
		a.deps.Logger.Error("calls under way did not end, the agent ends without them")
	}
}

// kernelBootID returns the kernel's boot id, empty if it can't be read.
func kernelBootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}

	return strings.TrimSpace(string(id))
}
