package tpmsim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
)

// Serve offers the TPM to whoever connects to l, which it closes in the end. A
// client writes TPM 2.0 commands and reads responses, nothing around them, as on
// /dev/tpmrm0; what is no command closes its connection. Commands of all clients,
// of Send and of other calls of Serve are carried out one after the other, at
// locality 0. What a client loaded and did not flush is flushed when its
// connection ends; unlike with /dev/tpmrm0, handles are not its own.
//
// Serve returns nil once ctx ended or somebody else closed l, after all
// connections are closed. While the node is down, or after Close, connections
// are closed at the first command.
func (n *Node) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()

	var clients sync.WaitGroup
	defer clients.Wait()
	defer cancel()

	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("serving a simulated TPM: %w", errors.Join(err, l.Close()))
		}
		clients.Go(func() { n.serveClient(ctx, conn) })
	}
}

// serveClient serves one connection until it or ctx ends.
func (n *Node) serveClient(ctx context.Context, conn net.Conn) {
	defer conn.Close() //nolint:errcheck // nothing is buffered
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()

	c := new(client)
	defer n.flushFor(c)

	for {
		cmd, err := readCommand(conn)
		if err != nil {
			return
		}
		response, err := n.sendFor(c, cmd)
		if err != nil {
			return
		}
		if _, err := conn.Write(response); err != nil {
			return
		}
	}
}
