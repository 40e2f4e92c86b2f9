package verifier_test

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"github.com/google/go-tpm/tpm2/transport"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/trustpool/trustpool/agent"
	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/pki"
)

// exampleNode is what the examples talk to: a real agent on a simulated node.
type exampleNode struct {
	address string
	// tls lets the examples in.
	tls *tls.Config
	// log is the node's event log, dir a folder for files.
	log []byte
	dir string

	close func()
}

// startExampleNode starts one. Examples have no testing.TB: what goes wrong ends the test run.
func startExampleNode() exampleNode {
	dir := must(os.MkdirTemp("", "example"))
	sim := must(tpmsim.Start(context.Background(), tpmsim.Options{}))
	ca := must(pki.New("example"))
	server := must(ca.Issue(pki.Leaf{IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"node1.example"}, Server: true}))
	caller := must(ca.Issue(pki.Leaf{DNSNames: []string{"caller.example"}, Client: true}))
	listener := must(net.Listen("tcp", "127.0.0.1:0"))

	log := filepath.Join(dir, "txt.log")
	check(os.WriteFile(log, sim.EventLog(), 0o600))

	config := agent.DefaultConfig()
	config.StateDir = dir
	config.Logs = agent.LogsConfig{Files: []agent.LogConfig{{Source: "txt", Path: log}}}
	config.Clients = []agent.ClientRule{{SAN: []string{"dns:caller.example"}, Roles: agent.Roles()}}
	a := must(agent.New(config, agent.Deps{
		Logger:     slog.New(slog.DiscardHandler),
		Registerer: prometheus.NewRegistry(),
		OpenTPM:    func() (transport.TPMCloser, error) { return sim, nil },
		TCP:        listener,
		TLS: &tls.Config{
			MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{server.Certificate}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool(),
		},
	}))

	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- a.Run(ctx) }()

	return exampleNode{
		address: listener.Addr().String(),
		tls:     &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: ca.Pool(), Certificates: []tls.Certificate{caller.Certificate}},
		log:     sim.EventLog(),
		dir:     dir,
		close: func() {
			stop()
			check(<-stopped)
			check(os.RemoveAll(dir))
		},
	}
}

func must[T any](value T, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
