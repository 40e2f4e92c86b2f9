//go:build fleet

package fleettest_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/trustpool/trustpool/server/api"
)

// truth is what is so, against which the server's answers are held.
type truth struct {
	within time.Duration // of a change, the server has to know it

	mu      sync.Mutex
	nodes   map[string]*fact
	served  time.Time // when the present server was ready; zero while there is none
	wrong   []string
	answers int
	delays  map[string][]time.Duration // by what happened: how long it was until the server knew
}

// fact is what is so of one node.
type fact struct {
	// good: what it has booted is to be trusted. on: its agent runs. network: the server can reach it.
	good, on, network bool
	// what happened to it last, and when that was over; zero: it is happening.
	what  string
	since time.Time
	// known: the server has told it since.
	known bool
	// last is what the server said last.
	last api.Verdict
}

func newTruth(nodes []string, within time.Duration) *truth {
	t := &truth{within: within, nodes: make(map[string]*fact), delays: make(map[string][]time.Duration)}
	for _, n := range nodes {
		t.nodes[n] = &fact{good: true, on: true, network: true, what: "start", since: time.Now(), known: true}
	}

	return t
}

// begins says that something happens to a node, and returns how it was; false: it can't yet, since something else does.
func (t *truth) begins(node, what string) (was fact, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()

	f := t.nodes[node]
	if !f.settled() {
		return fact{}, false
	}

	was = *f
	f.what, f.since, f.known = what, time.Time{}, false

	return was, true
}

// settled tells whether the server knows what happened last.
func (f *fact) settled() bool { return f.known && !f.since.IsZero() }

// happened says that it has.
func (t *truth) happened(node string, good, on, network bool) {
	t.mu.Lock()
	defer t.mu.Unlock()

	f := t.nodes[node]
	f.good, f.on, f.network, f.since = good, on, network, time.Now()
}

// server says that a server is ready, or that there is none. A new one knows no verdict until it has asked.
func (t *truth) server(ready bool) {
	t.mu.Lock()
	defer t.mu.Unlock()

	t.served = time.Time{}
	if ready {
		t.served = time.Now()
	}
}

// hold holds an answer against what is so. asked is when the question was put.
func (t *truth) hold(host api.Host, asked time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()

	f := t.nodes[host.Host]
	f.last = host.Verdict
	t.answers++

	if f.since.IsZero() || asked.Before(f.since) || t.served.IsZero() {
		return // it was changing
	}

	// Whatever the delays, a quote made after a bad boot is never trusted.
	if host.Trust == api.Trusted && !f.good && host.QuotedAt.After(f.since) {
		t.wrong = append(t.wrong, fmt.Sprintf("%s: %s, and trusted by a quote of %s later", host.Host, f.what, host.QuotedAt.Sub(f.since)))
	}

	if right(f, host) {
		if !f.known {
			f.known = true
			t.delays[f.what] = append(t.delays[f.what], asked.Sub(f.since))
		}

		return
	}

	begun := f.since
	if f.since.Before(t.served) {
		begun = t.served
	}

	if late := asked.Sub(begun); late > t.within {
		t.wrong = append(t.wrong, fmt.Sprintf("%s: %s, and %s later %s (%s: %s)", host.Host, f.what, late.Round(time.Millisecond), host.Trust, host.Reason, host.Detail))
		f.since = time.Now() // said once for each time that is allowed
	}
}

// right tells whether a verdict is as the node is: a good one that can be asked is trusted, a bad one that can be asked untrusted, and no other trusted.
func right(f *fact, host api.Host) bool {
	switch {
	case !f.on || !f.network:
		return host.Trust != api.Trusted
	case f.good:
		return host.Trust == api.Trusted
	default:
		return host.Trust == api.Untrusted
	}
}

// report tells how long the server took to know what.
func (t *truth) report() string {
	t.mu.Lock()
	defer t.mu.Unlock()

	var b strings.Builder
	fmt.Fprintf(&b, "%d answers held against the truth, %d wrong\n%-28s %6s %9s %9s\n", t.answers, len(t.wrong), "what happened", "times", "median s", "worst s")

	for _, what := range sortedKeys(t.delays) {
		d := t.delays[what]
		slices.Sort(d)
		fmt.Fprintf(&b, "%-28s %6d %9.2f %9.2f\n", what, len(d), d[len(d)/2].Seconds(), d[len(d)-1].Seconds())
	}

	return b.String()
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}

	slices.SortFunc(keys, cmp.Compare)

	return keys
}
