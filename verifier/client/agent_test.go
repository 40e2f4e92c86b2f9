package client_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/trustpool/trustpool/agent"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/pki"
	"github.com/trustpool/trustpool/tpmsim/tpmsimtest"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/client"
	"github.com/trustpool/trustpool/verifier/eventlog"
)

// kept keeps the simulated node running when the agent closes its TPM.
type kept struct{ transport.TPM }

func (kept) Close() error { return nil }

// dialAgent returns a client of a real agent on a simulated node, and the node's log.
func dialAgent(t *testing.T, more ...agent.LogConfig) (*client.Client, []byte) {
	t.Helper()

	node := startNode(t, more...)
	return node.dial(t, node.address), node.log
}

// startNode runs a real agent on a simulated node.
func startNode(t *testing.T, more ...agent.LogConfig) realNode {
	t.Helper()
	return startNodeBehind(t, func(tpm transport.TPM) transport.TPM { return tpm }, more...)
}

// startNodeBehind is startNode with something between the agent and the TPM.
func startNodeBehind(t *testing.T, between func(transport.TPM) transport.TPM, more ...agent.LogConfig) realNode {
	t.Helper()

	node := tpmsimtest.Start(t, tpmsim.Options{})
	log := filepath.Join(t.TempDir(), "txt.log")
	if err := os.WriteFile(log, node.EventLog(), 0o600); err != nil {
		t.Fatal(err)
	}
	ca, err := pki.New("test")
	if err != nil {
		t.Fatal(err)
	}
	listener := listenTCP(t)

	config := agent.DefaultConfig()
	config.StateDir = t.TempDir()
	config.Clients = []agent.ClientRule{{SAN: []string{"dns:" + caller}, Roles: agent.Roles()}}
	config.Logs = agent.LogsConfig{Files: append([]agent.LogConfig{{Source: "txt", Path: log}}, more...)}
	a, err := agent.New(config, agent.Deps{
		Logger:     slog.New(slog.DiscardHandler),
		Registerer: prometheus.NewRegistry(),
		OpenTPM:    func() (transport.TPMCloser, error) { return kept{between(node)}, nil },
		TCP:        listener,
		TLS: &tls.Config{
			MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{issue(t, ca, pki.Leaf{IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"node.example"}, Server: true})},
			ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool(),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- a.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-stopped; err != nil {
			t.Errorf("running the agent: %v", err)
		}
	})

	return realNode{address: listener.Addr().String(), ca: ca, log: node.EventLog()}
}

// realNode is where a real agent runs, and who may call it.
type realNode struct {
	address string
	ca      *pki.CA
	log     []byte
}

// caller is the name in the certificate of whoever may do everything.
const caller = "caller.example"

