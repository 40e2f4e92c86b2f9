package main

import (
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/coreos/go-systemd/v22/activation"

	"github.com/trustpool/trustpool/agent"
	"github.com/trustpool/trustpool/cmd/internal/daemon"
)

// listeners are the doors that the config asks for; nil where it does not.
type listeners struct {
	tcp, unix, admin net.Listener
}

// activated returns the sockets that systemd opened for this process (sd_listen_fds(3)), by the FileDescriptorName= of their units. There may be none.
func activated() (listeners, error) {
	return fromFiles(activation.Files(true))
}

// fromFiles makes listeners of sockets, by their names, and closes the files.
func fromFiles(files []*os.File) (l listeners, err error) {
	defer func() {
		for _, file := range files {
			err = errors.Join(err, file.Close())
		}

		if err != nil {
			l.close()
		}
	}()

	doors := map[string]*net.Listener{"tcp": &l.tcp, "unix": &l.unix, "admin": &l.admin}

	for _, file := range files {
		slot := doors[file.Name()]
		if slot == nil {
			return l, usage("systemd gave a socket named %q; write FileDescriptorName=tcp, unix or admin into its unit", file.Name())
		}

		if *slot != nil {
			return l, usage("systemd gave two sockets named %q; leave one ListenStream= of that name", file.Name())
		}

		if *slot, err = net.FileListener(file); err != nil {
			return l, usage("the socket named %q that systemd gave takes no connections: %w; write ListenStream= into its unit", file.Name(), err)
		}

		if network := (*slot).Addr().Network(); (network == "unix") != (file.Name() == "unix") {
			return l, usage("the socket named %q that systemd gave is one for %s addresses", file.Name(), network)
		}
	}

	return l, nil
}

func usage(format string, args ...any) error {
	return daemon.UsageError{Err: fmt.Errorf(format, args...)}
}

// listen opens what the config asks for. A socket that systemd gave takes the place of the one of that name.
func listen(config agent.Config, given listeners) (l listeners, err error) {
	defer func() {
		if err != nil {
			l.close()
			given.close()
		}
	}()

	if l.tcp, err = openOr(given.tcp, "listen.address", config.Listen.Address, daemon.ListenTCP); err != nil {
		return l, err
	}

	if l.unix, err = openOr(given.unix, "listen.unix", config.Listen.Unix, daemon.ListenUnix); err != nil {
		return l, err
	}

	l.admin, err = openOr(given.admin, "admin.address", config.Admin.Address, daemon.ListenTCP)

	return l, err
}

// openOr returns the socket that systemd gave or, without one, opens what the config's key says; nil if that is nothing.
func openOr(given net.Listener, key, address string, open func(string) (net.Listener, error)) (net.Listener, error) {
	if given != nil && address == "" {
		return nil, usage("%s is empty, but systemd gave a socket for it; write where it is, or disable that socket unit", key)
	}

	if given != nil || address == "" {
		return given, nil
	}

	listener, err := open(address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}

	return listener, nil
}

// close closes what is still open; closing twice does no harm.
func (l listeners) close() {
	for _, listener := range []net.Listener{l.tcp, l.unix, l.admin} {
		if listener != nil {
			_ = listener.Close()
		}
	}
}
