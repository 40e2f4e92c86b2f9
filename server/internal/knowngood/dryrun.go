package knowngood

import (
	"context"
	"fmt"
	"time"

	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/trust"
)

// Bounds of a dry run: of the nodes that are read at once, of the logs that are kept in memory, and of the nodes that are listed.
const (
	dryRunPage = 100
	maxLogs    = 64 << 20
	// MaxListed is how many nodes an Effect lists of each kind. It counts all.
	MaxListed = 1000
)

// Change is what would be done, all at once.
type Change struct {
	// Approve are the names of drafts that would be put in force, Retire those of sets that would end.
	Approve, Retire []string
	// Sets would be made and put in force at once; they need not be in the database.
	Sets []trust.Set
	// Pools would be as they are here.
	Pools []trust.Pool
}

// Turned is a node whose verdict would turn, or can't be told.
type Turned struct {
	Node, Pool string
	// Before and After are the verdicts on the same evidence, by what is in force and by what would be.
	Before, After trust.Verdict
	// QuotedAt is when the nonce of that evidence was made.
	QuotedAt time.Time
}

// Effect is what a change would do to the nodes of the pools that it touches.
type Effect struct {
	// Pools are those that it touches.
	Pools []string
	// Judged counts the nodes whose evidence was judged; Trusted and Untrusted of them stay what they are.
	Judged, Trusted, Untrusted int
	// Condemned counts nodes that are trusted and would not be, Pardoned the opposite. Undecided counts those of which the stored evidence does not tell: it lacks a PCR that would be demanded, or is not whole.
	Condemned, Pardoned, Undecided int
	// WithoutEvidence counts active nodes that have none, Idle those that are not active.
	WithoutEvidence, Idle int
	// CondemnedNodes, PardonedNodes and UndecidedNodes list them by pool and name, at most MaxListed of each.
	CondemnedNodes, PardonedNodes, UndecidedNodes []Turned
}

// DryRun judges the newest evidence of each node that a change touches twice: by what is in force, and by what would be. It changes nothing and asks nobody. One runs at a time, the others wait; its cost grows with the
// nodes of the pools that are touched.
func (t *Tools) DryRun(ctx context.Context, c Change, now time.Time) (Effect, error) {
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-ctx.Done():
		return Effect{}, fmt.Errorf("waiting for another dry run: %w", ctx.Err())
	}

	plans, err := t.plan(ctx, c)
	if err != nil {
		return Effect{}, fmt.Errorf("planning a dry run: %w", err)
	}
	var effect Effect
	logs := make(store.Logs)
	for _, p := range plans {
		effect.Pools = append(effect.Pools, p.before.Pool.Name)
		if err := t.runPool(ctx, &effect, p, logs, now); err != nil {
			return Effect{}, fmt.Errorf("judging the nodes of the pool %s: %w", p.before.Pool.Name, err)
		}
	}
	return effect, nil
}

// runPool judges all nodes of a pool, a page at a time.
func (t *Tools) runPool(ctx context.Context, effect *Effect, p *plan, logs store.Logs, now time.Time) error {
	filter := store.HostFilter{Pool: p.before.Pool.Name, Limit: dryRunPage}
	for {
		forget(logs)
		page, err := t.store.Newest(ctx, filter, logs)
		if err != nil {
			return err
		}
		for i := range page {
			if err := ctx.Err(); err != nil {
				return err
			}
			effect.add(&page[i], p, now)
		}
		if len(page) < dryRunPage {
			return nil
		}
		filter.After = page[len(page)-1].Node.Name
	}
}

// forget drops the logs if there are too many.
func forget(logs store.Logs) {
	size := 0
	for _, raw := range logs {
		size += len(raw)
	}
	if size > maxLogs {
		clear(logs)
	}
}

// add judges one node twice, and counts what becomes of it.
func (e *Effect) add(n *store.NodeEvidence, p *plan, now time.Time) {
	switch {
	case n.Node.State != trust.Active:
		e.Idle++
		return
	case n.Evidence == nil:
		e.WithoutEvidence++
		return
	}
	before, after := p.judge(n, now)
	turned := Turned{Node: n.Node.Name, Pool: n.Node.Pool, Before: before, After: after, QuotedAt: n.Evidence.QuotedAt}

	e.Judged++
	was, is := before.Level == trust.Trusted, after.Level == trust.Trusted
	switch {
	case !is && unclear(before, after):
		e.Undecided++
		e.UndecidedNodes = listed(e.UndecidedNodes, turned)
	case was && is:
		e.Trusted++
	case was:
		e.Condemned++
		e.CondemnedNodes = listed(e.CondemnedNodes, turned)
	case is:
		e.Pardoned++
		e.PardonedNodes = listed(e.PardonedNodes, turned)
	default:
		e.Untrusted++
	}
}

// unclear tells whether the evidence says nothing of what would be: a PCR is not in it that would be demanded, or a log is gone.
func unclear(before, after trust.Verdict) bool {
	return after.Reason == trust.PCRMissing || before.Reason == trust.QuoteInvalid
}

func listed(nodes []Turned, one Turned) []Turned {
	if len(nodes) == MaxListed {
		return nodes
	}
	return append(nodes, one)
}
