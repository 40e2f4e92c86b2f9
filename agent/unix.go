package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/credentials"
)

// peerCredentials tell who is at the other end of a unix socket, by the kernel's word.
type peerCredentials struct {
	credentials.CommonAuthInfo

	uid, gid uint32
}

// AuthType implements credentials.AuthInfo.
func (peerCredentials) AuthType() string { return "unix" }

// isOwn says whether this is root or the agent's own user.
func (p peerCredentials) isOwn() bool {
	return p.uid == 0 || int(p.uid) == os.Geteuid()
}

// identity names the caller in the audit log.
func (p peerCredentials) identity() string {
	return "unix:uid=" + strconv.FormatUint(uint64(p.uid), 10) + ",gid=" + strconv.FormatUint(uint64(p.gid), 10)
}

// unixTransport takes connections of a unix socket as they are, and asks the kernel who is there.
type unixTransport struct {
	guard *guard
}

// ServerHandshake implements credentials.TransportCredentials: SO_PEERCRED, unix(7).
func (t unixTransport) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	info, err := peerAt(conn)
	if err == nil {
		err = t.guard.arrived(conn, info)
	}

	if err != nil {
		t.guard.notLetIn(conn, err)

		return nil, nil, err
	}

	return conn, info, nil
}

func peerAt(conn net.Conn) (credentials.AuthInfo, error) {
	if gated, ok := conn.(*gateConn); ok {
		conn = gated.Conn
	}

	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, errors.New("not a unix socket")
	}

	raw, err := socket.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("asking who is at the socket: %w", err)
	}

	var (
		peer    *unix.Ucred
		peerErr error
	)

	err = raw.Control(func(fd uintptr) {
		peer, peerErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) // #nosec G115 -- a file descriptor
	})
	if err := errors.Join(err, peerErr); err != nil {
		return nil, fmt.Errorf("asking who is at the socket: %w", err)
	}

	return peerCredentials{uid: peer.Uid, gid: peer.Gid}, nil
}

// ClientHandshake implements credentials.TransportCredentials; the agent is no client.
func (unixTransport) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("for servers only")
}

// Info implements credentials.TransportCredentials.
func (unixTransport) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "unix"}
}

// Clone implements credentials.TransportCredentials.
func (t unixTransport) Clone() credentials.TransportCredentials { return t }

// OverrideServerName implements credentials.TransportCredentials.
func (unixTransport) OverrideServerName(string) error { return nil }
