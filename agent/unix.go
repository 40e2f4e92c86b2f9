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

// roles gives root and the agent's own user all roles; the others may have what the socket's file mode let them come for.
func (p peerCredentials) roles() []Role {
	if p.uid == 0 || int(p.uid) == os.Geteuid() {
		return Roles()
	}

	return []Role{RoleQuote, RoleRaw, RoleObserve}
}

// identity names the caller in the audit log.
func (p peerCredentials) identity() string {
	return "unix:uid=" + strconv.FormatUint(uint64(p.uid), 10) + ",gid=" + strconv.FormatUint(uint64(p.gid), 10)
}

// unixTransport takes connections of a unix socket as they are, and asks the kernel who is there.
type unixTransport struct{}

// ServerHandshake implements credentials.TransportCredentials: SO_PEERCRED, unix(7).
func (unixTransport) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, nil, errors.New("not a unix socket")
	}

	raw, err := socket.SyscallConn()
	if err != nil {
		return nil, nil, fmt.Errorf("asking who is at the socket: %w", err)
	}

	var (
		peer    *unix.Ucred
		peerErr error
	)

	err = raw.Control(func(fd uintptr) {
		peer, peerErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) // #nosec G115 -- a file descriptor
	})
	if err := errors.Join(err, peerErr); err != nil {
		return nil, nil, fmt.Errorf("asking who is at the socket: %w", err)
	}

	return conn, peerCredentials{uid: peer.Uid, gid: peer.Gid}, nil
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
