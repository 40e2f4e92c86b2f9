package challenge_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/trustpool/trustpool/server/internal/challenge"
	"github.com/trustpool/trustpool/server/internal/nodetest"
	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/store/storetest"
	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/verifier"
)

// config has a sweep every minute.
func config() challenge.Config {
	return challenge.Config{Interval: time.Minute, Validity: 3 * time.Minute, Timeout: 10 * time.Second, Concurrency: 4}
}

// site is a store with a pool of soft nodes, and a schedule that runs.
type site struct {
	store    *store.Store
	fleet    *nodetest.Fleet
	nodes    []*nodetest.Soft
	schedule *challenge.Schedule
	registry *prometheus.Registry
}

func act() store.Act { return store.Act{By: "alice", At: time.Now()} }

// newSite makes a site of n nodes, called node0 and so on, in a bubble.
func newSite(t *testing.T, n int) *site {
	t.Helper()
	s := storetest.New(t)
	x := &site{store: s, registry: prometheus.NewRegistry()}
	var nodes []trust.Node
	for i := range n {
		soft, err := nodetest.NewSoft(fmt.Sprint("node", i), "xen")
		if err != nil {
			t.Fatal(err)
		}
		x.nodes = append(x.nodes, soft)
		nodes = append(nodes, trust.Node{Name: soft.Name, Address: soft.Name + ":9443", Pool: "pool", Binding: verifier.BindingInventory, Record: soft.Record()})
	}
	x.fleet = nodetest.NewFleet(x.nodes...)
	if _, err := s.PutPool(t.Context(), act(), trust.Pool{Name: "pool", Requires: []trust.Requirement{{Part: trust.Hypervisor, Match: trust.AnyOf}}}, 0); err != nil {
		t.Fatal(err)
	}
	x.approve(t, "xen")
	if _, err := s.AddNodes(t.Context(), act(), nodes); err != nil {
		t.Fatal(err)
	}
	return x
}

// approve puts a set in force of what node0 booted.
func (x *site) approve(t *testing.T, name string) trust.Set {
	t.Helper()
	known, err := x.nodes[0].KnownGood()
	if err != nil {
		t.Fatal(err)
	}
	set, err := x.store.PutSet(t.Context(), act(), trust.Set{Name: name, Part: trust.Hypervisor, Pools: []string{"pool"}, KnownGood: known}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if set, err = x.store.ApproveSet(t.Context(), act(), name, set.Revision); err != nil {
		t.Fatal(err)
	}
	return set
}

// run sets a schedule going, and returns what ends it.
func (x *site) run(t *testing.T) (stop func()) {
	t.Helper()
	x.schedule = challenge.New(config(), challenge.Deps{
		Store: x.store, Challenger: x.fleet, Logger: slog.New(slog.DiscardHandler), Registerer: x.registry,
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- x.schedule.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("running: %v", err)
		}
	}
}

// pass lets time pass, in a bubble.
func pass(d time.Duration) { <-time.After(d) }

// verdict is that of a node now.
func (x *site) verdict(t *testing.T, name string) trust.Verdict {
	t.Helper()
	hosts, err := x.store.Lookup(t.Context(), []string{name}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return hosts[0].Verdict
}

func (x *site) want(t *testing.T, name string, level trust.Level, reason trust.Reason) {
	t.Helper()
	if v := x.verdict(t, name); v.Level != level || v.Reason != reason {
		t.Errorf("%s at %s: %s, %s (%s), want %s, %s", name, time.Now().Format(time.TimeOnly), v.Level, v.Reason, v.Detail, level, reason)
	}
}

func TestEveryVerdictStaysFresh(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		x := newSite(t, 20)
		defer x.run(t)()
		pass(2 * time.Second)
		for range 40 { // ten minutes
			for _, n := range x.nodes {
				x.want(t, n.Name, trust.Trusted, trust.OK)
				if v := x.verdict(t, n.Name); time.Since(v.QuotedAt) > 68*time.Second {
					t.Errorf("%s was last asked %s ago", n.Name, time.Since(v.QuotedAt))
				}
			}
			pass(15 * time.Second)
		}
		for _, n := range x.nodes {
			if asked := x.fleet.Asked(n.Name); asked < 9 || asked > 12 {
				t.Errorf("%s was asked %d times in ten minutes", n.Name, asked)
			}
		}
		if x.fleet.Repeated() {
			t.Error("a nonce was used twice")
		}
		if n, err := testutil.GatherAndCount(x.registry, "trustpool_server_nodes"); err != nil || n != 1 {
			t.Errorf("%d series, %v", n, err)
		}
		if lag, _, err := x.store.Overdue(t.Context(), time.Now()); err != nil || lag > time.Second {
			t.Errorf("a node has been due for %s, %v", lag, err)
		}
		if n, err := testutil.GatherAndCount(x.registry, "trustpool_server_schedule_lag_seconds"); err != nil || n != 1 {
			t.Errorf("%d series, %v", n, err)
		}
	})
}

