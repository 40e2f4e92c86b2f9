package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/trustpool/trustpool/cmd/internal/daemon"
	"github.com/trustpool/trustpool/server/publish"
)

const publisherPrefix = "trustpool_publisher"

// opened is what a configuration file names.
type opened struct {
	config *publish.Config
	deps   publish.Deps
}

// open reads the configuration and the files that it names, and calls nobody. What is wrong is all told at once, and is a mistake of usage. For a withdrawal, which asks no server, it does not matter
// what is wrong with the files for that.
func (s sink) open(f publishFlags, logger *slog.Logger, registry prometheus.Registerer) (opened, error) {
	file := s.config()
	if err := daemon.LoadConfig(f.config, file); err != nil {
		return opened{}, hintPublisher(f.config, s, err)
	}
	config, metrics := file.Common(), publish.NewMetrics(registry)
	server, serverErr := newAskedServer(config.Server, logger)
	if f.withdrawal {
		serverErr = nil
	}
	env := publish.Env{Logger: logger, Marks: config.MarkNames(), ReadFile: daemon.ReadFile, Conflict: metrics.Conflicts.Inc, CreateNothing: f.dryRun || f.withdrawal}
	to, sinkErr := file.Open(env)
	if sinkErr != nil {
		sinkErr = fmt.Errorf("%s: %w", s.name, sinkErr)
	}
	if err := errors.Join(serverErr, sinkErr); err != nil {
		return opened{}, daemon.UsageError{Err: err}
	}
	return opened{config: config, deps: publish.Deps{Sink: to, Server: server, Logger: logger, Metrics: metrics}}, nil
}

// run publishes until ctx ends.
func (s sink) run(ctx context.Context, path string, stderr io.Writer) error {
	daemon.CrashBySignal()
	logger := daemon.NewLogger(stderr)
	registry := daemon.NewRegistry(publisherPrefix)
	o, err := s.open(publishFlags{config: path}, logger, registry)
	if err != nil {
		return err
	}
	supervisor := daemon.NewSupervisor(logger)
	o.deps.OnStatus = supervisor.Status
	publisher := publish.New(*o.config, o.deps)

	group, ctx := errgroup.WithContext(ctx)
	if address := o.config.Admin.Address; address != "" {
		listener, err := daemon.ListenTCP(address)
		if err != nil {
			return fmt.Errorf("admin.address: %w", err)
		}
		admin := daemon.Admin{Registry: registry, Healthy: publisher.Hung, Ready: publisher.Ready, Logger: logger}
		group.Go(func() error { return admin.Serve(ctx, listener) })
	}
	stopped := make(chan struct{})
	group.Go(func() error {
		defer close(stopped)
		return publisher.Run(ctx)
	})
	group.Go(func() error {
		supervisor.Run(ctx, stopped, publisher)
		return nil
	})
	logger.Info("publishing", "to", s.name, "version", daemon.Version(), "marks", o.config.MarkNames())
	return group.Wait()
}
