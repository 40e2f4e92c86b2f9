// Package challenge asks nodes for evidence, each once an interval, and stores what comes of it.
//
// Nodes are claimed from the store when they are due. A pending node is enrolled, an active one gets a fresh nonce that is used once; trust.Policy judges the answer. A node that can't be
// reached keeps its verdict until that ends, and is asked again sooner than others; an answer that does not hold ends it at once. Nothing here decides who is trusted.
package challenge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/verifier"
)

// Challenger asks nodes for evidence: Agents does, and so does the load generator of the benchmarks. Calls for different nodes run at once.
type Challenger interface {
	// Challenge asks a node for a bound quote. An error that is a *RefusalError is the node's answer; any other says that there was none.
	Challenge(ctx context.Context, node *trust.Node, r Request) (verifier.Evidence, error)
}

// Request is what a node is asked with.
type Request struct {
	// Nonce is fresh and used for nothing else.
	Nonce []byte
	// Selection are the PCRs to quote.
	Selection []verifier.Selection
	// KnownLogs are the node's logs of the last time, by source: they need not be sent again.
	KnownLogs map[string][]byte
}

// RefusalError is an answer that is no evidence: the node says that it can't quote, or what it says is malformed.
type RefusalError struct {
	Reason trust.Reason
	Err    error
}

// Error gives the answer in words.
func (e *RefusalError) Error() string { return e.Err.Error() }

// Unwrap gives the error behind.
func (e *RefusalError) Unwrap() error { return e.Err }

// Enroller enrols a node at the level that is set for it. An error that is a *RefusalError says that the node did not pass; any other that it could not be asked.
type Enroller func(ctx context.Context, node *trust.Node, refused []verifier.Hex) (verifier.NodeRecord, trust.Suggestions, error)

// Config says how often and for how long.
type Config struct {
	// Interval is the time between two challenges of a node; each is up to a tenth earlier or later, so that nodes do not come all at once.
	Interval time.Duration
	// Validity is how long a verdict holds after its nonce was made.
	Validity time.Duration
	// Timeout bounds one challenge, from dialing to the last log.
	Timeout time.Duration
	// Concurrency is how many nodes are asked at a time.
	Concurrency int
	// Retention bounds what is kept.
	Retention store.Retention
}

