package agent

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"net"
	"time"

	apb "github.com/openconfig/attestz/proto/tpm_attestz"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/trustpool/trustpool/agent/internal/tpm"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
)

// RequestIDKey is the trailer of each reply with the random id under which the node's log has the call.
const RequestIDKey = "trustpool-request-id"

// guard stands before all services: it lets callers in, decides each call, and writes down what became of it.
type guard struct {
	access   *access
	limiters limiters
	audit    *audit
	metrics  *metrics
	stopping <-chan struct{}
	// sendTimeout is how long a piece of a reply may wait for its reader.
	sendTimeout time.Duration
	gates       []*gate
	streams     streams
}

// admit decides whether a call may be made now. In any case, leave has to be called at its end.
func (g *guard) admit(ctx context.Context, method string) (caller Caller, leave func(), err error) {
	leave = func() {}

	caller, err = g.access.identify(ctx)
	if err != nil {
		// Who came in by a certificate that is no longer good has no business on this connection.
		if conn := connOf(ctx); conn != nil {
			defer func() { _ = conn.Close() }()
		}

		return caller, leave, &refusal{reason: agentv1.ErrorReason_ERROR_REASON_ROLE_MISSING, cause: err}
	}

	entered, err := g.limiters.enter(caller.Identity, caller.limits())
	if err != nil {
		return caller, leave, err
	}

	return caller, entered, mayCall(caller, method)
}

// unary guards calls with one small reply.
func (g *guard) unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	reply, leave, err := g.call(ctx, request, info, handler)
	leave()

	return reply, err
}

// call guards a call with one reply. It is under way until leave is called, which has to be in any case.
func (g *guard) call(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (reply any, leave func(), err error) {
	started, id := time.Now(), newRequestID()
	_ = grpc.SetTrailer(ctx, metadata.Pairs(RequestIDKey, id)) // fails only where there is no call

	c := call{id: id, method: info.FullMethod, request: request}

	c.caller, leave, err = g.admit(ctx, info.FullMethod)
	if err == nil {
		err = mayAsk(c.caller, request)
	}

	if err != nil {
		g.deny(ctx, c, err)

		return nil, leave, err
	}

	ctx, timing := tpm.Timed(tpm.WithCaller(context.WithValue(ctx, callerKey{}, c.caller), c.caller.Identity))
	c.err = g.contained(id, info.FullMethod, func() (err error) {
		c.response, err = handler(ctx, request)

		return err
	})
	c.took, c.timing = time.Since(started), *timing

	if info.FullMethod == agentv1.QuoteService_Quote_FullMethodName || info.FullMethod == apb.TpmAttestzService_Attest_FullMethodName {
		g.metrics.quoted(c.err, c.took, c.timing)
	}

	g.audit.called(c)
	traceCall(ctx, c)

	return c.response, leave, c.err
}

// stream guards calls with many replies. They end when their caller may not have them any more, and when the agent ends: those who watch would otherwise hold it up for as long
// as they like.
func (g *guard) stream(service any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if !info.IsServerStream && !info.IsClientStream {
		return handler(service, stream) // oneReply guards it itself
	}

	id := newRequestID()
	stream.SetTrailer(metadata.Pairs(RequestIDKey, id))

	// Before it is decided: whoever changes the rules meanwhile finds it here.
	ctx, end := g.streams.begin(stream.Context(), info.FullMethod)
	defer end()

	caller, leave, err := g.admit(ctx, info.FullMethod)
	defer leave()

	if err != nil {
		g.deny(ctx, call{id: id, method: info.FullMethod, caller: caller}, err)

		return err
	}

	ctx, cancel := context.WithCancelCause(context.WithValue(ctx, callerKey{}, caller))
	defer cancel(nil)

	done := make(chan struct{})

	go func() {
		defer close(done)

		err = g.contained(id, info.FullMethod, func() error { return handler(service, guardedStream{stream, ctx, g.sendTimeout}) })
	}()

	select {
	case <-done:
	case <-g.stopping:
		cancel(refuse(agentv1.ErrorReason_ERROR_REASON_SHUTTING_DOWN))
		<-done
	}

	if refused := endedBy(ctx); refused != nil {
		err = refused // whatever it says itself, it says because of us
	}

	traceCall(ctx, call{id: id, caller: caller, err: err})

	return err
}

// deny counts a call that did not get to its service, and writes it down.
func (g *guard) deny(ctx context.Context, c call, err error) {
	c.err, c.denied = err, true
	g.metrics.denied(resultOf(err))
	g.audit.called(c)
	traceCall(ctx, c)
}

// guardedStream is a stream with a context of our own, and without patience for those who do not read what they asked for.
type guardedStream struct {
	grpc.ServerStream

	ctx     context.Context //nolint:containedctx // grpc.ServerStream's own shape
	timeout time.Duration
}

// Context implements grpc.ServerStream.
func (s guardedStream) Context() context.Context { return s.ctx }

// connOf returns the connection of a call.
func connOf(ctx context.Context) *gateConn {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil
	}

	address, ok := p.Addr.(gateAddr)
	if !ok {
		return nil
	}

	return address.conn
}

