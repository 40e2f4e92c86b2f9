//go:build vm

package vmtest_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/client"
)

const (
	nodeName = "node1.example" // the page's
	unit     = "trustpool-agent.service"
)

// stage is what the steps work on: the machine, and around it what a machine that verifies has.
type stage struct {
	vm    *vm
	guest *guest
	// work is a folder of the host's, with trustpoolctl in it.
	work string
	tls  *tls.Config
	// ekRoots is the file with the certificates of the TPM's maker.
	ekRoots string
	// launch is the one that the machine's TPM sees, launchLog what is written about it.
	launch    measured
	launchLog []byte
}

// newStage prepares all but the machine's start. What it starts and makes ends with the test.
func newStage(ctx context.Context, t *testing.T) *stage {
	t.Helper()

	image, err := command(ctx, "./image")
	if err != nil {
		t.Fatal(err)
	}

	// A socket's path is short (unix(7)).
	dir, err := os.MkdirTemp("", "vmtest")
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = os.RemoveAll(dir) })

	s := &stage{work: dir}

	if s.vm, err = newVM(ctx, image, dir); err != nil {
		t.Fatal(err)
	}

	t.Cleanup(s.vm.close)
	t.Logf("accelerator: %s", s.vm.accelerator)

	if s.ekRoots, err = manufacture(ctx, dir, filepath.Join(dir, "tpm")); err != nil {
		t.Fatal(err)
	}

	if _, err := command(ctx, "go", "build", "-o", dir, "github.com/trustpool/trustpool/cmd/trustpoolctl"); err != nil {
		t.Fatal(err)
	}

	if err := s.certify(ctx); err != nil {
		t.Fatal(err)
	}

	if s.launch, s.launchLog, err = scriptedLaunch(ctx); err != nil {
		t.Fatal(err)
	}

	return s
}

// command runs a program of the host's and returns what it wrote to its standard output.
func command(ctx context.Context, name string, arguments ...string) (string, error) {
	var stdout, stderr bytes.Buffer

	c := exec.CommandContext(ctx, name, arguments...)
	c.Stdout, c.Stderr = &stdout, &stderr
	leash(c)

	if err := c.Run(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s%s", c, err, &stdout, &stderr)
	}

	return strings.TrimSpace(stdout.String()), nil
}

// certify makes the certificates as docs/install.md says, in the folder certificates, and puts the caller's where trustpoolctl looks for them.
func (s *stage) certify(ctx context.Context) error {
	script, err := command(ctx, "../test/page", "docs/install.md", "2. Certificates")
	if err != nil {
		return err
	}

	made, callers := s.certificate(""), filepath.Join(s.work, "pki")

	if _, err := command(ctx, "bash", "-euc", "mkdir $0 $1; cd $0\n"+script+"\ncp ca.pem client.pem client-key.pem $1", made, callers); err != nil {
		return fmt.Errorf("making certificates (package openssl): %w", err)
	}

	authority, err := os.ReadFile(s.certificate("ca.pem"))
	if err != nil {
		return err
	}

	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(authority) {
		return fmt.Errorf("no certificate in %s", s.certificate("ca.pem"))
	}

	caller, err := tls.LoadX509KeyPair(s.certificate("client.pem"), s.certificate("client-key.pem"))
	if err != nil {
		return err
	}

	s.tls = &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{caller}, ServerName: nodeName, MinVersion: tls.VersionTLS13}

	return nil
}

// certificate returns where a file of the page's is.
func (s *stage) certificate(name string) string {
	return filepath.Join(s.work, "certificates", name)
}

func (s *stage) address() string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.vm.agentPort))
}

// ctl runs trustpoolctl against the node and returns what it said. Another exit code than want fails the test.
func (s *stage) ctl(ctx context.Context, t *testing.T, want int, arguments ...string) string {
	t.Helper()

	return s.ctlIn(ctx, t, s.work, want, append(arguments, "--address", s.address(), "--server-name", nodeName, "--tls-dir", "pki")...)
}

