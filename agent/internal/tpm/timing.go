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

type timingKey struct{}

// Timed returns a context whose calls add their times to the Timing. It is for one call after the other.
func Timed(ctx context.Context) (context.Context, *Timing) {
	timing := &Timing{}

	return context.WithValue(ctx, timingKey{}, timing), timing
}

// timingOf returns where the times of this call go; nowhere, if nobody wants to know.
func timingOf(ctx context.Context) *Timing {
	if timing, ok := ctx.Value(timingKey{}).(*Timing); ok {
		return timing
	}

	return &Timing{}
}
