package main

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2/transport"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/trustpool/trustpool/agent"
	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/pki"
	"github.com/trustpool/trustpool/tpmsim/tpmsimtest"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/client"
)

// node is a real agent on a simulated TPM.
type node struct {
	name, address string
	sim           *tpmsim.Node
	dir           string
	tls           *tls.Config
	uri           string // by which it is known, if not by its name
	server        string // the server's name in the agent's rule
	stop          func()

	mu    sync.Mutex
	good  bool      // whether what it has booted is known good; guarded by mu
	since time.Time // when that boot was over; zero while it boots; guarded by mu
}

// keptOpen keeps the TPM when an agent closes it.
type keptOpen struct{ transport.TPM }

func (keptOpen) Close() error { return nil }

func startNode(t *testing.T, ca *pki.CA, name string) *node {
	t.Helper()

	pair, err := ca.Issue(pki.Leaf{DNSNames: []string{name}, Server: true})
	if err != nil {
		t.Fatal(err)
	}
	n := &node{
		name: name, address: "127.0.0.1:0", sim: tpmsimtest.Start(t, tpmsim.Options{}), dir: t.TempDir(), good: true,
		server: "dns:server.example",
		tls:    &tls.Config{MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool(), Certificates: []tls.Certificate{pair.Certificate}},
	}
	n.boot(t)
	t.Cleanup(func() { n.stop() })
	return n
}

// boot starts the agent, as a boot does.
func (n *node) boot(t *testing.T) {
	t.Helper()

	log := filepath.Join(n.dir, "txt.log")
	if err := os.WriteFile(log, n.sim.EventLog(), 0o600); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", n.address)
	if err != nil {
		t.Fatal(err)
	}
	n.address = listener.Addr().String()
	config := agent.DefaultConfig()
	config.StateDir = n.dir
	config.Clients = []agent.ClientRule{{SAN: []string{n.server}, Roles: agent.Roles()}}
	config.Logs = agent.LogsConfig{Files: []agent.LogConfig{{Source: "txt", Path: log}}}
	a, err := agent.New(config, agent.Deps{
		Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(), TCP: listener, TLS: n.tls,
		OpenTPM: func() (transport.TPMCloser, error) { return keptOpen{n.sim}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	n.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("running the agent: %v", err)
		}
		n.stop = func() {}
	}
	n.set(n.good, time.Now())
}

// reboot boots into a scenario; only tpmsim.Trusted is known good.
func (n *node) reboot(t *testing.T, scenario tpmsim.Scenario) {
	t.Helper()

	n.set(scenario == tpmsim.Trusted, time.Time{})
	n.stop()
	if err := n.sim.Reboot(t.Context(), scenario); err != nil {
		t.Fatal(err)
	}
	n.boot(t)
}

func (n *node) set(good bool, since time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.good, n.since = good, since
}

// knows tells what a verdict has to be whose nonce was made at a time; known is false for times before the last boot was over.
func (n *node) knows(quoted time.Time) (good, known bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.good, !n.since.IsZero() && quoted.After(n.since)
}

// learn returns what the node has booted, as known good.
func (n *node) learn(t *testing.T, config *tls.Config) []byte {
	t.Helper()

	config = config.Clone()
	config.ServerName = n.name
	connection, err := client.Dial(client.Options{Address: n.address, TLS: config, ServerURI: n.uri})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = connection.Close() }() // all answers are in
	nonce, err := client.NewNonce()
	if err != nil {
		t.Fatal(err)
	}
	reply, err := connection.Quote(t.Context(), client.QuoteOptions{Nonce: nonce, Selection: verifier.DefaultSelection(), WantLogs: []string{"txt"}})
	if err != nil {
		t.Fatal(err)
	}
	known, err := verifier.Learn(reply.Evidence, verifier.Policy{Nonce: nonce, BindMode: verifier.BindBound})
	if err != nil {
		t.Fatal(err)
	}
	known.AKs = nil
	raw, err := known.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