// ctlTyped runs a line of the page that begins with trustpoolctl, in a folder that has pki, and wants it to succeed. Nobody but this test knows where the node's name leads to, and
// that an emulated processor takes its time.
func (s *stage) ctlTyped(ctx context.Context, t *testing.T, folder, line string) string {
	t.Helper()

	_, rest, isOurs := strings.Cut(typed(t, line), "trustpoolctl ")
	if !isOurs {
		t.Fatalf("%q is not for trustpoolctl", line)
	}

	words := strings.Fields(rest)
	if i := slices.Index(words, nodeName+":9443"); i >= 0 {
		words[i] = s.address()
	}

	return s.ctlIn(ctx, t, folder, 0, append(words, "--server-name", nodeName)...)
}

func (s *stage) ctlIn(ctx context.Context, t *testing.T, folder string, want int, arguments ...string) string {
	t.Helper()

	arguments = append(arguments, "--timeout", "2m")

	c := exec.CommandContext(ctx, filepath.Join(s.work, "trustpoolctl"), arguments...)
	c.Dir = folder
	leash(c)

	said, err := c.CombinedOutput()

	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", c, err)
	}

	if got := c.ProcessState.ExitCode(); got != want {
		t.Fatalf("trustpoolctl %s: exit code %d, want %d\n%s", strings.Join(arguments, " "), got, want, said)
	}

	return string(said)
}

// dial prepares a connection to the agent.
func (s *stage) dial(t *testing.T) *client.Client {
	t.Helper()

	c, err := client.Dial(client.Options{Address: s.address(), TLS: s.tls.Clone()})
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = c.Close() })

	return c
}

// quote challenges the agent with a fresh nonce.
func quote(ctx context.Context, c *client.Client, options client.QuoteOptions) (client.Reply, error) {
	nonce, err := client.NewNonce()
	if err != nil {
		return client.Reply{}, err
	}

	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()

	options.Nonce = nonce

	return c.Quote(ctx, options)
}

// policy trusts what the node was enrolled and learned with. It reads the files that trustpoolctl wrote.
func (s *stage) policy(t *testing.T) verifier.Policy {
	t.Helper()

	known, err := os.ReadFile(filepath.Join(s.work, "known-good.json"))
	if err != nil {
		t.Fatal(err)
	}

	good, err := verifier.ParseKnownGood(known)
	if err != nil {
		t.Fatal(err)
	}

	return verifier.Policy{BindMode: verifier.BindBound, KnownGood: good, Node: s.record(t)}
}

// record is what enroll wrote.
func (s *stage) record(t *testing.T) *verifier.NodeRecord {
	t.Helper()

	raw, err := os.ReadFile(filepath.Join(s.work, "node1.json"))
	if err != nil {
		t.Fatal(err)
	}

	record, err := verifier.ParseNodeRecord(raw)
	if err != nil {
		t.Fatal(err)
	}

	return &record
}

// in runs a script in the guest; its failure fails the test.
func (s *stage) in(ctx context.Context, t *testing.T, script string) string {
	t.Helper()

	said, err := s.guest.run(ctx, script)
	if err != nil {
		t.Fatal(err)
	}

	return said
}

// until asks again and again until it is so, at most for some time. now is asked with a context of its own that ends then.
func until(ctx context.Context, t *testing.T, limit time.Duration, what string, now func(context.Context) error) {
	t.Helper()

	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()

	ticker := time.NewTicker(250 * time.Millisecond)
	defer ticker.Stop()

	for {
		err := now(ctx)
		if err == nil {
			return
		}

		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("%s: not within %v: %v", what, limit, err)
		}
	}
}

// quotes waits until the agent quotes.
func (s *stage) quotes(ctx context.Context, t *testing.T, limit time.Duration) client.Reply {
	t.Helper()

	var reply client.Reply

	c := s.dial(t)

	until(ctx, t, limit, "a quote", func(ctx context.Context) (err error) {
		reply, err = quote(ctx, c, client.QuoteOptions{})

		return err
	})

	return reply
}
