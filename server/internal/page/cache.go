package page

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/trust"
)

// Bounds of what is shown at a glance.
const (
	maxCauses = 8
	maxEach   = 6
	maxAlarms = 100
	// soonEnds is how long before its end a set is mentioned.
	soonEnds = 14 * 24 * time.Hour
)

// glance is the whole cloud at one moment.
type glance struct {
	At         time.Time
	Generation int64
	Pools      []poolCount
	All        poolCount
	Refused    []store.Trouble
	Unknown    []store.Trouble
	// Drafts wait for approval, Ending are in force and end soon, or have ended.
	Drafts, Ending []trust.Set
}

// poolCount is a pool with how many of its nodes are what.
type poolCount struct {
	trust.Pool
	Trusted, Untrusted, Unknown int
}

// Total counts all nodes.
func (c poolCount) Total() int { return c.Trusted + c.Untrusted + c.Unknown }

// NotRefused counts those that are trusted or unknown: where the untrusted begin in a bar.
func (c poolCount) NotRefused() int { return c.Trusted + c.Unknown }

// levelCount is one of a pool's numbers.
type levelCount struct {
	Pool  string
	Level trust.Level
	Nodes int
}

// Counts are its numbers.
func (c poolCount) Counts() []levelCount {
	return []levelCount{{c.Name, trust.Trusted, c.Trusted}, {c.Name, trust.Untrusted, c.Untrusted}, {c.Name, trust.Unknown, c.Unknown}}
}

func (c *poolCount) add(level trust.Level, nodes int) {
	switch level {
	case trust.Trusted:
		c.Trusted += nodes
	case trust.Untrusted:
		c.Untrusted += nodes
	default:
		c.Unknown += nodes
	}
}

// cache keeps the last glance for a while: to count 100,000 nodes costs the database half a second, and many browsers may be looking. The more it costs, the longer it is kept.
type cache struct {
	turn  chan struct{} // who has it may look at the database and change what follows
	last  *glance
	until time.Time
}

// A glance is kept for ten times as long as it took, so that looking takes a tenth of one connection at most, and never for longer than keepMost.
const (
	keepTimes = 10
	keepMost  = 10 * time.Second
)

func newCache() *cache { return &cache{turn: make(chan struct{}, 1)} }

// glance returns what there is to see, which may be as old as the cache allows.
func (p *Page) glance(ctx context.Context, now time.Time) (*glance, error) {
	c := p.seen
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if c.last != nil && now.Before(c.until) {
		return c.last, nil
	}
	began := time.Now()
	g, err := p.takeGlance(ctx, began)
	if err != nil {
		return nil, err
	}
	ended := time.Now()
	c.last, c.until = g, ended.Add(min(keepTimes*ended.Sub(began), keepMost))
	return g, nil
}

// takeGlance asks the database.
func (p *Page) takeGlance(ctx context.Context, now time.Time) (*glance, error) {
	s, g := p.config.Store, &glance{At: now}
	var errs [7]error
	g.Generation, errs[0] = s.LastGeneration(ctx) // first: what changes from now on may be missing
	counts, err := s.Counts(ctx, now)
	errs[1] = err
	g.Refused, errs[2] = s.Troubles(ctx, trust.Untrusted, maxCauses, maxEach, now)
	g.Unknown, errs[3] = s.Troubles(ctx, trust.Unknown, maxCauses, maxEach, now)
	pools, err := s.Pools(ctx)
	errs[4] = err
	drafts, err := s.Sets(ctx, store.SetFilter{State: trust.Draft})
	errs[5] = err
	inForce, err := s.Sets(ctx, store.SetFilter{State: trust.InForce})
	errs[6] = err
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}

	g.Drafts = drafts
	g.Ending = slices.DeleteFunc(inForce, func(set trust.Set) bool { return set.ValidUntil.IsZero() || set.ValidUntil.After(now.Add(soonEnds)) })
	g.count(pools, counts)
	return g, nil
}

// count gives each pool its numbers, the pools with trouble first.
func (g *glance) count(pools []trust.Pool, counts []store.Count) {
	for _, pool := range pools {
		g.Pools = append(g.Pools, poolCount{Pool: pool})
	}
	for _, c := range counts {
		g.All.add(c.Level, c.Nodes)
		if i := slices.IndexFunc(g.Pools, func(have poolCount) bool { return have.Name == c.Pool }); i >= 0 {
			g.Pools[i].add(c.Level, c.Nodes)
		}
	}
	slices.SortStableFunc(g.Pools, func(a, b poolCount) int {
		return cmp.Or(cmp.Compare(b.Untrusted, a.Untrusted), cmp.Compare(b.Unknown, a.Unknown), cmp.Compare(a.Name, b.Name))
	})
}

func (g *glance) pool(name string) (poolCount, bool) {
	i := slices.IndexFunc(g.Pools, func(p poolCount) bool { return p.Name == name })
	if i < 0 {
		return poolCount{}, false
	}
	return g.Pools[i], true
}
