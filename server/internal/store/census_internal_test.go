package store

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trustpool/trustpool/server/internal/trust"
)

// TestManyNodesAreCountedOnceForAllWhoAsk: for ten seconds, also while the database is away, and no longer.
func TestManyNodesAreCountedOnceForAllWhoAsk(t *testing.T) {
	t.Parallel()

	file := filepath.Join(t.TempDir(), "trustpool.db")
	synctest.Test(t, func(t *testing.T) {
		s := trustedFor(t, file, time.Minute)
		trusted := func() int {
			t.Helper()
			c, err := s.Census(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, count := range c.Counts {
				if count.Level == trust.Trusted {
					return count.Nodes
				}
			}
			return 0
		}
		if n := trusted(); n != 1 {
			t.Fatalf("%d nodes are trusted, want 1", n)
		}
		if _, err := s.HoldNode(t.Context(), Act{By: "alice", At: time.Now()}, "node1", 0, "odd"); err != nil {
			t.Fatal(err)
		}
		if n := trusted(); n != 0 {
			t.Errorf("%d of a few nodes are trusted by a count from before", n)
		}

		crowd := crowdOf(countedAnew + 100)
		for i := range crowd {
			crowd[i].Name, crowd[i].Aliases = "x"+crowd[i].Name, nil
		}
		if _, err := s.AddNodes(t.Context(), Act{By: "alice", At: time.Now()}, crowd); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Census(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := s.Record(t.Context(), trustAll(t, s, time.Now())[:fewNodes]); err != nil {
			t.Fatal(err)
		}
		<-time.After(censusLasts - time.Second)
		if n := trusted(); n != 0 {
			t.Errorf("%d nodes are trusted: many nodes were counted anew", n)
		}
		<-time.After(time.Second)
		if n := trusted(); n != fewNodes {
			t.Errorf("%d nodes are trusted, want %d: the count is from longer ago", n, fewNodes)
		}

		away := errors.New("it is away")
		s.unfit.Store(&away)
		<-time.After(censusLasts - time.Second)
		if n := trusted(); n != fewNodes {
			t.Errorf("%d nodes are trusted, want %d", n, fewNodes)
		}
		<-time.After(time.Second)
		if c, err := s.Census(t.Context()); !errors.Is(err, ErrUnavailable) {
			t.Errorf("a database that is away: %+v, %v", c, err)
		}
		s.unfit.Store(nil)
		listsFollowEachOther(t, s)
	})
}

// listsFollowEachOther pages through the trusted nodes, which are few, the one that is held, and the others, which are many.
func listsFollowEachOther(t *testing.T, s *Store) {
	t.Helper()
	for level, want := range map[trust.Level]int{trust.Trusted: fewNodes, trust.Untrusted: 1, trust.Unknown: countedAnew + 100 - fewNodes} {
		var names []string
		f := HostFilter{Level: &level, Limit: 350}
		for {
			hosts, err := s.Hosts(t.Context(), f, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			for _, h := range hosts {
				if h.Verdict.Level != level {
					t.Fatalf("%s is %s", h.Node, h.Verdict.Level)
				}
				names = append(names, h.Node)
			}
			if len(hosts) < f.Limit {
				break
			}
			f.After = hosts[len(hosts)-1].Node
		}
		if len(names) != want || !slices.IsSorted(names) {
			t.Errorf("%d nodes are %s, want %d, by name", len(names), level, want)
		}
	}
}

// TestTheUnknownAreFoundWithoutLookingAtAllOthers: SQLite tells how it would.
func TestTheUnknownAreFoundWithoutLookingAtAllOthers(t *testing.T) {
	t.Parallel()

	s := trustedFor(t, filepath.Join(t.TempDir(), "trustpool.db"), time.Minute)
	err := s.look(t.Context(), func(tx tx) error {
		return tx.rows("EXPLAIN QUERY PLAN "+mayBeUnknown, []any{1, 1}, func(scan func(...any) error) error {
			var (
				id, parent, unused int
				step               string
			)
			err := scan(&id, &parent, &unused, &step)
			if strings.HasPrefix(step, "SCAN") && !strings.Contains(step, "nodes_never_reached") {
				t.Error(step)
			}
			return err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}
