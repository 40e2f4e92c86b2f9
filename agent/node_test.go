package agent_test

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/trustpool/trustpool/agent"
	"github.com/trustpool/trustpool/internal/witness"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/pki"
	"github.com/trustpool/trustpool/tpmsim/tpmsimtest"
)

// slowable is a way to a TPM that a test can stop before a quote.
type slowable struct {
	transport.TPM

	mu sync.Mutex
	// quoting, if set, is called before each TPM2_Quote; guarded by mu.
	quoting func()
}

func (s *slowable) Send(command []byte) ([]byte, error) {
	s.mu.Lock()
	quoting := s.quoting
	s.mu.Unlock()

	if tpm2.TPMCC(binary.BigEndian.Uint32(command[6:])) == tpm2.TPMCCQuote && quoting != nil {
		quoting()
	}

	return s.TPM.Send(command)
}

func (s *slowable) onQuote(quoting func()) {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.quoting = quoting
}

func (s *slowable) Close() error { return nil }

// node is a running agent on a simulated node, reachable over mutual TLS and a unix socket.
type node struct {
	agent    *agent.Agent
	config   agent.Config
	tpm      *slowable
	witness  *witness.Witness // checks each reply to those who connect by local, as and with
	ca       *pki.CA
	address  string
	unix     string
	log      string // where the agent looks for the TXT log
	registry *prometheus.Registry
	stop     context.CancelFunc
	stopped  chan error
}

const (
	quoter   = "quoter.example"
	rawer    = "rawer.example"
	observer = "observer.example"
)

// startNode starts an agent and waits until it can quote.
func startNode(t testing.TB, scenario tpmsim.Scenario) *node {
	t.Helper()

	n := newNode(t, scenario, func(*agent.Deps) {})
	n.waitUntilServing(t)

	return n
}

// newNode starts an agent, with dependencies that a test changes.
func newNode(t testing.TB, scenario tpmsim.Scenario, change func(*agent.Deps)) *node {
	t.Helper()

	return newNodeWith(t, scenario, func(_ *agent.Config, deps *agent.Deps) { change(deps) })
}

// newNodeWith starts an agent, with a config and dependencies that a test changes.
func newNodeWith(t testing.TB, scenario tpmsim.Scenario, change func(*agent.Config, *agent.Deps)) *node {
	t.Helper()

	sim := tpmsimtest.Start(t, tpmsim.Options{Scenario: scenario})
	n := &node{tpm: &slowable{TPM: sim}, registry: prometheus.NewRegistry(), stopped: make(chan error, 1)}
	n.witness = witness.New(witness.Options{Failed: func(err error) { t.Error(err) }, Keys: witness.Keys(sim)})

	var err error
	if n.ca, err = pki.New("test"); err != nil {
		t.Fatal(err)
	}

	dir := t.TempDir()
	log := filepath.Join(dir, "txt.log")
	n.log = log

	if raw := sim.EventLog(); raw != nil {
		if err := os.WriteFile(log, raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}

	config := agent.DefaultConfig()
	config.StateDir = dir
	config.Logs = agent.LogsConfig{Files: []agent.LogConfig{{Source: "txt", Path: log}}}
	config.Clients = []agent.ClientRule{
		{SAN: []string{"dns:" + rawer}, Roles: agent.Roles()},
		{SAN: []string{"dns:" + observer}, Roles: []agent.Role{agent.RoleObserve}},
		{SAN: []string{"dns:" + quoter, "uri:spiffe://example.org/quoter"}, Roles: []agent.Role{agent.RoleQuote}},
	}

	server := n.issue(t, pki.Leaf{IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Server: true})
	deps := agent.Deps{
		Logger:     slog.New(slog.NewTextHandler(io.Discard, nil)),
		Registerer: n.registry,
		Version:    "test",
		OpenTPM:    func() (transport.TPMCloser, error) { return n.tpm, nil },
		Simulated:  true,
		TCP:        listen(t, "tcp", "127.0.0.1:0"),
		TLS: &tls.Config{
			MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{server.Certificate},
			ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: n.ca.Pool(),
		},
		Unix: listen(t, "unix", filepath.Join(dir, "agent.sock")),
	}
	change(&config, &deps)

	if n.agent, err = agent.New(config, deps); err != nil {
		t.Fatal(err)
	}

	n.config = config

	n.address, n.unix = deps.TCP.Addr().String(), "unix://"+filepath.Join(dir, "agent.sock")

	var ctx context.Context
	ctx, n.stop = context.WithCancel(context.Background())

	go func() { n.stopped <- n.agent.Run(ctx) }()

	t.Cleanup(func() {
		n.stop()

		if err := <-n.stopped; err != nil {
			t.Errorf("Run: %v", err)
		}
	})

	return n
}

// end stops the agent, and returns when all that it had to do is done.
func (n *node) end(t testing.TB) {
	t.Helper()

	n.stop()

	err := <-n.stopped
	n.stopped <- err // for the cleanup

	if err != nil {
		t.Errorf("Run: %v", err)
	}
}

func listen(t testing.TB, network, address string) net.Listener {
	t.Helper()

	listener, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}

	return listener
}

