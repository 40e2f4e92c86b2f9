package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"

	systemd "github.com/coreos/go-systemd/v22/daemon"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/trustpool/trustpool/cmd/internal/daemon"
	"github.com/trustpool/trustpool/server"
)

const metricsPrefix = "trustpool_server"

// runService runs the server as its config file says.
func runService(ctx context.Context, configPath string, stderr io.Writer) error {
	daemon.CrashBySignal()
	config, err := loadConfig(configPath)
	if err != nil {
		return err
	}
	if err := config.CheckFiles(); err != nil {
		return daemon.UsageError{Err: err}
	}
	logger := daemon.NewLogger(stderr)
	s := service{config: config, logger: logger}
	if s.files, err = loadFiles(config, logger); err != nil {
		return daemon.UsageError{Err: err}
	}
	return s.run(ctx)
}

// tlsFiles are the server's two sides of TLS, each from files or from a Workload API.
type tlsFiles struct {
	api     *daemon.TLS       // nil if listen.address is empty
	nodes   *daemon.ClientTLS // nil if nodeSVID is not
	apiSVID *daemon.SPIFFE    // nil if api has files
	// nodeSVID is nil if nodes is not.
	nodeSVID *daemon.SPIFFE
}

// loadFiles reads them for the first time.
func loadFiles(config server.Config, logger *slog.Logger) (f tlsFiles, err error) {
	switch files := config.TLS; {
	case config.Listen.Address == "":
	case files.SPIFFE.Enabled():
		f.apiSVID = daemon.NewSPIFFE(files.SPIFFE, logger.With("config", "tls.spiffe"))
		f.api = f.apiSVID.ServerTLS(true)
	default:
		f.api, err = daemon.LoadTokenTLS(daemon.TLSFiles{Certificate: files.Certificate, Key: files.Key, ClientCA: files.ClientCA, CRL: files.CRL}, logger)
		if err != nil {
			err = fmt.Errorf("tls: %w", err)
		}
	}
	if config.Nodes.SPIFFE.Enabled() {
		f.nodeSVID = daemon.NewSPIFFE(config.Nodes.SPIFFE.SPIFFEConfig, logger.With("config", "nodes.spiffe"))
		return f, err
	}
	nodes := daemon.ClientFiles{Certificate: config.Nodes.Certificate, Key: config.Nodes.Key, CA: config.Nodes.CA}
	var nodesErr error
	if f.nodes, nodesErr = daemon.LoadClientTLS(nodes, logger); nodesErr != nil {
		nodesErr = fmt.Errorf("nodes: %w", nodesErr)
	}
	return f, errors.Join(err, nodesErr)
}

// give hands both sides to the server, and what they have to tell to those who show it.
func (f tlsFiles) give(deps *server.Deps, registry *prometheus.Registry, supervisor *daemon.Supervisor) {
	if f.api != nil {
		deps.TLS = f.api.Config()
		f.api.Register(registry, metricsPrefix)
	}
	if f.apiSVID != nil {
		f.apiSVID.OnRemark(func(line string) { supervisor.Remark("tls", line) })
	}
	if f.nodeSVID != nil {
		deps.NodeSVID = f.nodeSVID.ClientConfig
		f.nodeSVID.Register(registry, metricsPrefix+"_node")
		f.nodeSVID.OnRemark(func(line string) { supervisor.Remark("nodes", line) })
		return
	}
	deps.NodeTLS = f.nodes.Config
	f.nodes.Register(registry, metricsPrefix, "node")
}

// ready says why nobody can come in by TLS; nil if callers can, or need not.
func (f tlsFiles) ready() error {
	if f.apiSVID == nil {
		return nil
	}
	return f.apiSVID.Ready()
}

// reload reads the files again.
func (f tlsFiles) reload() {
	if f.api != nil {
		_ = f.api.Reload() // it was logged
	}
	if f.nodes != nil {
		_, _ = f.nodes.Config() // so was this; it never fails
	}
}

