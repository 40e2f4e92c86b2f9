package store_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/server/internal/nodetest"
	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/store/storetest"
	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/verifier"
)

// noon is when the tests take place, in the middle of a day that is over for no verdict.
var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// act is what an administrator does at noon.
func act() store.Act { return store.Act{By: "alice", At: noon} }

// base is a database with a pool, a set in force, and an enrolled node that met it.
type base struct {
	*store.Store
	path string
	soft *nodetest.Soft
	node trust.Node
	set  trust.Set
}

func newBase(t *testing.T, on storetest.Engine) *base {
	t.Helper()
	s, path := newStore(t, on)
	soft, err := nodetest.NewSoft("node1.example", "xen")
	if err != nil {
		t.Fatal(err)
	}
	b := &base{Store: s, path: path, soft: soft}
	if _, err := s.PutPool(t.Context(), act(), trust.Pool{Name: "pool", Requires: []trust.Requirement{{Part: trust.Hypervisor, Match: trust.AnyOf}}}, 0); err != nil {
		t.Fatal(err)
	}
	b.set = b.approve(t, "xen")
	added, err := s.AddNodes(t.Context(), act(), []trust.Node{{
		Name: "node1.example", Aliases: []string{"node1", "564dbb18"}, Address: "10.0.0.1:9443", Pool: "pool",
		Labels: map[string]string{"rack": "7"}, Binding: verifier.BindingInventory, Record: soft.Record(),
	}})
	if err != nil {
		t.Fatal(err)
	}
	b.node = added[0]
	return b
}

