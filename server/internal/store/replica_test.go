package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/store/storetest"
	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/verifier"
)

// follow has a replica take part until the test ends or what it returns is called.
func follow(t *testing.T, s *store.Store) (leave func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	heard := s.Changed()
	go func() {
		_, err := s.Follow(ctx)
		done <- err
	}()
	<-heard // it does at its begin
	leave = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(leave)
	return leave
}

// crowd adds nodes beside the first.
func (b *base) crowd(t *testing.T, count int) {
	t.Helper()
	var nodes []trust.Node
	for i := range count {
		nodes = append(nodes, trust.Node{Name: fmt.Sprintf("host%02d", i), Address: "h:1", Pool: "pool", Binding: verifier.BindingFirstUse})
	}
	if _, err := b.AddNodes(t.Context(), act(), nodes); err != nil {
		t.Fatal(err)
	}
}

// TestWhoeverFollowsTheEventsMissesNone: two replicas write at once, and what becomes visible later has the higher generation.
func TestWhoeverFollowsTheEventsMissesNone(t *testing.T) {
	t.Parallel()

	const writers, rounds = 4, 25
	b := newBase(t, storetest.Postgres)
	b.crowd(t, 2*writers)
	replicas := []*store.Store{b.Store, storetest.Open(t, b.path)}

	var writing sync.WaitGroup
	for i := range 2 * writers {
		writing.Go(func() {
			s, name := replicas[i%2], fmt.Sprintf("host%02d", i)
			for range rounds {
				_, err := s.HoldNode(t.Context(), act(), name, 0, "looks odd")
				if err == nil {
					_, err = s.ReleaseNode(t.Context(), act(), name, 0)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	written := make(chan struct{})
	go func() {
		writing.Wait()
		close(written)
	}()

	seen, last := 0, int64(0)
	for ended := false; ; {
		select {
		case <-written:
			ended = true
		default:
		}
		events, err := replicas[1].Events(t.Context(), last, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			last = e.Verdict.Generation
		}
		seen += len(events)
		if ended && len(events) == 0 {
			break
		}
	}
	if want := 2 * writers * rounds * 2; seen != want {
		t.Errorf("%d events were seen, and there were %d", seen, want)
	}
	if _, _, err := b.CheckAdminLog(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestReplicasThatStartAtOnceMakeTheTablesOnce(t *testing.T) {
	t.Parallel()

	database := storetest.Postgres.Database(t)
	var starting sync.WaitGroup
	for range 3 {
		starting.Go(func() {
			s, err := store.Open(t.Context(), database)
			if err == nil {
				err = s.Close()
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	starting.Wait()
}

func TestAReplicaHearsOfTheChangesOfTheOthers(t *testing.T) {
	t.Parallel()

	b := newBase(t, storetest.Postgres)
	other := storetest.Open(t, b.path)
	follow(t, other)
	heard := other.Changed()
	if _, err := b.HoldNode(t.Context(), act(), "node1", 0, "looks odd"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-heard:
	case <-time.After(time.Minute):
		t.Error("nothing was heard")
	}
}

// TestAReplicaWhoseConnectionBreaksLooksAgain: what happened in between is not told again.
func TestAReplicaWhoseConnectionBreaksLooksAgain(t *testing.T) {
	t.Parallel()

	b := newBase(t, storetest.Postgres)
	done, heard := make(chan error, 1), b.Changed()
	go func() {
		_, err := b.Follow(t.Context())
		done <- err
	}()
	<-heard
	beside := storetest.Raw(t, b.path)
	var broken error
	until(t, func() bool { // it calls the roll a moment after it has told so, and is known by that
		if _, err := beside.ExecContext(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_locks%' AND pid <> pg_backend_pid() AND datname = current_database()"); err != nil {
			t.Fatal(err)
		}
		select {
		case broken = <-done:
			return true
		default:
			return false
		}
	})
	if broken == nil {
		t.Fatal("nobody notices")
	}
	heard = b.Changed()
	follow(t, b.Store)
	<-heard
}

// claimAll claims what it gets at a time.
func claimAll(t *testing.T, s *store.Store, at time.Time) map[string]bool {
	t.Helper()
	nodes, err := s.Claim(t.Context(), at, 100, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	claimed := make(map[string]bool)
	for _, n := range nodes {
		claimed[n.Name] = true
	}
	return claimed
}

func TestReplicasShareTheNodesOut(t *testing.T) {
	t.Parallel()

	b := newBase(t, storetest.Postgres)
	b.crowd(t, 19)
	other := storetest.Open(t, b.path)
	follow(t, b.Store)
	leave := follow(t, other)
	var first, second map[string]bool
	until(t, func() bool { // both know of each other
		first, second = claimAll(t, b.Store, noon), claimAll(t, other, noon)
		if len(first) == 10 && len(second) == 10 {
			return true
		}
		storetest.Alter(t, b.path, "UPDATE nodes SET leased_until = 0, due_at = 0 WHERE due_at > 0; UPDATE nodes SET due_at = "+fmt.Sprint(noon.UnixMilli()))
		return false
	})
	for name := range first {
		if second[name] {
			t.Errorf("%s is asked by two", name)
		}
	}

	// What nobody asks for some time, anybody does.
	storetest.Alter(t, b.path, "UPDATE nodes SET leased_until = 0, due_at = "+fmt.Sprint(noon.UnixMilli()))
	if all := claimAll(t, b.Store, noon.Add(10*time.Second)); len(all) != 20 {
		t.Errorf("%d nodes, want all 20", len(all))
	}

	// What a replica had that is gone, the others ask at once.
	storetest.Alter(t, b.path, "UPDATE nodes SET leased_until = 0, due_at = "+fmt.Sprint(noon.UnixMilli()))
	if second = claimAll(t, other, noon); len(second) != 10 {
		t.Fatalf("%d nodes, want 10", len(second))
	}
	if n, err := b.EndLeases(t.Context(), noon); err != nil || n != 0 {
		t.Errorf("%d nodes of a replica that lives, %v", n, err)
	}
	leave()
	until(t, func() bool { // PostgreSQL notices
		n, err := b.EndLeases(t.Context(), noon)
		if err != nil || n != 0 && n != 10 {
			t.Fatalf("%d nodes of a replica that is gone, %v", n, err)
		}
		return n == 10
	})
	until(t, func() bool { return len(claimAll(t, b.Store, noon)) > 0 })
}

// until waits for what comes by itself.
func until(t *testing.T, done func() bool) {
	t.Helper()
	late := time.After(time.Minute)
	for !done() {
		select {
		case <-late:
			t.Fatal("it never comes about")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// TestAnAnswerThatWasOvertakenDoesNotCount: one replica took longer than its lease, and meanwhile another has found that the node is not what it was.
func TestAnAnswerThatWasOvertakenDoesNotCount(t *testing.T) {
	t.Parallel()

	b := newBase(t, storetest.Postgres)
	late := b.outcome(t, b.claim(t, noon), noon)
	other := *b
	other.Store = storetest.Open(t, b.path)
	b.soft.Reboot("another")
	other.attest(t, noon.Add(time.Minute))
	wantVerdict(t, b.verdict(t, "node1", noon.Add(time.Minute)), trust.Untrusted, trust.PCRMismatch)
	b.record(t, late)
	wantVerdict(t, b.verdict(t, "node1", noon.Add(time.Minute)), trust.Untrusted, trust.PCRMismatch)
}

// TestALateAnswerUnderAnEndedLeaseDoesNotCount: a server was taken for dead and has claimed the node anew; what it asked before comes after what it asked then.
func TestALateAnswerUnderAnEndedLeaseDoesNotCount(t *testing.T) {
	t.Parallel()

	storetest.OnBoth(t, func(t *testing.T, on storetest.Engine) {
		b := newBase(t, on)
		late := b.outcome(t, b.claim(t, noon), noon)
		storetest.Alter(t, b.path, "UPDATE nodes SET leased_until = 0, due_at = "+fmt.Sprint(noon.UnixMilli()))
		b.soft.Reboot("another")
		again := noon.Add(time.Second)
		newer := b.outcome(t, b.claim(t, again), again)
		b.record(t, late)
		wantVerdict(t, b.verdict(t, "node1", again), trust.Unknown, trust.NoQuote)
		b.record(t, newer)
		b.record(t, late)
		wantVerdict(t, b.verdict(t, "node1", again), trust.Untrusted, trust.PCRMismatch)
	})
}

// TestAReplicaThatDiesWhileItWritesKeepsNobodyWaiting: PostgreSQL takes the lock away from whoever is silent in the middle of a transaction.
func TestAReplicaThatDiesWhileItWritesKeepsNobodyWaiting(t *testing.T) {
	t.Parallel()

	b := newBase(t, storetest.Postgres)
	silent, err := storetest.Raw(t, b.path).BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := silent.ExecContext(t.Context(), "SELECT pg_advisory_xact_lock(x'7472757374706f6f'::bigint); SET LOCAL idle_in_transaction_session_timeout = 300"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.HoldNode(t.Context(), act(), "node1", 0, "looks odd"); err != nil {
		t.Error(err)
	}
	if err := silent.Commit(); err == nil {
		t.Error("it had the lock to its end")
	}
}

// TestNoTextOfANodeKeepsItsVerdictFromBeingStored: a node says why it does not answer in bytes that are no text.
func TestNoTextOfANodeKeepsItsVerdictFromBeingStored(t *testing.T) {
	t.Parallel()

	storetest.OnBoth(t, func(t *testing.T, on storetest.Engine) {
		b := newBase(t, on)
		b.attest(t, noon)
		o := b.outcome(t, b.claim(t, noon.Add(time.Minute)), noon.Add(time.Minute))
		o.Verdict.Level, o.Verdict.Reason, o.Verdict.Detail = trust.Untrusted, trust.NoQuote, "no \x00 quote \xff"
		b.record(t, o)
		v := b.verdict(t, "node1", noon.Add(time.Minute))
		wantVerdict(t, v, trust.Untrusted, trust.NoQuote)
		if v.Detail != "no \uFFFD quote \uFFFD" {
			t.Errorf("%q", v.Detail)
		}
		if v := b.verdict(t, "node1\x00", noon); v.Reason != trust.UnknownHost {
			t.Errorf("%+v", v)
		}
		if _, err := b.HoldNode(t.Context(), store.Act{By: "al\x00ice", At: noon}, "node1", 0, "odd\x00"); err != nil {
			t.Error(err)
		}
		if _, _, err := b.CheckAdminLog(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestAfterARestoreNobodyIsTrusted: what was found since is not in it, and no generation comes again.
func TestAfterARestoreNobodyIsTrusted(t *testing.T) {
	t.Parallel()

	storetest.OnBoth(t, func(t *testing.T, on storetest.Engine) {
		b := newBase(t, on)
		b.attest(t, noon)
		if _, err := b.RetireSet(t.Context(), act(), "nothing", 1); !errors.Is(err, store.ErrNotFound) {
			t.Error(err)
		}
		before := b.verdict(t, "node1", noon)
		if err := b.Restored(t.Context(), act(), "dump"); err != nil {
			t.Fatal(err)
		}
		v := b.verdict(t, "node1", noon)
		wantVerdict(t, v, trust.Unknown, trust.PolicyChanged)
		if v.Generation <= before.Generation+1<<32-1 {
			t.Errorf("generation %d after %d", v.Generation, before.Generation)
		}
		b.attest(t, noon)
		wantVerdict(t, b.verdict(t, "node1", noon), trust.Trusted, trust.OK)
		if history, err := b.History(t.Context(), "node1", v.Generation, 10); err != nil || len(history) != 1 {
			t.Errorf("%+v, %v", history, err)
		}
	})
}