// Deps are what a Schedule works with.
type Deps struct {
	Store      *store.Store
	Challenger Challenger
	// Enroll may be nil: then pending nodes stay pending.
	Enroll     Enroller
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Schedule challenges nodes. Make one with New, and run it.
type Schedule struct {
	config  Config
	deps    Deps
	metrics *metrics
	policy  policies
	logs    *logCache
	wake    chan struct{}
	away    rate.Sometimes // complaints about a database that is away

	mu    sync.Mutex
	memos map[int64]memo // guarded by mu
}

// memo is what is remembered of a node to save work; its loss does no harm.
type memo struct {
	sets     []string            // of the last good verdict
	logs     map[string][32]byte // digests by source
	failures int                 // in a row
}

// New returns a Schedule that Run sets going.
func New(config Config, deps Deps) *Schedule {
	return &Schedule{
		config: config, deps: deps, metrics: newMetrics(deps.Registerer, deps.Store), policy: policies{store: deps.Store, validity: config.Validity},
		logs: newLogCache(), wake: make(chan struct{}, 1), away: rate.Sometimes{Interval: 10 * time.Second}, memos: make(map[int64]memo),
	}
}

const (
	// tick is how often it is looked for nodes that are due.
	tick = 250 * time.Millisecond
	// claims bounds how many nodes are claimed in one transaction, and outcomes how many are recorded in one.
	claims   = 64
	outcomes = 128
	// grace is what a lease lasts beyond the timeout, and how long the last outcomes may take to be stored.
	grace = 20 * time.Second
)

// Wake has the schedule look at once whether a node is due.
func (s *Schedule) Wake() {
	select {
	case s.wake <- struct{}{}:
	default: // it is awake
	}
}

// Hurry makes a node due at once.
func (s *Schedule) Hurry(ctx context.Context, name string) error {
	if err := s.deps.Store.Hurry(ctx, name, time.Now()); err != nil {
		return err
	}
	s.Wake()
	return nil
}

// Run challenges nodes until ctx ends. What was answered by then is stored.
func (s *Schedule) Run(ctx context.Context) error {
	if _, err := s.deps.Store.EndLeases(ctx, time.Now()); err != nil {
		if ctx.Err() != nil {
			return nil // it ended before it began
		}
		return err
	}

	answered := make(chan store.Outcome)
	var recording errgroup.Group
	recording.Go(func() error {
		s.record(context.WithoutCancel(ctx), answered)
		return nil
	})

	var running errgroup.Group
	running.Go(func() error {
		s.dispatch(ctx, answered)
		return nil
	})
	running.Go(func() error {
		s.keepHouse(ctx)
		return nil
	})
	err := running.Wait()
	close(answered)
	return errors.Join(err, recording.Wait())
}

// dispatch claims nodes and asks them, as many at a time as allowed.
func (s *Schedule) dispatch(ctx context.Context, answered chan<- store.Outcome) {
	slots := make(chan struct{}, s.config.Concurrency)
	var asking sync.WaitGroup
	defer asking.Wait()

	for ctx.Err() == nil {
		free := acquire(ctx, slots)
		now, lease := time.Now(), s.config.Timeout+grace
		nodes, err := s.deps.Store.Claim(ctx, now, free, lease)
		if err != nil {
			s.complain(ctx, "nodes can't be claimed: verdicts will expire", err)
		}
		for range free - len(nodes) {
			<-slots
		}
		for i := range nodes {
			asking.Go(func() {
				o := s.ask(ctx, &nodes[i])
				o.Lease = now.Add(lease)
				answered <- o
				<-slots
			})
		}
		if len(nodes) == free {
			continue
		}
		select {
		case <-ctx.Done():
		case <-s.wake:
		case <-time.After(tick):
		}
	}
}

// acquire takes at least one slot, and more if there are.
func acquire(ctx context.Context, slots chan<- struct{}) int {
	select {
	case slots <- struct{}{}:
	case <-ctx.Done():
		return 0
	}
	for n := 1; n < claims; n++ {
		select {
		case slots <- struct{}{}:
		default:
			return n
		}
	}
	return claims
}

// record stores what nodes answered, many at a time, until answered is closed.
func (s *Schedule) record(ctx context.Context, answered <-chan store.Outcome) {
	for first := range answered {
		batch := []store.Outcome{first}
	more:
		for len(batch) < outcomes {
			select {
			case o, open := <-answered:
				if !open {
					break more
				}
				batch = append(batch, o)
			default:
				break more
			}
		}

		s.keep(ctx, batch)
	}
}

// keep stores outcomes, together if it can be: one that can't be stored shall not cost the others theirs.
func (s *Schedule) keep(ctx context.Context, batch []store.Outcome) {
	err := s.storeInTime(ctx, batch)
	if err == nil {
		return
	}
	if len(batch) > 1 && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, store.ErrUnavailable) {
		for i := range batch {
			s.keep(ctx, batch[i:i+1])
		}
		return
	}
	// Fail closed: what is not stored is not renewed. The leases end by themselves.
	s.metrics.storeFailures.Inc()
	s.deps.Logger.Error("what nodes answered can't be stored: verdicts will expire", "nodes", len(batch), "error", err)
}

// storeInTime stores outcomes while their leases last. A database that is away may come back: without their outcomes, nodes are asked anew only when the leases have ended.
func (s *Schedule) storeInTime(ctx context.Context, batch []store.Outcome) error {
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	for {
		err := s.deps.Store.Record(ctx, batch)
		if !errors.Is(err, store.ErrUnavailable) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(tick):
		}
	}
}

