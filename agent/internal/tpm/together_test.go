package tpm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-tpm/tpm2"

	"github.com/trustpool/trustpool/agent/internal/aggregate"
	"github.com/trustpool/trustpool/agent/internal/tpm"
)

// quoteTime is how long a quote takes on slowTPM. The clock stands still while somebody uses the software TPM behind it.
const quoteTime = 250 * time.Millisecond

// slowTPM runs a test with an owner of a TPM whose quotes take quoteTime, all in a bubble of synctest: no goroutine is left behind, or the bubble fails.
func slowTPM(t *testing.T, test func(t *testing.T, s *slow)) {
	t.Helper()

	node := start(t)

	synctest.Test(t, func(t *testing.T) {
		s := &slow{device: &faults{TPM: node}}
		owner, states := own(t, s.device, func(o *tpm.Options) {
			withTLS(o)
			o.Queue = 64
			o.OnBatch = func(size int) {
				s.mu.Lock()
				defer s.mu.Unlock()

				s.batches = append(s.batches, size)
			}
		})
		s.owner, s.ak = owner, ready(t, states).AK.Name()
		mustQuote(t, owner, selection)
		s.device.on(func(code tpm2.TPMCC) ([]byte, error) {
			if code == tpm2.TPMCCQuote {
				<-time.After(quoteTime)
			}

			return nil, nil
		})

		// What a quote takes has to be known.
		for range 32 {
			mustQuote(t, owner, selection)
		}

		s.device.take()
		test(t, s)
		s.device.on(nil)
	})
}

type slow struct {
	owner  *tpm.TPM
	device *faults
	ak     []byte
	group  sync.WaitGroup

	mu      sync.Mutex // also held while somebody is told what came of a call
	batches []int
}

// ask asks for a shared quote in somebody's name.
func (s *slow) ask(ctx context.Context, caller string) (*tpm.Share, error) {
	bound := [aggregate.BoundSize]byte{0x7B, 0x01}
	copy(bound[2:], caller)

	share, err := s.owner.QuoteTogether(tpm.WithCaller(ctx, caller), tpm.Together{AKName: s.ak, Selections: selection, Bound: bound})
	if err == nil && share.Leaf.Bound != bound {
		return nil, errors.New("the leaf is another's")
	}

	return share, err
}

// goAsk asks in the background, and gives what comes of it to done.
func (s *slow) goAsk(ctx context.Context, caller string, done func(*tpm.Share, error)) {
	s.group.Go(func() {
		share, err := s.ask(ctx, caller)

		s.mu.Lock()
		defer s.mu.Unlock()

		done(share, err)
	})
}

// busy starts a quote of its own and returns when the TPM is at it.
func (s *slow) busy(t *testing.T) {
	t.Helper()

	s.group.Go(func() {
		if _, err := s.owner.Quote(tpm.WithCaller(context.Background(), "busy"), tpm.Request{ExtraData: nonce, Selections: selection}); err != nil {
			t.Error(err)
		}
	})
	synctest.Wait()
}

func TestALoneCallerWaitsForNobody(t *testing.T) {
	t.Parallel()

	slowTPM(t, func(t *testing.T, s *slow) {
		for range 5 {
			began := time.Now()

			share, err := s.ask(t.Context(), "alone")
			if err != nil {
				t.Fatal(err)
			}

			if took := time.Since(began); took != quoteTime || share.Tree.Size() != 1 {
				t.Errorf("it took %v among %d", took, share.Tree.Size())
			}
		}

		if commands := s.device.take(); len(commands) != 5 {
			t.Errorf("five quotes cost %v", commands)
		}
	})
}

// TestACrowdCostsWhatOneCallerCosts has callers who come back after some milliseconds, each at another time.
func TestACrowdCostsWhatOneCallerCosts(t *testing.T) {
	t.Parallel()

	for _, callers := range []int{2, 64, 256} {
		t.Run(fmt.Sprint(callers), func(t *testing.T) {
			t.Parallel()

			const rounds = 10

			slowTPM(t, func(t *testing.T, s *slow) {
				began := time.Now()

				for i := range callers {
					s.group.Go(func() {
						for range rounds {
							if _, err := s.ask(t.Context(), fmt.Sprint("caller ", i)); err != nil {
								t.Error(err)
							}

							<-time.After(time.Duration(i) * 10 * time.Millisecond / time.Duration(callers))
						}
					})
				}

				s.group.Wait()

				// The first to come is alone, and the last to come back must not keep the others.
				if quotes := len(s.device.take()); quotes > rounds+1 {
					t.Errorf("%d rounds took %d quotes of %v", rounds, quotes, s.batches)
				}

				if took := time.Since(began); took > (rounds+1)*quoteTime*105/100 {
					t.Errorf("%d rounds took %v", rounds, took)
				}
			})
		})
	}
}

