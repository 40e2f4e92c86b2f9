package store

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/server/pgtest"
	"github.com/trustpool/trustpool/verifier"
)

// counter counts the statements that are sent to PostgreSQL.
type counter struct{ statements atomic.Int64 }

// TraceQueryStart implements pgx.QueryTracer.
func (c *counter) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	c.statements.Add(1)
	return ctx
}

// TraceQueryEnd implements pgx.QueryTracer.
func (c *counter) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// of tells how many statements do takes.
func (c *counter) of(t *testing.T, do func() error) int64 {
	t.Helper()
	before := c.statements.Load()
	if err := do(); err != nil {
		t.Fatal(err)
	}
	return c.statements.Load() - before
}

// counted opens a new PostgreSQL database with a pool.
func counted(t *testing.T) (*Store, *counter) {
	t.Helper()
	s, err := Open(t.Context(), pgtest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	config, err := s.connection()
	if err != nil {
		t.Fatal(err)
	}
	c := &counter{}
	config.Tracer = c
	writer := s.write
	s.write = openPool(s, config, 1)
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.PutPool(t.Context(), Act{By: "alice", At: time.Now()}, trust.Pool{Name: "pool"}, 0); err != nil {
		t.Fatal(err)
	}
	return s, c
}

func crowdOf(count int) []trust.Node {
	nodes := make([]trust.Node, count)
	for i := range nodes {
		nodes[i] = trust.Node{
			Name: fmt.Sprintf("node%d", i), Aliases: []string{fmt.Sprintf("n%d", i)}, Address: "h:1", Pool: "pool", Binding: verifier.BindingFirstUse,
		}
	}
	return nodes
}

// trustAll has all nodes that are due answer, and be trusted.
func trustAll(t *testing.T, s *Store, now time.Time) []Outcome {
	t.Helper()
	nodes, err := s.Claim(t.Context(), now, 1000, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	revision, err := s.PolicyRevision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := make([]Outcome, len(nodes))
	for i, n := range nodes {
		all[i] = Outcome{
			Node: n, PolicyRevision: revision, Lease: now.Add(time.Minute), At: now, Due: now.Add(time.Minute),
			Verdict:  &trust.Verdict{Level: trust.Trusted, Reason: trust.OK, QuotedAt: now, ExpiresAt: now.Add(time.Hour), Sets: []string{"a", "b"}, Boot: &trust.Boot{ResetCount: 7}},
			Evidence: &Evidence{QuotedAt: now, Nonce: []byte(n.Name), Evidence: verifier.Evidence{Quoted: []byte("q"), Logs: []verifier.Log{{Source: "txt", Raw: []byte("all alike")}}}},
		}
	}
	return all
}

// TestManyAnswersTakeAsManyStatementsAsOne: replicas wait for each other while they write, and for each statement an answer goes over the network.
func TestManyAnswersTakeAsManyStatementsAsOne(t *testing.T) {
	t.Parallel()

	s, c := counted(t)
	now := time.Now()
	for round, count := range []int{1, 300} {
		nodes := crowdOf(count + round)[round:] // others in each round
		took := c.of(t, func() error {
			_, err := s.AddNodes(t.Context(), Act{By: "alice", At: now}, nodes)
			return err
		})
		first := trustAll(t, s, now)
		if len(first) != count {
			t.Fatalf("%d nodes are due, want %d", len(first), count)
		}
		heard := s.Changed()
		took1 := c.of(t, func() error { return s.Record(t.Context(), first) })
		select {
		case <-heard:
		default:
			t.Error("nobody is told of verdicts that changed")
		}

		heard = s.Changed()
		again := trustAll(t, s, now.Add(2*time.Minute))
		took2 := c.of(t, func() error { return s.Record(t.Context(), again) })
		select {
		case <-heard:
			t.Error("whoever waits for changes is woken by verdicts that were only renewed")
		default:
		}
		t.Logf("%d nodes: %d statements to add them, %d for their first answers, %d for answers that change nothing", count, took, took1, took2)
		if took > 14 || took1 > 20 || took2 > 10 {
			t.Errorf("%d nodes take %d statements to be added, %d and %d to be recorded", count, took, took1, took2)
		}
		for i := 0; i < len(again); i += 10 {
			if err := wasRenewed(t.Context(), s, &again[i]); err != nil {
				t.Fatalf("%s: %v", again[i].Node.Name, err)
			}
		}
		now = now.Add(10 * time.Second) // those of the last round are not due
	}
}

// wasRenewed tells what is wrong with a node that has answered twice the same.
func wasRenewed(ctx context.Context, s *Store, o *Outcome) error {
	hosts, err := s.Lookup(ctx, []string{o.Node.Aliases[0]}, o.At)
	if err != nil {
		return err
	}
	good, err := s.LastEvidence(ctx, o.Node.Name, LastGood)
	if err != nil {
		return err
	}
	ofChange, err := s.EvidenceOf(ctx, o.Node.Name, hosts[0].EvidenceID)
	if err != nil {
		return err
	}
	contact, err := s.Contact(ctx, o.Node.Name)
	switch v := hosts[0].Verdict; {
	case err != nil:
		return err
	case v.Level != trust.Trusted || v.QuotedAt.UnixMilli() != o.At.UnixMilli() || len(v.Sets) != 2 || v.Boot.ResetCount != 7:
		return fmt.Errorf("its verdict is %+v", v)
	case good.QuotedAt.UnixMilli() != o.At.UnixMilli() || string(good.Nonce) != o.Node.Name || len(good.Evidence.Logs) != 1:
		return fmt.Errorf("its evidence is %+v", good)
	case !ofChange.QuotedAt.Before(good.QuotedAt) || len(ofChange.Evidence.Logs) != 1 || string(ofChange.Nonce) != o.Node.Name:
		return fmt.Errorf("the evidence of its change is %+v", ofChange)
	case contact.GoodQuotes != 2 || contact.DueAt.UnixMilli() != o.Due.UnixMilli():
		return fmt.Errorf("of its contact it is told: %+v", contact)
	}
	if _, err := s.EvidenceOf(ctx, o.Node.Name, good.ID); !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("the number %d would name other evidence after the next quote: %w", good.ID, err)
	}
	return nil
}
