package agent_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/trustpool/trustpool/agent"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/pki"
)

// from connects over TLS as that name, from that address of this machine.
func (n *node) from(t testing.TB, ip net.IP, name string, options ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()

	pair := n.issue(t, pki.Leaf{DNSNames: []string{name}, Client: true})
	creds := credentials.NewTLS(&tls.Config{RootCAs: n.ca.Pool(), Certificates: []tls.Certificate{pair.Certificate}, MinVersion: tls.VersionTLS13})
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: ip}}

	conn, err := grpc.NewClient(n.address, append(options, grpc.WithTransportCredentials(creds), grpc.WithChainUnaryInterceptor(n.witness.Unary()),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", address)
		}))...)
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = conn.Close() })

	return conn
}

func ask(t testing.TB, client agentv1.QuoteServiceClient) error {
	t.Helper()

	_, err := client.GetCapabilities(t.Context(), &agentv1.GetCapabilitiesRequest{})

	return err
}

func TestKeyExchangeResistsAQuantumComputer(t *testing.T) {
	t.Parallel()

	n := startNode(t, tpmsim.NoLaunch)
	pair := n.issue(t, pki.Leaf{DNSNames: []string{rawer}, Client: true})

	conn, err := tls.Dial("tcp", n.address, &tls.Config{
		RootCAs: n.ca.Pool(), Certificates: []tls.Certificate{pair.Certificate}, MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	if got := conn.ConnectionState(); got.CurveID != tls.X25519MLKEM768 || got.Version != tls.VersionTLS13 {
		t.Errorf("negotiated %v with %x", got.CurveID, got.Version)
	}
}

func TestEachCallAsksWhetherTheCertificateIsStillGood(t *testing.T) {
	t.Parallel()

	var isRevoked atomic.Bool

	n := newNode(t, tpmsim.NoLaunch, func(deps *agent.Deps) {
		deps.TLS.VerifyConnection = func(tls.ConnectionState) error {
			if isRevoked.Load() {
				return errors.New("revoked")
			}

			return nil
		}
	})
	n.waitUntilServing(t)
	client := n.as(t, rawer)

	if err := ask(t, client); err != nil {
		t.Fatal(err)
	}

	isRevoked.Store(true) // without a word to the agent

	if code := status.Code(ask(t, client)); code != codes.PermissionDenied && code != codes.Unavailable {
		t.Errorf("got %v on a connection that was good", code)
	}

	if code := status.Code(ask(t, client)); code != codes.Unavailable {
		t.Errorf("got %v on a new connection", code)
	}
}

func TestTheConfigForAClientHasItsOwnSay(t *testing.T) {
	t.Parallel()

	n := newNode(t, tpmsim.NoLaunch, func(deps *agent.Deps) {
		strict := deps.TLS.Clone()
		strict.VerifyConnection = func(state tls.ConnectionState) error {
			if state.PeerCertificates[0].DNSNames[0] == quoter {
				return errors.New("not by this door")
			}

			return nil
		}
		deps.TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return strict, nil }
	})

	if err := ask(t, n.as(t, quoter)); status.Code(err) != codes.Unavailable {
		t.Errorf("whom the config for this client refuses got %v", err)
	}

	n.waitUntilServing(t)

	if err := ask(t, n.as(t, rawer)); err != nil {
		t.Error(err)
	}
}

func TestARuleThatIsTakenAwayEndsWhatItAllowed(t *testing.T) {
	t.Parallel()

	n := startNode(t, tpmsim.NoLaunch)
	kept, gone := n.as(t, quoter), n.as(t, rawer)

	watch, err := gone.WatchStatus(t.Context(), &agentv1.WatchStatusRequest{})
	if err != nil {
		t.Fatal(err)
	}

	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}

	if err := ask(t, kept); err != nil {
		t.Fatal(err)
	}

	config := n.config
	config.Clients = []agent.ClientRule{{SAN: []string{"dns:" + quoter}, Roles: []agent.Role{agent.RoleQuote, agent.RoleRaw}}}

	if err := n.agent.Reload(config); err != nil {
		t.Fatal(err)
	}

	for err == nil {
		_, err = watch.Recv()
	}

	if status.Code(err) != codes.Unavailable {
		t.Errorf("the stream ended with %v", err)
	}

	if code := status.Code(ask(t, gone)); code != codes.Unavailable {
		t.Errorf("got %v", code)
	}

	mustQuote(t, kept, goodRequest()) // by the new rule, on the connection it had
}

