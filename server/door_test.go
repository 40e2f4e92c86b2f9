package server

import (
	"net"
	"testing"
)

// peer is where a connection comes from.
func peer(t *testing.T, address string) net.Addr {
	t.Helper()

	tcp, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return tcp
}

func TestOneAddressCanNotTakeAllPlaces(t *testing.T) {
	t.Parallel()

	d := newDoor(nil, ListenConfig{MaxConnections: 4, MaxConnectionsPerAddress: 2}, nil)
	for _, step := range []struct{ from, want string }{
		{"192.0.2.1:1", ""},
		{"192.0.2.1:2", ""},
		{"192.0.2.1:3", "connections_per_address"},
		{"[2001:db8::1]:1", ""},
		{"[2001:db8::2]:1", ""}, // of the same /64
		{"[2001:db8::3]:1", "connections"},
	} {
		if got := d.admit(network(peer(t, step.from))); got != step.want {
			t.Errorf("%s: %q, want %q", step.from, got, step.want)
		}
	}
	d.left(network(peer(t, "192.0.2.1:1")))
	if got := d.admit(network(peer(t, "[2001:db8::4]:1"))); got != "connections_per_address" {
		t.Errorf("a third of the same /64: %q", got)
	}
	if got := d.admit(network(peer(t, "[2001:db8:0:1::1]:1"))); got != "" {
		t.Errorf("another /64: %q", got)
	}
	if got := d.admit(network(&net.UnixAddr{})); got != "connections" {
		t.Errorf("a unix socket when all places are taken: %q", got)
	}
}
