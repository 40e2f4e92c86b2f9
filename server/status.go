package server

import (
	"context"
	"fmt"
	"time"

	"github.com/trustpool/trustpool/server/internal/trust"
)

// tellEvery is how often the status is looked at.
const tellEvery = 10 * time.Second

// tell gives the status line whenever it is another one.
func (s *Server) tell(ctx context.Context) {
	if s.deps.OnStatus == nil {
		return
	}
	ticker := time.NewTicker(tellEvery)
	defer ticker.Stop()
	last := ""
	for {
		if line := s.status(ctx); line != last && ctx.Err() == nil {
			last = line
			s.deps.OnStatus(line)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// status says in a line how many nodes are trusted.
func (s *Server) status(ctx context.Context) string {
	census, err := s.store.Census(ctx)
	if err != nil {
		return "the database does not answer: " + err.Error()
	}
	var all, trusted, untrusted int64
	for _, c := range census.Counts {
		n := int64(c.Nodes)
		all += n
		switch c.Level {
		case trust.Trusted:
			trusted += n
		case trust.Untrusted:
			untrusted += n
		}
	}
	return fmt.Sprintf("%d nodes: %d trusted, %d untrusted, %d unknown", all, trusted, untrusted, all-trusted-untrusted)
}