func TestARoleThatIsTakenAwayEndsItsStreams(t *testing.T) {
	t.Parallel()

	n := startNode(t, tpmsim.NoLaunch)
	client := n.as(t, rawer)

	watch, err := client.WatchStatus(t.Context(), &agentv1.WatchStatusRequest{})
	if err != nil {
		t.Fatal(err)
	}

	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}

	config := n.config
	config.Clients = []agent.ClientRule{{SAN: []string{"dns:" + rawer}, Roles: []agent.Role{agent.RoleQuote, agent.RoleRaw, agent.RoleObserve}}}

	if err := n.agent.Reload(config); err != nil {
		t.Fatal(err)
	}

	n.status(t, watch) // other roles are not its business

	config.Clients = []agent.ClientRule{{SAN: []string{"dns:" + rawer}, Roles: []agent.Role{agent.RoleQuote, agent.RoleRaw}}}

	if err := n.agent.Reload(config); err != nil {
		t.Fatal(err)
	}

	for err == nil {
		_, err = watch.Recv()
	}

	wantRefusal(t, err, codes.PermissionDenied, agentv1.ErrorReason_ERROR_REASON_ROLE_MISSING)
	mustQuote(t, client, goodRequest()) // on the connection it had

	if got := testutil.ToFloat64(counter(t, n, "no_longer")); got != 1 {
		t.Errorf("%v denials were counted", got)
	}
}

// status makes the status change, and takes it from a stream that watches.
func (n *node) status(t *testing.T, watch grpc.ServerStreamingClient[agentv1.WatchStatusResponse]) {
	t.Helper()

	if _, err := agentv1.NewEnrollmentServiceClient(n.local(t)).RotateAK(t.Context(), &agentv1.RotateAKRequest{}); err != nil {
		t.Fatal(err)
	}

	if _, err := watch.Recv(); err != nil {
		t.Fatalf("the stream ended with %v", err)
	}
}

func TestPCRsAreARightOfTheRuleThatNamesThem(t *testing.T) {
	t.Parallel()

	n := newNodeWith(t, tpmsim.NoLaunch, func(config *agent.Config, _ *agent.Deps) {
		config.Clients = []agent.ClientRule{
			{SAN: []string{"dns:" + rawer}, Roles: []agent.Role{agent.RoleQuote}},
			{SAN: []string{"dns:" + rawer}, Roles: []agent.Role{agent.RoleRaw}, Limits: agent.Limits{PCRs: "sha256:17,18+sha1:17"}},
			{SAN: []string{"dns:" + rawer}, Roles: []agent.Role{agent.RoleRaw}, Limits: agent.Limits{PCRs: "sha256:19"}},
			{SAN: []string{"dns:" + rawer}, Roles: []agent.Role{agent.RoleObserve}},
		}
	})
	n.waitUntilServing(t)
	client := n.as(t, rawer)

	quote := func(mode agentv1.BindMode, alg agentv1.HashAlgo, pcrs ...int32) error {
		request := goodRequest()
		request.BindMode = mode

		if pcrs != nil {
			request.PcrSelections = []*agentv1.PcrSelection{{HashAlgo: alg, PcrIndices: pcrs}}
		}

		_, err := client.Quote(t.Context(), request)

		return err
	}

	const (
		raw, bound   = agentv1.BindMode_BIND_MODE_RAW, agentv1.BindMode_BIND_MODE_BOUND
		sha256, sha1 = agentv1.HashAlgo_HASH_ALGO_SHA256, agentv1.HashAlgo_HASH_ALGO_SHA1
	)

	for name, err := range map[string]error{
		"the default selection": quote(raw, sha256),
		"PCRs of two rules":     quote(raw, sha256, 18, 19),
		"another bank":          quote(raw, sha1, 17),
		"any PCR, bound":        quote(bound, sha256, 0, 7),
	} {
		if err != nil && status.Code(err) != codes.FailedPrecondition { // a bank may be inactive
			t.Errorf("%s: %v", name, err)
		}
	}

	for name, err := range map[string]error{
		"one PCR too many":        quote(raw, sha256, 17, 0),
		"PCR of the other bank":   quote(raw, sha1, 18),
		"bank that no rule names": quote(raw, agentv1.HashAlgo_HASH_ALGO_SHA384, 17),
		"PCR that no TPM has":     quote(raw, sha256, 24),
	} {
		t.Run(name, func(t *testing.T) {
			wantRefusal(t, err, codes.PermissionDenied, agentv1.ErrorReason_ERROR_REASON_ROLE_MISSING)
		})
	}
}

