package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/trustpool/trustpool/cmd/internal/daemon"
	"github.com/trustpool/trustpool/cmd/internal/spiffetest"
	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/internal/spiffe"
	"github.com/trustpool/trustpool/tpmsim"
)

const (
	spiffeNode     = "spiffe://example.org/node/n1/trustpool-agent"
	spiffeOperator = "spiffe://example.org/operator"
)

// newSPIFFENode starts a simulated machine whose agent has its certificate and authorities from a Workload API, and writes an operator's X.509-SVID as SPIRE's agent does.
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

	n := &node{dir: t.TempDir(), caller: "uri:" + spiffeOperator}
	t.Cleanup(func() {
		if err := n.close(); err != nil {
			t.Error(err)
		}
	})
	if err := n.boot(tpmsim.Trusted); err != nil {
		t.Fatal(err)
	}
	n.tls = source.ServerTLS(false).Config()
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
	record, knownGood := filepath.Join(n.dir, "n1.json"), filepath.Join(n.dir, "known-good.json")
	for _, args := range [][]string{
		{"quote"},
		{"enroll", "--name", "n1", "--first-use", "--out", record},
		{"learn", "--out", knownGood},
		{"verify", "--known-good", knownGood},
		{"rotate", "--node", record},
	} {
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
