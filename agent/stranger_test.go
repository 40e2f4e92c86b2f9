package agent_test

import (
	"crypto/tls"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/trustpool/trustpool/agent"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/pki"
)

// insisting connects with a certificate, or none, whatever authorities the agent asks for: a Go client keeps back certificates of others.
func (n *node) insisting(t *testing.T, certificate tls.Certificate) agentv1.QuoteServiceClient {
	t.Helper()

	return agentv1.NewQuoteServiceClient(dial(t, n.address, credentials.NewTLS(&tls.Config{
		RootCAs: n.ca.Pool(), MinVersion: tls.VersionTLS13,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certificate, nil },
	})))
}

func TestStrangersAreRefusedAndTheLogSaysWhy(t *testing.T) {
	t.Parallel()

	log := &lines{}
	n := newNode(t, tpmsim.Trusted, func(deps *agent.Deps) { deps.Logger = slog.New(slog.NewTextHandler(log, nil)) })
	n.waitUntilServing(t)

	foreign, err := pki.New("foreign")
	if err != nil {
		t.Fatal(err)
	}

	unknownCA, err := foreign.Issue(pki.Leaf{DNSNames: []string{rawer}, Client: true})
	if err != nil {
		t.Fatal(err)
	}

	expired := n.issue(t, pki.Leaf{
		DNSNames: []string{rawer}, Client: true,
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour),
	})
	serverOnly := n.issue(t, pki.Leaf{DNSNames: []string{rawer}, Server: true})
	nobody := n.issue(t, pki.Leaf{DNSNames: []string{"nobody.example"}, Client: true})

	for name, test := range map[string]struct {
		certificate tls.Certificate
		reason, why string
	}{
		"no certificate":               {tls.Certificate{}, "certificate", "no certificate"},
		"certificate of another CA":    {unknownCA.Certificate, "certificate", "unknown authority"},
		"expired certificate":          {expired.Certificate, "certificate", "has expired"},
		"certificate for servers only": {serverOnly.Certificate, "certificate", "incompatible key usage"},
		"certificate without a rule":   {nobody.Certificate, "no_rule", "no rule under clients"},
	} {
		t.Run(name, func(t *testing.T) { //nolint:paralleltest // it counts
			before := testutil.ToFloat64(counter(t, n, test.reason))

			_, err := n.insisting(t, test.certificate).Quote(t.Context(), goodRequest())
			if status.Code(err) != codes.Unavailable {
				t.Errorf("got %v, want a failed handshake", err)
			}

			mustQuote(t, n.as(t, rawer), goodRequest())
			log.wait(t, "connection refused", test.why)

			if testutil.ToFloat64(counter(t, n, test.reason)) == before {
				t.Errorf("no denial was counted as %s", test.reason)
			}
		})
	}
}