func TestWhoCallsTooOftenIsToldWhenToComeAgain(t *testing.T) {
	t.Parallel()

	n := newNodeWith(t, tpmsim.NoLaunch, func(config *agent.Config, _ *agent.Deps) {
		config.Clients = []agent.ClientRule{
			{SAN: []string{"dns:" + quoter}, Roles: []agent.Role{agent.RoleQuote}, Limits: agent.Limits{Rate: 0.001, Burst: 2}},
			{SAN: []string{"dns:" + rawer}, Roles: []agent.Role{agent.RoleQuote}},
		}
	})
	n.waitUntilServing(t)

	first, second := n.as(t, quoter), n.as(t, quoter) // two connections, one identity
	if err := errors.Join(ask(t, first), ask(t, second)); err != nil {
		t.Fatal(err)
	}

	err := ask(t, first)
	wantRefusal(t, err, codes.ResourceExhausted, agentv1.ErrorReason_ERROR_REASON_RATE_LIMITED)

	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok && info.GetRetryDelay().AsDuration() < 10*time.Minute {
			t.Errorf("come again in %v, with a call every 1000 s", info.GetRetryDelay().AsDuration())
		}
	}

	if err := ask(t, n.as(t, rawer)); err != nil {
		t.Errorf("another caller got %v", err)
	}

	if got := testutil.ToFloat64(counter(t, n, "rate_limited")); got != 1 {
		t.Errorf("%v denials were counted", got)
	}
}

func TestCallsUnderWayAreBounded(t *testing.T) {
	t.Parallel()

	n := newNodeWith(t, tpmsim.NoLaunch, func(config *agent.Config, _ *agent.Deps) {
		config.Clients[0].Concurrent = 1
	})
	n.waitUntilServing(t)
	client := n.as(t, rawer)

	ctx, stop := context.WithCancel(t.Context())

	watch, err := client.WatchStatus(ctx, &agentv1.WatchStatusRequest{})
	if err != nil {
		t.Fatal(err)
	}

	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}

	wantRefusal(t, ask(t, client), codes.ResourceExhausted, agentv1.ErrorReason_ERROR_REASON_TOO_MANY_CALLS)
	stop()

	for err := ask(t, client); err != nil; err = ask(t, client) { // until the agent has heard of it
		wantRefusal(t, err, codes.ResourceExhausted, agentv1.ErrorReason_ERROR_REASON_TOO_MANY_CALLS)
	}
}