// TestACrowdIsWaitedForAsLongAsItPays has callers who come back one after the other, the first and the last after the times that are told.
func TestACrowdIsWaitedForAsLongAsItPays(t *testing.T) {
	t.Parallel()

	const (
		rounds = 10
		step   = quoteTime / 50 // what it waits on for at a time
	)

	for name, test := range map[string]struct {
		callers     int
		first, last time.Duration
		// quotes is how many there may be, longest and two steps are how long the TPM may rest between two of them.
		quotes  int
		longest time.Duration
	}{
		"many who are back within a tenth of a quote":        {256, 0, quoteTime / 10, rounds + 1, quoteTime / 10},
		"many who are back within a seventh":                 {256, 0, quoteTime / 7, rounds + 1, quoteTime / 7},
		"many of whom the first takes as long as that":       {256, quoteTime / 10, quoteTime / 7, rounds + 1, quoteTime / 7},
		"few, the last of them late":                         {4, 0, quoteTime / 2, 3 * rounds, quoteTime / 20},
		"many who take longer than it pays to wait for them": {256, 0, quoteTime, 3 * rounds, quoteTime/5 - 2*step},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			slowTPM(t, func(t *testing.T, s *slow) {
				var (
					quotes  int
					ended   time.Time
					longest time.Duration
				)

				s.device.on(func(tpm2.TPMCC) ([]byte, error) {
					if quotes++; !ended.IsZero() {
						longest = max(longest, time.Since(ended))
					}

					<-time.After(quoteTime)

					ended = time.Now()

					return nil, nil
				})

				for i := range test.callers {
					s.group.Go(func() {
						for range rounds {
							if _, err := s.ask(t.Context(), fmt.Sprint("caller ", i)); err != nil {
								t.Error(err)
							}

							<-time.After(test.first + (test.last-test.first)*time.Duration(i)/time.Duration(test.callers-1))
						}
					})
				}

				s.group.Wait()

				if quotes > test.quotes || longest > test.longest+2*step {
					t.Errorf("%d quotes of %v, with pauses of up to %v", quotes, s.batches, longest)
				}
			})
		})
	}
}

// TestACrowdThatIsBackWaitsForNobody has callers who come back at once.
func TestACrowdThatIsBackWaitsForNobody(t *testing.T) {
	t.Parallel()

	const rounds = 10

	slowTPM(t, func(t *testing.T, s *slow) {
		s.busy(t)

		for i := range 8 {
			s.group.Go(func() {
				for range rounds {
					if _, err := s.ask(t.Context(), fmt.Sprint("caller ", i)); err != nil {
						t.Error(err)
					}
				}
			})
		}

		synctest.Wait()

		began := time.Now()
		s.group.Wait()

		if took := time.Since(began); took != (1+rounds)*quoteTime {
			t.Errorf("%d rounds took %v", rounds, took)
		}
	})
}

func TestOneCallerHasHalfOfATreeWhileOthersWait(t *testing.T) {
	t.Parallel()

	slowTPM(t, func(t *testing.T, s *slow) {
		s.busy(t)

		var trees []*aggregate.Tree // in their order

		of := make(map[*aggregate.Tree]map[string]int)
		left := map[string]int{"greedy": 500, "a": 200, "b": 4}

		for _, caller := range []string{"greedy", "a", "b"} {
			for range left[caller] {
				s.goAsk(t.Context(), caller, func(share *tpm.Share, err error) {
					if err != nil {
						t.Error(err)

						return
					}

					if of[share.Tree] == nil {
						trees, of[share.Tree] = append(trees, share.Tree), make(map[string]int)
					}

					of[share.Tree][caller]++
				})
			}

			synctest.Wait()
		}

		s.group.Wait()

		if !slices.Equal(s.batches, []int{256, 256, 192}) {
			t.Errorf("trees of %v", s.batches)
		}

		for _, tree := range trees {
			for caller, n := range of[tree] {
				left[caller] -= n
			}

			if others := left["a"] + left["b"]; of[tree]["greedy"] > aggregate.MaxLeaves/2 && others > 0 {
				t.Errorf("a tree of %v, while %d others wait", of[tree], others)
			}
		}

		if left["greedy"] != 0 {
			t.Errorf("%d got no answer", left["greedy"])
		}
	})
}

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

// TestNobodyIsForgotten has many come, wait, hang up and come again, in several groups and alone, and a TPM that fails now and then.
func TestNobodyIsForgotten(t *testing.T) {
	t.Parallel()

	for seed := range uint64(5) {
		slowTPM(t, func(t *testing.T, s *slow) {
			fails := rand.New(rand.NewPCG(seed, 0)) // #nosec G404 -- a story that can be told again
			s.device.on(func(code tpm2.TPMCC) ([]byte, error) {
				if code != tpm2.TPMCCQuote {
					return nil, nil
				}

				<-time.After(quoteTime)

				if fails.IntN(10) == 0 {
					return responseCode(tpm2.TPMRCFailure), nil
				}

				return nil, nil
			})

			for i := range 40 {
				random := rand.New(rand.NewPCG(seed, uint64(i+1))) // #nosec G404 -- as above

				s.group.Go(func() {
					for range 10 {
						ctx, cancel := context.WithTimeoutCause(t.Context(), time.Duration(random.Int64N(int64(4*quoteTime))), errors.New("had enough"))
						ctx = tpm.WithCaller(context.WithoutCancel(ctx), fmt.Sprint(i%7))

						if random.IntN(2) == 0 {
							var hangUp context.CancelFunc
							ctx, hangUp = context.WithCancel(ctx)
							time.AfterFunc(time.Duration(random.Int64N(int64(2*quoteTime))), hangUp)
						}

						switch random.IntN(4) {
						case 0:
							_, _ = s.owner.Quote(ctx, tpm.Request{ExtraData: nonce, Selections: selection})
						case 1:
							_, _ = s.owner.QuoteTogether(ctx, tpm.Together{AKName: s.ak, Selections: []tpm.Selection{tpm.Select(tpm2.TPMAlgSHA256, 1+random.IntN(3))}})
						default:
							_, _ = s.ask(ctx, fmt.Sprint(i%7))
						}

						cancel()
						<-time.After(time.Duration(random.Int64N(int64(quoteTime))))
					}
				})
			}

			s.group.Wait() // or the bubble says who waits for ever
			s.device.on(nil)
			mustQuote(t, s.owner, selection)

			if _, err := s.ask(t.Context(), "later"); err != nil {
				t.Error(err)
			}
		})
	}
}