func TestANodeThatCantBeReachedIsTrustedUntilItsVerdictEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		x := newSite(t, 2)
		defer x.run(t)()
		pass(2 * time.Second)
		quoted := x.verdict(t, "node1").QuotedAt
		x.fleet.Fail("node1", errors.New("connection refused"))
		pass(time.Until(quoted.Add(3*time.Minute - time.Second)))
		x.want(t, "node1", trust.Trusted, trust.OK)
		pass(3 * time.Second)
		x.want(t, "node1", trust.Unknown, trust.Unreachable)
		x.want(t, "node0", trust.Trusted, trust.OK)

		x.fleet.Fail("node1", nil)
		pass(67 * time.Second) // at the latest an interval after the last attempt
		x.want(t, "node1", trust.Trusted, trust.OK)
	})
}

func TestANodeThatNeverAnswersStallsNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		x := newSite(t, 12)
		for i := range 3 { // of four at a time
			x.fleet.Fail(fmt.Sprint("node", i), nodetest.ErrHang)
		}
		defer x.run(t)()
		pass(30 * time.Second)
		for i := range 10 {
			for _, n := range x.nodes[3:] {
				x.want(t, n.Name, trust.Trusted, trust.OK)
			}
			x.want(t, fmt.Sprint("node", i%3), trust.Unknown, trust.NoQuote)
			pass(time.Minute)
		}
	})
}

func TestABadAnswerEndsAVerdictAtOnce(t *testing.T) {
	t.Parallel()

	for name, test := range map[string]struct {
		happen func(*site)
		want   trust.Reason
	}{
		"another hypervisor": {func(x *site) { x.nodes[0].Reboot("other") }, trust.PCRMismatch},
		"no launch":          {func(x *site) { x.nodes[0].Reboot("") }, trust.NoLaunch},
		"a wrong signature":  {func(x *site) { x.nodes[0].Tamper(func(ev *verifier.Evidence) { ev.Signature[20] ^= 1 }) }, trust.QuoteInvalid},
		"a refusal": {func(x *site) {
			x.fleet.Fail("node0", &challenge.RefusalError{trust.NoQuote, errors.New("the AK is gone")})
		}, trust.NoQuote},
		"another AK": {func(x *site) { _ = x.nodes[0].Rekey() }, trust.OnHold},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				x := newSite(t, 1)
				defer x.run(t)()
				pass(2 * time.Second)
				x.want(t, "node0", trust.Trusted, trust.OK)
				test.happen(x)
				if err := x.schedule.Hurry(t.Context(), "node0"); err != nil {
					t.Fatal(err)
				}
				pass(time.Second)
				x.want(t, "node0", trust.Untrusted, test.want)
			})
		})
	}
}

func TestAChangeOfTheDatabaseIsFollowedAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		x := newSite(t, 5)
		defer x.run(t)()
		pass(2 * time.Second)
		for _, n := range x.nodes {
			n.Reboot("other")
		}
		pass(70 * time.Second)
		x.want(t, "node4", trust.Untrusted, trust.PCRMismatch)

		set := x.approve(t, "other")
		pass(time.Second)
		for _, n := range x.nodes {
			x.want(t, n.Name, trust.Trusted, trust.OK)
		}
		if _, err := x.store.RetireSet(t.Context(), act(), "other", set.Revision); err != nil {
			t.Fatal(err)
		}
		x.want(t, "node4", trust.Unknown, trust.PolicyChanged)
		pass(time.Second)
		x.want(t, "node4", trust.Untrusted, trust.PCRMismatch)
	})
}

func TestANodeOnHoldStaysSoWhateverItAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		x := newSite(t, 1)
		defer x.run(t)()
		pass(2 * time.Second)
		x.nodes[0].Tamper(func(ev *verifier.Evidence) { ev.AKPublic[40] ^= 1 })
		pass(70 * time.Second)
		x.want(t, "node0", trust.Untrusted, trust.OnHold)
		x.nodes[0].Tamper(nil)
		pass(10 * time.Minute)
		x.want(t, "node0", trust.Untrusted, trust.OnHold)
		if _, err := x.store.ReleaseNode(t.Context(), act(), "node0", 0); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		x.want(t, "node0", trust.Trusted, trust.OK)
	})
}

func TestARestartLeavesNoNodeUnattestedForTwoIntervals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		x := newSite(t, 8)
		stop := x.run(t)
		pass(90 * time.Second)
		// What a killed server leaves: claims that nobody gives back.
		stop()
		if err := x.store.Hurry(t.Context(), "node3", time.Now()); err != nil {
			t.Fatal(err)
		}
		if nodes, err := x.store.Claim(t.Context(), time.Now(), 10, time.Hour); err != nil || len(nodes) == 0 {
			t.Fatalf("%+v, %v", nodes, err)
		}
		x.registry = prometheus.NewRegistry()
		defer x.run(t)()
		back := time.Now()
		pass(2 * time.Minute)
		for _, n := range x.nodes {
			if v := x.verdict(t, n.Name); v.Level != trust.Trusted || !v.QuotedAt.After(back) {
				t.Errorf("%s: %s, last asked %s before the return", n.Name, v.Level, back.Sub(v.QuotedAt))
			}
		}
	})
}
