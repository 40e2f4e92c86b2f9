package store

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/trustpool/trustpool/server/pgtest"
)

// TestWhatEachRequestAsksIsNotPlannedEachTime: to plan takes PostgreSQL longer than to answer. It plans five times, and then keeps a plan if one is as good for all parameters (PostgreSQL, PREPARE).
func TestWhatEachRequestAsksIsNotPlannedEachTime(t *testing.T) {
	t.Parallel()

	s, err := Open(t.Context(), pgtest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	s.read.SetMaxOpenConns(1) // plans are kept by connection
	now := time.Now()
	asks := []func(context.Context) error{
		func(ctx context.Context) error { _, err := s.Lookup(ctx, []string{"node1"}, now); return err },
		func(ctx context.Context) error { _, err := s.TokenByID(ctx, "0123456789abcdef"); return err },
		func(ctx context.Context) error { _, err := s.SessionToken(ctx, make([]byte, 32), now); return err },
	}
	const times = 10
	for range times {
		for _, ask := range asks {
			if err := ask(t.Context()); err != nil && !errors.Is(err, ErrNotFound) {
				t.Fatal(err)
			}
		}
	}

	kept := 0
	err = s.look(t.Context(), func(within tx) error {
		statement := "SELECT statement, custom_plans, generic_plans FROM pg_prepared_statements WHERE custom_plans + generic_plans = $1"
		return within.rows(statement, []any{int64(times)}, func(scan func(...any) error) error {
			var (
				statement       string
				planned, reused int64
			)
			if err := scan(&statement, &planned, &reused); err != nil {
				return err
			}
			kept++
			if planned > times/2 {
				t.Errorf("planned %d times of %d:\n%s", planned, planned+reused, statement)
			}
			return nil
		})
	})
	if err != nil || kept != len(asks) {
		t.Errorf("%d statements were asked %d times, want %d, %v", kept, times, len(asks), err)
	}
}