func newRequestID() string {
	var id [16]byte

	_, _ = rand.Read(id[:]) // never fails

	return hex.EncodeToString(id[:])
}

// arrived lets somebody in whose handshake is done. The rules may have changed in the meantime.
func (g *guard) arrived(conn net.Conn, info credentials.AuthInfo) error {
	if gated, ok := conn.(*gateConn); ok {
		gated.gate.arrived(gated, info)
	}

	_, err := g.access.callerAt(info, conn.RemoteAddr())

	return err
}

// noCertificate is what crypto/tls says, without a type of its own, of a client that shows no certificate.
const noCertificate = "tls: client didn't provide a certificate"

// notLetIn counts somebody who was not let in, and writes it down unless nobody was there: port scanners and load balancers only knock.
func (g *guard) notLetIn(conn net.Conn, err error) {
	var (
		stranger    *strangerError
		certificate *tls.CertificateVerificationError
	)

	switch {
	case errors.As(err, &stranger):
		reason := "certificate"
		if errors.Is(err, errNoRule) {
			reason = "no_rule"
		}

		g.metrics.denied(reason)
		g.audit.stranger(stranger.identity, conn.RemoteAddr().String(), stranger.err)
	case errors.Is(err, errNoRule):
		g.metrics.denied("no_rule")
		g.audit.stranger("", conn.RemoteAddr().String(), err)
	case errors.As(err, &certificate):
		g.metrics.denied("certificate")
		g.audit.stranger("", conn.RemoteAddr().String(), err)
	case err.Error() == noCertificate:
		g.metrics.denied("certificate")
		g.audit.stranger("", conn.RemoteAddr().String(), errors.New("it showed no certificate: many clients keep theirs back if no authority in tls.client_ca signed it"))
	default:
		g.metrics.denied("handshake")
	}
}

// recheck closes the connections of those who would not be let in now, and ends streams that their callers may not have any more.
func (g *guard) recheck() {
	for _, gate := range g.gates {
		for _, visitor := range gate.inside() {
			caller, err := g.access.callerAt(visitor.info, visitor.conn.RemoteAddr())
			if err == nil {
				continue
			}

			g.metrics.denied("no_longer")
			g.audit.stranger(caller.Identity, caller.Address, err)
			_ = visitor.conn.Close() // that is the point
		}
	}

	g.recheckStreams()
}

// tlsTransport is gRPC's, with the guard beside it.
type tlsTransport struct {
	credentials.TransportCredentials

	guard *guard
}

// ServerHandshake implements credentials.TransportCredentials.
func (t tlsTransport) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	var (
		conn net.Conn
		info credentials.AuthInfo
	)

	err := t.guard.contained("", "handshake", func() (err error) {
		conn, info, err = t.TransportCredentials.ServerHandshake(raw)

		return err
	})
	if err == nil {
		if err = t.guard.arrived(raw, info); err != nil {
			_ = conn.Close() // nobody has used it
		}
	}

	if err != nil {
		t.guard.notLetIn(raw, err)

		return nil, nil, err
	}

	return conn, info, nil
}

// Clone implements credentials.TransportCredentials.
func (t tlsTransport) Clone() credentials.TransportCredentials {
	return tlsTransport{t.TransportCredentials.Clone(), t.guard}
}
