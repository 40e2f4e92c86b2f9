package tpm_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/trustpool/trustpool/agent/internal/tpm"
)

// The tests here run on a clock that stands still while somebody uses the TPM.

func TestOnlyACommandFarBeyondItsCeilingIsCalledHung(t *testing.T) {
	t.Parallel()

	node := start(t)

	for name, test := range map[string]struct {
		slow  tpm2.TPMCC
		takes time.Duration
		hung  bool
	}{
		"a quote that takes three times its ceiling":        {tpm2.TPMCCQuote, 30 * time.Second, false},
		"a quote that takes longer":                         {tpm2.TPMCCQuote, 31 * time.Second, true},
		"a key generation that takes as long":               {tpm2.TPMCCCreatePrimary, 31 * time.Second, false},
		"a key generation at three times its ceiling":       {tpm2.TPMCCCreatePrimary, 360 * time.Second, false},
		"a key generation that takes longer than even that": {tpm2.TPMCCCreatePrimary, 361 * time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				device := &faults{TPM: node}
				owner, states := own(t, device, nil)
				ready(t, states)
				device.on(func(code tpm2.TPMCC) ([]byte, error) {
					if code == test.slow {
						<-time.After(test.takes)
					}

					return nil, nil
				})

				done := make(chan error)

				go func() {
					var err error
					if test.slow == tpm2.TPMCCQuote {
						_, err = owner.Quote(t.Context(), tpm.Request{ExtraData: nonce, Selections: selection})
					} else {
						_, err = owner.Identity(t.Context(), nonce, nil)
					}
					done <- err
				}()

				<-time.After(test.takes - time.Millisecond)

				if err := owner.Hung(); errors.Is(err, tpm.ErrHung) != test.hung {
					t.Errorf("while it is under way: %v", err)
				}

				device.on(nil)

				if err := <-done; err != nil {
					t.Error(err)
				}

				if err := owner.Hung(); err != nil {
					t.Errorf("after it ended: %v", err)
				}
			})
		})
	}
}

func TestABusyTPMIsNeverCalledHung(t *testing.T) {
	t.Parallel()

	node := start(t)

	synctest.Test(t, func(t *testing.T) {
		device := &faults{TPM: node}
		owner, states := own(t, device, func(o *tpm.Options) { o.Queue = 32 })
		ready(t, states)
		device.on(func(tpm2.TPMCC) ([]byte, error) {
			<-time.After(9 * time.Second)

			return nil, nil
		})

		const callers = 10

		done := make(chan error)

		for range callers {
			go func() {
				_, err := owner.Quote(t.Context(), tpm.Request{ExtraData: nonce, Selections: selection})
				done <- err
			}()
		}

		for served := 0; served < callers; {
			select {
			case err := <-done:
				served++

				if err != nil {
					t.Error(err)
				}
			case <-time.After(time.Second):
			}

			if err := owner.Hung(); err != nil {
				t.Fatal(err)
			}
		}

		device.on(nil)
	})
}

func TestOnlyAnIdleTPMIsChecked(t *testing.T) {
	t.Parallel()

	node := start(t)

	synctest.Test(t, func(t *testing.T) {
		device := &faults{TPM: node}
		owner, states := own(t, device, nil)
		ready(t, states)

		for range 120 {
			mustQuote(t, owner, selection)
			<-time.After(time.Second)
		}

		if commands := device.take(); slices.Contains(commands, tpm2.TPMCCGetRandom) {
			t.Errorf("a TPM in use was checked: %v", commands)
		}

		<-time.After(5 * time.Minute)

		commands := device.take()
		if len(commands) < 4 || len(commands) > 10 || slices.ContainsFunc(commands, func(code tpm2.TPMCC) bool { return code != tpm2.TPMCCGetRandom }) {
			t.Errorf("an idle TPM got %v in five minutes", commands)
		}
	})
}

