package agent

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"
)

// maxArriving is how many connections may be on their way through the handshake.
const maxArriving = 128

// gate is a listener that bounds how many connections there are, and knows who came in by them.
type gate struct {
	net.Listener

	most, mostPerAddress int
	sendTimeout          time.Duration
	turnedAway           func(reason string)

	mu         sync.Mutex
	conns      map[*gateConn]struct{} // guarded by mu, as are the rest
	perAddress map[netip.Prefix]int
	arriving   []*gateConn // in the order of their arrival
}

// newGate puts a gate before a listener. It calls turnedAway for connections that are closed unheard.
func newGate(listener net.Listener, config ListenConfig, turnedAway func(reason string)) *gate {
	return &gate{
		Listener:       listener,
		most:           config.MaxConnections,
		mostPerAddress: config.MaxConnectionsPerAddress,
		sendTimeout:    config.SendTimeout,
		turnedAway:     turnedAway,
		conns:          make(map[*gateConn]struct{}),
		perAddress:     make(map[netip.Prefix]int),
	}
}

// Accept implements net.Listener. Connections above the bounds are closed at once: they cost no handshake, and their place is not theirs to wait for.
func (g *gate) Accept() (net.Conn, error) {
	for {
		conn, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}

		gated, crowdedOut, reason := g.admit(conn)
		if reason != "" {
			g.turnedAway(reason)
			_ = conn.Close() // nothing was said on it

			continue
		}

		if crowdedOut != nil {
			g.turnedAway("connections_arriving")
			_ = crowdedOut.Close() // it was never let in
		}

		return gated, nil
	}
}

// admit counts a connection, or says why not. Too many of those that have not shown yet who they are crowd out the oldest of them: an honest handshake is done
// long before it is the oldest.
func (g *gate) admit(conn net.Conn) (gated, crowdedOut *gateConn, reason string) {
	from := network(conn.RemoteAddr())

	g.mu.Lock()
	defer g.mu.Unlock()

	switch {
	case len(g.conns) >= g.most:
		return nil, nil, "connections"
	case from.IsValid() && g.perAddress[from] >= g.mostPerAddress:
		return nil, nil, "connections_per_address"
	}

	gated = &gateConn{Conn: conn, gate: g, from: from}
	g.conns[gated] = struct{}{}

	if from.IsValid() {
		g.perAddress[from]++
	}

	if len(g.arriving) >= maxArriving {
		crowdedOut = g.arriving[0]
	}

	g.arriving = append(g.arriving, gated)

	return gated, crowdedOut, ""
}

// arrived notes who came in.
func (g *gate) arrived(conn *gateConn, info credentials.AuthInfo) {
	g.mu.Lock()
	defer g.mu.Unlock()

	conn.info = info
	g.arriving = slices.DeleteFunc(g.arriving, func(c *gateConn) bool { return c == conn })
}

// left forgets a connection.
func (g *gate) left(conn *gateConn) {
	g.mu.Lock()
	defer g.mu.Unlock()

	if _, here := g.conns[conn]; !here {
		return
	}

	delete(g.conns, conn)
	g.arriving = slices.DeleteFunc(g.arriving, func(c *gateConn) bool { return c == conn })

	if g.perAddress[conn.from]--; g.perAddress[conn.from] <= 0 {
		delete(g.perAddress, conn.from)
	}
}

// inside returns those who came in.
func (g *gate) inside() []visitor {
	g.mu.Lock()
	defer g.mu.Unlock()

	var visitors []visitor

	for conn := range g.conns {
		if conn.info != nil {
			visitors = append(visitors, visitor{conn, conn.info})
		}
	}

	return visitors
}

// visitor is somebody who came in.
type visitor struct {
	conn *gateConn
	info credentials.AuthInfo
}

// gateConn is a connection that the gate counts until it is closed.
type gateConn struct {
	net.Conn

	gate *gate
	from netip.Prefix         // zero for unix sockets
	info credentials.AuthInfo // guarded by gate.mu; nil until the handshake is done
}

// Write implements net.Conn. A peer that does not read for too long loses the connection.
func (c *gateConn) Write(b []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.gate.sendTimeout)); err != nil {
		return 0, err
	}

	return c.Conn.Write(b)
}

// Close implements net.Conn.
func (c *gateConn) Close() error {
	c.gate.left(c)

	return c.Conn.Close()
}

// RemoteAddr implements net.Conn. What gRPC tells of a call's peer leads back to its connection by it.
func (c *gateConn) RemoteAddr() net.Addr { return gateAddr{c.Conn.RemoteAddr(), c} }

type gateAddr struct {
	net.Addr

	conn *gateConn
}

// network returns what counts as one address: an IPv4 address, or the IPv6 network that a single host has for itself (RFC 6177). Unix sockets have none.
func network(address net.Addr) netip.Prefix {
	tcp, ok := address.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}

	ip := tcp.AddrPort().Addr().Unmap().WithZone("")

	bits := 64
	if ip.Is4() {
		bits = 32
	}

	prefix, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}

	return prefix
}
