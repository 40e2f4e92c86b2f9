package agent

import (
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
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

// pipe is a connection from 192.0.2.1, or from the host with that number in this network.
type pipe struct {
	net.Conn

	host byte
}

func (p pipe) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, max(p.host, 1))} }

// knockFrom lets a new connection in, which has to be counted, and tells who had to make way.
func knockFrom(t *testing.T, g *gate, host byte) (conn, crowdedOut *gateConn) {
	t.Helper()

	ours, theirs := net.Pipe()
	t.Cleanup(func() { _ = theirs.Close() })

	conn, crowdedOut, reason := g.admit(pipe{ours, host})
	if reason != "" {
		t.Fatal(reason)
	}

	if crowdedOut != nil {
		_ = crowdedOut.Close() // as Accept does
	}

	return conn, crowdedOut
}

func TestAnAddressWithManyConnectionsCrowdsOutOnlyItself(t *testing.T) {
	t.Parallel()

	g := newGate(nil, ListenConfig{MaxConnections: 1000, MaxConnectionsPerAddress: 1000}, func(string) {})
	honest, _ := knockFrom(t, g, 2) // and then is slow: the oldest of all

	var others []*gateConn

	for i := range maxArriving - 1 {
		conn, crowdedOut := knockFrom(t, g, byte(10+i%2))
		if crowdedOut != nil {
			t.Fatal("there was room")
		}

		others = append(others, conn)
	}

	if _, crowdedOut := knockFrom(t, g, 3); crowdedOut != others[0] {
		t.Error("not the oldest of the address with the most connections makes way for a newcomer")
	}

	for range 10 * maxArriving {
		if _, crowdedOut := knockFrom(t, g, 10); crowdedOut == nil || crowdedOut == honest || crowdedOut.from.Addr().As4()[3] == 3 {
			t.Fatalf("%v makes way for the crowd", crowdedOut)
		}
	}

	if g.mu.Lock(); len(g.arriving) != maxArriving {
		t.Errorf("%d are arriving", len(g.arriving))
	}

	g.mu.Unlock()
}

func TestTheOldestThatHasNotArrivedMakesWay(t *testing.T) {
	t.Parallel()

	g := newGate(nil, ListenConfig{MaxConnections: 1000, MaxConnectionsPerAddress: 1000}, func(string) {})

	var all []*gateConn

	for range maxArriving {
		ours, theirs := net.Pipe()
		t.Cleanup(func() { _ = theirs.Close() })

		conn, crowdedOut, reason := g.admit(pipe{Conn: ours})
		if crowdedOut != nil || reason != "" {
			t.Fatalf("%v %q", crowdedOut, reason)
		}

		all = append(all, conn)
	}

	g.arrived(all[0], peerCredentials{}) // has arrived: is not in the way of anybody

	ours, _ := net.Pipe()
	if _, crowdedOut, _ := g.admit(pipe{Conn: ours}); crowdedOut != nil {
		t.Error("there was room")
	}

	ours, _ = net.Pipe()
	if _, crowdedOut, _ := g.admit(pipe{Conn: ours}); crowdedOut != all[1] {
		t.Error("not the oldest makes way")
	}

	for _, conn := range all {
		_ = conn.Close()
		_ = conn.Close() // counts once
	}

	if got := g.addresses[network(pipe{}.RemoteAddr())].conns; got != 2 || len(g.conns) != 2 || len(g.inside()) != 0 {
		t.Errorf("%d connections are counted, want the 2 that are open", got)
	}
}

func TestAConnectionThatTakesNothingIsNotWaitedFor(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		g := newGate(nil, ListenConfig{MaxConnections: 1, MaxConnectionsPerAddress: 1, SendTimeout: time.Second}, func(string) {})
		conn, _ := knockFrom(t, g, 1)
		began := time.Now()

		if _, err := conn.Write([]byte("hello?")); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}
