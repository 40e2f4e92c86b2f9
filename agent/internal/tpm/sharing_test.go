package tpm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-tpm/tpm2"

	"github.com/trustpool/trustpool/agent/internal/tpm"
)

// TestAGroupAndTheOthersShareTheTPM has a crowd without end beside callers who want quotes of their own, handshakes, and an enrolment.
func TestAGroupAndTheOthersShareTheTPM(t *testing.T) {
	t.Parallel()

	slowTPM(t, func(t *testing.T, s *slow) {
		ctx, stop := context.WithCancel(t.Context())

		for i := range 32 {
			s.group.Go(func() {
				for ctx.Err() == nil {
					if _, err := s.ask(ctx, fmt.Sprint("crowd ", i)); err != nil && ctx.Err() == nil {
						t.Error(err)
					}
				}
			})
		}

		<-time.After(quoteTime / 2)

		for range 5 {
			began := time.Now()
			if _, err := s.owner.Quote(tpm.WithCaller(t.Context(), "own"), tpm.Request{ExtraData: nonce, Selections: selection}); err != nil {
				t.Error(err)
			}

			if took := time.Since(began); took > 3*quoteTime {
				t.Errorf("a quote of its own took %v", took)
			}
		}

		for name, do := range map[string]func() error{
			"an enrolment": func() error { _, err := s.owner.Identity(t.Context(), nonce, nil); return err },
			"a handshake": func() error {
				_, err := s.owner.SignTLS(t.Context(), s.owner.State().TLS.Key, make([]byte, 32))
				return err
			},
		} {
			began := time.Now()
			if err := do(); err != nil {
				t.Error(err)
			}

			if took := time.Since(began); took > 4*quoteTime {
				t.Errorf("%s took %v", name, took)
			}
		}

		// The reverse: others without end beside one who takes part.
		stop()
		s.group.Wait()

		ctx, stop = context.WithCancel(t.Context())

		for range 8 {
			s.group.Go(func() {
				for ctx.Err() == nil {
					_, _ = s.owner.Quote(tpm.WithCaller(ctx, "noisy"), tpm.Request{ExtraData: nonce, Selections: selection})
				}
			})
		}

		<-time.After(quoteTime / 2)

		for range 5 {
			began := time.Now()
			if _, err := s.ask(t.Context(), "polite"); err != nil {
				t.Error(err)
			}

			if took := time.Since(began); took > 2*quoteTime {
				t.Errorf("a shared quote took %v beside a noisy caller", took)
			}
		}

		stop()
		s.group.Wait()
	})
}

