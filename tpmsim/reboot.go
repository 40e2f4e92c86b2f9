package tpmsim

import (
	"context"
	"errors"
	"fmt"
)

// Reboot shuts the node down in order and starts it again, on the same TPM, into
// a scenario. The TPM's resetCount grows, its PCRs and the log begin anew, what was
// loaded is gone, what was persistent stays. Send waits meanwhile.
//
// The context bounds the reboot, the wait for its turn included. If it ends
// before the shutdown nothing has happened; after any later error the node is
// down, Send says why, and Reboot may be tried again.
func (n *Node) Reboot(ctx context.Context, s Scenario) error {
	p, err := s.plan(n.loader)
	if err != nil {
		return fmt.Errorf("rebooting: %w", err)
	}
	if err := n.lockWithin(ctx); err != nil {
		return fmt.Errorf("rebooting: %w", err)
	}
	defer n.unlock()

	n.scenario = s
	return n.reboot(ctx, p)
}

// Replace shuts the node down in order, puts a new TPM into it, manufactured by
// Options.Endorsement with an authority of its own, and starts it again into the
// scenario that it was in. Nothing of the old TPM is left. What else is said of
// Reboot holds here too.
func (n *Node) Replace(ctx context.Context) error {
	if err := n.lockWithin(ctx); err != nil {
		return fmt.Errorf("replacing the TPM: %w", err)
	}
	defer n.unlock()

	p, err := n.scenario.plan(n.loader)
	if err != nil {
		return fmt.Errorf("replacing the TPM: %w", err)
	}
	p.replace = true
	return n.reboot(ctx, p)
}

// lockWithin locks the node, unless it is closed, within the time of a context.
func (n *Node) lockWithin(ctx context.Context) error {
	select {
	case n.busy <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("waiting for the TPM: %w", context.Cause(ctx))
	}

	if errors.Is(n.down, ErrClosed) {
		n.unlock()
		return ErrClosed
	}
	if ctx.Err() != nil {
		n.unlock()
		return context.Cause(ctx)
	}
	return nil
}

// reboot performs a boot on a node that is locked and not closed.
func (n *Node) reboot(ctx context.Context, p plan) error {
	if n.machine != nil {
		n.machine.stop()
	}
	n.machine, n.records = nil, nil
	if err := n.boot(ctx, p); err != nil {
		n.down = fmt.Errorf("rebooting: %w", err)
		return n.down
	}
	return nil
}
