package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/trustpool/trustpool/internal/daemontest"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/pki"
	"github.com/trustpool/trustpool/tpmsim/tpmsimtest"
)

// served is the real command with a config and files that a test changes.
type served struct {
	*process

	dir            string
	ca             *pki.CA
	gate           *tollgate
	address, admin string
}

// serveFrom starts it with one rule, for the simulator's client.
func serveFrom(t *testing.T) *served {
	t.Helper()

	s := &served{dir: t.TempDir(), gate: &tollgate{node: tpmsimtest.Start(t, tpmsim.Options{}), before: func() {}, after: func() {}}}

	listener, err := net.Listen("unix", filepath.Join(s.dir, "tpm.sock"))
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = listener.Close() })

	go s.gate.serve(listener)

	if s.ca, err = pki.New("test"); err != nil {
		t.Fatal(err)
	}

	mustWrite(t, filepath.Join(s.dir, "ca.pem"), s.ca.PEM())
	s.certify(t, "first.example")
	s.allow(t, simulatorClient)

	s.process = launch(t, "--config", filepath.Join(s.dir, "agent.yaml"))
	s.address = s.told(t, `"msg":"listening"`)
	s.admin = s.told(t, `"msg":"serving metrics"`)
	s.stderr.wait(t, `"msg":"ready to quote"`)

	return s
}

// told returns the address in a line of the log.
func (s *served) told(t *testing.T, words ...string) string {
	t.Helper()

	var line struct {
		Address string `json:"address"`
	}

	if err := json.Unmarshal([]byte(s.stderr.wait(t, words...)), &line); err != nil {
		t.Fatal(err)
	}

	return line.Address
}

// certify gives the server a certificate for that name.
func (s *served) certify(t *testing.T, name string) {
	t.Helper()

	pair, err := s.ca.Issue(pki.Leaf{DNSNames: []string{name}, Server: true})
	if err != nil {
		t.Fatal(err)
	}

	mustWrite(t, filepath.Join(s.dir, "server.pem"), pair.CertPEM)
	mustWrite(t, filepath.Join(s.dir, "server-key.pem"), pair.KeyPEM)
}

// allow writes the config with a rule for each of the names.
func (s *served) allow(t *testing.T, names ...string) {
	t.Helper()

	var rules strings.Builder
	for _, name := range names {
		fmt.Fprintf(&rules, "  - {san: ['dns:%s'], roles: [quote, raw, enroll, admin, observe]}\n", name)
	}

	mustWrite(t, filepath.Join(s.dir, "agent.yaml"), fmt.Appendf(nil, "tpm: {device: %[1]s/tpm.sock}\nlisten: {address: '127.0.0.1:0'}\nadmin: {address: '127.0.0.1:0'}\n"+
		"state_dir: %[1]s\nlogs: {root: '', collected: ''}\ntls: {certificate: %[1]s/server.pem, key: %[1]s/server-key.pem, client_ca: %[1]s/ca.pem}\nclients:\n%[2]s", s.dir, rules.String()))
}

func (s *served) hangUp(t *testing.T) {
	t.Helper()

	if err := s.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

// as connects as a client, to a server that has that name.
func (s *served) as(t *testing.T, client, server string) *grpc.ClientConn {
	t.Helper()

	pair, err := s.ca.Issue(pki.Leaf{DNSNames: []string{client}, Client: true})
	if err != nil {
		t.Fatal(err)
	}

	conn, err := grpc.NewClient(s.address, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{
		RootCAs: s.ca.Pool(), ServerName: server, Certificates: []tls.Certificate{pair.Certificate}, MinVersion: tls.VersionTLS13,
	})))
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = conn.Close() })

	return conn
}

// metric returns the value of a metric without labels, as it is written.
func (s *served) metric(t *testing.T, name string) string {
	t.Helper()

	_, page := daemontest.Get(t, "http://"+s.admin+"/metrics")

	for line := range strings.Lines(page) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}

	return "missing"
}

// stopAtQuote holds the next quote in the TPM until goOn is called.
func (s *served) stopAtQuote() (began <-chan struct{}, goOn func()) {
	reached, release := make(chan struct{}), make(chan struct{})

	s.gate.stopAt(uint32(tpm2.TPMCCQuote), func() {
		close(reached)
		<-release
	})

	return reached, func() { close(release) }
}

