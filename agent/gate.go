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

	mu        sync.Mutex
	conns     map[*gateConn]struct{} // guarded by mu, as are the rest
	addresses map[netip.Prefix]*address
	arriving  []*gateConn // in the order of their arrival
}

// address is where connections come from. It is there as long as one of them is.
type address struct {
	conns int // guarded by gate.mu
	// turn holds a token while a handshake from here waits for the TPM, or has it.
	turn chan struct{}
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
		addresses:      make(map[netip.Prefix]*address),
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

// admit counts a connection, or says why not. Too many of those that have not shown yet who they are crowd each other out.
func (g *gate) admit(conn net.Conn) (gated, crowdedOut *gateConn, reason string) {
	from := network(conn.RemoteAddr())

	g.mu.Lock()
	defer g.mu.Unlock()

	if len(g.conns) >= g.most {
		return nil, nil, "connections"
	}

	gated = &gateConn{Conn: conn, gate: g, from: from}

	if from.IsValid() {
		gated.address = g.addressOf(from)

		if gated.address.conns >= g.mostPerAddress {
			return nil, nil, "connections_per_address"
		}

		gated.address.conns++
	}

	g.conns[gated] = struct{}{}
	g.arriving = append(g.arriving, gated)

	if len(g.arriving) > maxArriving {
		crowdedOut = g.fullest()
	}

	return gated, crowdedOut, ""
}

// addressOf returns the entry of an address, which stays once a connection is counted there.
func (g *gate) addressOf(from netip.Prefix) *address {
	if known, ok := g.addresses[from]; ok {
		return known
	}

	added := &address{turn: make(chan struct{}, 1)}
	g.addresses[from] = added

	return added
}

// fullest returns the oldest arrival from the address that has the most of them: who comes often crowds out himself, and an honest handshake is done long before it is the oldest.
func (g *gate) fullest() *gateConn {
	arriving := make(map[netip.Prefix]int)
	for _, conn := range g.arriving {
		arriving[conn.from]++
	}

	oldest := g.arriving[0]
	for _, conn := range g.arriving {
		if arriving[conn.from] > arriving[oldest.from] {
			oldest = conn
		}
	}

	return oldest
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

	if conn.address == nil {
		return
	}

	if conn.address.conns--; conn.address.conns == 0 {
		delete(g.addresses, conn.from)
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

	gate    *gate
	from    netip.Prefix // zero for unix sockets
	address *address     // of from; nil for unix sockets

	info         credentials.AuthInfo // guarded by gate.mu; nil until the handshake is done
	readDeadline time.Time            // guarded by gate.mu
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
