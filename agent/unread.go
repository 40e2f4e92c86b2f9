package agent

import (
	"context"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// heldFrom is the size, in bytes, from which on a message is worth waiting for until its reader has taken it. Those below cost no more than the call itself.
const heldFrom = 2 << 10

// outgoing is a message whose sender waits until none of its bytes is held any more. It is the pool that they come from and go back to.
type outgoing struct {
	mem.BufferPool

	message proto.Message
	size    int
	gone    chan struct{}
}

// Put implements mem.BufferPool. gRPC calls it once everything is written to the connection, or never will be.
func (o *outgoing) Put(bytes *[]byte) {
	o.BufferPool.Put(bytes)
	close(o.gone)
}

// codec is gRPC's own for protobuf, which takes outgoing messages as well.
type codec struct {
	encoding.CodecV2
}

func newCodec() codec { return codec{encoding.GetCodecV2(protocodec.Name)} }

// Marshal implements encoding.CodecV2.
func (c codec) Marshal(message any) (mem.BufferSlice, error) {
	out, ok := message.(*outgoing)
	if !ok {
		return c.CodecV2.Marshal(message)
	}

	bytes := out.Get(out.size)

	encoded, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend((*bytes)[:0], out.message)
	if err != nil {
		out.Put(bytes)

		return nil, err
	}

	*bytes = encoded

	return mem.BufferSlice{mem.NewBuffer(bytes, out)}, nil
}

// SendMsg implements grpc.ServerStream. A large message is sent when its reader has made room for all of it: gRPC would take it at once and hold it for as long as the reader likes,
// beyond the call that its caller's rule counts. The reader's flow control ends by no context of ours, only with the connection.
func (s guardedStream) SendMsg(message any) error {
	if refused := endedBy(s.ctx); refused != nil {
		return refused
	}

	if conn := connOf(s.ctx); conn != nil {
		late := time.AfterFunc(s.timeout, func() { _ = conn.Close() })
		defer late.Stop()
	}

	plain, ok := message.(proto.Message)
	if !ok {
		return s.ServerStream.SendMsg(message)
	}

	size := proto.Size(plain)
	if size < heldFrom {
		return s.ServerStream.SendMsg(message)
	}

	out := &outgoing{BufferPool: mem.DefaultBufferPool(), message: plain, size: size, gone: make(chan struct{})}
	if err := s.ServerStream.SendMsg(out); err != nil {
		return err
	}

	select {
	case <-out.gone:
	case <-s.ctx.Done(): // nobody waits for it any more
	}

	return nil
}

// waiting returns a service whose calls with one reply are streams to gRPC, which makes no difference to a caller: a stream can wait for its reader.
func (g *guard) waiting(service grpc.ServiceDesc) *grpc.ServiceDesc {
	service.Streams = slices.Clone(service.Streams)

	for _, method := range service.Methods {
		service.Streams = append(service.Streams, grpc.StreamDesc{StreamName: method.MethodName, Handler: g.oneReply(method)})
	}

	service.Methods = nil

	return &service
}

// oneReply does a call with one reply as a stream. It counts as under way until the reply was read.
func (g *guard) oneReply(method grpc.MethodDesc) grpc.StreamHandler {
	return func(service any, stream grpc.ServerStream) error {
		leave := func() {}
		defer func() { leave() }()

		reply, err := method.Handler(service, stream.Context(), stream.RecvMsg, func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (reply any, err error) {
			reply, leave, err = g.call(ctx, request, info, handler)

			return reply, err
		})
		if err != nil {
			return err
		}

		return guardedStream{stream, stream.Context(), g.sendTimeout}.SendMsg(reply)
	}
}