// approve puts a set in force of what the node booted.
func (b *base) approve(t *testing.T, name string) trust.Set {
	t.Helper()
	known, err := b.soft.KnownGood()
	if err != nil {
		t.Fatal(err)
	}
	set, err := b.PutSet(t.Context(), act(), trust.Set{Name: name, Part: trust.Hypervisor, Pools: []string{"pool"}, KnownGood: known}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if set, err = b.ApproveSet(t.Context(), act(), name, set.Revision); err != nil {
		t.Fatal(err)
	}
	return set
}

// attest claims the node, judges what it answers and records it.
func (b *base) attest(t *testing.T, at time.Time) {
	t.Helper()
	b.record(t, b.outcome(t, b.claim(t, at), at))
}

func (b *base) claim(t *testing.T, at time.Time) trust.Node {
	t.Helper()
	claimed, err := b.Claim(t.Context(), at, 10, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if len(claimed) != 1 {
		t.Fatalf("%d nodes are due at %s, want 1", len(claimed), at)
	}
	return claimed[0]
}

func (b *base) outcome(t *testing.T, node trust.Node, at time.Time) store.Outcome {
	t.Helper()
	policy, err := b.Policy(t.Context(), node.Pool)
	if err != nil {
		t.Fatal(err)
	}
	policy.Validity = 3 * time.Minute
	nonce := slices.Repeat([]byte{7}, 32)
	ev, err := b.soft.Evidence(nonce, verifier.DefaultSelection())
	if err != nil {
		t.Fatal(err)
	}
	judged := policy.Judge(&node, trust.Answer{Evidence: ev, Nonce: nonce, QuotedAt: at}, nil, at)
	return store.Outcome{
		Node: node, PolicyRevision: policy.Revision, Lease: at.Add(time.Minute), At: at, Due: at.Add(time.Minute), Verdict: &judged.Verdict,
		Evidence: &store.Evidence{QuotedAt: at, Nonce: nonce, Evidence: ev},
	}
}

func (b *base) record(t *testing.T, o store.Outcome) {
	t.Helper()
	if err := b.Record(t.Context(), []store.Outcome{o}); err != nil {
		t.Fatal(err)
	}
}

// verdict is what a scheduler is told.
func (b *base) verdict(t *testing.T, name string, at time.Time) trust.Verdict {
	t.Helper()
	hosts, err := b.Lookup(t.Context(), []string{name}, at)
	if err != nil || len(hosts) != 1 || hosts[0].Asked != name {
		t.Fatalf("%+v, %v", hosts, err)
	}
	return hosts[0].Verdict
}

func wantVerdict(t *testing.T, v trust.Verdict, level trust.Level, reason trust.Reason) {
	t.Helper()
	if v.Level != level || v.Reason != reason {
		t.Errorf("%s, %s (%s), want %s, %s", v.Level, v.Reason, v.Detail, level, reason)
	}
}

func TestWhatWasWrittenIsReadAgain(t *testing.T) {
	t.Parallel()

	storetest.OnBoth(t, func(t *testing.T, on storetest.Engine) {
		b := newBase(t, on)
		b.attest(t, noon)
		again := storetest.Open(t, b.path)
		node, err := again.Node(t.Context(), "NODE1")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(b.node, node); diff != "" {
			t.Errorf("node (-want +got):\n%s", diff)
		}
		set, err := again.Set(t.Context(), "xen")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(b.set, set); diff != "" {
			t.Errorf("set (-want +got):\n%s", diff)
		}
		ev, err := again.LastEvidence(t.Context(), "node1", store.LastGood)
		if err != nil {
			t.Fatal(err)
		}
		result := verifier.Verify(ev.Evidence, verifier.Policy{Nonce: ev.Nonce, BindMode: verifier.BindBound, KnownGood: set.KnownGood, Node: node.Record})
		if result.Verdict != verifier.Trusted || !ev.QuotedAt.Equal(noon) {
			t.Errorf("what was kept can't be judged again: %+v", result.Checks)
		}
		hosts, err := again.Lookup(t.Context(), []string{"Node1.Example", "564dbb18", "nobody"}, noon)
		if err != nil {
			t.Fatal(err)
		}
		wantVerdict(t, hosts[0].Verdict, trust.Trusted, trust.OK)
		wantVerdict(t, hosts[1].Verdict, trust.Trusted, trust.OK)
		wantVerdict(t, hosts[2].Verdict, trust.Unknown, trust.UnknownHost)
		if hosts[0].Asked != "Node1.Example" || hosts[0].Node != "node1.example" || hosts[2].Asked != "nobody" {
			t.Errorf("%+v", hosts)
		}
	})
}

func TestAnExpiredVerdictIsUnknownWithoutAnybodyEndingIt(t *testing.T) {
	t.Parallel()

	storetest.OnBoth(t, func(t *testing.T, on storetest.Engine) {
		b := newBase(t, on)
		b.attest(t, noon)
		end := noon.Add(3 * time.Minute)
		wantVerdict(t, b.verdict(t, "node1", end.Add(-time.Minute)), trust.Trusted, trust.OK)
		wantVerdict(t, b.verdict(t, "node1", end), trust.Unknown, trust.Stale)
		level := trust.Trusted
		hosts, err := b.Hosts(t.Context(), store.HostFilter{Level: &level, Limit: 10}, end)
		if err != nil || len(hosts) != 0 {
			t.Errorf("listed as trusted: %+v, %v", hosts, err)
		}
		counts, err := b.Counts(t.Context(), end)
		if err != nil || !slices.Equal(counts, []store.Count{{Pool: "pool", Level: trust.Unknown, Nodes: 1}}) {
			t.Errorf("%+v, %v", counts, err)
		}

		n, err := b.ExpireVerdicts(t.Context(), end, 10)
		if err != nil || n != 1 {
			t.Fatalf("%d, %v", n, err)
		}
		history, err := b.History(t.Context(), "node1", 0, 10)
		if err != nil || len(history) != 2 || history[0].Verdict.Reason != trust.Stale || history[1].Verdict.Reason != trust.OK {
			t.Errorf("%+v, %v", history, err)
		}
		if n, err := b.ExpireVerdicts(t.Context(), end, 10); err != nil || n != 0 {
			t.Errorf("a second time: %d, %v", n, err)
		}
	})
}

func TestARenewedVerdictIsNoChange(t *testing.T) {
	t.Parallel()

	storetest.OnBoth(t, func(t *testing.T, on storetest.Engine) {
		b := newBase(t, on)
		b.attest(t, noon)
		first := b.verdict(t, "node1", noon)
		b.attest(t, noon.Add(time.Minute))
		second := b.verdict(t, "node1", noon.Add(time.Minute))
		if second.Generation != first.Generation || !second.ChangedAt.Equal(noon) || !second.ExpiresAt.Equal(noon.Add(4*time.Minute)) {
			t.Errorf("%+v after %+v", second, first)
		}

		b.soft.Reboot("xen")
		b.attest(t, noon.Add(2*time.Minute))
		third := b.verdict(t, "node1", noon.Add(2*time.Minute))
		wantVerdict(t, third, trust.Trusted, trust.OK)
		events, err := b.Events(t.Context(), first.Generation, 10)
		if err != nil || len(events) != 1 || !events[0].Rebooted || third.Generation <= first.Generation {
			t.Errorf("a reboot: %+v, %v", events, err)
		}
		contact, err := b.Contact(t.Context(), "node1")
		if err != nil || contact.GoodQuotes != 3 || contact.BadQuotes != 0 || !contact.DueAt.Equal(noon.Add(3*time.Minute)) {
			t.Errorf("%+v, %v", contact, err)
		}
	})
}

func TestABadAnswerEndsAVerdictAndNoAnswerDoesNot(t *testing.T) {
	t.Parallel()

	storetest.OnBoth(t, func(t *testing.T, on storetest.Engine) {
		b := newBase(t, on)
		b.attest(t, noon)
		node := b.claim(t, noon.Add(time.Minute))
		b.record(t, store.Outcome{Node: node, Lease: noon.Add(2 * time.Minute), At: noon.Add(time.Minute), Due: noon.Add(2 * time.Minute), Problem: "connection refused"})
		v := b.verdict(t, "node1", noon.Add(time.Minute))
		wantVerdict(t, v, trust.Trusted, trust.OK)
		if !v.ExpiresAt.Equal(noon.Add(3 * time.Minute)) {
			t.Errorf("a node that was not reached is trusted until %s", v.ExpiresAt)
		}
		if _, err := b.ExpireVerdicts(t.Context(), noon.Add(3*time.Minute), 10); err != nil {
			t.Fatal(err)
		}
		wantVerdict(t, b.verdict(t, "node1", noon.Add(3*time.Minute)), trust.Unknown, trust.Unreachable)

		b.attest(t, noon.Add(4*time.Minute))
		b.soft.Reboot("another")
		b.attest(t, noon.Add(5*time.Minute))
		wantVerdict(t, b.verdict(t, "node1", noon.Add(5*time.Minute)), trust.Untrusted, trust.PCRMismatch)
		history, err := b.History(t.Context(), "node1", 0, 1)
		if err != nil || len(history) != 1 || history[0].EvidenceID == 0 {
			t.Fatalf("%+v, %v", history, err)
		}
		ev, err := b.EvidenceOf(t.Context(), "node1", history[0].EvidenceID)
		if err != nil || len(ev.Evidence.Logs) != 1 {
			t.Errorf("%+v, %v", ev, err)
		}
	})
}

func TestTrustEndsWithWhatItRestedOn(t *testing.T) {
	t.Parallel()

	storetest.OnBoth(t, func(t *testing.T, on storetest.Engine) {
		for name, withdraw := range map[string]func(context.Context, *base) error{
			"the set is retired": func(ctx context.Context, b *base) error {
				_, err := b.RetireSet(ctx, act(), "xen", b.set.Revision)
				return err
			},
			"the pool demands something else": func(ctx context.Context, b *base) error {
				_, err := b.PutPool(ctx, act(), trust.Pool{Name: "pool"}, 1)
				return err
			},
			"the AK is refused": func(ctx context.Context, b *base) error {
				return b.RefuseAK(ctx, act(), b.soft.Record().AKs[0].Name, "stolen")
			},
			"the node is enrolled anew": func(ctx context.Context, b *base) error {
				_, err := b.ReenrollNode(ctx, act(), "node1", 1)
				return err
			},
			"the node is held": func(ctx context.Context, b *base) error {
				_, err := b.HoldNode(ctx, act(), "node1", 1, "looks odd")
				return err
			},
			"the node is removed": func(ctx context.Context, b *base) error {
				return b.RemoveNode(ctx, act(), "node1", 1)
			},
			"the node moves to another pool": func(ctx context.Context, b *base) error {
				if _, err := b.PutPool(ctx, act(), trust.Pool{Name: "other"}, 0); err != nil {
					return err
				}
				_, err := b.UpdateNode(ctx, act(), "node1", 1, func(n *trust.Node) { n.Pool = "other" })
				return err
			},
			"another EK is expected": func(ctx context.Context, b *base) error {
				_, err := b.UpdateNode(ctx, act(), "node1", 1, func(n *trust.Node) { n.EK.Name = make([]byte, 34) })
				return err
			},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()

				b := newBase(t, on)
				b.attest(t, noon)
				wantVerdict(t, b.verdict(t, "node1", noon), trust.Trusted, trust.OK)
				// A quote that is under way when it happens was judged by what holds no more.
				late := b.outcome(t, b.claim(t, noon.Add(time.Minute)), noon.Add(time.Minute))
				if err := withdraw(t.Context(), b); err != nil {
					t.Fatal(err)
				}
				if v := b.verdict(t, "node1", noon); v.Level == trust.Trusted {
					t.Errorf("still trusted: %+v", v)
				}
				changes, err := b.Events(t.Context(), 0, 10)
				if err != nil || len(changes) < 2 || changes[0].Pool != "pool" || changes[1].Pool != "pool" {
					t.Errorf("the changes are not of the pool that the node was in: %+v, %v", changes, err)
				}
				b.record(t, late)
				if v := b.verdict(t, "node1", noon.Add(time.Minute)); v.Level == trust.Trusted {
					t.Errorf("trusted by a late outcome: %+v", v)
				}
			})
		}
	})
}

