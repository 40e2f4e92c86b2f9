package store

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/verifier"
)

// TestAVerdictThatEndsWhileTheDatabaseIsWaitedForIsUnknown: all connections are taken, and an hour later the answer is about what holds then, and not when it was asked for.
func TestAVerdictThatEndsWhileTheDatabaseIsWaitedForIsUnknown(t *testing.T) {
	t.Parallel()

	trusted := trust.Trusted
	for name, ask := range map[string]func(context.Context, *Store, time.Time) ([]Host, error){
		"Lookup": func(ctx context.Context, s *Store, now time.Time) ([]Host, error) {
			return s.Lookup(ctx, []string{"node1"}, now)
		},
		"Hosts": func(ctx context.Context, s *Store, now time.Time) ([]Host, error) {
			return s.Hosts(ctx, HostFilter{Limit: 1}, now)
		},
		"Hosts of the trusted": func(ctx context.Context, s *Store, now time.Time) ([]Host, error) {
			return s.Hosts(ctx, HostFilter{Limit: 1, Level: &trusted}, now)
		},
	} {
		file := filepath.Join(t.TempDir(), "trustpool.db")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := trustedFor(t, file, time.Minute)
				release := takeReaders(t, s)
				type answer struct {
					hosts []Host
					err   error
				}
				answered := make(chan answer, 1)
				go func() {
					hosts, err := ask(t.Context(), s, time.Now())
					answered <- answer{hosts, err}
				}()
				<-time.After(time.Hour) // the bubble's, and it passes only once ask waits
				release()
				got := <-answered
				if got.err != nil || len(got.hosts) != 1 || got.hosts[0].Verdict.Level != trust.Unknown || got.hosts[0].Verdict.Reason != trust.Stale {
					t.Errorf("%+v, %v", got.hosts, got.err)
				}
			})
		})
	}
}

// trustedFor opens a database with a node that is trusted for so long from now on.
func trustedFor(t *testing.T, file string, valid time.Duration) *Store {
	t.Helper()
	ctx, now := t.Context(), time.Now()
	s, err := Open(ctx, file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	act := Act{By: "alice", At: now}
	if _, err := s.PutPool(ctx, act, trust.Pool{Name: "pool"}, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := s.AddNodes(ctx, act, []trust.Node{{Name: "node1", Address: "h:1", Pool: "pool", Binding: verifier.BindingFirstUse}}); err != nil {
		t.Fatal(err)
	}
	nodes, err := s.Claim(ctx, now, 1, time.Minute)
	if err != nil || len(nodes) != 1 {
		t.Fatal(nodes, err)
	}
	revision, err := s.PolicyRevision(ctx)
	if err != nil {
		t.Fatal(err)
	}
	v := trust.Verdict{Level: trust.Trusted, Reason: trust.OK, QuotedAt: now, ExpiresAt: now.Add(valid)}
	if err := s.Record(ctx, []Outcome{{Node: nodes[0], PolicyRevision: revision, Lease: now.Add(time.Minute), At: now, Due: now.Add(time.Hour), Verdict: &v}}); err != nil {
		t.Fatal(err)
	}
	if hosts, err := s.Lookup(ctx, []string{"node1"}, now); err != nil || hosts[0].Verdict.Level != trust.Trusted {
		t.Fatal(hosts, err)
	}
	return s
}

// takeReaders takes all connections that read, until it is told to release them.
func takeReaders(t *testing.T, s *Store) (release func()) {
	t.Helper()
	var taken []*sql.Conn
	for range s.read.Stats().MaxOpenConnections {
		conn, err := s.read.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		taken = append(taken, conn)
	}
	return func() {
		for _, conn := range taken {
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}
