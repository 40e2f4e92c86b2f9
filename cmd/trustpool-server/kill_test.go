package main

import (
	"context"
	"flag"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/tpmsim"
)

// kills is how often the server is killed.
var kills = flag.Int("kills", 6, "how often the server is killed under load")

// TestAKilledServerLosesNothing kills the real server at different moments while it asks real nodes and answers callers, and looks what it knows when it is back: nothing that it had told anybody may
// be gone, no verdict wrong, and no node may wait for the end of a lease.
func TestAKilledServerLosesNothing(t *testing.T) {
	t.Parallel()

	const interval = 2 * time.Second
	x := newSite(t, 5, interval, "")
	x.start(t)
	x.furnish(t)
	w := &witness{site: x, changes: make(map[int64]api.Change), tokens: make(map[string]bool)}
	x.waitUntil(t, "all nodes are trusted", w.allRight)
	x.nodes[4].reboot(t, tpmsim.OtherHypervisor)
	x.waitUntil(t, "the other hypervisor is seen", w.allRight)

	for round := range *kills {
		load := w.load(t)
		<-time.After(time.Duration(round) * 331 * time.Millisecond % interval) // the moment is what is varied, nothing is waited for
		x.kill()
		load()

		if round%2 == 1 { // killed again while it starts
			x.start(t)
			<-time.After(time.Duration(round) * 23 * time.Millisecond)
			x.kill()
		}
		if round%3 == 2 { // a node boots something else meanwhile
			x.nodes[3].reboot(t, []tpmsim.Scenario{tpmsim.NoLaunch, tpmsim.Trusted}[round/3%2])
		}

		x.start(t)
		x.waitUntil(t, "the server answers", func(ctx context.Context) bool {
			_, err := x.client.Caller(ctx)
			return err == nil
		})
		back := time.Now()
		w.nothingLost(t)
		x.waitUntil(t, "each node was asked after the return", func(ctx context.Context) bool { return w.allSince(ctx, back) })
		if took := time.Since(back); took > inTime {
			t.Errorf("round %d: a node was not attested for %s after the return", round, took)
		}
		x.waitUntil(t, "all verdicts are right", w.allRight)
	}
	if code := x.stop(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if len(w.changes) == 0 || len(w.tokens) == 0 {
		t.Errorf("there was no load: %d changes heard, %d tokens made", len(w.changes), len(w.tokens))
	}
	t.Logf("%d kills: %d answers checked, %d changes and %d tokens remembered", *kills, w.answers, len(w.changes), len(w.tokens))
}

// witness remembers what the server said.
type witness struct {
	*site

	mu      sync.Mutex
	answers int                  // guarded by mu, as all below
	changes map[int64]api.Change // by generation
	tokens  map[string]bool
}

// check tells whether a verdict is not wrong: one on what a node has booted now has to know it.
func (w *witness) check(h api.Host) error {
	w.mu.Lock()
	w.answers++
	w.mu.Unlock()
	for _, n := range w.nodes {
		if n.name != h.Node {
			continue
		}
		good, known := n.knows(h.QuotedAt)
		if known && (good && h.Trust == api.Untrusted || !good && h.Trust == api.Trusted) {
			return fmt.Errorf("%s is %s (%s), and what it booted is good: %t", h.Node, h.Trust, h.Detail, good)
		}
		return nil
	}
	return fmt.Errorf("%s is gone", h.Host)
}

// allRight tells whether each node's verdict is what it has to be.
func (w *witness) allRight(ctx context.Context) bool {
	hosts, err := w.client.QueryHosts(ctx, w.names())
	if err != nil {
		return false
	}
	for i, n := range w.nodes {
		good, known := n.knows(hosts[i].QuotedAt)
		if !known || good != (hosts[i].Trust == api.Trusted) || !good && hosts[i].Trust != api.Untrusted {
			return false
		}
	}
	return true
}

// allSince tells whether each node was asked after a time.
func (w *witness) allSince(ctx context.Context, back time.Time) bool {
	hosts, err := w.client.QueryHosts(ctx, w.names())
	if err != nil {
		return false
	}
	for _, h := range hosts {
		if !h.QuotedAt.After(back) {
			return false
		}
	}
	return true
}

// load asks, changes and listens until what it returns is called. Calls fail once the server is dead; what it answered before has to be right.
func (w *witness) load(t *testing.T) (end func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var busy sync.WaitGroup
	for range 3 {
		busy.Go(func() { w.ask(ctx, t) })
	}
	busy.Go(func() { w.administrate(ctx) })
	busy.Go(func() { w.listen(ctx) })
	return func() {
		cancel()
		busy.Wait()
	}
}

func (w *witness) ask(ctx context.Context, t *testing.T) {
	for ctx.Err() == nil {
		hosts, err := w.client.QueryHosts(ctx, w.names())
		if err != nil {
			continue
		}
		for _, h := range hosts {
			if err := w.check(h); err != nil {
				t.Error(err)
			}
		}
	}
}

// administrate makes tokens, and remembers those that the server said it has made.
func (w *witness) administrate(ctx context.Context) {
	for ctx.Err() == nil {
		name := fmt.Sprintf("token-%d", time.Now().UnixNano())
		if _, err := w.client.AddToken(ctx, api.TokenSpec{Name: name, Role: "reader"}); err == nil {
			w.mu.Lock()
			w.tokens[name] = true
			w.mu.Unlock()
		}
	}
}

// listen remembers each change that it hears of.
func (w *witness) listen(ctx context.Context) {
	for event, err := range w.client.Events(ctx, 1) {
		if err != nil {
			return
		}
		if event.Kind == api.EventVerdict {
			w.mu.Lock()
			w.changes[event.Generation] = event.Change
			w.mu.Unlock()
		}
	}
}

// nothingLost compares what the server knows with what it had said.
func (w *witness) nothingLost(t *testing.T) {
	t.Helper()

	if check, err := w.client.CheckAdminLog(t.Context()); err != nil || !check.Intact {
		t.Errorf("the admin log: %+v, %v", check, err)
	}
	tokens, err := w.client.Tokens(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	have := make(map[string]bool)
	for _, token := range tokens {
		have[token.Name] = true
	}
	for name := range w.tokens {
		if !have[name] {
			t.Errorf("the token %s is gone", name)
		}
	}
	known := make(map[int64]api.Change)
	for _, n := range w.nodes {
		for change, err := range w.client.History(t.Context(), n.name) {
			if err != nil {
				t.Fatal(err)
			}
			known[change.Generation] = change
		}
	}
	for generation, said := range w.changes {
		if now, there := known[generation]; !there || now.Node != said.Node || now.Trust != said.Trust || !now.QuotedAt.Equal(said.QuotedAt) {
			t.Errorf("change %d was %+v, now it is %+v", generation, said, now)
		}
	}
}
