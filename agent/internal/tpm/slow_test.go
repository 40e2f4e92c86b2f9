package tpm_test

import (
	"context"
	"errors"
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
