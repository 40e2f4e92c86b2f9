package challenge

import (
	"context"
	"errors"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/verifier/client"
)

// watch listens to what an agent says of its node, as long as the connection is kept. It begins once the node has answered, in the boot of that ID.
func (a *Agents) watch(node *trust.Node, bootID string, agent *agent) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.hurry == nil || a.closed || agent.stop != nil || a.agents[node.ID] != agent {
		return
	}
	ctx, stop := context.WithCancel(a.ctx)
	agent.stop = stop
	name, id := node.Name, node.ID
	a.watching.Go(func() {
		defer stop()
		again := a.follow(ctx, name, bootID, agent)
		a.unwatch(id, agent) // before the node is asked again, which begins the next watch
		if !again || ctx.Err() != nil {
			return
		}
		if err := a.hurryNode(ctx, name, agent); err != nil {
			a.logger.Debug("a node is asked no more", "node", name, "error", err)
		}
	})
}

// unwatch lets the next challenge begin a new watch.
func (a *Agents) unwatch(id int64, agent *agent) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.agents[id] == agent {
		agent.stop = nil
	}
}

// follow has the node asked at each event, and tells whether it is to be asked at the end: a stream that breaks is what a reboot looks like. Nothing of it is signed: it decides when to ask,
// never what to answer.
func (a *Agents) follow(ctx context.Context, name, bootID string, agent *agent) bool {
	begun := false
	err := agent.WatchStatus(ctx, func(now client.Status) error {
		if !begun && now.BootID == bootID { // where the node stands: it was just asked
			begun = true
			return nil
		}
		begun = true
		return a.hurryNode(ctx, name, agent)
	})
	if begun || err == nil || status.Code(err) == codes.Unavailable {
		return true
	}
	if ctx.Err() == nil {
		// It may not: the role "observe" is missing, or it watches as many as it can. There is nothing to conclude from that.
		a.logger.Debug("a node can't be watched", "node", name, "error", err)
	}
	return false
}

// newEvents allows one event a second, and three at once.
func newEvents() *rate.Limiter { return rate.NewLimiter(rate.Every(time.Second), 3) }

// hurryNode has the node asked at once, but by its agent's word not more often than once a second: each costs a challenge and a write to the database that all nodes share.
func (a *Agents) hurryNode(ctx context.Context, name string, agent *agent) error {
	if err := agent.events.Wait(ctx); err != nil {
		return err
	}
	err := a.hurry(ctx, name)
	if errors.Is(err, store.ErrConflict) {
		return nil // on hold: it may come back
	}
	return err
}
