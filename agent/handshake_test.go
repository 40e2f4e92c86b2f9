package agent

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"
)

// accepted returns both ends of a TCP connection that came through a gate.
func accepted(t *testing.T) (conn *gateConn, client *net.TCPConn) {
	t.Helper()

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}

	g := newGate(listener, ListenConfig{}.bounded(), func(reason string) { t.Error(reason) })
	t.Cleanup(func() { _ = g.Close() })

	dialed, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = dialed.Close() })

	accepted, err := g.Accept()
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = accepted.Close() })

	conn, isGated := accepted.(*gateConn)
	client, isTCP := dialed.(*net.TCPConn)

	if !isGated || !isTCP {
		t.Fatalf("%T and %T", accepted, dialed)
	}

	return conn, client
}

func TestAContextEndsWithItsConnection(t *testing.T) {
	t.Parallel()

	for name, leave := range map[string]func(conn *gateConn, client *net.TCPConn) error{
		"the client has gone":        func(_ *gateConn, client *net.TCPConn) error { return client.Close() },
		"it says no more":            func(_ *gateConn, client *net.TCPConn) error { return client.CloseWrite() },
		"it was reset":               func(_ *gateConn, client *net.TCPConn) error { return errors.Join(client.SetLinger(0), client.Close()) },
		"it was crowded out":         func(conn *gateConn, _ *net.TCPConn) error { return conn.Close() },
		"its time was up already":    func(conn *gateConn, _ *net.TCPConn) error { return conn.SetDeadline(time.Now().Add(time.Millisecond)) },
		"it went with words unheard": func(_ *gateConn, client *net.TCPConn) error { return errors.Join(write(client), client.Close()) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			conn, client := accepted(t)
			ctx, stop := conn.whilePresent(t.Context())

			if err := leave(conn, client); err != nil {
				t.Fatal(err)
			}

			<-ctx.Done() // or the test hangs

			if err := context.Cause(ctx); !errors.Is(err, errClientGone) {
				t.Errorf("the cause is %v", err)
			}

			stop()
		})
	}
}

func write(client *net.TCPConn) error {
	_, err := client.Write([]byte("more"))

	return err
}

func TestAConnectionThatWasWatchedIsAsItWas(t *testing.T) {
	t.Parallel()

	conn, client := accepted(t)
	ctx, stop := conn.whilePresent(t.Context())

	if err := write(client); err != nil {
		t.Fatal(err)
	}

	stop()

	if err := context.Cause(ctx); errors.Is(err, errClientGone) {
		t.Error("a client that only spoke is said to have gone")
	}

	said := make([]byte, 4)
	if _, err := conn.Read(said); err != nil || string(said) != "more" {
		t.Errorf("read %q, %v", said, err)
	}

	// The deadline that it had before is in force again.
	if err := conn.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		t.Fatal(err)
	}

	_, stop = conn.whilePresent(t.Context())
	stop()

	var timeout net.Error
	if _, err := conn.Read(said); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("read with %v", err)
	}
}

func TestHandshakesOfOneAddressTakeTurns(t *testing.T) {
	t.Parallel()

	g := newGate(nil, ListenConfig{MaxConnections: 1000, MaxConnectionsPerAddress: 1000}, func(string) {})
	first, _ := knockFrom(t, g, 1)
	second, _ := knockFrom(t, g, 1)
	other, _ := knockFrom(t, g, 2)

	leave, err := first.takeTurn(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	leaveOther, err := other.takeTurn(t.Context())
	if err != nil {
		t.Fatalf("another address waits: %v", err)
	}

	leaveOther()

	expired, cancel := context.WithCancelCause(t.Context())
	cancel(errClientGone)

	if _, err := second.takeTurn(expired); !errors.Is(err, errClientGone) {
		t.Errorf("the second of an address got %v", err)
	}

	leave()

	if leave, err = second.takeTurn(t.Context()); err != nil {
		t.Fatal(err)
	}

	leave()
}
