//go:build chaos

package chaos

import (
	"context"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// What a caller hears. Else it is the reason of the contract, as "TPM_ABSENT".
const (
	answered    = "answered"
	unreachable = "unreachable" // there is no connection, or it broke during the call
	late        = "late"        // the call's own time ran out
	untyped     = "untyped"     // an error of the agent's that does not say why: a mistake
)

// heard names what came of a call.
func heard(err error) string {
	if err == nil {
		return answered
	}

	s := status.Convert(err)
	for _, detail := range s.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetDomain() == "trustpool" && info.GetReason() != "" {
			return info.GetReason()
		}
	}

	switch s.Code() {
	case codes.Unavailable:
		return unreachable
	case codes.DeadlineExceeded:
		return late
	default:
		return untyped + " " + s.String()
	}
}

// crowd are callers that go on asking, in each of the ways that there are.
type crowd struct {
	stop  context.CancelFunc
	group sync.WaitGroup

	mu    sync.Mutex
	heard map[string]int // guarded by mu
}

// crowd has callers go on asking over a connection, until done is called: those of these kinds, or all three.
func (n *node) crowd(conn *grpc.ClientConn, kinds ...int) *crowd {
	ctx, stop := context.WithCancel(context.Background())
	c := &crowd{stop: stop, heard: make(map[string]int)}

	if len(kinds) == 0 {
		kinds = []int{0, 1, 2}
	}

	for _, kind := range kinds {
		c.group.Go(func() {
			for {
				_, err := quote(ctx, conn, kind)
				if ctx.Err() != nil {
					return // we hung up
				}

				c.mu.Lock()
				c.heard[heard(err)]++
				c.mu.Unlock()

				if err != nil {
					<-time.After(10 * time.Millisecond) // as a caller that comes again
				}
			}
		})
	}

	return c
}

// count tells how many heard that, up to now.
func (c *crowd) count(what string) int {
	c.mu.Lock()
	defer c.mu.Unlock()

	return c.heard[what]
}

// hears waits until some more have heard that.
func (c *crowd) hears(t testing.TB, n *node, what string) {
	t.Helper()

	before := c.count(what)
	n.until(t, "caller who hears "+what, func() error {
		if c.count(what) > before {
			return nil
		}

		return context.DeadlineExceeded
	})
}

// end ends the calls.
func (c *crowd) end() {
	c.stop()
	c.group.Wait()
}

// done ends the calls. Each had to be answered, or to hear one of these.
func (c *crowd) done(t testing.TB, allowed ...string) {
	t.Helper()
	c.end()

	for _, what := range slices.Sorted(maps.Keys(c.heard)) {
		if what != answered && !slices.Contains(allowed, what) {
			t.Errorf("%d callers heard %q, want %q", c.heard[what], what, allowed)
		}
	}

	if c.heard[answered] == 0 {
		t.Error("nobody was answered")
	}
}
