package tpm_test

import (
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

					mu      sync.Mutex
					waiting int
					since   time.Time // when the first of those who wait came
				)

				s.device.on(func(tpm2.TPMCC) ([]byte, error) {
					if quotes++; !ended.IsZero() {
						mu.Lock()
						longest = max(longest, min(time.Since(ended), time.Since(since))) // it may rest while nobody is there
						mu.Unlock()
					}

					<-time.After(quoteTime)

					ended = time.Now()

					return nil, nil
				})

				for i := range test.callers {
					s.group.Go(func() {
						for range rounds {
							mu.Lock()
							if waiting++; waiting == 1 {
								since = time.Now()
							}
							mu.Unlock()

							if _, err := s.ask(t.Context(), fmt.Sprint("caller ", i)); err != nil {
								t.Error(err)
							}

							mu.Lock()
							waiting--
							mu.Unlock()

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
