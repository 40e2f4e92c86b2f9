package page

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/trust"
)

// Bounds of what is shown at a glance.
const (
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

// NotTrusted counts those that are untrusted or unknown.
func (c poolCount) NotTrusted() int { return c.Untrusted + c.Unknown }

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

// glance returns what there is to see. What is counted may be as old as a Census.
func (p *Page) glance(ctx context.Context, now time.Time) (*glance, error) {
	s := p.config.Store
	census, err := s.Census(ctx)
	if err != nil {
		return nil, err
	}
	pools, err := s.Pools(ctx)
	if err != nil {
		return nil, err
	}
	drafts, err := s.Sets(ctx, store.SetFilter{State: trust.Draft})
	if err != nil {
		return nil, err
	}
	inForce, err := s.Sets(ctx, store.SetFilter{State: trust.InForce})
	if err != nil {
		return nil, err
	}
	g := &glance{At: census.At, Generation: census.Generation, Refused: census.Refused, Unknown: census.Unknown}
	g.Drafts = drafts
	g.Ending = slices.DeleteFunc(inForce, func(set trust.Set) bool { return set.ValidUntil.IsZero() || set.ValidUntil.After(now.Add(soonEnds)) })
	g.count(pools, census.Counts)
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
