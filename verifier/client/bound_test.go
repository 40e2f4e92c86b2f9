package client_test

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
	"github.com/trustpool/trustpool/tpmsim/pki"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/client"
)

// relay plays a node: it forwards challenges to a good one, with a client certificate that it should not have.
type relay struct {
	agentv1.UnimplementedQuoteServiceServer

	good   agentv1.QuoteServiceClient
	change func(*agentv1.QuoteRequest)
}

func (r relay) Quote(ctx context.Context, request *agentv1.QuoteRequest) (*agentv1.QuoteResponse, error) {
	r.change(request)
	return r.good.Quote(ctx, request)
}

// serveRelay runs it behind a certificate of the node's own CA and name, as a proxy that ends TLS would have, and returns its address.
func (n realNode) serveRelay(t *testing.T, change func(*agentv1.QuoteRequest)) string {
	t.Helper()
	return n.serveRelayAs(t, pki.Leaf{IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Server: true}, change)
}

// serveRelayAs runs it behind another certificate of that CA.
func (n realNode) serveRelayAs(t *testing.T, leaf pki.Leaf, change func(*agentv1.QuoteRequest)) string {
	t.Helper()

	conn, err := grpc.NewClient(n.address, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: n.ca.Pool(), Certificates: []tls.Certificate{issue(t, n.ca, pki.Leaf{DNSNames: []string{caller}, Client: true})},
	})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })

	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{issue(t, n.ca, leaf)},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: n.ca.Pool(),
	})))
	agentv1.RegisterQuoteServiceServer(server, relay{good: agentv1.NewQuoteServiceClient(conn), change: change})
	listener := listenTCP(t)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Errorf("serving the relay: %v", err)
		}
	})
	return listener.Addr().String()
}

// challenge asks for a quote with all logs, by a fresh nonce, and judges it by what was learned of the node.
func challenge(t *testing.T, c *client.Client, policy verifier.Policy, raw bool) (verifier.Evidence, verifier.Result) {
	t.Helper()

	nonce, err := client.NewNonce()
	if err != nil {
		t.Fatal(err)
	}
	reply, err := c.Quote(t.Context(), client.QuoteOptions{Nonce: nonce, Raw: raw, WantLogs: []string{"txt"}})
	if err != nil {
		t.Fatal(err)
	}
	policy.Nonce = nonce
	return reply.Evidence, verifier.Verify(reply.Evidence, policy)
}

// learned is a policy that trusts the node if its quotes are bound.
func (n realNode) learned(t *testing.T) verifier.Policy {
	t.Helper()

	nonce, err := client.NewNonce()
	if err != nil {
		t.Fatal(err)
	}
	reply, err := n.dial(t, n.address).Quote(t.Context(), client.QuoteOptions{Nonce: nonce, WantLogs: []string{"txt"}})
	if err != nil {
		t.Fatal(err)
	}
	knownGood, err := verifier.Learn(reply.Evidence, verifier.Policy{Nonce: nonce, BindMode: verifier.BindBound})
	if err != nil {
		t.Fatal(err)
	}
	return verifier.Policy{BindMode: verifier.BindBound, KnownGood: knownGood}
}

// wantOnlyNonceRefused wants a refusal by the nonce's check, with these words, and by nothing else that looks at the quote.
func wantOnlyNonceRefused(t *testing.T, result verifier.Result, words string) {
	t.Helper()

	nonce := result.Check(verifier.CheckNonce)
	if result.Verdict != verifier.Refused || nonce.Outcome != verifier.Failed || !strings.Contains(nonce.Detail, words) {
		t.Errorf("verdict %v, nonce %v: %s", result.Verdict, nonce.Outcome, nonce.Detail)
	}
	for _, check := range result.Checks {
		if check.Outcome == verifier.Failed && check.Name != verifier.CheckNonce {
			t.Errorf("%s failed too: %s", check.Name, check.Detail)
		}
	}
}

