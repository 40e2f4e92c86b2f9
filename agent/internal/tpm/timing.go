package tpm

import (
	"context"
	"time"
)

// Timing is where the time of a call went. It is complete when the call has returned.
type Timing struct {
	// Queue is how long the call waited for its turn, TPM how long it had the TPM for itself.
	Queue, TPM time.Duration
}

// Turn is one call's use of the TPM, or its attempt at one.
type Turn struct {
	Timing

	Class Class

	// Asked is when the call began to wait.
	Asked time.Time
	// Total is how long all of it took.
	Total time.Duration
	// Err is what became of it; nil: it was done.
	Err error

	began time.Time // zero if it never had the TPM
}

// ended completes a turn and tells of it. Who never got the turn only waited.
func (t *TPM) ended(ctx context.Context, turn Turn, err error) {
	now := time.Now()
	turn.Total, turn.Err, turn.Queue = now.Sub(turn.Asked), err, now.Sub(turn.Asked)

	if !turn.began.IsZero() {
		turn.Queue, turn.TPM = turn.began.Sub(turn.Asked), now.Sub(turn.began)
	}

	if timing, ok := ctx.Value(timingKey{}).(*Timing); ok {
		timing.Queue += turn.Queue
		timing.TPM += turn.TPM
	}

	t.options.OnTurn(ctx, turn)
}

type timingKey struct{}

// Timed returns a context whose calls add their times to the Timing. It is for one call after the other.
func Timed(ctx context.Context) (context.Context, *Timing) {
	timing := &Timing{}

	return context.WithValue(ctx, timingKey{}, timing), timing
}
