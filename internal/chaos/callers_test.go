//go:build chaos

package chaos

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// raw makes a connection as a caller who is let in, and speaks no gRPC on it.
func (n *node) raw(t *testing.T) *tls.Conn {
	t.Helper()

	conn, err := tls.Dial("tcp", n.address, &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: n.ca.Pool(), Certificates: []tls.Certificate{n.client}, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}

	return conn
}

// TestChaosClientSlow has callers who stop in the middle of everything: before the handshake, in it, after it, in a request, and before their reply.
func TestChaosClientSlow(t *testing.T) {
	t.Parallel()

	n := newNode(t, options{})
	crowd := n.crowd(n.conn)

	for range 20 {
		silent, err := net.Dial("tcp", n.address)
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()

		begun, err := net.Dial("tcp", n.address)
		if err != nil {
			t.Fatal(err)
		}
		defer begun.Close()

		_, _ = begun.Write([]byte{22, 3, 1, 2, 0, 1}) // of a ClientHello

		inside := n.raw(t)
		defer inside.Close()

		stops := n.raw(t)
		defer stops.Close()

		_, _ = io.WriteString(stops, http2.ClientPreface[:10])
	}

	for range 10 {
		crowd.hears(t, n, answered)
	}

	if err := n.newcomer(t); err != nil {
		t.Errorf("a newcomer beside them: %v", err)
	}

	crowd.done(t)
	n.wantMetric(t, "trustpool_agent_panics_total", is(0))
}

// TestChaosClientMalformed sends what is no TLS, no HTTP/2, no gRPC and no request.
func TestChaosClientMalformed(t *testing.T) {
	t.Parallel()

	n := newNode(t, options{})
	crowd := n.crowd(n.conn)
	random := rand.New(rand.NewPCG(1, 2))
	garbage := func(size int) []byte {
		b := make([]byte, size)
		for i := range b {
			b[i] = byte(random.Uint32())
		}

		return b
	}

	for size := range 40 {
		stranger, err := net.Dial("tcp", n.address)
		if err != nil {
			t.Fatal(err)
		}

		send(t, stranger, garbage(size*size))
		send(t, n.raw(t), garbage(size*size))
		send(t, n.raw(t), append([]byte(http2.ClientPreface), garbage(size*size)...))
		send(t, n.raw(t), append(opening(t), garbage(9+size)...))
		send(t, n.raw(t), append(opening(t), message(t, garbage(size*size), size%2 == 0)...))
	}

	for range 3 {
		crowd.hears(t, n, answered)
	}

	crowd.done(t)
	n.wantMetric(t, "trustpool_agent_panics_total", is(0))
}

// send sends all that the other end takes, and hangs up.
func send(t *testing.T, conn net.Conn, what []byte) {
	t.Helper()

	_ = conn.SetDeadline(time.Now().Add(patience))
	_, _ = conn.Write(what) // whoever is refused in the middle can't send the rest

	if err := conn.Close(); err != nil && conn.RemoteAddr() == nil {
		t.Error(err)
	}
}

// opening is the beginning of an HTTP/2 connection, with a call of Quote opened (RFC 9113, 3.4 and 6.2).
func opening(t *testing.T) []byte {
	t.Helper()

	var headers, all bytes.Buffer

	encoder := hpack.NewEncoder(&headers)
	for _, field := range [][2]string{
		{":method", "POST"},
		{":scheme", "https"},
		{":path", "/trustpool.agent.v1.QuoteService/Quote"},
		{":authority", "node"},
		{"content-type", "application/grpc"},
		{"te", "trailers"},
	} {
		if err := encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}); err != nil {
			t.Fatal(err)
		}
	}

	all.WriteString(http2.ClientPreface)
	framer := http2.NewFramer(&all, nil)

	if err := framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}

	if err := framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: headers.Bytes(), EndHeaders: true}); err != nil {
		t.Fatal(err)
	}

	return all.Bytes()
}

// message is a gRPC message with that content, or one that lies about its length.
func message(t *testing.T, content []byte, lies bool) []byte {
	t.Helper()

	size := uint32(len(content))
	if lies {
		size = 1 << 31
	}

	var all bytes.Buffer

	data := append(binary.BigEndian.AppendUint32([]byte{0}, size), content...)
	if err := http2.NewFramer(&all, nil).WriteData(1, true, data); err != nil {
		t.Fatal(err)
	}

	return all.Bytes()
}

// TestChaosClientFlood opens more connections than there may be of one address, and calls more often than a rule allows.
func TestChaosClientFlood(t *testing.T) {
	t.Parallel()

	n := newNode(t, options{})
	crowd := n.crowd(n.conn)
	local := n.crowd(n.local(t), 2)

	var conns []net.Conn

	for range 600 {
		conn, err := net.Dial("tcp", n.address)
		if err != nil {
			t.Fatal(err)
		}

		conns = append(conns, conn)
	}

	n.wantMetric(t, `trustpool_agent_denials_total{reason="connections_arriving"}`, above(0))
	crowd.hears(t, n, answered)
	local.hears(t, n, answered)

	for _, conn := range conns {
		_ = conn.Close()
	}

	n.until(t, "newcomer who is let in", func() error { return n.newcomer(t) })
	crowd.done(t)
	local.done(t)

	// The same caller, with a rule that gives it five calls a second.
	config, err := os.ReadFile(n.config)
	if err != nil {
		t.Fatal(err)
	}

	write(t, n.config, bytes.Replace(config, []byte("rate: 100000"), []byte("rate: 5, burst: 5"), 1))
	n.signal(t, syscall.SIGHUP)
	n.wantMetric(t, "trustpool_agent_config_reloads_total", above(0))

	crowd = n.crowd(n.conn)
	crowd.hears(t, n, "RATE_LIMITED")
	crowd.hears(t, n, answered)
	crowd.done(t, "RATE_LIMITED")
	n.wantMetric(t, `trustpool_agent_denials_total{reason="rate_limited"}`, above(0))
	n.wantMetric(t, "trustpool_agent_panics_total", is(0))
}
