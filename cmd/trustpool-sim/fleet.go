package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/pki"
)

// fleet is all nodes of one run.
type fleet struct {
	options options
	dir     string
	nodes   []*node
	tell    *teller
}

// runFleet starts the nodes, and ends them when ctx does.
func runFleet(ctx context.Context, o options, tell *teller, logger *slog.Logger) (err error) {
	f, door, err := newFleet(o, tell, logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.end()) }()

	begun := time.Now()
	if err := f.start(ctx); err != nil {
		return errors.Join(closeIfInterrupted(ctx, err), door.Close())
	}

	if err := f.writeLists(); err != nil {
		return errors.Join(err, door.Close())
	}

	tell.ready(f, time.Since(begun))

	return f.serveControl(ctx, door)
}

// closeIfInterrupted leaves an orderly end out of the errors.
func closeIfInterrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}

	return err
}

// newFleet lays out the folder, and takes it for itself.
func newFleet(o options, tell *teller, logger *slog.Logger) (*fleet, net.Listener, error) {
	dir, err := filepath.Abs(o.dir)
	if err != nil {
		return nil, nil, fmt.Errorf("making the folder: %w", err)
	}

	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("making the folder: %w", err)
	}

	door, err := listenControl(dir)
	if err != nil {
		return nil, nil, err
	}

	ca, err := writePKI(filepath.Join(dir, "pki"))
	if err != nil {
		return nil, nil, errors.Join(err, door.Close())
	}

	f := &fleet{options: o, dir: dir, tell: tell}

	for i, scenario := range o.scenarios {
		short := fmt.Sprint("node", i+1)
		f.nodes = append(f.nodes, &node{
			name: short + "." + o.domain, short: short, dir: filepath.Join(dir, "nodes", short), pool: o.pool, ip: net.ParseIP(o.listen),
			loader: tpmsim.Loader(o.loader), ca: ca, logger: logger, scenario: scenario,
		})
	}

	return f, door, nil
}

// writePKI makes an authority and what it signs: certificates for the server's listener, and for the server as a client of the agents. They live for a day.
func writePKI(dir string) (*pki.CA, error) {
	ca, err := pki.New("trustpool-sim")
	if err != nil {
		return nil, err
	}

	server, err := ca.Issue(pki.Leaf{DNSNames: []string{"localhost"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}, Server: true})
	if err != nil {
		return nil, err
	}

	client, err := ca.Issue(pki.Leaf{DNSNames: []string{clientName}, Client: true})
	if err != nil {
		return nil, err
	}

	return ca, pki.WriteDir(dir, ca, server, client)
}

// start boots all nodes, some at a time. The first that fails ends it.
func (f *fleet) start(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(f.options.parallel)

	var done atomic.Int64

	for _, n := range f.nodes {
		group.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}

			if err := n.start(ctx, n.scenario); err != nil {
				return fmt.Errorf("starting %s: %w", n.short, err)
			}

			f.tell.started(n, int(done.Add(1)), len(f.nodes))

			return nil
		})
	}

	return group.Wait()
}

// end switches all nodes off, some at a time.
func (f *fleet) end() error {
	var group errgroup.Group

	group.SetLimit(f.options.parallel)

	errs := make([]error, len(f.nodes))

	for i, n := range f.nodes {
		group.Go(func() error {
			if err := n.off(); err != nil {
				errs[i] = fmt.Errorf("ending %s: %w", n.short, err)
			}

			return nil
		})
	}

	_ = group.Wait() // they are in errs

	return errors.Join(errs...)
}

// node finds one by its name, whole or short.
func (f *fleet) node(name string) *node {
	name = strings.ToLower(name)
	for _, n := range f.nodes {
		if n.name == name || n.short == name {
			return n
		}
	}

	return nil
}
