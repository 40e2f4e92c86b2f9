package challenge

import (
	"context"
	"errors"

	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/verifier/client"
)

// watch listens to what an agent says of its node, as long as the connection is kept. It begins once the node has answered.
func (a *Agents) watch(node *trust.Node, agent *agent) {
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
		ended := a.follow(ctx, name, agent)
		a.unwatch(id, agent) // before the node is asked again, which begins the next watch
		if !ended || ctx.Err() != nil {
			return
		}
		if err := a.hurryNode(ctx, name); err != nil {
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

// follow has the node asked at each event, and tells whether a stream that had begun has ended, which is what a reboot looks like. Nothing of it is signed: it decides when to ask, never what to
// answer.
func (a *Agents) follow(ctx context.Context, name string, agent *agent) (ended bool) {
	err := agent.WatchStatus(ctx, func(client.Status) error {
		if !ended { // where the node stands now: it was just asked
			ended = true
			return nil
		}
		return a.hurryNode(ctx, name)
	})
	if !ended && ctx.Err() == nil {
		// It may not: the role "observe" is missing, or the agent is older. Then there is nothing to conclude from the end.
		a.logger.Debug("a node can't be watched", "node", name, "error", err)
	}
	return ended
}

func (a *Agents) hurryNode(ctx context.Context, name string) error {
	err := a.hurry(ctx, name)
	if errors.Is(err, store.ErrConflict) {
		return nil // on hold: it may come back
	}
	return err
}