// run follows changes until ctx ends.
func (f tlsFiles) run(ctx context.Context, group *errgroup.Group) {
	if f.api != nil {
		group.Go(func() error { return f.api.Run(ctx) })
	}
	if f.nodeSVID != nil {
		group.Go(func() error { return f.nodeSVID.Run(ctx) })
	}
}

// service is a server with its listeners.
type service struct {
	config server.Config
	logger *slog.Logger
	files  tlsFiles
}

// run listens, puts the server together and runs it until ctx ends.
func (s service) run(ctx context.Context) error {
	defer server.LeaveRoom()()
	registry := daemon.NewRegistry(metricsPrefix)
	supervisor := daemon.NewSupervisor(s.logger)
	deps := server.Deps{
		Logger: s.logger, Registerer: registry, OnStatus: supervisor.Status, ReadFile: daemon.ReadFile, Build: "trustpool-server " + daemon.Version(),
	}
	s.files.give(&deps, registry, supervisor)

	// The database first: it says whether another server runs, and until its tables are up to date nobody is to be let in.
	attestation, err := server.New(ctx, s.config, deps)
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return nil // told to stop before it began
	}
	if err != nil {
		return err
	}
	doors, err := listen(s.config)
	if err != nil {
		return errors.Join(err, attestation.Close())
	}
	return s.serve(ctx, attestation, doors, registry, supervisor)
}

// serve runs the server and what stands beside it.
func (s service) serve(ctx context.Context, attestation *server.Server, doors doors, registry *prometheus.Registry, supervisor *daemon.Supervisor) error {
	group, ctx := errgroup.WithContext(ctx)
	stopped := make(chan struct{})
	group.Go(func() error {
		defer close(stopped)
		return attestation.Run(ctx, doors.api)
	})
	group.Go(func() error {
		supervisor.Run(ctx, stopped, attestation)
		return nil
	})
	if doors.admin != nil {
		ready := func() error { return errors.Join(s.files.ready(), attestation.Ready()) }
		admin := daemon.Admin{Registry: registry, Healthy: attestation.Hung, Ready: ready, Logger: s.logger}
		group.Go(func() error { return admin.Serve(ctx, doors.admin) })
	}
	s.files.run(ctx, group)
	s.follow(ctx, group, attestation.ReloadKeys)
	return group.Wait()
}

// follow reads the TLS files and the signing keys again at each SIGHUP, as long as the group runs. When it returns, SIGHUP ends nothing any more.
func (s service) follow(ctx context.Context, group *errgroup.Group, reloadKeys func()) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	group.Go(func() error {
		defer signal.Stop(hangups)
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-hangups:
				daemon.Notify(systemd.SdNotifyReloading + "\n" + systemd.SdNotifyMonotonicUsec())
				s.files.reload()
				reloadKeys()
				daemon.Notify(systemd.SdNotifyReady)
			}
		}
	})
}

// doors are the listeners that the config asks for; nil where it does not.
type doors struct {
	api   server.Listeners
	admin net.Listener
}

// listen opens them.
func listen(config server.Config) (d doors, err error) {
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	for _, door := range []struct {
		key, address string
		listener     *net.Listener
	}{
		{"listen.address", config.Listen.Address, &d.api.TCP},
		{"listen.loopback", config.Listen.Loopback, &d.api.Loopback},
		{"admin.address", config.Admin.Address, &d.admin},
	} {
		if door.address == "" {
			continue
		}
		if *door.listener, err = daemon.ListenTCP(door.address); err != nil {
			return d, fmt.Errorf("%s: %w", door.key, err)
		}
	}
	if d.api.Unix, err = daemon.ListenUnix(config.Listen.Unix); err != nil {
		return d, fmt.Errorf("listen.unix: %w", err)
	}
	return d, nil
}

func (d doors) close() {
	for _, listener := range []net.Listener{d.api.TCP, d.api.Unix, d.api.Loopback, d.admin} {
		if listener != nil {
			_ = listener.Close()
		}
	}
}
