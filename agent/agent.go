package agent

import (
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
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

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
	// Version is told to callers.
	Version string
	// OpenTPM opens the TPM. Nil: Config.TPM.Device.
	OpenTPM func() (transport.TPMCloser, error)
	// Simulated says that OpenTPM gives a software TPM. It is told to callers.
	Simulated bool
	// TCP takes callers with TLS, which must ask for and verify their certificates. Nil: nobody.
	TCP net.Listener
	TLS *tls.Config
	// Unix takes callers without TLS, who get all roles: its file mode is its guard. Nil: nobody.
	Unix net.Listener
}

// Agent serves quotes.
type Agent struct {
	deps    Deps
	tpm     *tpm.TPM
	health  *health.Server
	metrics *metrics
	servers []listening
	// stopping is closed when no new work is taken.
	stopping chan struct{}
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
)

// New puts an agent together. The config is valid.
func New(config Config, deps Deps) (*Agent, error) {
	if deps.TCP != nil && (deps.TLS == nil || deps.TLS.ClientAuth != tls.RequireAndVerifyClientCert || deps.TLS.MinVersion < tls.VersionTLS13) {
		return nil, errors.New("TLS 1.3 with verified client certificates is required on a TCP listener")
	}

	if deps.Unix != nil && deps.Unix.Addr().Network() != "unix" {
		return nil, errors.New("only a unix socket may be served without TLS")
	}

	if deps.OpenTPM == nil {
		deps.OpenTPM = func() (transport.TPMCloser, error) { return tpm.Open(config.TPM.Device) }
	}

	a := &Agent{deps: deps, health: health.NewServer(), metrics: newMetrics(deps.Registerer), stopping: make(chan struct{})}
	a.tpm = tpm.New(tpm.Options{
		Open:      deps.OpenTPM,
		Algorithm: config.TPM.AK.Algorithm,
		Handle:    tpm2.TPMHandle(config.TPM.AK.Handle),
		Queue:     config.TPM.Queue,
		Logger:    deps.Logger,
		OnRetry:   a.metrics.retried,
		OnState:   a.stateChanged,
	})

	a.stateChanged(a.tpm.State())

	service := &quoteService{
		tpm:       a.tpm,
		logs:      logs.NewStore(sources(config.Logs)),
		logger:    deps.Logger,
		metrics:   a.metrics,
		bootID:    bootID(),
		simulated: deps.Simulated,
		version:   deps.Version,
	}

	if deps.TCP != nil {
		a.serve(service, deps.TCP, config.Clients, grpc.Creds(credentials.NewTLS(deps.TLS)))
	}

	if deps.Unix != nil {
		a.serve(service, deps.Unix, nil)
	}

	return a, nil
}

// serve adds a server.
func (a *Agent) serve(service *quoteService, listener net.Listener, rules []ClientRule, options ...grpc.ServerOption) {
	options = append(options, grpc.MaxRecvMsgSize(maxRequest), grpc.UnaryInterceptor(authorizeUnary(rules)),
		grpc.StreamInterceptor(authorizeStream(rules, a.stopping)))
	server := grpc.NewServer(options...)
	agentv1.RegisterQuoteServiceServer(server, service)
	healthv1.RegisterHealthServer(server, a.health)
	a.servers = append(a.servers, listening{server, listener})
}

// Ready says why quotes can't be made now; nil if they can.
func (a *Agent) Ready() error {
	return a.tpm.State().Err
}

// Run serves until ctx ends. Calls under way are then finished, for up to ten seconds. It returns nil after an orderly end, with the listeners closed.
func (a *Agent) Run(ctx context.Context) error {
	// The TPM is needed for as long as calls are drained.
	tpmCtx, releaseTPM := context.WithCancel(context.WithoutCancel(ctx))
	defer releaseTPM()

	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.tpm.Run(tpmCtx) })

	for _, server := range a.servers {
		a.deps.Logger.Info("listening", "address", server.listener.Addr().String())
		group.Go(func() error {
			if err := server.Serve(server.listener); err != nil {
				return fmt.Errorf("serving %s: %w", server.listener.Addr(), err)
			}

			return nil
		})
	}

	group.Go(func() error {
		<-groupCtx.Done()
		a.drain()
		releaseTPM()

		return nil
	})

	return group.Wait()
}

// drain lets calls under way finish, but not for ever.
func (a *Agent) drain() {
	a.deps.Logger.Info("stopping")
	a.health.Shutdown()
	close(a.stopping)

	late := time.AfterFunc(drainFor, func() {
		for _, server := range a.servers {
			server.Stop()
		}
	})
	defer late.Stop()

	for _, server := range a.servers {
		server.GracefulStop()
	}
}

// stateChanged tells everybody who asks for the agent's health.
func (a *Agent) stateChanged(state tpm.State) {
	serving := healthv1.HealthCheckResponse_SERVING
	if state.Err != nil {
		serving = healthv1.HealthCheckResponse_NOT_SERVING
	}

	a.health.SetServingStatus("", serving)
	a.health.SetServingStatus(agentv1.QuoteService_ServiceDesc.ServiceName, serving)
	a.metrics.setReady(state.Err == nil)
}

func sources(configs []LogConfig) []logs.Source {
	var list []logs.Source
	for _, c := range configs {
		list = append(list, logs.Source{Name: c.Source, Path: c.Path})
	}

	return list
}

// bootID returns the kernel's boot id, empty if it can't be read.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}

	return strings.TrimSpace(string(id))
}
