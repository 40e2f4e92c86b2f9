package agent

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
)

// bareGuard is a guard without an agent behind it, and its log.
func bareGuard() (*guard, *bytes.Buffer) {
	log := &bytes.Buffer{}
	g := &guard{access: &access{}, audit: &audit{logger: slog.New(slog.NewTextHandler(log, nil))}, metrics: newMetrics(prometheus.NewRegistry()), stopping: make(chan struct{})}
	g.access.rules.Store(newRules(Config{}))

	return g, log
}

// ownContext is that of a call by the agent's own user.
func ownContext(ctx context.Context) context.Context {
	return peer.NewContext(ctx, &peer.Peer{Addr: &net.UnixAddr{Name: "test"}, AuthInfo: peerCredentials{uid: uint32(os.Geteuid())}}) // #nosec G115 -- a user id
}

// wantContained checks what a caller, the log and the metric say of a panic.
func wantContained(t *testing.T, g *guard, log *bytes.Buffer, err error) {
	t.Helper()

	if got := status.Convert(err); got.Code() != codes.Internal || strings.Contains(got.Message(), "boom") || resultOf(err) != "agent_failed" {
		t.Errorf("the caller got %v, counted as %s", got, resultOf(err))
	}

	for _, word := range []string{"level=ERROR", "panic=boom", "contain_test.go"} {
		if !strings.Contains(log.String(), word) {
			t.Errorf("the log has no %s: %s", word, log)
		}
	}

	if got := testutil.ToFloat64(g.metrics.panics); got != 1 {
		t.Errorf("%v were counted", got)
	}

	if got := g.limiters.all; len(got) == 1 {
		for _, one := range got {
			if one.underWay != 0 {
				t.Error("the call is under way still")
			}
		}
	}
}

func TestAPanicInACallIsThatCallsFailure(t *testing.T) {
	t.Parallel()

	g, log := bareGuard()
	info := &grpc.UnaryServerInfo{FullMethod: agentv1.QuoteService_Quote_FullMethodName}
	call := func(handler grpc.UnaryHandler) error {
		_, err := g.unary(ownContext(t.Context()), &agentv1.QuoteRequest{}, info, handler)

		return err
	}

	wantContained(t, g, log, call(func(context.Context, any) (any, error) { panic("boom") }))

	if err := call(func(context.Context, any) (any, error) { return &agentv1.QuoteResponse{}, nil }); err != nil {
		t.Errorf("the next call got %v", err)
	}
}

// ownStream is a stream that goes nowhere.
type ownStream struct {
	grpc.ServerStream

	ctx context.Context //nolint:containedctx // grpc.ServerStream's own shape
}

func (s ownStream) Context() context.Context { return s.ctx }
func (ownStream) SetTrailer(metadata.MD)     {}

func TestAPanicInAStreamIsThatStreamsFailure(t *testing.T) {
	t.Parallel()

	g, log := bareGuard()
	info := &grpc.StreamServerInfo{FullMethod: agentv1.QuoteService_WatchStatus_FullMethodName, IsServerStream: true}
	call := func(handler grpc.StreamHandler) error {
		return g.stream(nil, ownStream{ctx: ownContext(t.Context())}, info, handler)
	}

	wantContained(t, g, log, call(func(any, grpc.ServerStream) error { panic("boom") }))

	if err := call(func(any, grpc.ServerStream) error { return nil }); err != nil {
		t.Errorf("the next stream got %v", err)
	}
}

// panicking is a way of shaking hands that fails by a mistake of its own.
type panicking struct {
	credentials.TransportCredentials
}

func (panicking) ServerHandshake(net.Conn) (net.Conn, credentials.AuthInfo, error) { panic("boom") }

func TestAPanicInAHandshakeIsThatHandshakesFailure(t *testing.T) {
	t.Parallel()

	g, log := bareGuard()
	ours, theirs := net.Pipe()
	t.Cleanup(func() { _ = theirs.Close() })

	_, _, err := tlsTransport{panicking{}, g}.ServerHandshake(ours)
	wantContained(t, g, log, err)

	if got := testutil.ToFloat64(g.metrics.denials.WithLabelValues("handshake")); got != 1 {
		t.Errorf("%v denials were counted", got)
	}
}
