package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"

	systemd "github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sync/errgroup"

	"github.com/trustpool/trustpool/agent"
	"github.com/trustpool/trustpool/cmd/internal/daemon"
)

// runService runs the agent as its config file says.
func runService(ctx context.Context, configPath string, stderr io.Writer) error {
	config := agent.DefaultConfig()
	if err := daemon.LoadConfig(configPath, &config); err != nil {
		return err
	}

	tlsConfig, err := serverTLS(config)
	if err != nil {
		return daemon.UsageError{Err: err}
	}

	return serve(ctx, config, agent.Deps{TLS: tlsConfig, Logger: daemon.NewLogger(stderr)}, nil)
}

// serverTLS loads the TLS files, if the config asks for a listener that needs them.
func serverTLS(config agent.Config) (*tls.Config, error) {
	if config.Listen.Address == "" {
		return nil, nil
	}

	files, err := daemon.LoadTLS(daemon.TLSFiles{Certificate: config.TLS.Certificate, Key: config.TLS.Key, ClientCA: config.TLS.ClientCA}, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}

	return files.Config(), nil
}

// serve listens, puts the agent together and runs it until ctx ends. Once callers can come in, it tells systemd and calls listening, if not nil.
func serve(ctx context.Context, config agent.Config, deps agent.Deps, listening func(address string) error) error {
	listeners, err := listen(config)
	if err != nil {
		return err
	}
	defer listeners.close()

	registry := daemon.NewRegistry("trustpool_agent")
	deps.Registerer, deps.Version = registry, daemon.Version()
	deps.TCP, deps.Unix = listeners.tcp, listeners.unix

	node, err := agent.New(config, deps)
	if err != nil {
		return err
	}

	if listening != nil {
		if err := listening(listeners.tcp.Addr().String()); err != nil {
			return err
		}
	}

	// Without NOTIFY_SOCKET this does nothing; a failure only means that nobody is told.
	_, _ = systemd.SdNotify(false, systemd.SdNotifyReady)

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return node.Run(ctx) })

	if listeners.admin != nil {
		group.Go(func() error { return daemon.ServeAdmin(ctx, listeners.admin, registry, node.Ready, deps.Logger) })
	}

	return group.Wait()
}

// listeners are the doors that the config asks for; nil where it does not.
type listeners struct {
	tcp, unix, admin net.Listener
}

func listen(config agent.Config) (l listeners, err error) {
	defer func() {
		if err != nil {
			l.close()
		}
	}()

	if l.tcp, err = open("tcp", config.Listen.Address); err != nil {
		return l, fmt.Errorf("listen.address: %w", err)
	}

	if l.unix, err = openUnix(config.Listen.Unix); err != nil {
		return l, fmt.Errorf("listen.unix: %w", err)
	}

	if l.admin, err = open("tcp", config.Admin.Address); err != nil {
		return l, fmt.Errorf("admin.address: %w", err)
	}

	return l, nil
}

func open(network, address string) (net.Listener, error) {
	if address == "" {
		return nil, nil
	}

	return net.Listen(network, address)
}

// openUnix replaces the socket that a killed daemon left behind, and nothing else.
func openUnix(path string) (net.Listener, error) {
	if path == "" {
		return nil, nil
	}

	if info, err := os.Lstat(path); err == nil && info.Mode().Type() == fs.ModeSocket {
		if conn, err := net.Dial("unix", path); err == nil {
			return nil, errors.Join(fmt.Errorf("%s is in use: another agent runs", path), conn.Close())
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

// close closes what is still open; closing twice does no harm.
func (l listeners) close() {
	for _, listener := range []net.Listener{l.tcp, l.unix, l.admin} {
		if listener != nil {
			_ = listener.Close()
		}
	}
}
