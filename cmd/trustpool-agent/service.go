package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	systemd "github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sync/errgroup"

	"github.com/trustpool/trustpool/agent"
	"github.com/trustpool/trustpool/cmd/internal/daemon"
)

// runService runs the agent as its config file says.
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
	s := service{config: config, deps: agent.Deps{Logger: logger}, reload: func() (agent.Config, error) { return loadConfig(configPath) }}

	if s.deps.BootID, err = bootID(); err != nil {
		return err
	}

	if s.given, err = activated(); err != nil {
		return err
	}
	defer s.given.close()

	if err := s.loadTLS(); err != nil {
		return err
	}

	return s.run(ctx)
}

// loadTLS finds out where certificates come from, if callers come in by TLS.
func (s *service) loadTLS() (err error) {
	config := s.config
	if config.Listen.Address == "" {
		return nil
	}

	if config.TLS.SPIFFE.Enabled() {
		s.spiffe = daemon.NewSPIFFE(config.TLS.SPIFFE, s.deps.Logger)
		s.tls = s.spiffe.ServerTLS(false)

		return nil
	}

	if config.TLS.Key == agent.KeyInTPM {
		s.deps.TLSKey = agent.NewTLSKey()
	}

	if s.tls, err = daemon.LoadTLS(tlsFiles(config.TLS, s.deps.TLSKey), s.deps.Logger); err != nil {
		return daemon.UsageError{Err: err}
	}

	return nil
}

// readConfig reads the config as it is written.
func readConfig(path string) (agent.Config, error) {
	config := agent.DefaultConfig()
	if err := daemon.LoadConfig(path, &config); err != nil {
		return agent.Config{}, err
	}

	return config, nil
}

// loadConfig reads the config, with the paths of systemd's credentials in place of their names.
func loadConfig(path string) (agent.Config, error) {
	config, err := readConfig(path)
	if err != nil {
		return agent.Config{}, err
	}

	for _, file := range []*string{&config.TPM.OwnerAuthFile, &config.TPM.EndorsementAuthFile} {
		resolved, err := daemon.CredentialPath(*file)
		if err != nil {
			return agent.Config{}, daemon.UsageError{Err: err}
		}

		*file = resolved
	}

	return config, nil
}

// tlsFiles names the files. key is nil, unless the server's key is in the TPM.
func tlsFiles(config agent.TLSConfig, key *agent.TLSKey) daemon.TLSFiles {
	files := daemon.TLSFiles{Certificate: config.Certificate, Key: config.Key, ClientCA: config.ClientCA, CRL: config.CRL}
	if key != nil {
		files.Held = key.Signer
	}

	return files
}

// serverTLS loads the TLS files once, if the config asks for a listener that needs them. What a Workload API would give to the daemon, no other process can know.
func serverTLS(config agent.Config) (*tls.Config, error) {
	if config.Listen.Address == "" || config.TLS.SPIFFE.Enabled() {
		return nil, nil
	}

	var key *agent.TLSKey
	if config.TLS.Key == agent.KeyInTPM {
		key = agent.NewTLSKey() // which key the TPM has is not known here: all that can be checked is that the certificate's could be it
	}

	files, err := daemon.LoadTLS(tlsFiles(config.TLS, key), slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}

	return files.Config(), nil
}

// serve runs an agent whose files do not change until ctx ends. Once callers can come in, it calls listening.
func serve(ctx context.Context, config agent.Config, deps agent.Deps, listening func(address string) error) error {
	return service{config: config, deps: deps, listening: listening}.run(ctx)
}

// service is an agent with its listeners.
type service struct {
	config agent.Config
	deps   agent.Deps
	// listening, if not nil, is called once callers can come in.
	listening func(address string) error
	// tls and reload, if not nil, follow files that change; reloads counts how often. spiffe is what tls follows, if it is no files.
	tls     *daemon.TLS
	spiffe  *daemon.SPIFFE
	reload  func() (agent.Config, error)
	reloads reloads
	// given are sockets that systemd opened.
	given listeners
}