func TestARelayedQuoteIsRefused(t *testing.T) {
	t.Parallel()

	node := startNode(t)
	policy := node.learned(t)

	if _, result := challenge(t, node.dial(t, node.address), policy, false); result.Verdict != verifier.Trusted {
		t.Fatalf("the node itself: %v", result)
	}

	asItCame := node.dial(t, node.serveRelay(t, func(*agentv1.QuoteRequest) {}))
	_, result := challenge(t, asItCame, policy, false)
	wantOnlyNonceRefused(t, result, "TLS ends before the agent, or the quote was relayed")

	bare := node.dial(t, node.serveRelay(t, func(r *agentv1.QuoteRequest) { r.BindMode = agentv1.BindMode_BIND_MODE_RAW }))
	_, result = challenge(t, bare, policy, false)
	wantOnlyNonceRefused(t, result, "the bare nonce was signed where a bound quote was asked for")
}

// TestACallersCertificateIsNoNodes has the relay show a certificate that is for clients only, though of the node's own CA and name.
func TestACallersCertificateIsNoNodes(t *testing.T) {
	t.Parallel()

	node := startNode(t)
	address := node.serveRelayAs(t, pki.Leaf{IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Client: true}, func(*agentv1.QuoteRequest) { t.Error("it was asked") })

	nonce, err := client.NewNonce()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := node.dial(t, address).Quote(t.Context(), client.QuoteOptions{Nonce: nonce}); err == nil || !strings.Contains(err.Error(), "incompatible key usage") {
		t.Errorf("got %v", err)
	}
}

func TestARawQuoteIsNoBoundOne(t *testing.T) {
	t.Parallel()

	node := startNode(t)
	policy := node.learned(t)
	c := node.dial(t, node.address)

	_, result := challenge(t, c, policy, true)
	wantOnlyNonceRefused(t, result, "not asked for as a bound one")

	bound, _ := challenge(t, c, policy, false)
	policy.BindMode, policy.Nonce = verifier.BindRaw, bound.Nonce
	wantOnlyNonceRefused(t, verifier.Verify(bound, policy), "another nonce was signed")
}

// TestWhatIsBoundCannotBeChanged flips each byte of the logs and of what the asking end noted, and leaves each out.
func TestWhatIsBoundCannotBeChanged(t *testing.T) {
	t.Parallel()

	node := startNode(t)
	policy := node.learned(t)
	good, result := challenge(t, node.dial(t, node.address), policy, false)
	policy.Nonce = good.Nonce

	if result.Verdict != verifier.Trusted {
		t.Fatalf("good evidence: %v", result)
	}

	for name, bytes := range map[string]func(*verifier.Evidence) []byte{
		"log":           func(ev *verifier.Evidence) []byte { return ev.Logs[0].Raw },
		"exporter":      func(ev *verifier.Evidence) []byte { return ev.Binding.Exporter },
		"digest of log": func(ev *verifier.Evidence) []byte { return ev.Binding.Logs[0].SHA256 },
	} {
		for i := range bytes(&good) {
			bytes(&good)[i] ^= 1
			if result := verifier.Verify(good, policy); result.Check(verifier.CheckNonce).Outcome != verifier.Failed {
				t.Errorf("%s, byte %d: %v", name, i, result.Verdict)
			}
			bytes(&good)[i] ^= 1
		}
	}

	for name, change := range map[string]func(*verifier.Evidence){
		"no binding":       func(ev *verifier.Evidence) { ev.Binding = nil },
		"no exporter":      func(ev *verifier.Evidence) { ev.Binding = &verifier.Binding{Logs: ev.Binding.Logs} },
		"no bound log":     func(ev *verifier.Evidence) { ev.Binding = &verifier.Binding{Exporter: ev.Binding.Exporter} },
		"no digest of log": func(ev *verifier.Evidence) { ev.Binding.Logs[0].SHA256 = nil },
		"another source":   func(ev *verifier.Evidence) { ev.Binding.Logs[0].Source = "tx" },
		"log of another name": func(ev *verifier.Evidence) {
			ev.Logs = []verifier.Log{{Source: "other", Raw: ev.Logs[0].Raw}}
		},
		"log named twice": func(ev *verifier.Evidence) { ev.Binding.Logs = append(ev.Binding.Logs, ev.Binding.Logs[0]) },
	} {
		ev := good
		binding := *good.Binding
		binding.Logs = append([]verifier.BoundLog(nil), good.Binding.Logs...)
		ev.Binding = &binding
		change(&ev)

		if result := verifier.Verify(ev, policy); result.Check(verifier.CheckNonce).Outcome != verifier.Failed {
			t.Errorf("%s: %v", name, result.Verdict)
		}
	}
}