func TestATPMThatGoesWhileNobodyCallsIsMissed(t *testing.T) {
	t.Parallel()

	node := start(t)

	synctest.Test(t, func(t *testing.T) {
		device := &faults{TPM: node}
		owner, states := own(t, device, nil)
		ready(t, states)
		device.on(func(tpm2.TPMCC) ([]byte, error) { return nil, io.ErrUnexpectedEOF })

		if state := <-states; !errors.Is(state.Err, tpm.ErrAbsent) {
			t.Errorf("state is %v, want ErrAbsent", state.Err)
		}

		if err := owner.Hung(); err != nil {
			t.Errorf("a TPM that is gone is called hung: %v", err)
		}

		device.on(nil)

		for state := (<-states); state.Err != nil; {
			state = <-states
		}
	})
}

func TestEveryTurnTellsWhereItsTimeWent(t *testing.T) {
	t.Parallel()

	node := start(t)

	synctest.Test(t, func(t *testing.T) {
		const quoteTime = 250 * time.Millisecond

		var depth []int

		turns := make(chan tpm.Turn, 10)
		device := &faults{TPM: node}
		owner, states := own(t, device, func(o *tpm.Options) {
			o.OnTurn = func(_ context.Context, turn tpm.Turn) { turns <- turn }
			o.OnQueue = func(waiting int) { depth = append(depth, waiting) }
		})
		ready(t, states)
		mustQuote(t, owner, selection)
		<-turns
		device.on(func(tpm2.TPMCC) ([]byte, error) {
			<-time.After(quoteTime)

			return nil, nil
		})

		done := make(chan error, 2)
		quote := func() {
			_, err := owner.Quote(t.Context(), tpm.Request{ExtraData: nonce, Selections: selection})
			done <- err
		}

		go quote()
		synctest.Wait()

		go quote()

		for i := range 2 {
			if err := <-done; err != nil {
				t.Fatal(err)
			}

			turn, queued := <-turns, time.Duration(i)*quoteTime
			if turn.Err != nil || turn.Queue != queued || turn.TPM != quoteTime || turn.Total != queued+quoteTime {
				t.Errorf("turn %d: %+v", i, turn)
			}
		}

		if most := slices.Max(depth); most != 1 || depth[len(depth)-1] != 0 {
			t.Errorf("depths of the queue: %v", depth)
		}

		device.on(nil)
	})
}

// TestTheEndDoesNotWaitForATPMThatHangs hangs the TPM at a quote, and at the very first command of all.
func TestTheEndDoesNotWaitForATPMThatHangs(t *testing.T) {
	t.Parallel()

	node := start(t)

	for _, at := range []tpm2.TPMCC{tpm2.TPMCCQuote, tpm2.TPMCCGetCapability} {
		synctest.Test(t, func(t *testing.T) {
			free := make(chan struct{})
			device := &faults{TPM: node}
			device.on(func(code tpm2.TPMCC) ([]byte, error) {
				if code == at {
					<-free
				}

				return nil, nil
			})

			owner := tpm.New(tpm.Options{
				Open: func() (transport.TPMCloser, error) { return closable{device}, nil }, Algorithm: tpm.ECDSAP256, Handle: tpm.DefaultHandle, Queue: 16,
				Logger: slog.New(slog.DiscardHandler),
			})
			ctx, end := context.WithCancel(t.Context())
			done := make(chan error)

			go func() { done <- owner.Run(ctx) }()

			if at == tpm2.TPMCCQuote {
				if _, err := owner.Settled(t.Context()); err != nil {
					t.Fatal(err)
				}

				go func() { _, _ = owner.Quote(context.Background(), tpm.Request{ExtraData: nonce, Selections: selection}) }()
			}

			synctest.Wait()
			end()

			began := time.Now()
			if err := <-done; !errors.Is(err, tpm.ErrHung) {
				t.Errorf("it ended with %v", err)
			}

			if took := time.Since(began); took != 10*time.Second {
				t.Errorf("it took %v", took)
			}

			close(free) // for the bubble, which waits for all
		})
	}
}
