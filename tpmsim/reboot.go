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
	l, err := s.launch()
	if err != nil {
		return fmt.Errorf("rebooting: %w", err)
	}

	select {
	case n.busy <- struct{}{}:
		defer n.unlock()
	case <-ctx.Done():
		return fmt.Errorf("rebooting: waiting for the TPM: %w", context.Cause(ctx))
	}
	if errors.Is(n.down, ErrClosed) {
		return fmt.Errorf("rebooting: %w", ErrClosed)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("rebooting: %w", context.Cause(ctx))
	}

	if n.machine != nil {
		n.machine.stop()
	}
	n.machine, n.log = nil, nil
	if err := n.boot(ctx, l); err != nil {
		n.down = fmt.Errorf("rebooting: %w", err)
		return n.down
	}
	return nil
}
