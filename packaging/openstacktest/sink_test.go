//go:build openstack

package openstacktest_test

import (
	"errors"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/server/publish"
)

// sink is the one under test, and how often it met a conflict.
type sink struct {
	publish.Sink

	conflicts *atomic.Int64
}

// openSink opens the sink of a configuration. It publishes trait, unless other marks are named.
func openSink(t testing.TB, config *publish.PlacementFile, marks ...string) sink {
	t.Helper()

	if len(marks) == 0 {
		marks = []string{trait}
	}

	s := sink{conflicts: &atomic.Int64{}}

	opened, err := config.Open(publish.Env{
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)), Marks: marks, ReadFile: os.ReadFile, Conflict: func() { s.conflicts.Add(1) },
	})
	if err != nil {
		t.Fatal(err)
	}

	s.Sink = opened

	return s
}

// configure returns the configuration of a publisher for a Placement without Keystone.
func (n noauth) configure() *publish.PlacementFile {
	f := publish.DefaultPlacementFile()
	f.Placement.AllowNoAuthentication = true
	f.Placement.Endpoint = n.URL
	f.Placement.Timeout = siteLimit

	return f
}

func (s sink) read(t testing.TB) map[string]publish.State {
	t.Helper()

	states, err := s.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	return withoutIDs(states)
}

// withoutIDs leaves the states' IDs out, which are the providers' UUIDs.
func withoutIDs(states map[string]publish.State) map[string]publish.State {
	for host, state := range states {
		state.ID = ""
		states[host] = state
	}

	return states
}

func (s sink) write(t testing.TB, host string, marks ...string) {
	t.Helper()

	if err := s.Write(t.Context(), host, publish.State{Marks: marks}); err != nil {
		t.Fatal(err)
	}
}

func TestTraitDecidesWhichHostsAreCandidates(t *testing.T) {
	t.Parallel()

	p := noauth{startPlacement(t)}
	for _, host := range []string{"compute1", "compute2", "compute3"} {
		p.addHost(t, host, "HW_CPU_X86_VMX", "COMPUTE_NODE")
	}

	s := openSink(t, p.configure())

	want := map[string]publish.State{"compute1": {}, "compute2": {}, "compute3": {}}
	if diff := cmp.Diff(want, s.read(t)); diff != "" {
		t.Errorf("read at first (-want +got):\n%s", diff)
	}

	if got := p.candidates(t, trait); len(got) != 0 {
		t.Errorf("nobody is trusted, and candidates are %v", got)
	}

	s.write(t, "compute1", trait)
	s.write(t, "compute3", trait)

	if got := p.candidates(t, trait); !slices.Equal(got, []string{"compute1", "compute3"}) {
		t.Errorf("compute1 and compute3 are trusted, and candidates are %v", got)
	}

	if got := p.traits(t, "compute1").Traits; !slices.Equal(got, []string{"COMPUTE_NODE", trait, "HW_CPU_X86_VMX"}) {
		t.Errorf("traits of compute1 are %v", got)
	}

	want["compute1"], want["compute3"] = publish.State{Marks: []string{trait}}, publish.State{Marks: []string{trait}}
	if diff := cmp.Diff(want, s.read(t)); diff != "" {
		t.Errorf("read after writing (-want +got):\n%s", diff)
	}

	s.write(t, "compute1")

	if got := p.candidates(t, trait); !slices.Equal(got, []string{"compute3"}) {
		t.Errorf("only compute3 is trusted, and candidates are %v", got)
	}

	if got := p.traits(t, "compute1").Traits; !slices.Equal(got, []string{"COMPUTE_NODE", "HW_CPU_X86_VMX"}) {
		t.Errorf("traits of compute1 are %v", got)
	}

	if got := p.candidates(t); len(got) != 3 {
		t.Errorf("a guest that asks for no trust has the candidates %v", got)
	}
}

func TestWriteOfWhatIsThereIsNone(t *testing.T) {
	t.Parallel()

	p := noauth{startPlacement(t)}
	p.addHost(t, "compute1", "COMPUTE_NODE")

	var writes atomic.Int64

	s := openSink(t, p.behind(t, func(_ http.ResponseWriter, r *http.Request) bool {
		if isTraitWrite(r, "compute1") {
			writes.Add(1)
		}

		return false
	}))
	s.read(t)
	s.write(t, "compute1", trait)
	s.write(t, "compute1", trait)

	if got := writes.Load(); got != 1 {
		t.Errorf("Placement was written to %d times, want once", got)
	}
}