func TestUsersOfTheSocketHaveWhatTheirRulesSay(t *testing.T) {
	t.Parallel()

	own, other := uint32(os.Getuid()), uint32(os.Getuid()+1)
	group := uint32(os.Getgid())

	for name, test := range map[string]struct {
		rules   []agent.UnixRule
		isIn    bool
		mayBeIn bool
	}{
		"uid":            {[]agent.UnixRule{{UID: &own, Roles: []agent.Role{agent.RoleQuote}}}, true, true},
		"gid":            {[]agent.UnixRule{{GID: &group, Roles: []agent.Role{agent.RoleQuote}}}, true, true},
		"another role":   {[]agent.UnixRule{{UID: &own, Roles: []agent.Role{agent.RoleObserve}}}, false, true},
		"another user":   {[]agent.UnixRule{{UID: &other, Roles: []agent.Role{agent.RoleQuote}}}, false, false},
		"uid but no gid": {[]agent.UnixRule{{UID: &other, GID: &group, Roles: []agent.Role{agent.RoleQuote}}}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			n := newNodeWith(t, tpmsim.NoLaunch, func(config *agent.Config, _ *agent.Deps) { config.Listen.UnixClients = test.rules })
			conn := n.local(t)

			err := ask(t, agentv1.NewQuoteServiceClient(conn))
			if test.isIn && status.Code(err) == codes.PermissionDenied || !test.isIn && err == nil {
				t.Errorf("got %v", err)
			}

			_, err = healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{})
			if (err == nil) != test.mayBeIn {
				t.Errorf("asked for its health: %v", err)
			}
		})
	}
}

func TestPatternsOfNamesAreFollowed(t *testing.T) {
	t.Parallel()

	n := newNodeWith(t, tpmsim.NoLaunch, func(config *agent.Config, _ *agent.Deps) {
		config.Clients = []agent.ClientRule{{SAN: []string{"uri:spiffe://example.org/ns/*/sa/quoter"}, Roles: []agent.Role{agent.RoleQuote}}}
	})
	n.waitUntilServing(t)

	for uri, isIn := range map[string]bool{"spiffe://example.org/ns/prod/sa/quoter": true, "spiffe://example.org/ns/prod/x/sa/quoter": false} {
		parsed, err := url.Parse(uri)
		if err != nil {
			t.Fatal(err)
		}

		if err := ask(t, n.with(t, n.issue(t, pki.Leaf{URIs: []*url.URL{parsed}, Client: true}).Certificate)); (err == nil) != isIn {
			t.Errorf("%s: %v", uri, err)
		}
	}
}

func TestConnectionsWithoutAHandshakeAreNotWaitedFor(t *testing.T) {
	t.Parallel()

	n := newNodeWith(t, tpmsim.NoLaunch, func(config *agent.Config, _ *agent.Deps) { config.Listen.HandshakeTimeout = 100 * time.Millisecond })

	conn, err := net.Dial("tcp", n.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	must(t, conn.SetReadDeadline(time.Now().Add(time.Minute))) // gRPC by itself waits for two

	if _, err := io.ReadAll(conn); os.IsTimeout(err) {
		t.Error("the agent does not hang up")
	}
}

func TestAReaderWhoDoesNotReadLosesTheConnection(t *testing.T) {
	t.Parallel()

	n := newNodeWith(t, tpmsim.NoLaunch, func(config *agent.Config, _ *agent.Deps) { config.Listen.SendTimeout = 5 * time.Second })
	n.waitUntilServing(t)
	bigLog(t, n.log)

	client := n.as(t, rawer)
	digest := mustQuote(t, client, goodRequest()).GetLogs()[0].GetSha256()
	conn := n.from(t, net.IPv4(127, 0, 0, 1), rawer)

	if _, err := agentv1.NewQuoteServiceClient(conn).GetEventLog(t.Context(), &agentv1.GetEventLogRequest{Sha256: digest}); err != nil {
		t.Fatal(err)
	}

	if !conn.WaitForStateChange(t.Context(), connectivity.Ready) { // nothing is read, and yet it ends
		t.Error("the connection stays")
	}

	mustQuote(t, client, goodRequest())
}