// waitUntilServing follows the health service, as a load balancer would.
func (n *node) waitUntilServing(t testing.TB) {
	t.Helper()

	watch, err := healthv1.NewHealthClient(n.local(t)).Watch(t.Context(), &healthv1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}

	for {
		response, err := watch.Recv()
		if err != nil {
			t.Fatal(err)
		}

		if response.GetStatus() == healthv1.HealthCheckResponse_SERVING {
			return
		}
	}
}

func (n *node) issue(t testing.TB, leaf pki.Leaf) *pki.Pair {
	t.Helper()

	pair, err := n.ca.Issue(leaf)
	if err != nil {
		t.Fatal(err)
	}

	return pair
}

// local connects by the unix socket.
func (n *node) local(t testing.TB) *grpc.ClientConn {
	t.Helper()

	return dial(t, n.unix, insecure.NewCredentials(), grpc.WithUnaryInterceptor(n.witness.Unary()))
}

// as connects over TLS with a certificate for that name.
func (n *node) as(t testing.TB, name string) agentv1.QuoteServiceClient {
	t.Helper()

	return n.with(t, n.issue(t, pki.Leaf{DNSNames: []string{name}, Client: true}).Certificate)
}

// with connects over TLS with these certificates.
func (n *node) with(t testing.TB, certificates ...tls.Certificate) agentv1.QuoteServiceClient {
	t.Helper()

	return agentv1.NewQuoteServiceClient(dial(t, n.address, credentials.NewTLS(&tls.Config{
		RootCAs: n.ca.Pool(), Certificates: certificates, MinVersion: tls.VersionTLS12,
	}), grpc.WithUnaryInterceptor(n.witness.Unary())))
}

func dial(t testing.TB, address string, creds credentials.TransportCredentials, options ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()

	conn, err := grpc.NewClient(address, append(options, grpc.WithTransportCredentials(creds))...)
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = conn.Close() })

	return conn
}

// goodRequest is one that is answered.
func goodRequest() *agentv1.QuoteRequest {
	return &agentv1.QuoteRequest{Nonce: []byte("0123456789abcdef0123456789abcdef"), BindMode: agentv1.BindMode_BIND_MODE_RAW}
}

func mustQuote(t testing.TB, client agentv1.QuoteServiceClient, request *agentv1.QuoteRequest) *agentv1.QuoteResponse {
	t.Helper()

	response, err := client.Quote(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}

	return response
}

// wantRefusal checks code and reason of an error, and that its message says something.
func wantRefusal(t testing.TB, err error, code codes.Code, reason agentv1.ErrorReason) {
	t.Helper()

	s := status.Convert(err)
	got := ""

	for _, detail := range s.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			if info.GetDomain() != agent.ErrorDomain {
				t.Errorf("domain %q", info.GetDomain())
			}

			got = "ERROR_REASON_" + info.GetReason()
		}
	}

	if s.Code() != code || got != reason.String() || len(s.Message()) < 20 {
		t.Errorf("got %v %s %q, want %v %v", s.Code(), got, s.Message(), code, reason)
	}
}
