package publish

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"
)

// withdrawals is how often Withdraw tries.
const withdrawals = 3

// Withdraw takes all marks from all hosts, whatever the attestation server says, and if so told lifts the bars that publishers have set. It tries each host several times and tells of each the last that
// it did; an error says that marks may be left. Publishers that run go on, and set them again.
func (p *Publisher) Withdraw(ctx context.Context, bars bool) (Report, error) {
	report, err := p.withdraw(ctx, bars)
	for range withdrawals - 1 {
		if err == nil {
			break
		}
		select {
		case <-ctx.Done():
			return report, errors.Join(err, ctx.Err())
		case <-time.After(time.Second):
		}
		var again Report
		again, err = p.withdraw(ctx, bars)
		report = again.after(report)
	}
	return report, err
}

func (p *Publisher) withdraw(ctx context.Context, bars bool) (Report, error) {
	if err := p.read(ctx, readTimeout); err != nil {
		return Report{DryRun: p.DryRun, Changes: []Change{}, Unread: true}, err
	}
	var takes []*change
	for _, name := range slices.Sorted(maps.Keys(p.hosts)) {
		h := p.hosts[name]
		want := State{Bar: h.shown.Bar, Reason: "withdrawn", Held: h.shown.Held, ID: h.shown.ID}
		if bars && !h.shown.Held {
			want.Bar = NoBar
		}
		if !same(h.shown, want) {
			takes = append(takes, &change{name: name, host: h, from: h.shown, to: want, trust: h.trust(p.clock(), p.config.MaxAge), urgent: true})
		}
	}
	report := Report{Hosts: len(p.hosts), DryRun: p.DryRun}
	p.writeAll(ctx, takes, bounds{math.MaxInt64, math.MaxInt64}) // nothing is more urgent
	report.add(takes)
	if n := report.failed(); n > 0 {
		return report, fmt.Errorf("%d hosts could not be written, and may still bear marks; the first: %s", n, report.firstError())
	}
	return report, ctx.Err()
}

// Once reconciles once. A server that does not answer is asked again for a few seconds; if it still does not, no host is trusted, and the error says so.
func (p *Publisher) Once(ctx context.Context) (Report, error) {
	for {
		last := p.clock().mono >= startGrace
		report := p.full(ctx)
		if p.answered || len(p.hosts) == 0 || last || ctx.Err() != nil {
			report.Unmarked = p.unmarked()
			return report, errors.Join(report.err, ctx.Err())
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}
