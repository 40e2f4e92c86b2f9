package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// errClientGone says that nobody waits for a handshake any more.
var errClientGone = errors.New("the client has gone, or its time is up")

// forHandshake returns the certificate with a signer that knows for which handshake it signs, if its key is in the TPM; else as it is.
func forHandshake(pair tls.Certificate, hello *tls.ClientHelloInfo) tls.Certificate {
	if signer, ok := pair.PrivateKey.(*tlsSigner); ok {
		pair.PrivateKey = &tlsSigner{key: signer.key, public: signer.public, hello: hello}
	}

	return pair
}

// signForHandshake has the certificates of a config sign for one handshake. The config is the caller's own.
func signForHandshake(config *tls.Config, hello *tls.ClientHelloInfo) {
	pairs := make([]tls.Certificate, 0, len(config.Certificates))
	for _, pair := range config.Certificates {
		pairs = append(pairs, forHandshake(pair, hello))
	}

	config.Certificates = pairs

	choose := config.GetCertificate
	if choose == nil {
		return
	}

	config.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		chosen, err := choose(hello)
		if err != nil || chosen == nil {
			return chosen, err
		}

		pair := forHandshake(*chosen, hello)

		return &pair, nil
	}
}

// enterFrom waits until the client's address has its turn at the TPM, for as long as the client is there. The context is for what has to end when it has gone; leave has to be
// called before the connection is read again.
func enterFrom(ctx context.Context, hello *tls.ClientHelloInfo) (_ context.Context, leave func(), err error) {
	conn, ok := hello.Conn.(*gateConn)
	if !ok {
		return ctx, func() {}, nil
	}

	ctx, stop := conn.whilePresent(ctx)

	endTurn, err := conn.takeTurn(ctx)
	if err != nil {
		stop()

		return nil, nil, err
	}

	return ctx, func() {
		endTurn()
		stop()
	}, nil
}

// takeTurn waits for the turn of the connection's address. With one handshake of each address in the queue for the TPM, the addresses take turns, however many handshakes some of
// them begin.
func (c *gateConn) takeTurn(ctx context.Context) (leave func(), err error) {
	if c.address == nil {
		return func() {}, nil
	}

	select {
	case c.address.turn <- struct{}{}:
		return func() { <-c.address.turn }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// whilePresent returns a context that ends when the peer has gone or says no more, when the connection is closed, and at its deadline. Nothing is read meanwhile: what the peer
// says is left to the next reader, who has to wait until stop has returned.
func (c *gateConn) whilePresent(ctx context.Context) (_ context.Context, stop func()) {
	socket, ok := c.Conn.(syscall.Conn)
	if !ok {
		return ctx, func() {}
	}

	raw, err := socket.SyscallConn()
	if err != nil {
		return ctx, func() {} // it is closed: the handshake will find out
	}

	ctx, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})

	go func() {
		defer close(done)

		// It returns if the peer has gone, or with an error if it can't be waited for any longer: both are the end.
		_ = raw.Read(hasHungUp)

		cancel(errClientGone)
	}()

	return ctx, func() {
		cancel(nil) // what comes now ends nothing

		_ = c.Conn.SetReadDeadline(time.Unix(1, 0)) // wakes the reader; fails only if the connection is closed, which does so as well
		<-done
		_ = c.Conn.SetReadDeadline(c.deadline())
	}
}

// hasHungUp asks the kernel without waiting: poll(2). The runtime calls it again at each sign of life, since it asks for EPOLLRDHUP too.
func hasHungUp(fd uintptr) bool {
	events := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}} // #nosec G115 -- a file descriptor

	_, err := unix.Poll(events, 0)

	return err == nil && events[0].Revents != 0
}

// SetDeadline implements net.Conn.
func (c *gateConn) SetDeadline(t time.Time) error {
	c.noteDeadline(t)

	return c.Conn.SetDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (c *gateConn) SetReadDeadline(t time.Time) error {
	c.noteDeadline(t)

	return c.Conn.SetReadDeadline(t)
}

func (c *gateConn) noteDeadline(t time.Time) {
	c.gate.mu.Lock()
	defer c.gate.mu.Unlock()

	c.readDeadline = t
}

func (c *gateConn) deadline() time.Time {
	c.gate.mu.Lock()
	defer c.gate.mu.Unlock()

	return c.readDeadline
}
