package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"time"
)

// timed makes calls one after the other and tells how long each took.
type timed func(ctx context.Context, calls int) ([]time.Duration, error)

// series is one case of a table and what it took.
type series struct {
	name   string
	run    timed
	calls  int               // a round
	rounds [][]time.Duration // in the order of the rounds
	// commands is how many TPM commands a call takes; 0: not counted.
	commands int
}

// interleave runs all cases in each round, in random order, after one round that does not count.
func interleave(ctx context.Context, progress io.Writer, all []*series, rounds int) error {
	for round := range rounds + 1 {
		fmt.Fprintf(progress, "\r  round %d of %d ", round, rounds)

		for _, i := range rand.Perm(len(all)) { //nolint:gosec // an order, no secret
			s := all[i]

			calls := s.calls
			if round == 0 {
				calls = min(calls, 3)
			}

			times, err := s.run(ctx, calls)
			if err != nil {
				return fmt.Errorf("measuring %s: %w", s.name, err)
			}

			if round > 0 {
				s.rounds = append(s.rounds, times)
			}
		}
	}

	fmt.Fprintln(progress)

	return nil
}

// quantile returns the p-quantile of all calls, p in (0, 1].
func (s *series) quantile(p float64) time.Duration {
	return quantile(slices.Concat(s.rounds...), p)
}

// over returns the median over the rounds of this case's median divided by the other's of the same round.
func (s *series) over(reference *series) float64 {
	ratios := make([]float64, 0, len(s.rounds))

	for i := range min(len(s.rounds), len(reference.rounds)) {
		ratios = append(ratios, float64(quantile(s.rounds[i], 0.5))/float64(quantile(reference.rounds[i], 0.5)))
	}

	return quantile(ratios, 0.5)
}

// quantile returns the least value that at least p of all values do not exceed; 0 if there are none.
func quantile[T cmp.Ordered](values []T, p float64) T {
	if len(values) == 0 {
		var zero T

		return zero
	}

	sorted := slices.Sorted(slices.Values(values))

	rank := int(float64(len(sorted))*p+0.999999) - 1

	return sorted[min(max(rank, 0), len(sorted)-1)]
}
