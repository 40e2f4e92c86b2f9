package publish

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/trustpool/trustpool/server/api"
)

const (
	// callTimeout bounds one question to the attestation server, and one write to the sink; readTimeout one reading of the whole sink.
	callTimeout = 10 * time.Second
	readTimeout = 30 * time.Second
	// maxCuts is how often one reading of the sink is cut short and begun anew.
	maxCuts = 5
	// hungAfter is how long the loop may give no sign of life until only a restart can help: all that it does in between is bounded by less.
	hungAfter = time.Minute
	// startGrace is how long a publisher that has just begun leaves marks that it found, though the server has not answered it yet.
	startGrace = 5 * time.Second
)

// Server is the attestation server, as a publisher asks it. An api.Client is one.
type Server interface {
	// QueryHosts returns an answer for each of the names, in their order.
	QueryHosts(ctx context.Context, names []string) ([]api.Host, error)
	// Events is one stream of what happens after a generation; api.FromNow: from now on. It ends with an error.
	Events(ctx context.Context, after int64) iter.Seq2[api.Event, error]
}

// Deps are what a Publisher works with.
type Deps struct {
	Sink   Sink
	Server Server
	Logger *slog.Logger
	// Metrics are those that NewMetrics registered.
	Metrics *Metrics
	// OnStatus, if set, gets a line for systemctl status whenever it changes.
	OnStatus func(line string)
	// DryRun has nothing written; what would be is in the Report.
	DryRun bool
}

// Publisher keeps a sink as the attestation server's verdicts want it.
type Publisher struct {
	config Config
	Deps
	clock func() instant
	news  *news

	running chan struct{}
	beat    atomic.Int64 // the last sign of life, in time since start
	mu      sync.Mutex
	lastErr error // why the last full reconcile was not whole; guarded by mu

	// All below belong to the loop.
	hosts     map[string]*host    // by the sink's names
	nodes     map[string][]string // names in the sink by those of nodes
	ids       map[string]string   // what the sink's names were first seen to belong to: State.ID
	strangers map[string]bool     // nodes that the sink does not know
	answered  bool                // the server has answered once
	lastGood  time.Duration       // when the last good answer was asked for
	stale     bool                // it was said that nobody is trusted any more
	wrong     map[string]string   // what was said to be wrong
	status    string
}

// instant is a moment by two clocks: the one that everybody shares and anybody may set, and one that only goes on.
type instant struct {
	wall time.Time
	mono time.Duration
}

// New returns a Publisher by a valid config.
func New(config Config, deps Deps) *Publisher {
	start := time.Now()
	return &Publisher{
		config: config, Deps: deps, news: newNews(), running: make(chan struct{}),
		clock: func() instant { return instant{wall: time.Now().Round(0), mono: time.Since(start)} },
		hosts: make(map[string]*host), nodes: make(map[string][]string), ids: make(map[string]string), strangers: make(map[string]bool), wrong: make(map[string]string),
		lastErr: errors.New("nothing was reconciled yet"),
	}
}

// Run publishes until ctx ends. What the sink shows then stays: Withdraw takes it away.
func (p *Publisher) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return p.listen(ctx) })
	group.Go(func() error { return p.loop(ctx) })
	return group.Wait()
}

func (p *Publisher) loop(ctx context.Context) error {
	ticker := time.NewTicker(p.config.Interval)
	defer ticker.Stop()
	p.full(ctx)
	close(p.running)
	for ctx.Err() == nil {
		p.alive()
		lapse := time.NewTimer(p.untilLapse())
		select {
		case <-ctx.Done():
		case <-ticker.C:
			p.full(ctx)
		case <-p.news.wake:
			p.heard(ctx)
		case <-lapse.C:
			p.settle(ctx)
		}
		lapse.Stop()
	}
	return nil
}

// alive says that the loop turns.
func (p *Publisher) alive() { p.beat.Store(int64(p.clock().mono)) }

// Running is closed once all hosts were reconciled for the first time, or that was tried.
func (p *Publisher) Running() <-chan struct{} { return p.running }

// Hung says why the process should be restarted; nil if it need not be.
func (p *Publisher) Hung() error {
	if silent := p.clock().mono - time.Duration(p.beat.Load()); silent > hungAfter {
		return fmt.Errorf("nothing was reconciled for %s", silent.Round(time.Second))
	}
	return nil
}

// Ready says what keeps the sink from being as it should be; nil if nothing does.
func (p *Publisher) Ready() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lastErr
}
