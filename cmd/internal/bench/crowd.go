package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/trustpool/trustpool/verifier/client"
)

// crowdPlan is so many callers, each with a connection and a name of its own, who ask again as soon as they have their answer.
type crowdPlan struct {
	kind    string
	delay   time.Duration
	callers int
	rounds  int
	// alone and together are how long a round lasts in which each asks for a quote of his own, and one in which he takes part in one for all.
	alone, together time.Duration
}

// crowd measures many callers at a time.
func (b *bench) crowd(ctx context.Context, _ *stage) error {
	for _, plan := range b.crowds {
		fmt.Fprintf(b.progress, "  %d callers, %s, +%s\n", plan.callers, plan.kind, plan.delay)

		result, err := b.oneCrowd(ctx, plan)
		if err != nil {
			return fmt.Errorf("%d callers: %w", plan.callers, err)
		}

		b.results.addCrowd(plan, result)
	}

	return nil
}

// crowdResult is what rounds of both ways gave.
type crowdResult struct {
	alone, together []tally
}

// tally is one round.
type tally struct {
	perSecond float64
	times     []time.Duration // of all calls that ended
	// daemon and callers are the CPU time that a call took of each, verification of the replies apart.
	daemon, callers time.Duration
}

// oneCrowd measures one size of a crowd, both ways on a node of their own, in rounds that take turns.
func (b *bench) oneCrowd(ctx context.Context, plan crowdPlan) (result crowdResult, err error) {
	s := &stage{bench: b}
	defer func() { err = errors.Join(err, s.close()) }()

	alone, err := s.callers(ctx, plan)
	if err != nil {
		return result, err
	}

	together, err := s.callers(ctx, plan)
	if err != nil {
		return result, err
	}

	for range plan.rounds {
		for _, i := range rand.Perm(2) { //nolint:gosec // an order, no secret
			if i == 0 {
				t, err := alone.round(ctx, client.QuoteOptions{}, plan.alone)
				if err != nil {
					return result, err
				}

				result.alone = append(result.alone, t)

				continue
			}

			t, err := together.round(ctx, client.QuoteOptions{AcceptAggregation: true}, plan.together)
			if err != nil {
				return result, err
			}

			result.together = append(result.together, t)
		}
	}

	return result, nil
}

// callers are connected to one node.
type callers struct {
	node    *node
	clients []*client.Client
	delay   time.Duration
}

// callers starts a node and connects a crowd to it, eight at a time: more would be taken for a flood of handshakes.
func (s *stage) callers(ctx context.Context, plan crowdPlan) (*callers, error) {
	n, err := s.node(ctx, plan.kind, plan.delay > 0, plan.delay)
	if err != nil {
		return nil, err
	}

	crowd := &callers{node: n, delay: plan.delay}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(8)

	for i := range plan.callers {
		c, err := s.caller(n, i)
		if err != nil {
			return nil, err
		}

		crowd.clients = append(crowd.clients, c)
		group.Go(func() error { return connect(groupCtx, c) })
	}

	return crowd, group.Wait()
}

// connect makes the connection of a client. Where the machine is too busy for a handshake in time, the node closes it, and it is tried again: after
// some time, as gRPC does not dial again at once.
func connect(ctx context.Context, c *client.Client) error {
	const tries = 5

	for try := 1; ; try++ {
		_, err := c.Capabilities(ctx)
		if status.Code(err) != codes.Unavailable || try == tries {
			return err
		}

		if err := pause(ctx, 2*time.Second); err != nil {
			return err
		}
	}
}

// answer is one call that ended.
type answer struct {
	at, took time.Duration // since the round began; of the call
	reply    client.Reply
	options  client.QuoteOptions
}

// round has the crowd ask for as long as the window. Every reply is verified, after the round: the callers' own work shall not be what is measured.
func (c *callers) round(ctx context.Context, o client.QuoteOptions, window time.Duration) (tally, error) {
	meter, err := startMeter(c.node)
	if err != nil {
		return tally{}, err
	}

	answers, err := c.ask(ctx, o, window)
	if err != nil {
		return tally{}, err
	}

	ours, theirs, err := meter.read()
	if err != nil {
		return tally{}, err
	}

	// The daemon has done with those who left once somebody who comes now is answered.
	if _, err := quote(ctx, c.clients[0], client.QuoteOptions{}); err != nil {
		return tally{}, err
	}

	if err := checkAll(answers); err != nil {
		return tally{}, err
	}

	t, err := count(answers, c.warmUp(window))
	if err != nil {
		return tally{}, err
	}

	t.callers, t.daemon = ours/time.Duration(len(answers)), theirs/time.Duration(len(answers))

	return t, nil
}

// ask returns the answers of a round. What is asked within the window is answered too, unless the callers stand in line one by one: those leave then. A node that
// aggregates has as much time again, and a second.
func (c *callers) ask(ctx context.Context, o client.QuoteOptions, window time.Duration) ([]answer, error) {
	limit := window
	if o.AcceptAggregation {
		limit += window + time.Second
	}

	// No deadline: a node refuses at once what it can't answer in time.
	calls, cancel := context.WithCancel(ctx)
	defer cancel()

	late := time.AfterFunc(limit, cancel)
	defer late.Stop()

	var (
		mu      sync.Mutex
		answers []answer
		group   errgroup.Group
		began   = time.Now()
	)

	for _, one := range c.clients {
		group.Go(func() error {
			for time.Since(began) < window {
				o := o
				o.Nonce = newNonce()
				asked := time.Now()

				reply, err := one.Quote(calls, o)
				if err != nil && calls.Err() != nil && ctx.Err() == nil && !o.AcceptAggregation {
					return nil
				}

				if err != nil {
					return err
				}

				mu.Lock()
				answers = append(answers, answer{time.Since(began), time.Since(asked), reply, o})
				mu.Unlock()
			}

			return nil
		})
	}

	err := group.Wait()

	return answers, err
}

// warmUp is how much of a round does not count: until the crowd has found its pace. On a slow TPM it ends in the middle of a quote.
func (c *callers) warmUp(window time.Duration) time.Duration {
	if c.delay > 0 {
		return c.delay * 5 / 2
	}

	return window / 5
}

// count takes the rate from the last answer in the warm-up, or the begin of the round, to the last of all.
func count(answers []answer, warmUp time.Duration) (tally, error) {
	slices.SortFunc(answers, func(a, b answer) int { return int(a.at - b.at) })

	var (
		t     tally
		since time.Duration
	)

	for _, a := range answers {
		if a.at <= warmUp {
			since = a.at

			continue
		}

		t.times = append(t.times, a.took)
	}

	if len(t.times) == 0 {
		return tally{}, fmt.Errorf("no answer after the first %s of a round", warmUp)
	}

	t.perSecond = float64(len(t.times)) / (answers[len(answers)-1].at - since).Seconds()

	return t, nil
}

// checkAll runs the verifier on every reply.
func checkAll(answers []answer) error {
	var group errgroup.Group

	for part := range slices.Chunk(answers, len(answers)/runtime.GOMAXPROCS(0)+1) {
		group.Go(func() error {
			for _, a := range part {
				if err := checkReply(a.reply, a.options); err != nil {
					return err
				}
			}

			return nil
		})
	}

	return group.Wait()
}
