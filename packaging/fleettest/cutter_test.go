//go:build fleet

package fleettest_test

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// way is how the network between the server and a node is.
type way uint8

const (
	whole way = iota
	// refused: connections are reset, and none is taken.
	refused
	// silent: connections stay, or are taken, and nothing comes through, as behind a firewall that drops packets.
	silent
)

// cutter is the network between the server and one node.
type cutter struct {
	listener net.Listener
	node     string // address

	mu    sync.Mutex
	way   way
	open  map[net.Conn]bool
	moved sync.Cond // the way has changed
	ended bool

	bytes atomic.Int64 // carried, both ways, without what TCP adds
}

// newCutter returns a whole way to a node.
func newCutter(t *testing.T, node string) *cutter {
	t.Helper()

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}

	c := &cutter{listener: listener, node: node, open: make(map[net.Conn]bool)}
	c.moved.L = &c.mu

	var group sync.WaitGroup
	group.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}

			group.Go(func() { c.carry(conn) })
		}
	})

	t.Cleanup(func() {
		_ = listener.Close() // so that Accept ends
		c.end()
		group.Wait()
	})

	return c
}

// set changes the way, for connections that are open as for those to come.
func (c *cutter) set(w way) {
	c.mu.Lock()
	defer c.mu.Unlock()

	c.way = w
	c.moved.Broadcast()

	if w != silent { // what was kept silent is of no use any more
		c.hangUp()
	}
}

func (c *cutter) end() {
	c.mu.Lock()
	defer c.mu.Unlock()

	c.ended = true
	c.moved.Broadcast()
	c.hangUp()
}

// hangUp closes all connections. c.mu is held.
func (c *cutter) hangUp() {
	for conn := range c.open {
		_ = conn.Close() // its copying ends
	}
}

// carry carries one connection until one side ends it.
func (c *cutter) carry(conn net.Conn) {
	if !c.keep(conn) {
		return
	}
	defer c.drop(conn)

	c.pass()

	node, err := net.Dial("tcp", c.node)
	if err != nil || !c.keep(node) {
		return
	}
	defer c.drop(node)

	var group sync.WaitGroup
	for _, pair := range [][2]net.Conn{{node, conn}, {conn, node}} {
		group.Go(func() {
			_, _ = io.Copy(held{pair[0], c}, pair[1]) // whichever side ends, both do
			_ = conn.Close()
			_ = node.Close()
		})
	}
	group.Wait()
}

// keep notes a connection; false: it is not wanted, and closed.
func (c *cutter) keep(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()

	if c.ended || c.way == refused {
		_ = conn.Close()

		return false
	}

	c.open[conn] = true

	return true
}

func (c *cutter) drop(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()

	_ = conn.Close() // it may be closed already
	delete(c.open, conn)
}

// pass waits as long as the way is silent.
func (c *cutter) pass() {
	c.mu.Lock()
	defer c.mu.Unlock()

	for c.way == silent && !c.ended {
		c.moved.Wait()
	}
}

// held is a connection to which nothing is written while the way is silent.
type held struct {
	net.Conn
	cutter *cutter
}

// Write implements io.Writer.
func (h held) Write(b []byte) (int, error) {
	h.cutter.pass()
	h.cutter.bytes.Add(int64(len(b)))

	return h.Conn.Write(b)
}
