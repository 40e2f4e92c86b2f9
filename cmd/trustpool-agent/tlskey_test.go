package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/trustpool/trustpool/agent"
	"github.com/trustpool/trustpool/cmd/internal/daemon"
	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/pki"
	"github.com/trustpool/trustpool/tpmsim/tpmsimtest"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/client"
)

// TestATLSKeyInTheTPMFromItsRequestToItsEnrolment does what an operator does.
func TestATLSKeyInTheTPMFromItsRequestToItsEnrolment(t *testing.T) {
	t.Parallel()

	dir := t.TempDir()
	path := configWithTLSKey(t, dir)

	ca, err := pki.New("test")
	if err != nil {
		t.Fatal(err)
	}

	mustWrite(t, filepath.Join(dir, "ca.pem"), ca.PEM())

	out, code := call(t, "identity", "--config", path, "tls-csr", "--san", "ip:127.0.0.1")
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, out)
	}

	block, _ := pem.Decode([]byte(out))
	if block == nil {
		t.Fatalf("no PEM: %s", out)
	}

	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}

	leaf := pki.Leaf{IPs: request.IPAddresses, Server: true}

	pair, err := ca.IssueFor(leaf, request.PublicKey)
	if err != nil {
		t.Fatal(err)
	}

	mustWrite(t, filepath.Join(dir, "server.pem"), pair.CertPEM)

	if out, code := call(t, "identity", "--config", path, "show"); code != 0 || !strings.Contains(out, "TLS key, in the TPM") {
		t.Errorf("identity show exits with %d: %s", code, out)
	}

	s, address := startWithTLSKey(t, path)
	record := enrolledOver(t, ca, address, verifier.EnrollPolicy{Binding: verifier.BindingFirstUse, RequireTPMTLSKey: true})
	if !record.TPMTLSKey {
		t.Error("the record does not tell that the TLS key is in the TPM")
	}

	// The next AK certifies it as well, which the record demands.
	next, err := dialTLS(t, ca, address).RotateAK(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	if both := enrolledOver(t, ca, address, verifier.EnrollPolicy{Record: &record, AKName: next}); len(both.AKs) != 2 || !both.TPMTLSKey {
		t.Errorf("after the rotation the record has %d AKs, the TLS key is in the TPM: %v", len(both.AKs), both.TPMTLSKey)
	}

	other, err := ca.Issue(leaf)
	if err != nil {
		t.Fatal(err)
	}

	mustWrite(t, filepath.Join(dir, "server.pem"), other.CertPEM)

	if err := s.tls.Reload(); err == nil || !strings.Contains(err.Error(), "another key") {
		t.Errorf("reloading a certificate for another key: %v", err)
	}

	if _, err := daemon.LoadTLS(tlsFiles(s.config.TLS, s.deps.TLSKey), slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a certificate for another key was loaded")
	}

	enrolledOver(t, ca, address, verifier.EnrollPolicy{Record: &record}) // by the last good one
}

// configWithTLSKey writes a config for a simulated TPM on a socket.
func configWithTLSKey(t *testing.T, dir string) string {
	t.Helper()

	node := tpmsimtest.Start(t, tpmsim.Options{})

	listener, err := net.Listen("unix", filepath.Join(dir, "tpm.sock"))
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = listener.Close() })

	gate := &tollgate{node: node, before: func() {}, after: func() {}}
	go gate.serve(listener)

	path := filepath.Join(dir, "agent.yaml")
	mustWrite(t, path, fmt.Appendf(nil, "tpm: {device: %[1]s/tpm.sock}\nlisten: {address: '127.0.0.1:0'}\nadmin: {address: ''}\nstate_dir: %[1]s\n"+
		"logs: {root: '', collected: ''}\ntls: {certificate: %[1]s/server.pem, key: tpm, client_ca: %[1]s/ca.pem}\n"+
		"clients: [{san: ['dns:%[2]s'], roles: [quote, enroll, admin]}]\n", dir, simulatorClient))

	return path
}

// startWithTLSKey runs the service until the test ends.
func startWithTLSKey(t *testing.T, path string) (s service, address string) {
	t.Helper()

	config, err := loadConfig(path)
	if err != nil {
		t.Fatal(err)
	}

	addresses, key := make(chan string, 1), agent.NewTLSKey()
	s = service{config: config, deps: agent.Deps{Logger: slog.New(slog.DiscardHandler), TLSKey: key}, listening: func(address string) error {
		addresses <- address

		return nil
	}}

	if s.tls, err = daemon.LoadTLS(tlsFiles(config.TLS, key), s.deps.Logger); err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)

	go func() { done <- s.run(ctx) }()

	t.Cleanup(func() {
		cancel()

		if err := <-done; err != nil {
			t.Error(err)
		}
	})

	return s, <-addresses
}

// dialTLS makes a new connection.
func dialTLS(t *testing.T, ca *pki.CA, address string) *client.Client {
	t.Helper()

	pair, err := ca.Issue(pki.Leaf{DNSNames: []string{simulatorClient}, Client: true})
	if err != nil {
		t.Fatal(err)
	}

	c, err := client.Dial(client.Options{Address: address, TLS: &tls.Config{
		RootCAs: ca.Pool(), Certificates: []tls.Certificate{pair.Certificate}, MinVersion: tls.VersionTLS13,
	}})
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = c.Close() })

	return c
}

// enrolledOver enrols the node by the policy, over a new connection.
func enrolledOver(t *testing.T, ca *pki.CA, address string, policy verifier.EnrollPolicy) verifier.NodeRecord {
	t.Helper()

	c := dialTLS(t, ca, address)

	nonce, err := client.NewNonce()
	if err != nil {
		t.Fatal(err)
	}

	reply, err := c.Identity(t.Context(), nonce)
	if err != nil {
		t.Fatal(err)
	}

	policy.Node, policy.Nonce, policy.At, policy.ServerKey = "node1.example", nonce, time.Now(), reply.ServerKey
	enrollment := verifier.Enroll(reply.Identity, policy)

	challenge, err := enrollment.Challenge()
	if err != nil {
		t.Fatal(err)
	}

	secret, err := c.ActivateCredential(t.Context(), challenge)
	if err != nil {
		t.Fatal(err)
	}

	record, err := enrollment.Finish(secret, address, time.Now())
	if err != nil {
		t.Fatal(err)
	}

	return record
}

func mustWrite(t *testing.T, path string, content []byte) {
	t.Helper()

	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
