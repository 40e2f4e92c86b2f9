package publish_test

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trustpool/trustpool/internal/transcript"
	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/publish"
)

// inPool is what trusted hosts bear.
const inPool = "TRUSTED"

// memory is a sink that fails, hangs and is changed by others as a test wants it. What a real one makes of a State, the sinks' own tests show.
type memory struct {
	mu      sync.Mutex
	states  map[string]publish.State // guarded by mu, as all below
	written []string                 // "host: marks bar", in the order of the writes
	reads   int
	readErr error
	slow    time.Duration // that a reading takes
	// fail says what becomes of a write. It may wait for the context; the host is written if it returns nil.
	fail func(ctx context.Context, host string) error
}

// Read implements publish.Sink.
func (m *memory) Read(ctx context.Context) (map[string]publish.State, error) {
	m.mu.Lock()
	slow := m.slow
	m.mu.Unlock()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(slow):
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reads++
	if m.readErr != nil {
		return nil, m.readErr
	}
	return maps.Clone(m.states), ctx.Err()
}

// Write implements publish.Sink.
func (m *memory) Write(ctx context.Context, host string, want publish.State) error {
	m.mu.Lock()
	fail := m.fail
	m.mu.Unlock()
	if fail != nil {
		if err := fail(ctx, host); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, there := m.states[host]; !there {
		return publish.ErrNoHost
	}
	m.states[host] = publish.State{Marks: want.Marks, Bar: want.Bar, Held: m.states[host].Held, ID: m.states[host].ID}
	m.written = append(m.written, fmt.Sprintf("%s: %s", host, text(want)))
	return nil
}

// set has somebody else write a host.
func (m *memory) set(host string, marks ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.states[host] = publish.State{Marks: marks}
}

// do changes the sink.
func (m *memory) do(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
}

// shows is one host: its marks, and its bar if it has one; "gone" if the sink does not know it.
func (m *memory) shows(host string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, there := m.states[host]
	if !there {
		return "gone"
	}
	return text(s)
}

// took returns the writes since the last call.
func (m *memory) took() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	written := m.written
	m.written = nil
	return written
}

func text(s publish.State) string {
	words := slices.Clone(s.Marks)
	if s.Bar != publish.NoBar {
		words = append(words, s.Bar.String())
	}
	return strings.Join(words, " ")
}

// oracle is an attestation server that answers what a test wants: what the real one answers, TestVerdictsOfARealServerArePublished shows.
type oracle struct {
	mu    sync.Mutex
	hosts map[string]api.Host // by the sink's name; guarded by mu, as all below
	err   error
	// garble changes an answer.
	garble func([]api.Host) []api.Host
	asked  int
	hang   bool

	events chan api.Event
}

// QueryHosts implements publish.Server.
func (o *oracle) QueryHosts(ctx context.Context, names []string) ([]api.Host, error) {
	o.mu.Lock()
	hang := o.hang
	o.mu.Unlock()
	if hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked++
	if o.err != nil {
		return nil, o.err
	}
	var hosts []api.Host
	for _, name := range names {
		h, there := o.hosts[name]
		if !there {
			h.Verdict = api.Verdict{Trust: api.Unknown, Reason: "unknown_host"}
		}
		h.Host = name
		if !h.ExpiresAt.IsZero() && !time.Now().Before(h.ExpiresAt) {
			h.Trust, h.Reason = api.Unknown, "stale"
		}
		hosts = append(hosts, h)
	}
	if o.garble != nil {
		hosts = o.garble(hosts)
	}
	return hosts, nil
}

// Events implements publish.Server.
func (o *oracle) Events(ctx context.Context, _ int64) iter.Seq2[api.Event, error] {
	return func(yield func(api.Event, error) bool) {
		for {
			select {
			case <-ctx.Done():
				yield(api.Event{}, ctx.Err())
				return
			case e := <-o.events:
				if !yield(e, nil) {
					return
				}
			}
		}
	}
}

// is has a host be what it is from now on, for validity. Nobody is told.
func (o *oracle) is(host string, trust api.Trust, validity time.Duration) api.Change {
	o.mu.Lock()
	defer o.mu.Unlock()
	h := o.hosts[host]
	generation := h.Generation + 1
	h = api.Host{Node: host + ".example", Pool: "gold", Verdict: api.Verdict{
		Trust: trust, Reason: map[api.Trust]string{api.Trusted: "ok", api.Untrusted: "pcr_mismatch", api.Unknown: "no_quote"}[trust],
		ChangedAt: time.Now(), ExpiresAt: time.Now().Add(validity), Generation: generation,
	}}
	o.hosts[host] = h
	return api.Change{Node: h.Node, Pool: h.Pool, Verdict: h.Verdict}
}

// do changes what it answers.
func (o *oracle) do(change func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change()
}

// world is a publisher with all that is around it.
type world struct {
	*memory
	*oracle
	config   publish.Config
	registry *prometheus.Registry
	metrics  *publish.Metrics
	said     *transcript.Text

	told int64 // changes
}

// inWorld runs a test in a world of its own, where time passes only while everybody waits.
func inWorld(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newWorld()) })
}

// newWorld has the hosts a and b, which are trusted for an hour, c, which is untrusted, and d, of which the server knows nothing.
func newWorld() *world {
	w := &world{
		memory: &memory{states: make(map[string]publish.State)}, oracle: &oracle{hosts: make(map[string]api.Host), events: make(chan api.Event)},
		config: publish.DefaultConfig(inPool, ""), registry: prometheus.NewRegistry(), said: &transcript.Text{},
	}
	for _, host := range []string{"a", "b", "c", "d"} {
		w.states[host] = publish.State{}
	}
	w.is("a", api.Trusted, time.Hour)
	w.is("b", api.Trusted, time.Hour)
	w.is("c", api.Untrusted, time.Hour)
	w.metrics = publish.NewMetrics(w.registry)
	return w
}

func (w *world) deps() publish.Deps {
	return publish.Deps{Sink: w.memory, Server: w.oracle, Logger: slog.New(slog.NewTextHandler(w.said, nil)), Metrics: w.metrics}
}

// run runs a publisher until the test's end.
func (w *world) run(t *testing.T) *publish.Publisher {
	t.Helper()
	p := publish.New(w.config, w.deps())
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("running: %v", err)
		}
	})
	return p
}

// pass lets time pass, and all be done that is done then.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// tell has the server tell of a change, and waits until all is done that is done then.
func (w *world) tell(change api.Change) {
	w.told++
	w.events <- api.Event{Kind: api.EventVerdict, Generation: w.told, Change: change}
	synctest.Wait()
}

// refuse has the sink not write a host.
func (w *world) refuse(host string, err error) {
	w.fail = func(_ context.Context, asked string) error {
		if asked == host {
			return err
		}
		return nil
	}
}

// expect fails unless a host shows that now.
func (w *world) expect(t *testing.T, host, want string) {
	t.Helper()
	if got := w.shows(host); got != want {
		t.Errorf("at %s %s shows %q, want %q", time.Now().Format(time.TimeOnly), host, got, want)
	}
}

// metric is the value of a counter or gauge; label is that of its labels that matters, or "".
func (w *world) metric(t *testing.T, name, label string) float64 {
	t.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != "trustpool_publisher_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			matches := label == ""
			for _, l := range m.GetLabel() {
				matches = matches || l.GetValue() == label
			}
			if matches {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}
