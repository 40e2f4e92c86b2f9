package agent_test

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"testing"

	"github.com/google/go-tpm/tpm2/transport"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/trustpool/trustpool/agent"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/pki"
	"github.com/trustpool/trustpool/tpmsim/tpmsimtest"
)

// BenchmarkHandshake makes connections with mutual TLS 1.3 over loopback, by a server's key in memory, as from a file, and by one in a software TPM.
func BenchmarkHandshake(b *testing.B) {
	ca, err := pki.New("bench")
	if err != nil {
		b.Fatal(err)
	}

	leaf := pki.Leaf{IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Server: true}

	file, err := ca.Issue(leaf)
	if err != nil {
		b.Fatal(err)
	}

	signer := tpmSigner(b)

	held, err := ca.IssueFor(leaf, signer.Public())
	if err != nil {
		b.Fatal(err)
	}

	held.Certificate.PrivateKey = signer

	for _, server := range []struct {
		name string
		pair tls.Certificate
	}{{"file", file.Certificate}, {"tpm", held.Certificate}} {
		address := greet(b, &tls.Config{
			MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{server.pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool(),
		})

		client, err := ca.Issue(pki.Leaf{DNSNames: []string{rawer}, Client: true})
		if err != nil {
			b.Fatal(err)
		}

		config := &tls.Config{RootCAs: ca.Pool(), Certificates: []tls.Certificate{client.Certificate}, MinVersion: tls.VersionTLS13}

		b.Run("key="+server.name+"/full", func(b *testing.B) {
			for b.Loop() {
				shake(b, address, config)
			}
		})
		b.Run("key="+server.name+"/resumed", func(b *testing.B) {
			config := config.Clone()
			config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			shake(b, address, config)

			for b.Loop() {
				if !shake(b, address, config).DidResume {
					b.Fatal("not resumed")
				}
			}
		})
	}
}

// tpmSigner runs an agent for its TLS key.
func tpmSigner(b *testing.B) crypto.Signer {
	b.Helper()

	sim, dir := tpmsimtest.Start(b, tpmsim.Options{Scenario: tpmsim.NoLaunch}), b.TempDir()

	listener, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		b.Fatal(err)
	}

	key, config := agent.NewTLSKey(), agent.DefaultConfig()
	config.StateDir, config.Logs, config.TLS.Key = dir, agent.LogsConfig{}, agent.KeyInTPM

	a, err := agent.New(config, agent.Deps{
		Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(), Unix: listener, TLSKey: key,
		OpenTPM: func() (transport.TPMCloser, error) { return &slowable{TPM: sim}, nil },
	})
	if err != nil {
		b.Fatal(err)
	}

	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)

	go func() { done <- a.Run(ctx) }()

	b.Cleanup(func() {
		cancel()

		if err := <-done; err != nil {
			b.Error(err)
		}
	})

	conn, err := grpc.NewClient("unix://"+filepath.Join(dir, "s"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = conn.Close() }() // the answer is in

	response, err := agentv1.NewEnrollmentServiceClient(conn).GetTLSCertificateRequest(b.Context(), &agentv1.GetTLSCertificateRequestRequest{Sans: []string{"dns:a.example"}})
	if err != nil {
		b.Fatal(err)
	}

	request, err := x509.ParseCertificateRequest(response.GetCertificateRequest())
	if err != nil {
		b.Fatal(err)
	}

	signer, err := key.Signer(request.PublicKey)
	if err != nil {
		b.Fatal(err)
	}

	return signer
}

// greet says one byte to each client and waits until it has gone.
func greet(b *testing.B, config *tls.Config) string {
	b.Helper()

	listener, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		b.Fatal(err)
	}

	b.Cleanup(func() { _ = listener.Close() })

	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}

			_, _ = conn.Write([]byte{1})
			_, _ = io.Copy(io.Discard, conn)
			_ = conn.Close()
		}
	}()

	return listener.Addr().String()
}