// TestAHangUpSignalTakesOverWhatIsGoodAndDropsNoCall has a quote in the TPM and a stream that is watched, while rules and certificate change for the better and for the worse.
func TestAHangUpSignalTakesOverWhatIsGoodAndDropsNoCall(t *testing.T) {
	t.Parallel()

	const newcomer = "newcomer.example"

	s := serveFrom(t)
	old := s.as(t, simulatorClient, "first.example")
	watch := watched(t, old)

	began, goOn := s.stopAtQuote()
	quoted := make(chan error, 1)

	go func() {
		_, err := agentv1.NewQuoteServiceClient(old).Quote(context.Background(), &agentv1.QuoteRequest{
			Nonce: []byte("0123456789abcdef"), BindMode: agentv1.BindMode_BIND_MODE_RAW,
		})
		quoted <- err
	}()

	<-began

	if err := capabilities(t.Context(), s.as(t, newcomer, "first.example")); status.Code(err) != codes.Unavailable {
		t.Fatalf("a client without a rule got %v", err)
	}

	s.certify(t, "second.example")
	s.allow(t, simulatorClient, newcomer)
	s.hangUp(t)
	s.stderr.wait(t, `"msg":"TLS files reloaded"`)
	s.stderr.wait(t, `"msg":"config reloaded"`)
	goOn()

	if err := <-quoted; err != nil {
		t.Errorf("the quote under way got %v", err)
	}

	if err := capabilities(t.Context(), s.as(t, newcomer, "second.example")); err != nil {
		t.Errorf("the new rule and certificate: %v", err)
	}

	s.rotated(t, old, watch)

	mustWrite(t, filepath.Join(s.dir, "server.pem"), []byte("garbage"))
	mustWrite(t, filepath.Join(s.dir, "agent.yaml"), []byte("colour: red\n"))
	s.hangUp(t)
	s.stderr.wait(t, `"level":"ERROR"`, `"msg":"TLS files can't be used, the last good ones stay"`)
	s.stderr.wait(t, `"level":"ERROR"`, `"msg":"the config can't be used, the last good one stays"`, "colour")

	if got := s.metric(t, "trustpool_agent_config_reload_failures_total"); got != "1" {
		t.Errorf("config reload failures: %s", got)
	}

	if got := s.metric(t, "trustpool_agent_tls_reload_failures_total"); got == "0" || got == "missing" {
		t.Errorf("TLS reload failures: %s", got)
	}

	if err := capabilities(t.Context(), s.as(t, newcomer, "second.example")); err != nil {
		t.Errorf("with the last good files: %v", err)
	}

	s.certify(t, "third.example")
	s.allow(t, newcomer)
	s.hangUp(t)

	for {
		if _, err := watch.Recv(); err != nil {
			if status.Code(err) != codes.Unavailable {
				t.Errorf("the stream of a client that has no rule any more ended with %v", err)
			}

			break
		}
	}

	if code := s.end(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d\n%s", code, s.stderr.String())
	}
}

// watched opens a stream that tells the status, and takes the first one.
func watched(t *testing.T, conn *grpc.ClientConn) grpc.ServerStreamingClient[agentv1.WatchStatusResponse] {
	t.Helper()

	watch, err := agentv1.NewQuoteServiceClient(conn).WatchStatus(t.Context(), &agentv1.WatchStatusRequest{})
	if err != nil {
		t.Fatal(err)
	}

	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}

	return watch
}

// rotated begins a rotation on the connection, which the stream has to tell of.
func (s *served) rotated(t *testing.T, conn *grpc.ClientConn, watch grpc.ServerStreamingClient[agentv1.WatchStatusResponse]) {
	t.Helper()

	if _, err := agentv1.NewEnrollmentServiceClient(conn).RotateAK(t.Context(), &agentv1.RotateAKRequest{}); err != nil {
		t.Fatal(err)
	}

	if _, err := watch.Recv(); err != nil {
		t.Errorf("the stream under way ended with %v", err)
	}
}
