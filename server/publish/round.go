package publish

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/trustpool/trustpool/server/api"
)

// full reads the whole sink, asks for all its hosts, and writes what differs. What fails does not keep the rest from being done: without an answer the last ones count until they end, and without a
// reading what was last known of the sink.
func (p *Publisher) full(ctx context.Context) Report {
	began := p.clock()
	readErr := p.look(ctx)
	askErr := p.ask(ctx, slices.Sorted(maps.Keys(p.hosts)))
	if readErr == nil && askErr == nil {
		p.lookForForeign()
	}
	report := p.settle(ctx)
	report.Unread = readErr != nil
	if ctx.Err() != nil {
		return report // what failed, failed by that
	}

	p.Metrics.reconciled(began.wall, p.clock().mono-began.mono, readErr, askErr, report.behind)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lastErr = errors.Join(readErr, askErr)
	if report.behind > 0 {
		p.lastErr = errors.Join(p.lastErr, fmt.Errorf("%d hosts are not as they should be, of which %d could not be written just now", report.behind, report.failed()))
	}
	report.err = p.lastErr
	return report
}

// errLapse says that the sink was not read to its end since something lapsed.
var errLapse = errors.New("something lapsed while the sink was read")

// look reads the sink. What lapses meanwhile is taken away then, whoever keeps us waiting, and the sink is read anew; but not for ever.
func (p *Publisher) look(ctx context.Context) error {
	for range maxCuts {
		if err := p.read(ctx, min(readTimeout, p.untilLapse())); !errors.Is(err, errLapse) {
			return err
		}
		p.settle(ctx)
	}
	return p.read(ctx, readTimeout)
}

// read takes over what the sink shows. It returns errLapse, which is no fault of the sink, if it took longer than a limit that is below readTimeout.
func (p *Publisher) read(ctx context.Context, limit time.Duration) error {
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	began := p.clock().mono
	states, err := p.Sink.Read(within)
	p.alive()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil && limit < readTimeout && within.Err() != nil {
		return errLapse
	}
	if err != nil {
		err = fmt.Errorf("reading the sink: %w", err)
		p.Metrics.is("sink", err)
		p.said("sink", err)
		return err
	}
	p.Metrics.is("sink", nil)
	p.said("sink", nil)
	for name := range p.hosts {
		if _, there := states[name]; !there {
			p.gone(name)
		}
	}
	for name, state := range states {
		h := p.hosts[name]
		switch {
		case h == nil:
			h = &host{since: p.clock().mono, first: true}
			p.hosts[name] = h
		case h.unsure:
			h.before, h.first = nil, false
		default:
			before := h.shown
			h.before, h.first = &before, false
		}
		h.shown, h.unsure, h.read = state, false, began
		p.identify(name, h)
	}
	p.index()
	return nil
}

// ask asks the server for hosts by the sink's names.
func (p *Publisher) ask(ctx context.Context, names []string) error {
	if len(names) == 0 {
		p.Metrics.is("server", nil) // as far as anybody needs it
		return nil
	}
	within, cancel := context.WithTimeout(ctx, min(callTimeout, p.untilLapse()))
	defer cancel()
	asked := p.clock()
	answers, err := p.Server.QueryHosts(within, names)
	p.alive()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil && len(answers) != len(names) {
		err = fmt.Errorf("the attestation server gave %d answers on %d hosts", len(answers), len(names))
	}
	if err != nil {
		p.Metrics.is("server", err)
		p.said("server", err)
		return err
	}
	p.Metrics.is("server", nil)
	p.said("server", nil)
	p.answered, p.lastGood = true, asked.mono
	p.Metrics.lastAnswer.Set(float64(asked.wall.UnixMilli()) / 1000)
	over := 0
	for i, name := range names {
		h := p.hosts[name]
		h.answer, h.asked = nil, asked
		if answers[i].Host == name {
			h.answer = &answers[i]
		}
		if answers[i].Trust == api.Trusted && !answers[i].TrustedAt(asked.wall) {
			over++
		}
	}
	p.sayClock(over)
	p.index()
	return nil
}

// sayClock tells of verdicts that were over when they came.
func (p *Publisher) sayClock(over int) {
	if over == 0 {
		p.said("clock", nil)
		return
	}
	p.said("clock", errors.New("verdicts that the server calls trusted are over by this machine's clock: compare the two clocks"))
}

// index finds hosts by their nodes. A node is one host: if two claim to be it, one of them is not, and nobody knows which.
func (p *Publisher) index() {
	clear(p.nodes)
	for name, h := range p.hosts {
		if h.answer != nil && h.answer.Node != "" {
			p.nodes[h.answer.Node] = append(p.nodes[h.answer.Node], name)
			delete(p.strangers, h.answer.Node)
		}
	}
	for name, h := range p.hosts {
		rival := ""
		if h.answer != nil && h.answer.Node != "" {
			for _, other := range p.nodes[h.answer.Node] {
				if other != name {
					rival = other
				}
			}
		}
		if rival != "" && h.rival == "" {
			p.alarm(alarmClaimedTwice, name, h, "two hosts claim to be one node, none of them is trusted: find out which is the node, and take the name from the other", "other", rival)
		}
		h.rival = rival
	}
}

// heard acts on what the stream of events has told: it asks for those hosts again.
func (p *Publisher) heard(ctx context.Context) {
	changes, all := p.news.take()
	var names []string
	for node, change := range changes {
		if p.strangers[node] {
			continue // until a full reconcile finds it
		}
		known := p.nodes[node]
		if len(known) == 0 {
			p.strangers[node] = true
			all = true
		}
		for _, name := range known {
			names = append(names, name)
			p.hosts[name].take(change)
		}
	}
	if all {
		p.full(ctx)
		return
	}
	if len(names) == 0 {
		return
	}
	slices.Sort(names)
	_ = p.ask(ctx, names) // it was said; what an event took away, it has taken already
	p.settle(ctx)
}

// take lets an event take trust away. It gives none: for that the server is asked.
func (h *host) take(change api.Change) {
	if h.answer == nil || change.Generation <= h.answer.Generation || change.Trust == api.Trusted {
		return
	}
	answer := *h.answer
	answer.Verdict = change.Verdict
	h.answer = &answer
}

// untilLapse is how long it takes until the next trusted host is trusted no more, if nothing is heard until then.
func (p *Publisher) untilLapse() time.Duration {
	now, wait := p.clock(), time.Hour
	if !p.answered && now.mono < startGrace {
		wait = startGrace - now.mono
	}
	for _, h := range p.hosts {
		if h.trust(now, p.config.MaxAge) == api.Trusted {
			wait = min(wait, h.ends(p.config.MaxAge)-now.mono)
		}
	}
	return max(wait, time.Millisecond)
}

// said logs what is wrong when it begins, and when it is over; nil: it is.
func (p *Publisher) said(what string, err error) {
	_, before := p.wrong[what]
	switch {
	case err == nil && before:
		p.Logger.Info("all is well again", "with", what)
		delete(p.wrong, what)
	case err != nil && !before:
		p.Logger.Warn("something is wrong", "with", what, "error", err)
		p.wrong[what] = err.Error()
	}
}
