package publish

import (
	"context"
	"math/rand/v2"
	"time"
)

// The longest pauses before a write is tried again: the first time, and after many tries.
const (
	firstPause = 20 * time.Millisecond
	lastPause  = 500 * time.Millisecond
)

// pause waits before a write is tried again that met somebody else's, or a database that is busy: longer after more tries, and never as long as whoever it met. It returns the context's error if that
// ends first.
func pause(ctx context.Context, tries int) error {
	longest := min(firstPause<<min(tries-1, 8), lastPause)

	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(longest/2 + rand.N(longest/2)): //nolint:gosec // keeps writers apart, guards nothing
		return nil
	}
}