func TestANameBelongsToOneNode(t *testing.T) {
	t.Parallel()

	storetest.OnBoth(t, func(t *testing.T, on storetest.Engine) {
		b := newBase(t, on)
		second := trust.Node{Name: "node2.example", Aliases: []string{"node1"}, Address: "10.0.0.2:9443", Pool: "pool", Binding: verifier.BindingFirstUse}
		_, err := b.AddNodes(t.Context(), act(), []trust.Node{second})
		taken, ok := errors.AsType[*store.TakenError](err)
		if !ok || !errors.Is(err, store.ErrExists) || taken.Name != "node1" || taken.Owner != "node1.example" {
			t.Fatalf("%v", err)
		}
		if _, err := b.Node(t.Context(), "node2.example"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("the refused node is there: %v", err)
		}

		second.Aliases = nil
		if _, err := b.AddNodes(t.Context(), act(), []trust.Node{second}); err != nil {
			t.Fatal(err)
		}
		if _, err := b.UpdateNode(t.Context(), act(), "node2.example", 1, func(n *trust.Node) { n.Aliases = []string{"564dbb18"} }); !errors.Is(err, store.ErrExists) {
			t.Errorf("taken over by a change: %v", err)
		}
		alarms, err := b.Alarms(t.Context(), true, 0, 10)
		if err != nil || len(alarms) != 2 || alarms[0].Kind != store.AlarmNameTaken || alarms[1].Node != "node1.example" {
			t.Errorf("%+v, %v", alarms, err)
		}
		if err := b.AcknowledgeAlarm(t.Context(), act(), alarms[0].ID); err != nil {
			t.Error(err)
		}
		if open, err := b.Alarms(t.Context(), true, 0, 10); err != nil || len(open) != 1 {
			t.Errorf("%+v, %v", open, err)
		}

		b.attest2(t)
		if err := b.RemoveNode(t.Context(), act(), "node1", 0); err != nil {
			t.Fatal(err)
		}
		if _, err := b.UpdateNode(t.Context(), act(), "node2.example", 1, func(n *trust.Node) { n.Aliases = []string{"node1"} }); err != nil {
			t.Errorf("a free name can't be taken: %v", err)
		}
		if v := b.verdict(t, "node1", noon); v.Level == trust.Trusted {
			t.Errorf("a name brought the verdict of its former node along: %+v", v)
		}
	})
}

