package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"testing"
)

// stopper ends a context at the first line that is written to it.
type stopper struct {
	stop   context.CancelFunc
	said   bool
	events []string
}

func newStopper(t *testing.T) (context.Context, *stopper) {
	t.Helper()

	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(stop)

	return ctx, &stopper{stop: stop}
}

// Write implements io.Writer.
func (s *stopper) Write(line []byte) (int, error) {
	var e event
	if err := json.Unmarshal(line, &e); err != nil {
		return 0, err
	}

	s.said, s.events = true, append(s.events, e.Event)
	s.stop()

	return len(line), nil
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }
