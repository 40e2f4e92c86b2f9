package publish

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/trustpool/trustpool/server/api"
)

// maxStreamPause is the longest pause before a stream of events is opened again.
const maxStreamPause = 30 * time.Second

// news is what the stream of events has told and the loop has not acted on yet: the last change of each node, so that it never grows beyond the nodes that there are.
type news struct {
	wake chan struct{} // has something in it if there is news

	mu      sync.Mutex
	changes map[string]api.Change // by node; guarded by mu, as all
	all     bool
}

func newNews() *news {
	return &news{wake: make(chan struct{}, 1), changes: make(map[string]api.Change)}
}

// changed takes a change of one node.
func (n *news) changed(c api.Change) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.changes[c.Node] = c
	n.ring()
}

// lost says that something may have been missed.
func (n *news) lost() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = true
	n.ring()
}

// again has the loop look again at what it left off.
func (n *news) again() { n.lost() }

func (n *news) ring() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// waiting tells whether there is news.
func (n *news) waiting() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.all || len(n.changes) > 0
}

// take empties it.
func (n *news) take() (changes map[string]api.Change, all bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	changes, all = n.changes, n.all
	n.changes, n.all = make(map[string]api.Change), false
	return changes, all
}

// listen follows the server's events until ctx ends. It is for speed only: whatever is missed, the next full reconcile finds.
func (p *Publisher) listen(ctx context.Context) error {
	after, pause := api.FromNow, time.Second
	for ctx.Err() == nil {
		for event, err := range p.Server.Events(ctx, after) {
			if err != nil {
				break // the server's answers to questions say whether it is there
			}
			after, pause = event.Generation, time.Second
			if event.Kind == api.EventVerdict {
				p.news.changed(event.Change)
			} else {
				p.news.lost()
			}
			p.Metrics.stream.Set(1)
		}
		p.Metrics.stream.Set(0)
		select {
		case <-ctx.Done():
		case <-time.After(pause/2 + rand.N(pause)): //nolint:gosec // spreads load, guards nothing
		}
		pause = min(2*pause, maxStreamPause)
	}
	return nil
}
