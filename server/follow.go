package server

import (
	"context"
	"time"
)

// followAgain is how long it is waited after the connection broke over which a replica hears of the others.
const followAgain = time.Second

// follow takes part in the work of the replicas until ctx ends.
func (s *Server) follow(ctx context.Context) {
	for isAway := false; ; {
		tookPart, err := s.store.Follow(ctx)
		if ctx.Err() != nil {
			return
		}
		if tookPart || !isAway { // once for each time that it is away
			s.deps.Logger.Error("the connection to the database broke: no node is asked until it is there again", "error", err)
		}
		isAway = true
		select {
		case <-ctx.Done():
			return
		case <-time.After(followAgain):
		}
	}
}
