package tpm

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/go-tpm/tpm2"
)

// ErrHung says that a command has been in the TPM for so long that nobody should wait for it any more.
var ErrHung = errors.New("TPM hangs")

// hungAfter is how many times its ceiling a command may take before the TPM is called hung. A TPM that does many things one after the other is busy, not hung.
const hungAfter = 3

// ceiling is the longest that a TPM which works takes for a command. Key generation is a lottery: an RSA primary takes slow chips half a minute and more. Everything else that is sent
// here is a signature, a decryption or a write to NV, which take a second or two.
func ceiling(code tpm2.TPMCC) time.Duration {
	switch code {
	case tpm2.TPMCCCreatePrimary, tpm2.TPMCCCreate:
		return 120 * time.Second
	default:
		return 10 * time.Second
	}
}

// watch knows which command is in the device, and when one was last completed. It outlives the sessions.
type watch struct {
	mu    sync.Mutex
	code  tpm2.TPMCC // of the command under way
	since time.Time  // when that was sent; zero if none is under way
	last  time.Time  // when a command was last answered, whatever the answer was
}

func (w *watch) sent(code tpm2.TPMCC) {
	w.mu.Lock()
	defer w.mu.Unlock()

	w.code, w.since = code, time.Now()
}

func (w *watch) answered(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()

	w.since = time.Time{}

	if err == nil {
		w.last = time.Now()
	}
}

// hung says which command is in the device for too long.
func (w *watch) hung() error {
	w.mu.Lock()
	defer w.mu.Unlock()

	if w.since.IsZero() {
		return nil
	}

	if took := time.Since(w.since); took > hungAfter*ceiling(w.code) {
		return fmt.Errorf("%w: command 0x%03x has been in the device for %v", ErrHung, uint32(w.code), took.Round(time.Second))
	}

	return nil
}

// idle says whether no command is under way, and none was answered for so long.
func (w *watch) idle(long time.Duration) bool {
	w.mu.Lock()
	defer w.mu.Unlock()

	return w.since.IsZero() && time.Since(w.last) >= long
}

// Hung is nil unless one command has stayed in the device beyond three times the ceiling for commands of its kind: 10 s, for a CreatePrimary 120 s. However many wait, a TPM that
// answers is not hung; nor is one that can't be opened. It never waits for the TPM. The error is ErrHung.
func (t *TPM) Hung() error {
	return t.watch.hung()
}

// checkEvery is how long the TPM may be silent before it is asked for something.
const checkEvery = 30 * time.Second

// watchOver waits until the session is lost or ctx ends. Every command that is answered shows that the TPM is there; only when there was none for a while, it is asked for one.
func (t *TPM) watchOver(ctx context.Context) {
	ticker := time.NewTicker(checkEvery)
	defer ticker.Stop()

	for {
		select {
		case <-ctx.Done():
			return
		case <-t.lost:
			return
		case <-ticker.C:
			if t.watch.idle(checkEvery) {
				t.check(ctx)
			}
		}
	}
}

// check asks the TPM for eight random bytes (TPM 2.0 Part 3, 16.1). When the way to the TPM is broken, use makes that known.
func (t *TPM) check(ctx context.Context) {
	err := t.use(ctx, ClassOther, func(s *tpmSession) error {
		_, err := tpm2.GetRandom{BytesRequested: 8}.Execute(s.line)

		return err
	})
	if err != nil && ctx.Err() == nil {
		t.options.Logger.Warn("the TPM did not pass its check", "error", err)
	}
}
