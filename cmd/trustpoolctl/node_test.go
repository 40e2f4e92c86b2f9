package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"github.com/google/go-tpm/tpm2/transport"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/trustpool/trustpool/agent"
	"github.com/trustpool/trustpool/cmd/internal/daemon"
	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/pki"
)

// node is a simulated machine and the real agent on it. The zero value is switched off.
type node struct {
	dir       string
	sim       *tpmsim.Node
	socketDir string
	tls       *tls.Config
	// caller is what the certificate of who may do anything has; empty: that in pki.
	caller string

	address, socket string
	stop            context.CancelFunc
	stopped         chan error
}

// boot starts the machine, or starts it anew.
func (n *node) boot(scenario tpmsim.Scenario) error {
	if n.sim != nil {
		if err := n.sim.Reboot(context.Background(), scenario); err != nil {
			return err
		}
		return n.writeEKRoots() // another TPM has another maker
	}

	err := n.makePKI()
	if err != nil {
		return err
	}
	// A socket's path has at most 107 bytes, too few for a test's folder.
	if n.socketDir, err = os.MkdirTemp("", "trustpoolctl"); err != nil {
		return err
	}
	if n.sim, err = tpmsim.Start(context.Background(), tpmsim.Options{Scenario: scenario}); err != nil {
		return err
	}
	return n.writeEKRoots()
}

func (n *node) writeEKRoots() error {
	return os.WriteFile(filepath.Join(n.dir, "ek-roots.pem"), n.sim.EKRootsPEM(), 0o600)
}

func (n *node) makePKI() error {
	ca, err := pki.New("scripts")
	if err != nil {
		return err
	}
	server, err := ca.Issue(pki.Leaf{DNSNames: []string{"node.example"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Server: true})
	if err != nil {
		return err
	}
	client, err := ca.Issue(pki.Leaf{DNSNames: []string{"client.example"}, Client: true})
	if err != nil {
		return err
	}
	stranger, err := ca.Issue(pki.Leaf{DNSNames: []string{"stranger.example"}, Client: true})
	if err != nil {
		return err
	}
	other, err := pki.New("another CA")
	if err != nil {
		return err
	}
	foreign, err := other.Issue(pki.Leaf{DNSNames: []string{"client.example"}, Client: true})
	if err != nil {
		return err
	}

	dir := filepath.Join(n.dir, "pki")
	err = errors.Join(
		pki.WriteDir(dir, ca, server, client),
		pki.WriteDir(filepath.Join(n.dir, "stranger"), ca, server, stranger),
		pki.WriteDir(filepath.Join(n.dir, "foreign"), other, server, foreign),
	)
	if err != nil {
		return err
	}
	files, err := daemon.LoadTLS(daemon.TLSFiles{
		Certificate: filepath.Join(dir, "server.pem"), Key: filepath.Join(dir, "server-key.pem"), ClientCA: filepath.Join(dir, "ca.pem"),
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	n.tls = files.Config()
	return nil
}

// startAgent starts the agent on the machine, where it listens on new addresses.
func (n *node) startAgent() error {
	log := filepath.Join(n.dir, "txt.log")
	if err := os.RemoveAll(log); err != nil {
		return err
	}
	if raw := n.sim.EventLog(); raw != nil {
		if err := os.WriteFile(log, raw, 0o600); err != nil {
			return err
		}
	}

	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	unix, err := net.Listen("unix", filepath.Join(n.socketDir, "agent.sock"))
	if err != nil {
		return err
	}
	n.address, n.socket = tcp.Addr().String(), "unix://"+unix.Addr().String()

	config := agent.DefaultConfig()
	config.Clients = []agent.ClientRule{{SAN: []string{cmp.Or(n.caller, "dns:client.example")}, Roles: agent.Roles()}}
	config.StateDir = filepath.Join(n.dir, "state")
	if err := os.MkdirAll(config.StateDir, 0o700); err != nil {
		return err
	}
	config.Logs = agent.LogsConfig{Files: n.logs(log)}
	a, err := agent.New(config, agent.Deps{
		Logger:     slog.New(slog.DiscardHandler),
		Registerer: prometheus.NewRegistry(),
		Version:    "v0.0.0-test",
		OpenTPM:    func() (transport.TPMCloser, error) { return kept{n.sim}, nil },
		Simulated:  true,
		TCP:        tcp,
		TLS:        n.tls,
		Unix:       unix,
	})
	if err != nil {
		return err
	}

	ctx, stop := context.WithCancel(context.Background())
	n.stop, n.stopped = stop, make(chan error, 1)
	go func() { n.stopped <- a.Run(ctx) }()
	return nil
}

// logs are that of the launch, and that of the firmware if the script made one.
func (n *node) logs(launch string) []agent.LogConfig {
	logs := []agent.LogConfig{{Source: "txt", Path: launch}}
	if firmware := filepath.Join(n.dir, "firmware.log"); isThere(firmware) {
		logs = append(logs, agent.LogConfig{Source: "firmware", Path: firmware})
	}
	return logs
}

func isThere(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// kept keeps the machine running when the agent closes its TPM.
type kept struct{ transport.TPM }

func (kept) Close() error { return nil }

func (n *node) stopAgent() error {
	if n.stop == nil {
		return nil
	}
	n.stop()
	n.stop = nil
	return <-n.stopped
}

func (n *node) close() error {
	err := n.stopAgent()
	if n.sim != nil {
		err = errors.Join(err, n.sim.Close())
	}
	if n.socketDir != "" {
		err = errors.Join(err, os.RemoveAll(n.socketDir))
	}
	return err
}