// keepHouse ends verdicts that have expired, and removes what is past its time.
func (s *Schedule) keepHouse(ctx context.Context) {
	expiry := time.NewTicker(time.Second)
	defer expiry.Stop()
	prune := time.NewTicker(10 * time.Minute)
	defer prune.Stop()

	for {
		select {
		case <-ctx.Done():
			return
		case <-expiry.C:
			s.mindTheClock(ctx)
			s.takeOver(ctx)
			if n, err := s.deps.Store.ExpireVerdicts(ctx, time.Now(), 1000); err != nil {
				s.complain(ctx, "expired verdicts can't be noted; they are answered as unknown all the same", err)
			} else if n > 0 {
				s.deps.Logger.Warn("verdicts expired", "nodes", n)
			}
		case <-prune.C:
			pruned, err := s.deps.Store.Prune(ctx, s.config.Retention, time.Now())
			if err != nil {
				s.complain(ctx, "what is past its time can't be removed", err)
			} else if pruned.LogsOfEvidence > 0 {
				s.deps.Logger.Warn("event logs exceeded their quota: evidence that names them can't be judged again", "logs", pruned.LogsOfEvidence)
			}
		}
	}
}

// complain logs what fails. A database that is away has all fail, several times a second: that is said once in ten seconds.
func (s *Schedule) complain(ctx context.Context, what string, err error) {
	if ctx.Err() != nil {
		return
	}
	if errors.Is(err, store.ErrUnavailable) {
		s.away.Do(func() { s.deps.Logger.Error(what, "error", err) })
		return
	}
	s.deps.Logger.Error(what, "error", err)
}

// takeOver has the nodes asked at once that another server had claimed which is gone.
func (s *Schedule) takeOver(ctx context.Context) {
	if !s.deps.Store.IsShared() {
		return
	}
	if n, err := s.deps.Store.EndLeases(ctx, time.Now()); err != nil {
		s.complain(ctx, "the nodes of servers that are gone can't be taken over", err)
	} else if n > 0 {
		s.deps.Logger.Warn("another server is gone: the nodes that it was asking are asked at once", "nodes", n)
		s.Wake()
	}
}

// mindTheClock has nodes asked at once that would have been asked in time had the clock not been set back. Their trusted verdicts do not hold until then.
func (s *Schedule) mindTheClock(ctx context.Context) {
	now := time.Now()
	farthest := max(s.config.Interval*11/10, s.config.Timeout+grace) + trust.ClockSkew
	if n, err := s.deps.Store.Recall(ctx, now, now.Add(farthest)); err != nil {
		s.complain(ctx, "nodes that are due too late can't be asked at once", err)
	} else if n > 0 {
		s.deps.Logger.Warn("the clock was set back: nodes are asked at once", "nodes", n)
		s.Wake()
	}
}

// next is when a node is due that was asked at a time: an interval later, give or take a tenth.
func (s *Schedule) next(asked time.Time) time.Time {
	return asked.Add(time.Duration((0.9 + 0.2*rand.Float64()) * float64(s.config.Interval))) //nolint:gosec // spreads load, guards nothing
}

// retry is when a node is due that could not be asked: a second later, then two, four, up to an interval.
func (s *Schedule) retry(now time.Time, failures int) time.Time {
	wait := s.config.Interval
	if failures < 20 {
		wait = min(wait, time.Second<<failures)
	}
	return now.Add(time.Duration((0.9 + 0.2*rand.Float64()) * float64(wait))) //nolint:gosec // spreads load, guards nothing
}

// memo returns what is remembered of a node.
func (s *Schedule) memo(node int64) memo {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.memos[node]
}

func (s *Schedule) remember(node int64, m memo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.memos[node] = m
}

// policies keeps each pool's policy until the database has a newer one.
type policies struct {
	store    *store.Store
	validity time.Duration

	mu       sync.Mutex
	revision int64                   // guarded by mu
	pools    map[string]trust.Policy // of that revision; guarded by mu
}

func (p *policies) of(ctx context.Context, pool string) (*trust.Policy, error) {
	revision, err := p.store.PolicyRevision(ctx)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if revision != p.revision || p.pools == nil {
		p.revision, p.pools = revision, make(map[string]trust.Policy)
	}
	policy, have := p.pools[pool]
	if !have {
		if policy, err = p.store.Policy(ctx, pool); err != nil {
			return nil, fmt.Errorf("reading what decides: %w", err)
		}
		policy.Validity = p.validity
		p.pools[pool] = policy
	}
	return &policy, nil
}
