package agent

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"google.golang.org/grpc/peer"

	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
)

// streams are those under way: they outlive the decision that let them begin. The zero value has none.
type streams struct {
	mu  sync.Mutex
	all map[*openStream]struct{} // guarded by mu
}

// openStream is a stream under way.
type openStream struct {
	peer   *peer.Peer
	method string
	end    context.CancelCauseFunc
}

// begin counts a stream until leave is called. What it returns ends with the stream's own context, or when the stream is ended, with a refusal as its cause.
func (s *streams) begin(ctx context.Context, method string) (_ context.Context, leave func()) {
	ctx, end := context.WithCancelCause(ctx)
	stream := &openStream{method: method, end: end}
	stream.peer, _ = peer.FromContext(ctx)

	s.mu.Lock()
	defer s.mu.Unlock()

	if s.all == nil {
		s.all = make(map[*openStream]struct{})
	}

	s.all[stream] = struct{}{}

	return ctx, func() {
		end(nil)

		s.mu.Lock()
		defer s.mu.Unlock()

		delete(s.all, stream)
	}
}

// now returns the streams under way.
func (s *streams) now() []*openStream {
	s.mu.Lock()
	defer s.mu.Unlock()

	return slices.Collect(maps.Keys(s.all))
}

// recheckStreams ends the streams of those who may not have them any more, though they may stay.
func (g *guard) recheckStreams() {
	for _, stream := range g.streams.now() {
		if stream.peer == nil {
			continue
		}

		caller, err := g.access.callerAt(stream.peer.AuthInfo, stream.peer.Addr)
		if err != nil || mayCall(caller, stream.method) == nil {
			continue // without a right to be here, the connection is closed
		}

		err = refuse(agentv1.ErrorReason_ERROR_REASON_ROLE_MISSING)
		g.metrics.denied("no_longer")
		g.audit.called(call{method: stream.method, caller: caller, err: err, denied: true})
		stream.end(err)
	}
}

// endedBy returns the refusal that ended a context, nil if it was something else.
func endedBy(ctx context.Context) error {
	var r *refusal
	if errors.As(context.Cause(ctx), &r) {
		return r
	}

	return nil
}
