package main

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trustpool/trustpool/cmd/internal/daemon"
	"github.com/trustpool/trustpool/cmd/internal/spiffetest"
	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/internal/spiffe"
	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/pki"
	"github.com/trustpool/trustpool/verifier"
)

const (
	spiffeNode     = "spiffe://example.org/node/n1/trustpool-agent"
	spiffeOperator = "spiffe://example.org/operator"
)

// newSPIFFENode starts a simulated machine whose agent has its certificate and authorities from a Workload API.
func newSPIFFENode(t *testing.T) *node {
	t.Helper()

	api, own := spiffetest.New(t), spiffetest.NewDomain(t, "example.org")
	api.Start(t)
	api.Give(spiffetest.Answer(t, own.Issue(t, spiffeNode)))

	source := daemon.NewSPIFFE(spiffe.Config{Socket: api.Socket(), TrustDomains: []string{own.Name}}, slog.New(slog.DiscardHandler))
	taken := make(chan struct{})
	source.OnChange(sync.OnceFunc(func() { close(taken) }))
	follow(t, source.Run)
	<-taken
	return newTLSNode(t, own, source.ServerTLS(false).Config())
}

// newTLSNode starts a simulated machine whose agent serves by config, and writes an operator's X.509-SVID as SPIRE's agent does.
func newTLSNode(t *testing.T, own *spiffetest.Domain, config *tls.Config) *node {
	t.Helper()

	n := &node{dir: t.TempDir(), caller: "uri:" + spiffeOperator}
	t.Cleanup(func() {
		if err := n.close(); err != nil {
			t.Error(err)
		}
	})
	if err := n.boot(tpmsim.Trusted); err != nil {
		t.Fatal(err)
	}
	n.tls = config
	if err := n.startAgent(); err != nil {
		t.Fatal(err)
	}

	svid := own.Issue(t, spiffeOperator)
	for name, content := range map[string][]byte{"svid.0.pem": svid.CertPEM, "svid.0.key": svid.KeyPEM, "bundle.0.pem": own.PEM()} {
		if err := os.WriteFile(filepath.Join(n.dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// issueAK has a CA certify the attestation key in a record.
func issueAK(t *testing.T, record, certificate string) {
	t.Helper()

	raw, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	enrolled, err := verifier.ParseNodeRecord(raw)
	if err != nil {
		t.Fatal(err)
	}
	key, err := enrolled.AKs[0].PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	ca, err := pki.New("AK CA")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.IssueFor(pki.Leaf{DNSNames: []string{"n1"}, Client: true}, key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(certificate, pair.CertPEM, 0o600); err != nil {
		t.Fatal(err)
	}
}

// follow has a service run as long as the test.
func follow(t *testing.T, run func(context.Context) error) {
	t.Helper()

	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// ask runs a command that asks the node, with the operator's X.509-SVID.
func (n *node) ask(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()

	args = append(args, "--address", n.address)
	for flag, name := range map[string]string{"--ca": "bundle.0.pem", "--cert": "svid.0.pem", "--key": "svid.0.key"} {
		args = append(args, flag, filepath.Join(n.dir, name))
	}
	var out, complaints strings.Builder
	code = run(t.Context(), args, &out, &complaints)
	return code, out.String(), complaints.String()
}

func TestANodeWithASPIFFEIDIsAsked(t *testing.T) {
	t.Parallel()

	n := newSPIFFENode(t)
	record, knownGood, certificate := filepath.Join(n.dir, "n1.json"), filepath.Join(n.dir, "known-good.json"), filepath.Join(n.dir, "ak-cert.pem")
	for _, args := range [][]string{
		{"quote"},
		{"enroll", "--name", "n1", "--first-use", "--out", record},
		{"learn", "--out", knownGood},
		{"verify", "--known-good", knownGood},
		{"install-certificate", "--certificate", certificate},
		{"rotate", "--node", record},
	} {
		if args[0] == "install-certificate" {
			issueAK(t, record, certificate)
		}
		if code, stdout, stderr := n.ask(t, append(args, "--server-uri", spiffeNode)...); code != console.ExitOK {
			t.Errorf("%s: exit code %d\n%s\n%s", args[0], code, stdout, stderr)
		}
	}
}

func TestANodeWithAnotherSPIFFEIDIsNotAsked(t *testing.T) {
	t.Parallel()

	n := newSPIFFENode(t)
	code, _, stderr := n.ask(t, "quote", "--server-uri", "spiffe://example.org/node/n2/trustpool-agent")
	if code != console.ExitFailed || !strings.Contains(stderr, "["+spiffeNode+"], not for spiffe://example.org/node/n2/trustpool-agent alone") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	// Who does not know of SPIFFE is told what to write.
	code, _, stderr = n.ask(t, "quote")
	if code != console.ExitFailed || !strings.Contains(stderr, "--server-uri") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}

// TestANodeWhoseCertificateHasEndedIsToldAsThat, and not as one of another name or CA, which nobody could mend by flags.
func TestANodeWhoseCertificateHasEndedIsToldAsThat(t *testing.T) {
	t.Parallel()

	own := spiffetest.NewDomain(t, "example.org")
	ended := own.Issue(t, spiffeNode, func(leaf *pki.Leaf) {
		leaf.NotBefore, leaf.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	})
	n := newTLSNode(t, own, &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{ended.Certificate}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: own.Pool(t),
	})
	for _, args := range [][]string{{"quote", "--server-uri", spiffeNode}, {"quote"}} {
		code, _, stderr := n.ask(t, args...)
		if code != console.ExitFailed || !strings.Contains(stderr, "has ended") || !strings.Contains(stderr, "clock") || strings.Contains(stderr, "--ca") {
			t.Errorf("%v: exit code %d\n%s", args, code, stderr)
		}
	}
}

// TestANodeWithoutACertificateIsToldAsThat is about an agent whose Workload API gives it none: its refusal says nothing of the caller's.
func TestANodeWithoutACertificateIsToldAsThat(t *testing.T) {
	t.Parallel()

	own := spiffetest.NewDomain(t, "example.org")
	waiting := daemon.NewSPIFFE(spiffe.Config{Socket: "unix:///nowhere", TrustDomains: []string{own.Name}}, slog.New(slog.DiscardHandler))
	n := newTLSNode(t, own, waiting.ServerTLS(false).Config())
	code, _, stderr := n.ask(t, "quote", "--server-uri", spiffeNode)
	if code != console.ExitFailed || !strings.Contains(stderr, "The agent can't begin TLS") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}

func TestAServerURIThatIsNoneNamesItsFlag(t *testing.T) {
	t.Parallel()

	var stdout, stderr strings.Builder
	args := []string{"quote", "--address", "127.0.0.1:1", "--tls-dir", t.TempDir(), "--server-uri", "n1"}
	if code := run(t.Context(), args, &stdout, &stderr); code != console.ExitUsage || !strings.Contains(stderr.String(), `--server-uri: "n1" is no absolute URI`) {
		t.Errorf("exit code %d\n%s", code, &stderr)
	}
}
