package agent

import (
	"net"
	"testing"
)

func TestAnIPv6NetworkCountsAsOneAddress(t *testing.T) {
	t.Parallel()

	of := func(ip string) string { return network(&net.TCPAddr{IP: net.ParseIP(ip), Port: 1}).String() }

	for ip, want := range map[string]string{
		"192.0.2.7":         "192.0.2.7/32",
		"::ffff:192.0.2.7":  "192.0.2.7/32",
		"2001:db8:1:2::3":   "2001:db8:1:2::/64",
		"2001:db8:1:2:ff::": "2001:db8:1:2::/64",
	} {
		if got := of(ip); got != want {
			t.Errorf("%s is %s, want %s", ip, got, want)
		}
	}

	if network(&net.UnixAddr{Name: "x"}).IsValid() {
		t.Error("a unix socket has a network")
	}
}

// pipe is a connection from 192.0.2.1.
type pipe struct {
	net.Conn
}

func (pipe) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)} }

func TestTheOldestThatHasNotArrivedMakesWay(t *testing.T) {
	t.Parallel()

	g := newGate(nil, ListenConfig{MaxConnections: 1000, MaxConnectionsPerAddress: 1000}, func(string) {})

	var all []*gateConn

	for range maxArriving {
		ours, theirs := net.Pipe()
		t.Cleanup(func() { _ = theirs.Close() })

		conn, crowdedOut, reason := g.admit(pipe{ours})
		if crowdedOut != nil || reason != "" {
			t.Fatalf("%v %q", crowdedOut, reason)
		}

		all = append(all, conn)
	}

	g.arrived(all[0], peerCredentials{}) // has arrived: is not in the way of anybody

	ours, _ := net.Pipe()
	if _, crowdedOut, _ := g.admit(pipe{ours}); crowdedOut != nil {
		t.Error("there was room")
	}

	ours, _ = net.Pipe()
	if _, crowdedOut, _ := g.admit(pipe{ours}); crowdedOut != all[1] {
		t.Error("not the oldest makes way")
	}

	for _, conn := range all {
		_ = conn.Close()
		_ = conn.Close() // counts once
	}

	if got := g.perAddress[network(pipe{}.RemoteAddr())]; got != 2 || len(g.conns) != 2 || len(g.inside()) != 0 {
		t.Errorf("%d connections are counted, want the 2 that are open", got)
	}
}
