package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
)

// ListenTCP listens on host:port.
func ListenTCP(address string) (net.Listener, error) {
	return net.Listen("tcp", address)
}

// ListenUnix listens on a socket that the group of its file may open; nil if path is empty. It replaces the socket that a killed daemon left behind, and nothing else.
func ListenUnix(path string) (net.Listener, error) {
	if path == "" {
		return nil, nil
	}

	if info, err := os.Lstat(path); err == nil && info.Mode().Type() == fs.ModeSocket {
		if conn, err := net.Dial("unix", path); err == nil {
			return nil, errors.Join(fmt.Errorf("%s is in use: another process serves it", path), conn.Close())
		}

		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}

	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}

	if err := os.Chmod(path, 0o660); err != nil { // #nosec G302 -- the socket's group may call
		return nil, errors.Join(err, listener.Close())
	}

	return listener, nil
}
