package server

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/trustpool/trustpool/server/internal/store"
)

const (
	// beatEvery is how often the database is asked whether it is there.
	beatEvery = 2 * time.Second
	// hungAfter is how long one such question may take until only a restart can help: it reads one row.
	hungAfter = time.Minute
)

// pulse asks the database now and then for a sign of life.
type pulse struct {
	mu    sync.Mutex
	asked time.Time // when the question under way was asked; zero if there is none; guarded by mu, as is err
	err   error
	beats bool
}

// run asks until ctx ends.
func (p *pulse) run(ctx context.Context, s *store.Store) {
	ticker := time.NewTicker(beatEvery)
	defer ticker.Stop()
	for {
		p.begin(time.Now())
		p.end(s.Ready(context.WithoutCancel(ctx)))
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (p *pulse) begin(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = now
}

func (p *pulse) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked, p.err, p.beats = time.Time{}, err, true
}

// hung says why only a restart can help. A database that answers with an error is no reason: the next process would meet the same.
func (p *pulse) hung(now time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.asked.IsZero() || now.Sub(p.asked) < hungAfter {
		return nil
	}
	return fmt.Errorf("the database has not answered for %s", now.Sub(p.asked).Round(time.Second))
}

// ready says why nobody can be answered.
func (p *pulse) ready() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.beats {
		return errors.New("the database has not answered yet")
	}
	return p.err
}

// Running is closed once callers are served.
func (s *Server) Running() <-chan struct{} { return s.running }

// Hung says why the process should be restarted; nil if it need not be.
func (s *Server) Hung() error { return s.pulse.hung(time.Now()) }

// Ready says why callers can't be answered now; nil if they can.
func (s *Server) Ready() error {
	select {
	case <-s.running:
		return s.pulse.ready()
	default:
		return errors.New("the server is starting")
	}
}
