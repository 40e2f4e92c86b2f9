package nodetest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/trustpool/trustpool/server/internal/challenge"
	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/verifier"
)

// Fleet answers for many Soft nodes: it is a challenge.Challenger, and the load generator of the benchmarks.
type Fleet struct {
	mu     sync.Mutex
	nodes  map[string]*Soft // guarded by mu, as all below
	down   map[string]error
	nonces map[string]int // how often each came
	asked  map[string]int
}

// NewFleet returns a Fleet of those nodes.
func NewFleet(nodes ...*Soft) *Fleet {
	f := &Fleet{nodes: make(map[string]*Soft), down: make(map[string]error), nonces: make(map[string]int), asked: make(map[string]int)}
	for _, n := range nodes {
		f.nodes[n.Name] = n
	}
	return f
}

// Fail has a node fail with an error; nil brings it back.
func (f *Fleet) Fail(name string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down[name] = err
}

// Answer has a node answer under a name that may be another's: as a machine does whose address was taken over.
func (f *Fleet) Answer(name string, n *Soft) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nodes[name] = n
}

// Asked tells how often a node was asked.
func (f *Fleet) Asked(name string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[name]
}

// Repeated tells whether any nonce came twice.
func (f *Fleet) Repeated() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range f.nonces {
		if n > 1 {
			return true
		}
	}
	return false
}

// ErrHang has a node never answer: for Fail.
var ErrHang = errors.New("hang")

// Challenge implements challenge.Challenger.
func (f *Fleet) Challenge(ctx context.Context, node *trust.Node, r challenge.Request) (verifier.Evidence, error) {
	f.mu.Lock()
	soft, err := f.nodes[node.Name], f.down[node.Name]
	f.asked[node.Name]++
	f.nonces[string(r.Nonce)]++
	f.mu.Unlock()
	if errors.Is(err, ErrHang) {
		<-ctx.Done()
		return verifier.Evidence{}, ctx.Err()
	}
	if err != nil {
		return verifier.Evidence{}, err
	}
	if soft == nil {
		return verifier.Evidence{}, fmt.Errorf("no node is called %s", node.Name)
	}
	return soft.Evidence(r.Nonce, r.Selection)
}