func TestAPoliteCallerInANoisyOnesGroupWaitsNoLongerForThat(t *testing.T) {
	t.Parallel()

	slowTPM(t, func(t *testing.T, s *slow) {
		s.busy(t)

		// Ten other selections stand before the one that the polite caller wants as well.
		for pcr := range 10 {
			s.group.Go(func() {
				request := tpm.Together{AKName: s.ak, Selections: []tpm.Selection{tpm.Select(tpm2.TPMAlgSHA256, pcr)}}
				if _, err := s.owner.QuoteTogether(tpm.WithCaller(t.Context(), "noisy"), request); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}

		s.goAsk(t.Context(), "noisy", func(*tpm.Share, error) {})
		synctest.Wait()

		began := time.Now()
		if _, err := s.ask(t.Context(), "polite"); err != nil {
			t.Error(err)
		}

		if took := time.Since(began); took > 3*quoteTime {
			t.Errorf("the polite caller waited for %v", took)
		}

		s.group.Wait()
	})
}

func TestARotationMakesNoWrongQuote(t *testing.T) {
	t.Parallel()

	slowTPM(t, func(t *testing.T, s *slow) {
		next, err := s.owner.Rotate(t.Context())
		if err != nil {
			t.Fatal(err)
		}

		s.busy(t)
		s.group.Go(func() {
			if err := s.owner.Commit(t.Context(), next.Name()); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()

		<-time.After(4 * quoteTime) // the rotation goes first by now

		s.goAsk(t.Context(), "by the old name", func(share *tpm.Share, err error) {
			if !errors.Is(err, tpm.ErrUnknownAK) {
				t.Errorf("got %+v, %v", share, err)
			}
		})
		s.group.Wait()

		s.ak = next.Name()

		share, err := s.ask(t.Context(), "by the new name")
		if err != nil || string(share.AK.Name()) != string(next.Name()) {
			t.Errorf("got %+v, %v", share, err)
		}
	})
}

func TestADeadlineThatAGroupCanNotMeetIsToldAtOnce(t *testing.T) {
	t.Parallel()

	slowTPM(t, func(t *testing.T, s *slow) {
		s.busy(t)
		s.goAsk(t.Context(), "first", func(*tpm.Share, error) {})
		synctest.Wait()

		for _, test := range []struct {
			within time.Duration
			want   error
		}{{2*quoteTime - quoteTime/10, tpm.ErrTooLate}, {2*quoteTime + quoteTime/10, nil}} {
			ctx, cancel := context.WithTimeout(t.Context(), test.within)
			began := time.Now()

			_, err := s.ask(ctx, "second")
			if !errors.Is(err, test.want) || test.want != nil && time.Since(began) > 0 {
				t.Errorf("within %v: %v after %v", test.within, err, time.Since(began))
			}

			cancel()
		}

		s.group.Wait()
	})
}

// TestQuotesThatFailAtOnceMakeNoQuoteFast: what can be done by a deadline follows from those that were made.
func TestQuotesThatFailAtOnceMakeNoQuoteFast(t *testing.T) {
	t.Parallel()

	slowTPM(t, func(t *testing.T, s *slow) {
		s.device.on(func(tpm2.TPMCC) ([]byte, error) { return responseCode(tpm2.TPMRCFailure), nil })

		for range 64 {
			if _, err := s.ask(t.Context(), "a"); err == nil {
				t.Fatal("no error")
			}

			if _, err := s.owner.Quote(t.Context(), tpm.Request{ExtraData: nonce, Selections: selection}); err == nil {
				t.Fatal("no error")
			}
		}

		s.device.on(func(tpm2.TPMCC) ([]byte, error) {
			<-time.After(quoteTime)

			return nil, nil
		})
		s.busy(t)

		ctx, cancel := context.WithTimeout(t.Context(), quoteTime*3/2)
		defer cancel()

		if _, err := s.ask(ctx, "a"); !errors.Is(err, tpm.ErrTooLate) {
			t.Errorf("half a quote time too late: %v", err)
		}

		s.group.Wait()
	})
}

// TestOnlyWhoWantsTheSameShares has callers who wait at the same time for other PCRs, and for another AK.
func TestOnlyWhoWantsTheSameShares(t *testing.T) {
	t.Parallel()

	slowTPM(t, func(t *testing.T, s *slow) {
		next, err := s.owner.Rotate(t.Context())
		if err != nil {
			t.Fatal(err)
		}

		s.busy(t)

		for _, request := range []tpm.Together{
			{AKName: s.ak, Selections: selection},
			{AKName: s.ak, Selections: []tpm.Selection{tpm.Select(tpm2.TPMAlgSHA256, 7)}},
			{AKName: next.Name(), Selections: selection},
		} {
			for _, caller := range []string{"a", "b"} {
				s.group.Go(func() {
					share, err := s.owner.QuoteTogether(tpm.WithCaller(t.Context(), caller), request)
					if err != nil {
						t.Error(err)

						return
					}

					if share.Tree.Size() != 2 || !bytes.Equal(share.AK.Name(), request.AKName) || share.Banks[0].Selection != request.Selections[0] {
						t.Errorf("who asked for %v by %x got %v by %x, among %d", request.Selections, request.AKName, share.Banks, share.AK.Name(), share.Tree.Size())
					}
				})
			}
		}

		s.group.Wait()

		if !slices.Equal(s.batches, []int{2, 2, 2}) {
			t.Errorf("trees of %v", s.batches)
		}
	})
}
