package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/go-tpm/tpm2/transport"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/trustpool/trustpool/agent"
	"github.com/trustpool/trustpool/cmd/internal/daemon"
	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/pki"
)

// clientName is the name in the certificate by which the agents know the server.
const clientName = "trustpool-server.sim.example"

// patience is how long an agent may take to say whether it can quote.
const patience = time.Minute

// runningAgent is the agent of one boot.
type runningAgent struct {
	stop   context.CancelFunc
	ended  chan error
	log    *os.File
	status *status
}

// status is what an agent says of itself.
type status struct {
	last   atomic.Pointer[string]
	spoken chan struct{} // closed once it has looked at the TPM
	once   sync.Once
}

func newStatus() *status { return &status{spoken: make(chan struct{})} }

// set takes a line of the agent's. Before the agent has opened the TPM it says that there is none, which is nothing to wait for.
func (s *status) set(line string) {
	s.last.Store(&line)

	if !strings.Contains(line, "TPM_ABSENT") {
		s.once.Do(func() { close(s.spoken) })
	}
}

func (s *status) line() string {
	if line := s.last.Load(); line != nil {
		return *line
	}

	return ""
}

// end stops the agent and waits for it.
func (a *runningAgent) end() error {
	a.stop()

	return errors.Join(<-a.ended, a.log.Close())
}

// startAgent starts the agent as the daemon would, and waits until it has said whether it can quote. The context bounds the wait. The caller holds the node's lock.
func (n *node) startAgent(ctx context.Context) (_ *runningAgent, err error) {
	log, err := os.OpenFile(filepath.Join(n.dir, logFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600) // #nosec G304 -- in our own folder
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, log.Close())
		}
	}()

	listener, err := n.listener()
	if err != nil {
		return nil, err
	}

	said := newStatus()

	service, err := n.newAgent(listener, slog.New(slog.NewJSONHandler(log, nil)), said.set)
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}

	running, stop := context.WithCancel(context.WithoutCancel(ctx)) // it outlives the wait
	a := &runningAgent{stop: stop, ended: make(chan error, 1), log: log, status: said}

	go func() {
		err := service.Run(running)
		if err != nil && running.Err() == nil {
			n.logger.Error("an agent has ended by itself", "node", n.name, "error", err)
		}
		a.ended <- err
	}()

	select {
	case <-said.spoken:
		return a, nil
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-time.After(patience):
		err = fmt.Errorf("the agent does not say whether it can quote, see %s", log.Name())
	}

	stop()

	return nil, errors.Join(err, <-a.ended)
}

// newAgent puts an agent together.
func (n *node) newAgent(listener net.Listener, logger *slog.Logger, said func(line string)) (*agent.Agent, error) {
	config, err := n.config()
	if err != nil {
		return nil, err
	}

	certificate, err := n.certificate()
	if err != nil {
		return nil, err
	}

	machine := n.tpm

	return agent.New(config, agent.Deps{
		Logger: logger, Registerer: prometheus.NewRegistry(), Version: daemon.Version(),
		OpenTPM: func() (transport.TPMCloser, error) { return keptOpen{machine}, nil }, Simulated: true, BootID: newBootID(),
		TCP: listener, TLS: certificate, OnStatus: said,
	})
}

// keptOpen lets the agent close and open its way to the TPM without ending the node.
type keptOpen struct {
	transport.TPM
}

// Close implements transport.TPMCloser.
func (keptOpen) Close() error { return nil }

// config is what an operator would write for such a host. The server may do all that one can be allowed to.
func (n *node) config() (agent.Config, error) {
	config := agent.DefaultConfig()
	config.TPM.Device = filepath.Join(n.dir, tpmDir, "only-while-the-simulator-runs")
	config.StateDir = filepath.Join(n.dir, stateDir)
	config.Listen.Address = n.address
	config.Admin.Address = ""
	config.Clients = []agent.ClientRule{{SAN: []string{"dns:" + clientName}, Roles: agent.Roles()}}
	config.Logs = agent.LogsConfig{Root: filepath.Join(n.dir, rootDir)}

	return config, n.keepAuths(&config)
}

// keepAuths gives the agent the authorisation values that a scenario left in the TPM, as an operator would. The files stay until the TPM is cleared or replaced.
func (n *node) keepAuths(config *agent.Config) error {
	for _, auth := range []struct {
		name, value string
		file        *string
	}{
		{"owner-auth", tpmsim.SecLOwnerAuth, &config.TPM.OwnerAuthFile},
		{"endorsement-auth", tpmsim.SecLEndorsementAuth, &config.TPM.EndorsementAuthFile},
	} {
		path := filepath.Join(n.dir, auth.name)

		var err error

		switch n.scenario {
		case tpmsim.SecLHost:
			err = os.WriteFile(path, []byte(auth.value+"\n"), 0o600)
		case tpmsim.Cleared, tpmsim.Replaced:
			err = os.Remove(path)
		}

		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}

		if _, err := os.Stat(path); err == nil {
			*auth.file = path
		}
	}

	return nil
}

// certificate is the agent's side of mutual TLS, for the node's name. A new one is made at each boot.
func (n *node) certificate() (*tls.Config, error) {
	pair, err := n.ca.Issue(pki.Leaf{DNSNames: []string{n.name, n.short, "localhost"}, IPs: []net.IP{n.ip}, Server: true})
	if err != nil {
		return nil, err
	}

	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair.Certificate}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: n.ca.Pool(),
	}, nil
}

// listener listens at the node's address: it keeps the one that it has, takes the one of the run before if that is free, or else any.
func (n *node) listener() (net.Listener, error) {
	if n.address != "" {
		return net.Listen("tcp", n.address)
	}

	path := filepath.Join(n.dir, lastAddressFile)

	last, err := os.ReadFile(path) // #nosec G304 -- in our own folder
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}

	address := strings.TrimSpace(string(last))
	if host, _, _ := net.SplitHostPort(address); host != n.ip.String() {
		address = net.JoinHostPort(n.ip.String(), "0")
	}

	listener, err := net.Listen("tcp", address)
	if err != nil {
		listener, err = net.Listen("tcp", net.JoinHostPort(n.ip.String(), "0"))
	}

	if err != nil {
		return nil, err
	}

	n.address = listener.Addr().String()

	if err := os.WriteFile(path, []byte(n.address+"\n"), 0o600); err != nil {
		return nil, errors.Join(err, listener.Close())
	}

	return listener, nil
}
