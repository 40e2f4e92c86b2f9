package publish

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"math/bits"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/trustpool/trustpool/server/api"
)

// maxPause is the longest pause before something is given again to a host that could not be written.
const maxPause = time.Minute

// change is a write.
type change struct {
	name     string
	host     *host
	trust    api.Trust
	from, to State
	// urgent: something is taken away.
	urgent bool
	err    error
	// skipped: it can wait, and something else can't.
	skipped bool
}

// takes tells whether the write takes something away: marks, or the way in.
func (c *change) takes() bool {
	return len(lacking(c.from.Marks, c.to.Marks)) > 0 || c.to.Bar > c.from.Bar || c.host.unsure && c.trust != api.Trusted
}

// settle writes what differs from what should be, by what is known now. What takes trust away goes first.
func (p *Publisher) settle(ctx context.Context) Report {
	p.sayStale()
	now := p.clock()
	report := Report{Hosts: len(p.hosts), DryRun: p.DryRun}
	counts := make(map[api.Trust]int)
	until := bounds{lapse: now.mono + p.untilLapse(), due: now.mono + p.config.Interval}
	var takes, again, gives []*change
	for _, name := range slices.Sorted(maps.Keys(p.hosts)) {
		h := p.hosts[name]
		t := h.trust(now, p.config.MaxAge)
		counts[t]++
		if !p.answered && now.mono < startGrace {
			continue // the publisher before this one may have known better
		}
		want := p.config.want(h, t)
		if !slices.Equal(want.Marks, h.marks) {
			h.marks, h.since = want.Marks, now.mono
		}
		c := &change{name: name, host: h, trust: t, from: h.shown, to: want}
		c.urgent = c.takes()
		switch {
		case same(h.shown, want) && !h.unsure:
			h.fails = 0
		case c.urgent && h.fails == 0:
			takes = append(takes, c)
		case c.urgent:
			again = append(again, c)
		case now.mono >= h.retry && h.asked.mono >= h.read:
			gives = append(gives, c)
		default: // Another publisher may have taken away, for a reason that the server had not told when this one asked it, what the last reading does not show any more.
			report.behind++
		}
	}
	// A host that takes long to fail keeps others waiting once, not in each round; of those, each has its turn.
	slices.SortStableFunc(again, func(a, b *change) int { return cmp.Compare(a.host.fails, b.host.fails) })
	for _, changes := range [][]*change{takes, again, gives} {
		p.writeAll(ctx, changes, until)
	}
	report.add(takes, again, gives)
	p.tell(counts)
	return report
}

// writeAll writes several hosts at a time.
func (p *Publisher) writeAll(ctx context.Context, changes []*change, until bounds) {
	if p.DryRun {
		return
	}
	var group errgroup.Group
	group.SetLimit(p.config.Concurrency)
	for i, c := range changes {
		group.Go(func() error {
			p.write(ctx, c, i < p.config.Concurrency, until)
			return nil // each has its own error
		})
	}
	_ = group.Wait()
	for _, c := range changes {
		p.written(ctx, c)
	}
	if slices.ContainsFunc(changes, func(c *change) bool { return c.skipped }) {
		p.news.again()
	}
}

// bounds are when something lapses that is shown, and when the next full reconcile is due.
type bounds struct{ lapse, due time.Duration }

// write writes one host. What can wait is left off as soon as something lapses, or may have happened, that can't: what gives, and what takes from a host that failed before. Some of them, the early, are
// written whatever happens, so that a flood of news does not keep hosts waiting for ever.
func (p *Publisher) write(ctx context.Context, c *change, early bool, until bounds) {
	now, limit, again := p.clock(), callTimeout, c.urgent && c.host.fails > 0
	if !c.urgent || again {
		limit = min(limit, until.lapse-now.mono)
		c.skipped = limit <= 0 || !early && (p.news.waiting() || again && now.mono >= until.due)
	}
	ended := !c.urgent && c.host.trust(now, p.config.MaxAge) != c.trust // while others were written
	if c.skipped = c.skipped || ended || ctx.Err() != nil; c.skipped {
		return
	}
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	c.err = p.Sink.Write(within, c.name, c.to)
	p.alive()
}

// written notes what became of a write.
func (p *Publisher) written(ctx context.Context, c *change) {
	log := p.Logger.With("host", c.name, "trust", c.trust, "reason", c.to.Reason)
	switch {
	case c.skipped:
		return
	case c.err == nil:
		told := c.tell()
		log.Info("published", "marks", told.Marks, "bar", told.Bar)
		c.host.shown, c.host.unsure, c.host.fails, c.host.before = c.to, false, 0, nil
	case errors.Is(c.err, ErrNoHost):
		p.gone(c.name)
		p.index()
	case ctx.Err() != nil:
		return // told to stop
	default:
		p.failed(c, log)
	}
	p.Metrics.written(c)
}

// failed has a write tried again: what takes something away in each round, what gives something after ever longer pauses.
func (p *Publisher) failed(c *change, log *slog.Logger) {
	h := c.host
	h.unsure = true
	h.fails++
	h.retry = p.clock().mono + min(p.config.Interval<<min(h.fails-1, 8), maxPause)
	if bits.OnesCount(uint(h.fails)) == 1 {
		log.Warn("a host could not be written", "failures", h.fails, "error", c.err)
	}
}

// sayStale says once that the server has not answered for so long that nobody is trusted.
func (p *Publisher) sayStale() {
	now := p.clock()
	stale := len(p.hosts) > 0 && now.mono-p.lastGood >= p.config.MaxAge
	if stale && !p.stale {
		p.Logger.Error("no host is trusted any more: the attestation server has not answered for max_age", "max_age", p.config.MaxAge.String())
	}
	p.stale = stale
}
