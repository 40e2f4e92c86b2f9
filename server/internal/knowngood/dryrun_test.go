package knowngood_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/server/internal/knowngood"
	"github.com/trustpool/trustpool/server/internal/nodetest"
	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/store/storetest"
	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/eventlog"
)

// now is when everything happens.
func now() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) }

func act() store.Act { return store.Act{By: "token:test", At: now()} }

// world is a cloud in which node1 booted the known hypervisor and node2 another one.
type world struct {
	*nodetest.Cloud
	tools *knowngood.Tools
}

func newWorld(t testing.TB) *world {
	t.Helper()
	s := storetest.New(t)
	cloud, err := nodetest.NewCloud(t.Context(), s, now())
	if err != nil {
		t.Fatal(err)
	}
	w := &world{Cloud: cloud, tools: knowngood.New(s)}
	w.add(t, "xen", "node1.example")
	w.add(t, "kvm", "node2.example")
	w.attest(t)
	return w
}

func (w *world) add(t testing.TB, hypervisor, name string) *nodetest.Soft {
	t.Helper()
	soft, err := w.Add(t.Context(), hypervisor, name)
	if err != nil {
		t.Fatal(err)
	}
	return soft
}

func (w *world) attest(t testing.TB) {
	t.Helper()
	if err := w.Attest(t.Context(), now(), time.Hour); err != nil {
		t.Fatal(err)
	}
}

func (w *world) dryRun(t testing.TB, c knowngood.Change) knowngood.Effect {
	t.Helper()
	effect, err := w.tools.DryRun(t.Context(), c, now())
	if err != nil {
		t.Fatal(err)
	}
	return effect
}

// capture learns the sets of a node.
func (w *world) capture(t testing.TB, node, prefix string) knowngood.Captured {
	t.Helper()
	captured, err := w.tools.Capture(t.Context(), act(), knowngood.Request{Node: node, Prefix: prefix, Parts: map[int]trust.Part{18: trust.Hypervisor}})
	if err != nil {
		t.Fatal(err)
	}
	return captured
}

// told is an effect without the verdicts, for comparison.
type told struct {
	Judged, Trusted, Untrusted      int
	Condemned, Pardoned, Undecided  []string
	Pools                           []string
	WithoutEvidence, IdleOrUnlisted int
}

func tell(e knowngood.Effect) told {
	names := func(nodes []knowngood.Turned) (all []string) {
		for _, n := range nodes {
			all = append(all, n.Node)
		}
		return all
	}
	return told{
		e.Judged, e.Trusted, e.Untrusted, names(e.CondemnedNodes), names(e.PardonedNodes), names(e.UndecidedNodes), e.Pools, e.WithoutEvidence,
		e.Idle + e.Condemned - len(e.CondemnedNodes) + e.Pardoned - len(e.PardonedNodes) + e.Undecided - len(e.UndecidedNodes),
	}
}

func TestADryRunSaysWhomAChangeWouldCondemnOrPardon(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.add(t, "xen", "node3.example") // nobody has asked it
	kvm := w.capture(t, "node2.example", "kvm").Sets[0]
	if kvm.State != trust.Draft {
		t.Fatalf("what was captured is %s", kvm.State)
	}
	anyPool, allPool := trust.Pool{Name: "pool"}, trust.Pool{Name: "pool", Requires: []trust.Requirement{{Part: trust.Hypervisor, Match: trust.AllOf}}}
	onlyChain := trust.Pool{Name: "pool", Requires: []trust.Requirement{{Part: trust.Hypervisor, Match: trust.AnyOf}}, Bindings: []verifier.EKBinding{verifier.BindingChain}}
	more := trust.Set{Name: "more", Part: trust.Hypervisor, Pools: []string{"pool"}, KnownGood: verifier.KnownGood{PCRs: []verifier.KnownPCR{
		{Bank: eventlog.AlgSHA256, PCR: 20, Values: []verifier.Hex{make([]byte, 32)}},
	}}}
	one, two := []string{"node1.example"}, []string{"node2.example"}

	for _, tc := range []struct {
		rule   string
		change knowngood.Change
		want   told
	}{
		{"approving what a node booted pardons it", knowngood.Change{Approve: []string{kvm.Name}}, told{Judged: 2, Trusted: 1, Pardoned: two}},
		{"retiring a set condemns those that it made trusted", knowngood.Change{Retire: []string{"xen"}}, told{Judged: 2, Untrusted: 1, Condemned: one}},
		{"replacing a set does both", knowngood.Change{Approve: []string{kvm.Name}, Retire: []string{"xen"}}, told{Judged: 2, Condemned: one, Pardoned: two}},
		{"a pool that demands nothing trusts nobody", knowngood.Change{Pools: []trust.Pool{anyPool}}, told{Judged: 2, Untrusted: 1, Condemned: one}},
		{"a pool that takes another binding", knowngood.Change{Pools: []trust.Pool{onlyChain}}, told{Judged: 2, Untrusted: 1, Condemned: one}},
		{"the same pool again", knowngood.Change{Pools: []trust.Pool{allPool}}, told{Judged: 2, Trusted: 1, Untrusted: 1}},
		{"a PCR that was not quoted", knowngood.Change{Pools: []trust.Pool{allPool}, Sets: []trust.Set{more}}, told{Judged: 2, Undecided: []string{"node1.example", "node2.example"}}},
	} {
		tc.want.Pools, tc.want.WithoutEvidence = []string{"pool"}, 1
		if diff := cmp.Diff(tc.want, tell(w.dryRun(t, tc.change))); diff != "" {
			t.Errorf("%s (-want +got)\n%s", tc.rule, diff)
		}
	}

	effect := w.dryRun(t, knowngood.Change{Retire: []string{"xen"}})
	if got := effect.CondemnedNodes[0]; got.Before.Level != trust.Trusted || got.After.Reason != trust.NoPolicy || got.QuotedAt.IsZero() {
		t.Errorf("the condemned node is told as %+v", got)
	}
	if set, err := w.Store.Set(t.Context(), kvm.Name); err != nil || set.State != trust.Draft {
		t.Errorf("a dry run changed the set: %s, %v", set.State, err)
	}
}

func TestADryRunTellsTheFutureOfTheChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	kvm := w.capture(t, "node2.example", "kvm").Sets[0]
	want := w.dryRun(t, knowngood.Change{Approve: []string{kvm.Name}})
	if _, err := w.Store.ApproveSet(t.Context(), act(), kvm.Name, kvm.Revision); err != nil {
		t.Fatal(err)
	}
	w.attest(t)
	for _, name := range []string{"node1.example", "node2.example"} {
		hosts, err := w.Store.Lookup(t.Context(), []string{name}, now())
		if err != nil || hosts[0].Verdict.Level != trust.Trusted {
			t.Errorf("%s is %+v, %v; the dry run said %+v", name, hosts[0].Verdict, err, want)
		}
	}
}

func TestEvidenceThatIsNotWholeLeavesADryRunUndecided(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	soft := w.add(t, "xen", "node3.example")
	soft.Tamper(func(ev *verifier.Evidence) { ev.Logs = nil })
	w.attest(t)
	effect := w.dryRun(t, knowngood.Change{Retire: []string{"xen"}})
	if diff := cmp.Diff([]string{"node3.example"}, tell(effect).Undecided); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestAChangeThatCanNotBeIsAnError(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, tc := range []struct {
		rule, want string
		change     knowngood.Change
		is         error
	}{
		{"nothing", "touches no pool", knowngood.Change{}, store.ErrInvalid},
		{"a set that there is not", "there is none", knowngood.Change{Approve: []string{"none"}}, store.ErrNotFound},
		{"approving what is in force", "not a draft", knowngood.Change{Approve: []string{"xen"}}, store.ErrConflict},
		{"a broken set", "known_good", knowngood.Change{Sets: []trust.Set{{Name: "x", Part: trust.Hypervisor}}}, store.ErrInvalid},
		{"a broken pool", "match", knowngood.Change{Pools: []trust.Pool{{Name: "pool", Requires: []trust.Requirement{{Part: trust.Platform}}}}}, store.ErrInvalid},
	} {
		_, err := w.tools.DryRun(t.Context(), tc.change, now())
		if !errors.Is(err, tc.is) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", tc.rule, err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.tools.DryRun(ended, knowngood.Change{Retire: []string{"xen"}}, now()); !errors.Is(err, context.Canceled) {
		t.Errorf("of a caller who has gone: %v", err)
	}
}

func TestADryRunJudgesAllPagesOfNodesAndListsEachOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const more = 120 // a page has 100
	for i := range more {
		w.add(t, "xen", fmt.Sprintf("n%03d.example", i))
	}
	w.attest(t)
	seen := make(map[string]bool)
	effect := w.dryRun(t, knowngood.Change{Retire: []string{"xen"}})
	for _, n := range effect.CondemnedNodes {
		seen[n.Node] = true
	}
	if effect.Condemned != more+1 || len(seen) != more+1 || effect.Untrusted != 1 {
		t.Errorf("%d condemned, %d of them listed, %d untrusted", effect.Condemned, len(seen), effect.Untrusted)
	}
}

func TestAKeyThatIsRefusedSinceIsNotJudgedAsTheOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	soft := w.add(t, "xen", "node3.example")
	w.attest(t)
	if err := w.Store.RefuseAK(t.Context(), act(), soft.Record().AKs[0].Name, "stolen"); err != nil {
		t.Fatal(err)
	}
	effect := w.dryRun(t, knowngood.Change{Retire: []string{"xen"}})
	if diff := cmp.Diff([]string{"node1.example"}, tell(effect).Condemned); diff != "" || effect.Untrusted != 2 {
		t.Errorf("%d untrusted; condemned (-want +got)\n%s", effect.Untrusted, diff)
	}
}

func BenchmarkDryRun(b *testing.B) {
	w := newWorld(b)
	const nodes = 10_000
	for i := range nodes {
		w.add(b, "xen", fmt.Sprintf("n%05d.example", i))
	}
	for range nodes / 1000 {
		w.attest(b)
	}
	b.ResetTimer()
	for b.Loop() {
		if effect := w.dryRun(b, knowngood.Change{Retire: []string{"xen"}}); effect.Condemned != nodes+1 {
			b.Fatalf("%d condemned", effect.Condemned)
		}
	}
}