func TestLastTraitIsTakenAway(t *testing.T) {
	t.Parallel()

	p := noauth{startPlacement(t)}
	p.addHost(t, "compute1")

	s := openSink(t, p.configure())
	s.read(t)
	s.write(t, "compute1", trait)
	s.write(t, "compute1")

	if got := p.traits(t, "compute1").Traits; len(got) != 0 {
		t.Errorf("traits are %v", got)
	}
}

func TestEachPoolHasItsTrait(t *testing.T) {
	t.Parallel()

	const gold, silver = "CUSTOM_TRUSTED_GOLD", "CUSTOM_TRUSTED_SILVER"

	p := noauth{startPlacement(t)}
	p.addHost(t, "compute1")
	p.addHost(t, "compute2")

	s := openSink(t, p.configure(), gold, silver)
	s.read(t)
	s.write(t, "compute1", gold, silver)
	s.write(t, "compute2", silver)

	want := map[string]publish.State{"compute1": {Marks: []string{gold, silver}}, "compute2": {Marks: []string{silver}}}
	if diff := cmp.Diff(want, s.read(t)); diff != "" {
		t.Errorf("read (-want +got):\n%s", diff)
	}

	if got := p.candidates(t, gold); !slices.Equal(got, []string{"compute1"}) {
		t.Errorf("candidates for gold are %v", got)
	}
}

func TestTraitOfProviderInsideNodeIsTakenAway(t *testing.T) {
	t.Parallel()

	p := noauth{startPlacement(t)}
	p.addHost(t, "compute1")
	p.addProvider(t, "compute1_gpu", "compute1")
	p.addProvider(t, "compute1_port", "compute1")

	s := openSink(t, p.configure())
	s.read(t)
	p.setTraits(t, "compute1_gpu", trait)

	gpu := "compute1_gpu inside " + uuidOf("compute1")

	want := map[string]publish.State{"compute1": {}, gpu: {Marks: []string{trait}}}
	if diff := cmp.Diff(want, s.read(t)); diff != "" {
		t.Errorf("read (-want +got):\n%s", diff)
	}

	if err := s.Write(t.Context(), gpu, publish.State{Marks: []string{trait}}); !errors.Is(err, publish.ErrNoHost) {
		t.Errorf("marking a provider inside a node: %v, want ErrNoHost", err)
	}

	s.write(t, gpu)

	if got := p.traits(t, "compute1_gpu").Traits; len(got) != 0 {
		t.Errorf("its traits are %v", got)
	}
}

func TestHostThatIsGoneIsNoHost(t *testing.T) {
	t.Parallel()

	p := noauth{startPlacement(t)}
	p.addHost(t, "compute1")

	s := openSink(t, p.configure())
	s.read(t)
	must(t, http.StatusNoContent, http.MethodDelete, p.of("compute1"), asAdmin, nil, nil)

	for _, host := range []string{"compute1", "never-was"} {
		if err := s.Write(t.Context(), host, publish.State{Marks: []string{trait}}); !errors.Is(err, publish.ErrNoHost) {
			t.Errorf("writing %s: %v, want ErrNoHost", host, err)
		}
	}

	if got := s.read(t); len(got) != 0 {
		t.Errorf("read: %v", got)
	}
}

func TestTraitIsCreatedAgain(t *testing.T) {
	t.Parallel()

	p := noauth{startPlacement(t)}
	p.addHost(t, "compute1")

	s := openSink(t, p.configure())
	s.read(t)
	must(t, http.StatusNoContent, http.MethodDelete, p.URL+"/traits/"+trait, asAdmin, nil, nil)

	if states, err := s.Read(t.Context()); err == nil {
		t.Errorf("reading without the trait gives %v; Placement should have refused it", states)
	}

	s.read(t)
	s.write(t, "compute1", trait)
}

func TestNothingIsCreatedWhereNothingIsWritten(t *testing.T) {
	t.Parallel()

	const other = "CUSTOM_TRUSTED_GOLD"

	p := noauth{startPlacement(t)}
	p.addHost(t, "compute1")

	s := openSink(t, p.configure())
	s.read(t)
	s.write(t, "compute1", trait)

	opened, err := p.configure().Open(publish.Env{Logger: slog.New(slog.DiscardHandler), Marks: []string{other, trait}, ReadFile: os.ReadFile, CreateNothing: true})
	if err != nil {
		t.Fatal(err)
	}

	want := map[string]publish.State{"compute1": {Marks: []string{trait}}}
	if diff := cmp.Diff(want, sink{Sink: opened}.read(t)); diff != "" {
		t.Errorf("read (-want +got):\n%s", diff)
	}

	if status, _ := request(t, http.MethodGet, p.URL+"/traits/"+other, asAdmin, nil); status != http.StatusNotFound {
		t.Errorf("Placement knows %s, by status %d", other, status)
	}
}
