package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/trustpool/trustpool/server/internal/challenge"
	"github.com/trustpool/trustpool/server/internal/ear"
	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/server/internal/webhook"
)

// Deps are what the program around a Server gives to it.
type Deps struct {
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	// TLS is the server's side. If its VerifyConnection is set, it is asked again at each request whether a client certificate still counts.
	TLS *tls.Config
	// NodeTLS gives the client certificate and the CAs for connections to nodes, each time that one is made.
	NodeTLS func() (*tls.Config, error)
	// NodeSVID, in place of NodeTLS with nodes.spiffe, gives the config for calling who has a SPIFFE ID: the same one until connections have to be made anew.
	NodeSVID func(id string) (*tls.Config, error)
	// Challenger, if not nil, is asked instead of the nodes' agents; then no node is enrolled. It is for benchmarks, and changes nothing of the judging.
	Challenger challenge.Challenger
	// ReadFile reads a small file that the config names, and knows what credential:NAME means. Nil: os.ReadFile.
	ReadFile func(path string) ([]byte, error)
	// Build names the program and its version, for signed verdicts. Empty: trustpool-server.
	Build string
	// OnStatus, if not nil, is told in a line how the server fares, at each change.
	OnStatus func(line string)
}

// Listeners are where callers come in. Those that are nil are not served.
type Listeners struct {
	// TCP is served with Deps.TLS; Unix and Loopback are served without TLS.
	TCP, Unix, Loopback net.Listener
}

// Server is an attestation server. Make one with New, and run it.
type Server struct {
	config   Config
	deps     Deps
	lock     *lock
	store    *store.Store
	agents   *challenge.Agents // nil with Deps.Challenger
	schedule *challenge.Schedule
	ring     *ear.Ring
	issuer   *ear.Issuer
	webhooks *webhook.Hooks
	handler  http.Handler
	metrics  *metrics
	pulse    pulse
	running  chan struct{}
	stopping chan struct{}
}

// New opens the database, which it locks against other servers if it is a file, and puts a server together. The caller runs it, or closes it.
func New(ctx context.Context, config Config, deps Deps) (*Server, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	deps.ReadFile = orDisk(deps.ReadFile)
	deps.Build = cmp.Or(deps.Build, "trustpool-server")
	s := &Server{config: config, deps: deps, running: make(chan struct{}), stopping: make(chan struct{})}
	var err error
	if !store.IsURL(config.Database) { // which several servers share
		if s.lock, err = lockDatabase(config.Database); err != nil {
			return nil, err
		}
	}
	if s.store, err = store.Open(ctx, config.Database); err != nil {
		return nil, errors.Join(err, s.lock.release())
	}
	s.metrics = newMetrics(deps.Registerer, s.store, s.Ready)
	s.newSchedule()
	s.webhooks = s.newWebhooks()
	if err := s.newIssuer(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if s.handler, err = s.newHandler(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// newSchedule makes what asks the nodes.
func (s *Server) newSchedule() {
	nodes := s.config.Nodes
	deps := challenge.Deps{Store: s.store, Challenger: s.deps.Challenger, Logger: s.deps.Logger, Registerer: s.deps.Registerer}
	if deps.Challenger == nil {
		hurry := func(ctx context.Context, name string) error { return s.schedule.Hurry(ctx, name) }
		s.agents = challenge.NewAgents(s.peer(), hurry, s.deps.Logger)
		deps.Challenger, deps.Enroll = s.agents, s.agents.Enroll(nodes.roots)
	}
	s.schedule = challenge.New(challenge.Config{
		Interval: nodes.Interval, Validity: nodes.Validity, Timeout: nodes.Timeout, Concurrency: nodes.Concurrency,
		Retention: store.Retention{History: s.config.Retention.History, LogBytes: s.config.Retention.LogBytes},
	}, deps)
}

// peer tells how nodes' agents are known.
func (s *Server) peer() func(*trust.Node) (challenge.Peer, error) {
	nodes := s.config.Nodes
	if !nodes.SPIFFE.Enabled() {
		return challenge.ByHostName(s.deps.NodeTLS)
	}
	id := func(node *trust.Node) (string, bool, error) {
		return nodes.SPIFFE.NodeID(nodes.SPIFFE.NodeIDs, node.Name, node.ServerName)
	}
	return challenge.ByURI(id, s.deps.NodeSVID)
}

// Close gives up what New took. Run does it by itself.
func (s *Server) Close() error {
	var err error
	if s.agents != nil {
		err = s.agents.Close()
	}
	return errors.Join(err, s.store.Close(), s.lock.release())
}

// Run asks nodes and answers callers until ctx ends. Then it takes no more calls, lets those under way finish for a while, stores what nodes have answered, and closes the listeners and the database.
func (s *Server) Run(ctx context.Context, listeners Listeners) error {
	var doors []*http.Server
	group, ctx := errgroup.WithContext(ctx)
	calls, hangUp := context.WithCancel(context.WithoutCancel(ctx)) // of the requests: they end after the doors are shut
	defer hangUp()
	for _, d := range s.doors(listeners) {
		server := s.newHTTP(calls)
		doors = append(doors, server)
		group.Go(func() error { return serve(server, d) })
	}
	group.Go(func() error { return s.schedule.Run(ctx) })
	group.Go(func() error {
		s.follow(ctx)
		return nil
	})
	group.Go(func() error {
		s.pulse.run(ctx, s.store)
		return nil
	})
	group.Go(func() error {
		s.webhooks.Run(ctx)
		return nil
	})
	group.Go(func() error {
		s.tell(ctx)
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		return s.drain(doors, hangUp)
	})
	s.deps.Logger.Info("attesting nodes", "interval", s.config.Nodes.Interval.String(), "validity", s.config.Nodes.Validity.String(), "database", store.Redacted(s.config.Database))
	close(s.running)
	return errors.Join(group.Wait(), s.Close())
}

// drainTime is how long requests under way may take at the end.
const drainTime = 10 * time.Second

// drain shuts the doors. Streams of events are ended at once: their readers come back.
func (s *Server) drain(doors []*http.Server, hangUp func()) error {
	s.deps.Logger.Info("shutting down")
	close(s.stopping)
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	var (
		shut errgroup.Group
		mu   sync.Mutex
		errs []error
	)
	for _, door := range doors {
		shut.Go(func() error {
			if err := door.Shutdown(ctx); err != nil {
				hangUp()
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, fmt.Errorf("callers were cut off: %w", err), door.Close())
			}
			return nil
		})
	}
	_ = shut.Wait() // never fails
	if err := errors.Join(errs...); err != nil {
		s.deps.Logger.Warn("requests took too long to finish", "error", err)
	}
	return nil
}
