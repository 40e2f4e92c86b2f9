package main

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-tpm/tpm2/transport"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/trustpool/trustpool/agent"
	"github.com/trustpool/trustpool/cmd/internal/daemon"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/pki"
	"github.com/trustpool/trustpool/tpmsim/tpmsimtest"
)

// door is a running agent whose TLS files a test changes.
type door struct {
	ca      *pki.CA
	files   daemon.TLSFiles
	tls     *daemon.TLS
	address string
}

func newDoor(t *testing.T) *door {
	t.Helper()

	dir := t.TempDir()
	d := &door{files: daemon.TLSFiles{
		Certificate: filepath.Join(dir, "server.pem"), Key: filepath.Join(dir, "server-key.pem"),
		ClientCA: filepath.Join(dir, "ca.pem"), CRL: filepath.Join(dir, "crl.pem"),
	}}

	var err error
	if d.ca, err = pki.New("test"); err != nil {
		t.Fatal(err)
	}

	d.write(t, d.files.ClientCA, d.ca.PEM())
	d.serve(t, d.issue(t, d.server()))
	d.revoke(t)

	if d.tls, err = daemon.LoadTLS(d.files, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}

	d.run(t)

	return d
}

// run starts an agent behind the door, and ends it with the test.
func (d *door) run(t *testing.T) {
	t.Helper()

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}

	sim := tpmsimtest.Start(t, tpmsim.Options{Scenario: tpmsim.NoLaunch})
	config := agent.DefaultConfig()
	config.StateDir, config.Logs = t.TempDir(), agent.LogsConfig{}
	config.Clients = []agent.ClientRule{{SAN: []string{"dns:" + simulatorClient}, Roles: agent.Roles(), Limits: agent.Limits{Rate: 1e6, Concurrent: 100}}}

	node, err := agent.New(config, agent.Deps{
		Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(), TCP: listener, TLS: d.tls.Config(),
		OpenTPM: func() (transport.TPMCloser, error) { return keptOpen{sim}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}

	d.address = listener.Addr().String()
	d.tls.OnChange(node.Recheck)

	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- node.Run(ctx) }()

	t.Cleanup(func() {
		stop()

		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func (d *door) server() pki.Leaf {
	return pki.Leaf{IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Server: true}
}

func (d *door) issue(t *testing.T, leaf pki.Leaf) *pki.Pair {
	t.Helper()

	pair, err := d.ca.Issue(leaf)
	if err != nil {
		t.Fatal(err)
	}

	return pair
}

func (d *door) client(t *testing.T) *pki.Pair {
	t.Helper()

	return d.issue(t, pki.Leaf{DNSNames: []string{simulatorClient}, Client: true})
}

func (d *door) serve(t *testing.T, pair *pki.Pair) {
	t.Helper()
	d.write(t, d.files.Certificate, pair.CertPEM)
	d.write(t, d.files.Key, pair.KeyPEM)
}

func (d *door) revoke(t *testing.T, pairs ...*pki.Pair) {
	t.Helper()

	list, err := d.ca.CRL(pairs...)
	if err != nil {
		t.Fatal(err)
	}

	d.write(t, d.files.CRL, list)
}

func (d *door) reload(t *testing.T) {
	t.Helper()

	if err := d.tls.Reload(); err != nil {
		t.Fatal(err)
	}
}

func (d *door) write(t *testing.T, path string, content []byte) {
	t.Helper()

	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// config is a client's, which resumes its sessions.
func (d *door) config(pair *pki.Pair) *tls.Config {
	return &tls.Config{
		RootCAs: d.ca.Pool(), Certificates: []tls.Certificate{pair.Certificate}, MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"},
		ClientSessionCache: tls.NewLRUClientSessionCache(1),
	}
}

func (d *door) dial(t *testing.T, config *tls.Config) *grpc.ClientConn {
	t.Helper()

	conn, err := grpc.NewClient(d.address, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = conn.Close() })

	return conn
}

func capabilities(ctx context.Context, conn *grpc.ClientConn) error {
	_, err := agentv1.NewQuoteServiceClient(conn).GetCapabilities(ctx, &agentv1.GetCapabilitiesRequest{})

	return err
}

// enter makes a connection and reads what the agent says first. It tells whether a session was resumed.
func (d *door) enter(config *tls.Config) (resumed bool, err error) {
	conn, err := tls.Dial("tcp", d.address, config)
	if err != nil {
		return false, err
	}
	defer conn.Close()

	// HTTP/2's first frame header (RFC 9113, 4.1). Before it come session tickets; a client that is refused learns it here.
	_, err = io.ReadFull(conn, make([]byte, 9))

	return conn.ConnectionState().DidResume, err
}

func TestARevokedClientResumesNothing(t *testing.T) {
	t.Parallel()

	d := newDoor(t)
	client := d.client(t)
	config := d.config(client)

	if _, err := d.enter(config); err != nil {
		t.Fatal(err)
	}

	if resumed, err := d.enter(config); err != nil || !resumed {
		t.Fatalf("resumed: %v, %v", resumed, err)
	}

	d.serve(t, d.issue(t, d.server())) // sessions outlive a reload
	d.reload(t)

	if resumed, err := d.enter(config); err != nil || !resumed {
		t.Fatalf("after a reload, resumed: %v, %v", resumed, err)
	}

	d.revoke(t, client)
	d.reload(t)

	if _, err := d.enter(config); err == nil {
		t.Error("a revoked client resumed its session")
	}

	if _, err := d.enter(d.config(client)); err == nil {
		t.Error("a revoked client was let in")
	}

	if _, err := d.enter(d.config(d.client(t))); err != nil {
		t.Errorf("another client got %v", err)
	}
}

func TestARevokedClientLosesItsConnectionAndStreams(t *testing.T) {
	t.Parallel()

	d := newDoor(t)
	client := d.client(t)
	conn, other := d.dial(t, d.config(client)), d.dial(t, d.config(d.client(t)))

	stream, err := agentv1.NewQuoteServiceClient(conn).WatchStatus(t.Context(), &agentv1.WatchStatusRequest{})
	if err != nil {
		t.Fatal(err)
	}

	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}

	kept, err := agentv1.NewQuoteServiceClient(other).WatchStatus(t.Context(), &agentv1.WatchStatusRequest{})
	if err != nil {
		t.Fatal(err)
	}

	if _, err := kept.Recv(); err != nil {
		t.Fatal(err)
	}

	d.revoke(t, client)
	d.reload(t)

	for err == nil {
		_, err = stream.Recv()
	}

	if status.Code(err) != codes.Unavailable {
		t.Errorf("the stream ended with %v", err)
	}

	if err := capabilities(t.Context(), conn); status.Code(err) != codes.Unavailable {
		t.Errorf("got %v", err)
	}

	if err := capabilities(t.Context(), other); err != nil || kept.Context().Err() != nil {
		t.Errorf("another client got %v", err)
	}
}

func TestAClientOfAnAuthorityThatWasRemovedIsOut(t *testing.T) {
	t.Parallel()

	d := newDoor(t)
	config := d.config(d.client(t))
	conn := d.dial(t, config)

	if err := capabilities(t.Context(), conn); err != nil {
		t.Fatal(err)
	}

	next, err := pki.New("next")
	if err != nil {
		t.Fatal(err)
	}

	list, err := next.CRL()
	if err != nil {
		t.Fatal(err)
	}

	d.write(t, d.files.ClientCA, next.PEM())
	d.write(t, d.files.CRL, list)
	d.reload(t)

	if err := capabilities(t.Context(), conn); status.Code(err) != codes.Unavailable {
		t.Errorf("got %v", err)
	}
}

// TestNoCallFailsWhileCertificatesRotate rotates 1000 times under 32 callers who come again and again.
func TestNoCallFailsWhileCertificatesRotate(t *testing.T) {
	t.Parallel()

	const rotations, callers, servers = 1000, 32, 8

	d := newDoor(t)

	var pairs []*pki.Pair
	for range servers {
		pairs = append(pairs, d.issue(t, d.server()))
	}

	var group sync.WaitGroup

	// Each rotation sends for two callers, without waiting for them. The buffer keeps all of them busy at a time.
	turns := make(chan struct{}, callers)

	for range callers {
		config := d.config(d.client(t))

		group.Go(func() {
			for {
				conn := d.dial(t, config) // a handshake in every sixth turn

				for range 6 {
					if _, more := <-turns; !more {
						return
					}

					if err := capabilities(context.Background(), conn); err != nil {
						t.Errorf("a caller got %v", err)
					}
				}

				if err := conn.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}

	for i := range rotations {
		d.serve(t, pairs[i%servers])
		d.reload(t)

		turns <- struct{}{}
		turns <- struct{}{}
	}

	close(turns)
	group.Wait()
}
