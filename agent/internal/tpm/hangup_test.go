package tpm_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trustpool/trustpool/agent/internal/tpm"
)

func TestWhoHangsUpInTimeHasNoLeaf(t *testing.T) {
	t.Parallel()

	slowTPM(t, func(t *testing.T, s *slow) {
		s.busy(t)

		ctx, hangUp := context.WithCancel(t.Context())
		gone := func(_ *tpm.Share, err error) {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("who hung up got %v", err)
			}
		}
		stayed := 0
		stays := func(share *tpm.Share, err error) {
			if stayed++; err != nil || share.Tree.Size() != 2 {
				t.Errorf("who stayed got %+v, %v", share, err)
			}
		}

		// The first to come holds the place in the queue for the others of its name.
		s.goAsk(ctx, "a", gone)
		synctest.Wait()
		s.goAsk(t.Context(), "a", stays)
		synctest.Wait()
		s.goAsk(ctx, "b", gone)
		s.goAsk(t.Context(), "c", stays)
		synctest.Wait()
		hangUp()
		s.group.Wait()

		if stayed != 2 || !slices.Equal(s.batches, []int{2}) {
			t.Errorf("%d stayed, trees of %v", stayed, s.batches)
		}
	})
}

func TestWhoHangsUpTooLateLeavesADeadLeaf(t *testing.T) {
	t.Parallel()

	slowTPM(t, func(t *testing.T, s *slow) {
		s.busy(t)

		began := time.Now()
		ctx, hangUp := context.WithCancel(t.Context())
		answered := 0

		for range 3 {
			s.goAsk(ctx, "a", func(_ *tpm.Share, err error) {
				switch {
				case err == nil:
					answered++
				case !errors.Is(err, context.Canceled) || time.Since(began) != quoteTime*3/2:
					t.Errorf("who hung up got %v after %v", err, time.Since(began))
				}
			})
		}

		s.goAsk(t.Context(), "b", func(share *tpm.Share, err error) {
			if err != nil || share.Tree.Size() != 4 {
				t.Errorf("who stayed got %+v, %v", share, err)
			}
		})
		<-time.After(quoteTime * 3 / 2)
		hangUp()
		s.group.Wait()

		if answered > 1 { // the one who made the quote for all
			t.Errorf("%d who hung up got a quote", answered)
		}

		if len(s.device.take()) != 2 {
			t.Error("the quote was made again")
		}
	})
}

func TestNobodyWaitsForWhoHungUp(t *testing.T) {
	t.Parallel()

	slowTPM(t, func(t *testing.T, s *slow) {
		ctx, hangUp := context.WithCancel(t.Context())

		s.busy(t)
		s.goAsk(t.Context(), "b", func(_ *tpm.Share, err error) {
			if err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		s.goAsk(ctx, "a", func(_ *tpm.Share, err error) {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("who hung up got %v", err)
			}
		})
		<-time.After(quoteTime * 3 / 2)
		hangUp()
		s.group.Wait()

		began := time.Now()
		if _, err := s.ask(t.Context(), "b"); err != nil {
			t.Error(err)
		}

		if took := time.Since(began); took != quoteTime {
			t.Errorf("who stayed got the next quote after %v", took)
		}
	})
}

func TestWhenAllHangUpTheTurnIsForOthers(t *testing.T) {
	t.Parallel()

	slowTPM(t, func(t *testing.T, s *slow) {
		s.busy(t)

		ctx, hangUp := context.WithCancel(t.Context())

		for i := range 10 {
			s.goAsk(ctx, fmt.Sprint(i%3), func(*tpm.Share, error) {})
		}

		synctest.Wait()
		s.busy(t) // waits behind them
		hangUp()
		s.group.Wait()

		if commands := s.device.take(); len(commands) != 2 || len(s.batches) != 0 {
			t.Errorf("commands %v, trees of %v", commands, s.batches)
		}

		if _, err := s.ask(t.Context(), "later"); err != nil {
			t.Error(err)
		}
	})
}
