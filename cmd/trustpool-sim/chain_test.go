package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trustpool/trustpool/server"
	"github.com/trustpool/trustpool/server/api"
)

// serve runs an attestation server for the nodes, which trusts the makers in a file, and returns its administrator's client.
func (s *sim) serve(t *testing.T, ekRoots string) *api.Client {
	t.Helper()

	load := func(name string) tls.Certificate {
		pair, err := tls.LoadX509KeyPair(filepath.Join(s.dir, "pki", name+".pem"), filepath.Join(s.dir, "pki", name+"-key.pem"))
		if err != nil {
			t.Fatal(err)
		}

		return pair
	}

	authorities := x509.NewCertPool()
	authorities.AppendCertsFromPEM(s.read(t, "pki/ca.pem"))

	pki := filepath.Join(s.dir, "pki")
	config := server.DefaultConfig()
	config.Database = filepath.Join(t.TempDir(), "trustpool.db")
	config.TLS = server.TLSConfig{Certificate: filepath.Join(pki, "server.pem"), Key: filepath.Join(pki, "server-key.pem")}
	config.Nodes.Certificate, config.Nodes.Key, config.Nodes.CA = filepath.Join(pki, "client.pem"), filepath.Join(pki, "client-key.pem"), filepath.Join(pki, "ca.pem")
	config.Nodes.EKRoots = []string{ekRoots}

	role, err := server.ParseRole("admin")
	if err != nil {
		t.Fatal(err)
	}

	token, err := server.AddToken(t.Context(), config.Database, "test", "admin", role, time.Time{})
	if err != nil {
		t.Fatal(err)
	}

	attestation, err := server.New(t.Context(), config, server.Deps{
		Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
		TLS: &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{load("server")}},
		NodeTLS: func() (*tls.Config, error) {
			return &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: authorities, Certificates: []tls.Certificate{load("client")}}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}

	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)

	go func() { done <- attestation.Run(ctx, server.Listeners{TCP: listener}) }()

	admin, err := api.NewClient(api.Config{URL: "https://" + listener.Addr().String(), Token: token, RootCAs: authorities})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		admin.Close()
		stop()

		if err := <-done; err != nil {
			t.Error(err)
		}
	})

	return admin
}

// TestASoftwareTPMIsKeptOutByItsEKCertificate: in a pool that would take a node which says that it is simulated, what keeps it out is that no maker vouches for its EK.
func TestASoftwareTPMIsKeptOutByItsEKCertificate(t *testing.T) {
	t.Parallel()

	s := simulate(t, "--dir", filepath.Join(t.TempDir(), "sim"), "--nodes", "1")

	for name, test := range map[string]struct{ roots, state, reason, detail string }{
		"its maker is not trusted": {"pki/ca.pem", "pending", "not_enrolled", "ek_chain"},
		"its maker is trusted":     {"ek-roots.pem", "active", "no_policy", "hypervisor"}, // it is enrolled, and nothing is known good yet
	} {
		t.Run(name, func(t *testing.T) {
			admin, n := s.serve(t, filepath.Join(s.dir, test.roots)), s.nodes["node1"]

			pool := api.PoolSpec{Requires: []api.Requirement{{Part: "hypervisor", Match: "any_of"}}, AllowSimulatedNodes: true}
			if _, err := admin.PutPool(t.Context(), "pool", pool, 0); err != nil {
				t.Fatal(err)
			}

			if _, err := admin.AddNode(t.Context(), api.NodeSpec{Name: n.Name, Address: n.Address, Pool: "pool", Binding: "chain"}); err != nil {
				t.Fatal(err)
			}

			got := answered(t, admin, n.Name)
			if v := got.Verdict; got.State != test.state || v.Trust == api.Trusted || v.Reason != test.reason || !strings.Contains(v.Detail, test.detail) {
				t.Errorf("%s, %+v", got.State, got.Verdict)
			}
		})
	}
}

// answered waits for the server's first verdict on a node.
func answered(t *testing.T, admin *api.Client, name string) api.Node {
	t.Helper()

	late := time.After(time.Minute)

	for {
		n, err := admin.Node(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}

		if n.Verdict.Generation > 0 {
			return n
		}

		select {
		case <-late:
			t.Fatalf("no verdict: %+v", n)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