// attest2 attests the first of two nodes.
func (b *base) attest2(t *testing.T) {
	t.Helper()
	claimed, err := b.Claim(t.Context(), noon, 10, time.Minute)
	if err != nil || len(claimed) != 2 {
		t.Fatalf("%+v, %v", claimed, err)
	}
	for _, node := range claimed {
		if node.Name == b.node.Name {
			b.record(t, b.outcome(t, node, noon))
		}
	}
	wantVerdict(t, b.verdict(t, "node1", noon), trust.Trusted, trust.OK)
}

func TestAddingNodesIsAllOrNothing(t *testing.T) {
	t.Parallel()

	storetest.OnBoth(t, func(t *testing.T, on storetest.Engine) {
		s, _ := newStore(t, on)
		if _, err := s.PutPool(t.Context(), act(), trust.Pool{Name: "pool"}, 0); err != nil {
			t.Fatal(err)
		}
		nodes := []trust.Node{
			{Name: "a", Address: "a:1", Pool: "pool", Binding: verifier.BindingChain},
			{Name: "b", Address: "b", Pool: "pool", Binding: verifier.BindingChain},
			{Name: "c", Address: "c:1", Pool: "nowhere", Binding: verifier.BindingChain},
		}
		_, err := s.AddNodes(t.Context(), act(), nodes)
		if err == nil || !strings.Contains(err.Error(), "node b") || !strings.Contains(err.Error(), "pool nowhere") {
			t.Errorf("%v", err)
		}
		if all, err := s.Nodes(t.Context(), store.HostFilter{Limit: 10}); err != nil || len(all) != 0 {
			t.Errorf("%+v, %v", all, err)
		}
	})
}