// run listens, puts the agent together and runs it until ctx ends.
func (s service) run(ctx context.Context) error {
	listeners, err := listen(s.config, s.given)
	if err != nil {
		return err
	}
	defer listeners.close()

	registry := daemon.NewRegistry("trustpool_agent")
	s.deps.Registerer, s.deps.Version = registry, daemon.Version()
	s.deps.TCP, s.deps.Unix = listeners.tcp, listeners.unix

	tracer, flush := daemon.StartTracing("trustpool-agent", s.deps.Logger)
	defer flush()

	s.deps.Tracer = tracer

	s.reloads = newReloads(registry)

	if s.tls != nil {
		s.deps.TLS = s.tls.Config()
		s.tls.Register(registry, "trustpool_agent")
	}

	supervisor := daemon.NewSupervisor(s.deps.Logger)
	s.deps.OnStatus = supervisor.Status

	if s.spiffe != nil {
		s.spiffe.OnRemark(func(line string) { supervisor.Remark("tls", line) })
	}

	node, err := agent.New(s.config, s.deps)
	if err != nil {
		return err
	}

	if s.listening != nil {
		if err := s.listening(listeners.tcp.Addr().String()); err != nil {
			return err
		}
	}

	group, ctx := errgroup.WithContext(ctx)
	stopped := make(chan struct{})

	group.Go(func() error {
		defer close(stopped)

		return node.Run(ctx)
	})
	group.Go(func() error {
		supervisor.Run(ctx, stopped, node)

		return nil
	})

	if listeners.admin != nil {
		admin := daemon.Admin{Registry: registry, Healthy: node.Hung, Ready: s.ready(node), Logger: s.deps.Logger}
		group.Go(func() error { return admin.Serve(ctx, listeners.admin) })
	}

	if s.reload != nil {
		s.follow(ctx, group, node)
	}

	return group.Wait()
}

// ready says why nobody can get a quote.
func (s service) ready(node *agent.Agent) func() error {
	if s.spiffe == nil {
		return node.Ready
	}

	return func() error { return errors.Join(s.spiffe.Ready(), node.Ready()) }
}

// follow takes over files that change, as long as the group runs. When it returns, SIGHUP ends nothing any more.
func (s service) follow(ctx context.Context, group *errgroup.Group, node *agent.Agent) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)

	group.Go(func() error {
		defer signal.Stop(hangups)

		s.followHangups(ctx, hangups, node)

		return nil
	})

	if s.tls != nil {
		s.tls.OnChange(node.Recheck)
		group.Go(func() error { return s.tls.Run(ctx) })
	}

	if key := s.deps.TLSKey; key != nil {
		group.Go(func() error {
			s.followKey(ctx, key)

			return nil
		})
	}
}

// followKey looks at the certificate again whenever something else is known of the TPM's key.
func (s service) followKey(ctx context.Context, key *agent.TLSKey) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-key.Changed():
			_ = s.tls.Reload() // a certificate for another key is told, and counted
		}
	}
}

// followHangups reads the files again at each SIGHUP.
func (s service) followHangups(ctx context.Context, hangups <-chan os.Signal, node *agent.Agent) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
			daemon.Notify(systemd.SdNotifyReloading + "\n" + systemd.SdNotifyMonotonicUsec())
			s.rereadAll(node)
			daemon.Notify(systemd.SdNotifyReady)
		}
	}
}

// rereadAll takes over what is good of the files, and keeps the rest as it was.
func (s service) rereadAll(node *agent.Agent) {
	if s.tls != nil {
		_ = s.tls.Reload() // it was logged
	}

	config, err := s.reload()
	if err != nil {
		s.reloads.failed()
		s.deps.Logger.Error("the config can't be used, the last good one stays", "error", err)

		return
	}

	if err := node.Reload(config); err != nil {
		s.reloads.failed()
		s.deps.Logger.Error("the config's rules are taken over, but not its audit file: the old one is written on", "error", err)

		return
	}

	s.reloads.done()
	s.deps.Logger.Info("config reloaded")
}
