package store_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/store/storetest"
	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/verifier"
)

// troubled has seven nodes: a0 and a1 fail alike, the second a minute later, b0 otherwise; c0 is trusted, d0's verdict has ended, e0 was never asked, and f0 was, and then decommissioned.
func troubled(t *testing.T, on storetest.Engine) *store.Store {
	t.Helper()
	s, _ := newStore(t, on)
	ctx := t.Context()
	if _, err := s.PutPool(ctx, act(), trust.Pool{Name: "pool"}, 0); err != nil {
		t.Fatal(err)
	}
	var nodes []trust.Node
	for _, name := range []string{"a0", "a1", "b0", "c0", "d0", "e0", "f0"} {
		nodes = append(nodes, trust.Node{Name: name, Address: name + ":9443", Pool: "pool", Binding: verifier.BindingChain})
	}
	if _, err := s.AddNodes(ctx, act(), nodes); err != nil {
		t.Fatal(err)
	}
	claimed, err := s.Claim(ctx, noon, 10, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	revision, err := s.PolicyRevision(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range claimed {
		at, ends := noon, noon.Add(time.Hour)
		v := trust.Verdict{Level: trust.Untrusted, Reason: trust.PCRMismatch, Detail: "the same"}
		switch n.Name {
		case "a1":
			at = noon.Add(time.Minute)
		case "b0":
			v.Detail = "something else"
		case "c0":
			v = trust.Verdict{Level: trust.Trusted, Reason: trust.OK}
		case "d0":
			v, ends = trust.Verdict{Level: trust.Trusted, Reason: trust.OK}, noon.Add(time.Minute)
		case "e0":
			continue
		}
		v.QuotedAt, v.ExpiresAt = at, ends
		if err := s.Record(ctx, []store.Outcome{{Node: n, PolicyRevision: revision, Lease: noon.Add(time.Hour), At: at, Due: at.Add(time.Hour), Verdict: &v}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.RemoveNode(ctx, act(), "f0", 0); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTroublesAreTheCausesOfTheMostNodesFirst(t *testing.T) {
	t.Parallel()
	storetest.OnBoth(t, func(t *testing.T, on storetest.Engine) {
		s, now := troubled(t, on), noon.Add(10*time.Minute)
		refused, err := s.Troubles(t.Context(), trust.Untrusted, 5, 5, now)
		if err != nil {
			t.Fatal(err)
		}
		later := noon.Add(time.Minute)
		want := []store.Trouble{
			{Level: trust.Untrusted, Reason: trust.PCRMismatch, Detail: "the same", Nodes: 2, Newest: []store.Troubled{{"a1", "pool", later}, {"a0", "pool", noon}}},
			{Level: trust.Untrusted, Reason: trust.PCRMismatch, Detail: "something else", Nodes: 1, Newest: []store.Troubled{{"b0", "pool", noon}}},
		}
		if diff := cmp.Diff(want, refused); diff != "" {
			t.Errorf("refused: %s", diff)
		}

		unknown, err := s.Troubles(t.Context(), trust.Unknown, 5, 5, now)
		if err != nil {
			t.Fatal(err)
		}
		got := make(map[trust.Reason]string)
		for _, one := range unknown {
			got[one.Reason] = fmt.Sprint(one.Nodes, " ", one.Newest[0].Name)
		}
		if diff := cmp.Diff(map[trust.Reason]string{trust.Stale: "1 d0", trust.NotEnrolled: "1 e0"}, got); diff != "" {
			t.Errorf("unknown: %s", diff)
		}
	})
}

func TestTroublesAreAsManyAsWereWanted(t *testing.T) {
	t.Parallel()
	storetest.OnBoth(t, func(t *testing.T, on storetest.Engine) {
		refused, err := troubled(t, on).Troubles(t.Context(), trust.Untrusted, 1, 1, noon.Add(10*time.Minute))
		if err != nil || len(refused) != 1 || refused[0].Nodes != 2 || len(refused[0].Newest) != 1 {
			t.Errorf("%+v, %v", refused, err)
		}
	})
}

func TestTroublesSayOfEachNodeWhatLookupSays(t *testing.T) {
	t.Parallel()
	storetest.OnBoth(t, func(t *testing.T, on storetest.Engine) {
		s := troubled(t, on)
		for _, now := range []time.Time{noon.Add(-2 * time.Hour), noon, noon.Add(10 * time.Minute), noon.Add(2 * time.Hour)} {
			said := make(map[string]trust.Reason)
			for _, level := range []trust.Level{trust.Untrusted, trust.Unknown} {
				troubles, err := s.Troubles(t.Context(), level, 10, 10, now)
				if err != nil {
					t.Fatal(err)
				}
				for _, one := range troubles {
					for _, n := range one.Newest {
						said[n.Name] = one.Reason
					}
				}
			}
			hosts, err := s.Hosts(t.Context(), store.HostFilter{Limit: 10}, now)
			if err != nil || len(hosts) != 6 {
				t.Fatal(hosts, err)
			}
			for _, level := range []trust.Level{trust.Trusted, trust.Untrusted, trust.Unknown} {
				want := slices.DeleteFunc(slices.Clone(hosts), func(h store.Host) bool { return h.Verdict.Level != level })
				got, err := s.Hosts(t.Context(), store.HostFilter{Limit: 10, Level: &level}, now)
				if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); err != nil || diff != "" {
					t.Errorf("the %s ones at %s: %v %s", level, now, err, diff)
				}
			}
			for _, h := range hosts {
				if h.Verdict.Level != trust.Trusted && said[h.Node] != h.Verdict.Reason || h.Verdict.Level == trust.Trusted && said[h.Node] != "" {
					t.Errorf("at %s: %s is %q by Hosts, and %q by Troubles", now, h.Node, h.Verdict.Reason, said[h.Node])
				}
			}
		}
	})
}

func TestHostsAreListedByTheBeginningOfTheirNames(t *testing.T) {
	t.Parallel()
	storetest.OnBoth(t, func(t *testing.T, on storetest.Engine) {
		s := troubled(t, on)
		for begins, want := range map[string]string{"a": "a0 a1 ", "a0": "a0 ", "a00": "", "": "a0 a1 b0 c0 d0 e0 ", "z": "", "%": "", "_": ""} {
			hosts, err := s.Hosts(t.Context(), store.HostFilter{Begins: begins, Limit: 10}, noon)
			got := ""
			for _, h := range hosts {
				got += h.Node + " "
			}
			if err != nil || got != want {
				t.Errorf("%q: %q, %v, want %q", begins, got, err, want)
			}
		}
	})
}