// dial connects to an address with the caller's certificate.
func (n realNode) dial(t *testing.T, address string) *client.Client {
	t.Helper()

	c, err := client.Dial(client.Options{Address: address, TLS: &tls.Config{
		RootCAs: n.ca.Pool(), Certificates: []tls.Certificate{issue(t, n.ca, pki.Leaf{DNSNames: []string{caller}, Client: true})},
		MinVersion: tls.VersionTLS13,
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func issue(t *testing.T, ca *pki.CA, leaf pki.Leaf) tls.Certificate {
	t.Helper()

	pair, err := ca.Issue(leaf)
	if err != nil {
		t.Fatal(err)
	}
	return pair.Certificate
}

func listenTCP(t *testing.T) net.Listener {
	t.Helper()

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

func TestARealAgentsEvidence(t *testing.T) {
	t.Parallel()

	c, log := dialAgent(t)
	capabilities, err := c.Capabilities(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	nonce, err := client.NewNonce()
	if err != nil {
		t.Fatal(err)
	}

	// None of the logs, then all, then only what the caller has not.
	for name, test := range map[string]struct {
		opts client.QuoteOptions
		want []verifier.Log
	}{
		"logs not wanted":   {client.QuoteOptions{}, nil},
		"logs wanted":       {client.QuoteOptions{WantLogs: capabilities.GetLogSources()}, []verifier.Log{{Source: "txt", Raw: log}}},
		"log known":         {client.QuoteOptions{KnownLogs: map[string][]byte{"txt": log}}, []verifier.Log{{Source: "txt", Raw: log}}},
		"another log known": {client.QuoteOptions{KnownLogs: map[string][]byte{"txt": []byte("old")}}, []verifier.Log{{Source: "txt", Raw: log}}},
		"known, and wanted": {client.QuoteOptions{WantLogs: []string{"txt"}, KnownLogs: map[string][]byte{"txt": log}}, []verifier.Log{{Source: "txt", Raw: log}}},
		"PCRs of two banks": {client.QuoteOptions{Selection: []verifier.Selection{{Alg: eventlog.AlgSHA256, PCRs: []int{17}}, {Alg: eventlog.AlgSHA384, PCRs: []int{18, 0}}}}, nil},
		"PCRs in any order": {client.QuoteOptions{Selection: []verifier.Selection{{Alg: eventlog.AlgSHA256, PCRs: []int{19, 17, 18}}}}, nil},
		"a PCR never used":  {client.QuoteOptions{Selection: []verifier.Selection{{Alg: eventlog.AlgSHA384, PCRs: []int{23}}}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			opts := test.opts
			opts.Nonce = nonce
			reply, err := c.Quote(t.Context(), opts)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, reply.Evidence.Logs); diff != "" {
				t.Errorf("logs (-want +got):\n%s", diff)
			}

			result := verifier.Verify(reply.Evidence, verifier.Policy{Nonce: nonce, BindMode: verifier.BindBound, Selection: opts.Selection})
			for _, check := range []verifier.CheckName{verifier.CheckSignature, verifier.CheckNonce, verifier.CheckSelection, verifier.CheckPCRDigest} {
				if got := result.Check(check); got.Outcome != verifier.Passed {
					t.Errorf("check %s: %s, %s", check, got.Outcome, got.Detail)
				}
			}
		})
	}
}

func TestARealAgentsLargeLogComesWhole(t *testing.T) {
	t.Parallel()

	raw := make([]byte, 1<<20+1) // no log at all: it is sent all the same
	for i := range raw {
		raw[i] = byte(i * 7 >> 5)
	}
	path := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	c, _ := dialAgent(t, agent.LogConfig{Source: "big", Path: path})
	nonce, err := client.NewNonce()
	if err != nil {
		t.Fatal(err)
	}
	reply, err := c.Quote(t.Context(), client.QuoteOptions{Nonce: nonce, WantLogs: []string{"txt", "big"}})
	if err != nil {
		t.Fatal(err)
	}
	logs := reply.Evidence.Logs
	if len(logs) != 2 || logs[1].Source != "big" || !bytes.Equal(logs[1].Raw, raw) {
		t.Errorf("%d logs", len(logs))
	}
}

func TestARealAgentsRefusalsHaveTheirReason(t *testing.T) {
	t.Parallel()

	c, _ := dialAgent(t)
	good := make([]byte, 32)
	for name, test := range map[string]struct {
		opts client.QuoteOptions
		want agentv1.ErrorReason
	}{
		"no nonce":            {client.QuoteOptions{}, agentv1.ErrorReason_ERROR_REASON_NONCE_TOO_SHORT},
		"nonce too long":      {client.QuoteOptions{Nonce: make([]byte, 67)}, agentv1.ErrorReason_ERROR_REASON_NONCE_TOO_LONG},
		"inactive bank":       {client.QuoteOptions{Nonce: good, Selection: []verifier.Selection{{Alg: eventlog.AlgSHA512, PCRs: []int{17}}}}, agentv1.ErrorReason_ERROR_REASON_BANK_INACTIVE},
		"unknown bank":        {client.QuoteOptions{Nonce: good, Selection: []verifier.Selection{{Alg: 0x7777, PCRs: []int{17}}}}, agentv1.ErrorReason_ERROR_REASON_BANK_UNKNOWN},
		"no PCR":              {client.QuoteOptions{Nonce: good, Selection: []verifier.Selection{{Alg: eventlog.AlgSHA256}}}, agentv1.ErrorReason_ERROR_REASON_SELECTION_EMPTY},
		"negative PCR":        {client.QuoteOptions{Nonce: good, Selection: []verifier.Selection{{Alg: eventlog.AlgSHA256, PCRs: []int{-1}}}}, agentv1.ErrorReason_ERROR_REASON_PCR_OUT_OF_RANGE},
		"log it has not":      {client.QuoteOptions{Nonce: good, WantLogs: []string{"nowhere"}}, agentv1.ErrorReason_ERROR_REASON_LOG_SOURCE_UNKNOWN},
		"log asked for twice": {client.QuoteOptions{Nonce: good, WantLogs: []string{"txt", "txt"}}, agentv1.ErrorReason_ERROR_REASON_LOG_REQUEST_INVALID},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			if _, err := c.Quote(t.Context(), test.opts); client.Reason(err) != test.want {
				t.Errorf("got %v (%v), want %v", client.Reason(err), err, test.want)
			}
		})
	}
}
