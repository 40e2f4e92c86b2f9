package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/client"
)

// dial goes to a node's agent with nothing but the files that were written, as a server would.
func (s *sim) dial(t *testing.T, short string) *client.Client {
	t.Helper()

	pair, err := tls.LoadX509KeyPair(filepath.Join(s.dir, "pki/client.pem"), filepath.Join(s.dir, "pki/client-key.pem"))
	if err != nil {
		t.Fatal(err)
	}

	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(s.read(t, "pki/ca.pem")) {
		t.Fatal("ca.pem holds no certificate")
	}

	n := s.nodes[short]

	c, err := client.Dial(client.Options{Address: n.Address, TLS: &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: authorities, Certificates: []tls.Certificate{pair}, ServerName: n.Name,
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})

	return c
}

func (s *sim) read(t *testing.T, name string) []byte {
	t.Helper()

	content, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		t.Fatal(err)
	}

	return content
}

// enroll enrols a node by inventory.csv; the error says what did not pass.
func (s *sim) enroll(t *testing.T, short string) (verifier.NodeRecord, error) {
	t.Helper()

	inventory, err := verifier.ParseInventory(s.read(t, "inventory.csv"))
	if err != nil {
		t.Fatal(err)
	}

	c, nonce := s.dial(t, short), newNonce(t)

	reply, err := c.Identity(t.Context(), nonce)
	if err != nil {
		t.Fatal(err)
	}

	enrollment := verifier.Enroll(reply.Identity, verifier.EnrollPolicy{
		Node: s.nodes[short].Name, Nonce: nonce, At: time.Now(), Binding: verifier.BindingInventory, Inventory: inventory,
		ServerNames: reply.ServerNames, ServerKey: reply.ServerKey,
	})

	challenge, err := enrollment.Challenge()
	if err != nil {
		return verifier.NodeRecord{}, err
	}

	secret, err := c.ActivateCredential(t.Context(), challenge)
	if err != nil {
		t.Fatal(err)
	}

	return enrollment.Finish(secret, s.nodes[short].Address, time.Now())
}

func newNonce(t *testing.T) []byte {
	t.Helper()

	nonce, err := client.NewNonce()
	if err != nil {
		t.Fatal(err)
	}

	return nonce
}

// quote challenges a node.
func (s *sim) quote(t *testing.T, short string) (verifier.Evidence, []byte) {
	t.Helper()

	c, nonce := s.dial(t, short), newNonce(t)

	capabilities, err := c.Capabilities(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	reply, err := c.Quote(t.Context(), client.QuoteOptions{Nonce: nonce, Selection: verifier.DefaultSelection(), WantLogs: capabilities.GetLogSources()})
	if err != nil {
		t.Fatal(err)
	}

	return reply.Evidence, nonce
}

// verify judges a node by its record and by what was learned of another.
func (s *sim) verify(t *testing.T, record verifier.NodeRecord, known verifier.KnownGood) verifier.Verdict {
	t.Helper()

	short, _, _ := strings.Cut(record.Name, ".")
	evidence, nonce := s.quote(t, short)

	return verifier.Verify(evidence, verifier.Policy{Nonce: nonce, BindMode: verifier.BindBound, KnownGood: known, Node: &record}).Verdict
}

func TestNodesOfAMixAreWhatTheirScenariosSay(t *testing.T) {
	t.Parallel()

	s := simulate(t, "--dir", filepath.Join(t.TempDir(), "sim"), "--nodes", "7", "--mix", "other-hypervisor,no-launch=2,capped,replaced")

	first, err := s.enroll(t, "node1")
	if err != nil {
		t.Fatal(err)
	}

	evidence, nonce := s.quote(t, "node1")

	known, err := verifier.Learn(evidence, verifier.Policy{Nonce: nonce, BindMode: verifier.BindBound, Node: &first})
	if err != nil {
		t.Fatal(err)
	}

	for short, want := range map[string]verifier.Verdict{
		"node1": verifier.Trusted, "node2": verifier.Trusted, "node3": verifier.Refused, "node4": verifier.Refused, "node5": verifier.Refused, "node6": verifier.Refused,
	} {
		record, err := s.enroll(t, short)
		if err != nil {
			t.Errorf("%s: %v", short, err)

			continue
		}

		if got := s.verify(t, record, known); got != want {
			t.Errorf("%s (%s): %s, want %s", short, s.nodes[short].Scenario, got, want)
		}
	}

	if _, err := s.enroll(t, "node7"); err == nil || !strings.Contains(err.Error(), "ek_binding") {
		t.Errorf("a TPM that is not the one that the machine was shipped with: %v", err)
	}
}

func TestTheSameNodesBootAgainFromTheirFolder(t *testing.T) {
	t.Parallel()

	dir := filepath.Join(t.TempDir(), "sim")
	first := simulate(t, "--dir", dir, "--nodes", "3", "--mix", "hierarchy-off")

	record, err := first.enroll(t, "node1")
	if err != nil {
		t.Fatal(err)
	}

	if err := first.end(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}

	second := simulate(t, "--dir", dir, "--nodes", "3", "--mix", "no-launch")
	for short, n := range first.nodes {
		if again := second.nodes[short]; again.EKName != n.EKName || again.Name != n.Name || again.Address != n.Address {
			t.Errorf("%+v is now %+v", n, again)
		}
	}

	evidence, nonce := second.quote(t, "node1")
	if _, err := verifier.Learn(evidence, verifier.Policy{Nonce: nonce, BindMode: verifier.BindBound, Node: &record}); err != nil {
		t.Errorf("its key is another: %v", err)
	}
}

func TestNothingStaysOfASimulatorThatEnds(t *testing.T) {
	t.Parallel()

	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()

			dir := filepath.Join(t.TempDir(), "sim")
			s := simulate(t, "--dir", dir, "--nodes", "3")

			pids := s.children(t)
			if len(pids) != 3 {
				t.Fatalf("%d processes for 3 nodes", len(pids))
			}

			if err := s.end(signal); (err == nil) != (signal != syscall.SIGKILL) {
				t.Error(err)
			}

			goneSoon(t, pids)

			if _, err := os.Stat(filepath.Join(dir, controlFile)); signal != syscall.SIGKILL && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the socket is still there: %v", err)
			}

			simulate(t, "--dir", dir, "--nodes", "3") // the folder can be used again
		})
	}
}

func TestAnInterruptWhileNodesStartEndsThemToo(t *testing.T) {
	t.Parallel()

	o := options{dir: filepath.Join(t.TempDir(), "sim"), nodes: 200, listen: "127.0.0.1", domain: "sim.example", pool: "sim", loader: "tboot", parallel: 2}
	if err := o.check(); err != nil {
		t.Fatal(err)
	}

	interrupted, stop := newStopper(t)
	if err := runFleet(interrupted, o, newTeller(stop, true), discard()); err != nil {
		t.Error(err)
	}

	if !stop.said || slices.Contains(stop.events, "ready") {
		t.Errorf("not interrupted while nodes start: %v", stop.events)
	}
}

func TestWhatTheNodesTakeIsTold(t *testing.T) {
	t.Parallel()

	s := simulate(t, "--dir", filepath.Join(t.TempDir(), "sim"), "--nodes", "2")

	m := s.ready.Memory
	if m == nil || m.Simulator < 1<<20 || m.TPMs < 1<<20 || m.PerNode != (m.Simulator+m.TPMs)/2 {
		t.Errorf("%+v", m)
	}
}
