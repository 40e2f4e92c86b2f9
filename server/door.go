package server

import (
	"net"
	"net/netip"
	"sync"
)

// door is a listener that bounds how many connections there are.
type door struct {
	net.Listener
	most, mostPerAddress int
	turnedAway           func(reason string)

	mu    sync.Mutex
	conns int                  // guarded by mu, as is from
	from  map[netip.Prefix]int // how many from each network
}

func newDoor(listener net.Listener, config ListenConfig, turnedAway func(reason string)) *door {
	return &door{
		Listener: listener, most: config.MaxConnections, mostPerAddress: config.MaxConnectionsPerAddress, turnedAway: turnedAway, from: make(map[netip.Prefix]int),
	}
}

// Accept implements net.Listener. Connections above the bounds are closed at once: they cost no handshake, and who holds many keeps nobody else waiting.
func (d *door) Accept() (net.Conn, error) {
	for {
		conn, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := network(conn.RemoteAddr())
		reason := d.admit(from)
		if reason == "" {
			return &counted{Conn: conn, left: sync.OnceFunc(func() { d.left(from) })}, nil
		}
		d.turnedAway(reason)
		_ = conn.Close() // nothing was said on it
	}
}

// admit counts a connection, or says why not.
func (d *door) admit(from netip.Prefix) (reason string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conns >= d.most {
		return "connections"
	}
	if from.IsValid() && d.from[from] >= d.mostPerAddress {
		return "connections_per_address"
	}
	d.conns++
	if from.IsValid() {
		d.from[from]++
	}
	return ""
}

func (d *door) left(from netip.Prefix) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.conns--
	if !from.IsValid() {
		return
	}
	if d.from[from]--; d.from[from] == 0 {
		delete(d.from, from)
	}
}

// counted is a connection that counts until it is closed.
type counted struct {
	net.Conn
	left func()
}

// Close implements net.Conn.
func (c *counted) Close() error {
	c.left()
	return c.Conn.Close()
}

// network is what counts as one address: an IPv4 address or an IPv6 /64; invalid for unix sockets.
func network(address net.Addr) netip.Prefix {
	tcp, ok := address.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := tcp.AddrPort().Addr().Unmap()
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	prefix, err := ip.WithZone("").Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix
}
