package agent_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	cpb "github.com/openconfig/attestz/proto/common_definitions"
	apb "github.com/openconfig/attestz/proto/tpm_attestz"
	epb "github.com/openconfig/attestz/proto/tpm_enrollz"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/trustpool/trustpool/agent"
	"github.com/trustpool/trustpool/internal/witness"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/pki"
)

// asTheyAre sends these bytes in place of whatever message, and reads replies into a *[]byte as they came.
type asTheyAre struct {
	encoding.CodecV2

	request []byte
}

func (c asTheyAre) Marshal(any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(c.request)}, nil
}

func (c asTheyAre) Unmarshal(data mem.BufferSlice, into any) error {
	if raw, ok := into.(*[]byte); ok {
		*raw = data.Materialize()

		return nil
	}

	return c.CodecV2.Unmarshal(data, into)
}

// rpc is one call that the agent serves.
type rpc struct {
	path   string
	stream bool
}

// allCalls are all calls of the contract and of OpenConfig attestz. The quote is the first one.
func allCalls() []rpc {
	calls := []rpc{{path: agentv1.QuoteService_Quote_FullMethodName}}

	for _, service := range []grpc.ServiceDesc{
		agentv1.QuoteService_ServiceDesc, agentv1.EnrollmentService_ServiceDesc, apb.TpmAttestzService_ServiceDesc, epb.TpmEnrollzService_ServiceDesc,
	} {
		for _, method := range service.Methods {
			calls = append(calls, rpc{path: fmt.Sprintf("/%s/%s", service.ServiceName, method.MethodName)})
		}

		for _, stream := range service.Streams {
			calls = append(calls, rpc{path: fmt.Sprintf("/%s/%s", service.ServiceName, stream.StreamName), stream: true})
		}
	}

	return calls
}

// caller may call all that there is, as often as it likes.
type caller struct {
	conn  *grpc.ClientConn
	codec encoding.CodecV2
	lies  []error // what the witness said of the last call
}

func newCaller(f *testing.F) *caller {
	f.Helper()

	n := newNodeWith(f, tpmsim.Trusted, func(config *agent.Config, _ *agent.Deps) {
		config.Attestz.Enabled = true
		config.Clients[0].Limits = agent.Limits{Rate: 1e6, Burst: 1e6, Concurrent: 1000}
	})
	n.waitUntilServing(f)

	c := &caller{codec: encoding.GetCodecV2("proto")}
	w := witness.New(witness.Options{Failed: func(err error) { c.lies = append(c.lies, err) }, Keys: witness.Keys(n.tpm)})
	pair := n.issue(f, pki.Leaf{DNSNames: []string{rawer}, Client: true})
	c.conn = dial(f, n.address, credentials.NewTLS(&tls.Config{
		RootCAs: n.ca.Pool(), Certificates: []tls.Certificate{pair.Certificate}, MinVersion: tls.VersionTLS13,
	}), grpc.WithUnaryInterceptor(w.Unary()))

	return c
}

// quote sends the bytes to Quote. What they say is read here once more, for the witness.
func (c *caller) quote(ctx context.Context, raw []byte) error {
	request, reply := &agentv1.QuoteRequest{}, &agentv1.QuoteResponse{}
	unreadable := proto.Unmarshal(raw, request)

	err := c.conn.Invoke(ctx, agentv1.QuoteService_Quote_FullMethodName, request, reply, grpc.ForceCodecV2(asTheyAre{c.codec, raw}))
	if (unreadable != nil) != isUnreadable(err) {
		return fmt.Errorf("the request's bytes: %w; the answer: %w", unreadable, err)
	}

	if len(c.lies) > 0 {
		return c.lies[0]
	}

	return complaint(err)
}

// stream sends the bytes to a call that answers by a stream, and reads that up to its end, or to the first message of those that have none.
func (c *caller) stream(ctx context.Context, path string, raw []byte) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()

	codec := grpc.ForceCodecV2(asTheyAre{c.codec, raw})

	stream, err := c.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, path, codec)
	if err == nil {
		err = errors.Join(stream.SendMsg(nil), stream.CloseSend())
	}

	var log []byte

	request := &agentv1.GetEventLogRequest{}
	isLog := path == agentv1.QuoteService_GetEventLog_FullMethodName && proto.Unmarshal(raw, request) == nil

	for err == nil {
		piece := &agentv1.GetEventLogResponse{}
		if err = stream.RecvMsg(piece); err != nil {
			break
		}

		if !isLog {
			return nil
		}

		if piece.GetOffset() != request.GetOffset()+uint64(len(log)) {
			return fmt.Errorf("a piece begins at %d, after %d from %d on", piece.GetOffset(), len(log), request.GetOffset())
		}

		log = append(log, piece.GetChunk()...)
	}

	if digest := sha256.Sum256(log); errors.Is(err, io.EOF) && isLog && request.GetOffset() == 0 && !bytes.Equal(digest[:], request.GetSha256()) {
		return fmt.Errorf("asked for the log %x, got %x", request.GetSha256(), digest)
	}

	if errors.Is(err, io.EOF) {
		return nil
	}

	return complaint(err)
}

// call sends the bytes to any other call.
func (c *caller) call(ctx context.Context, path string, raw []byte) error {
	var reply []byte

	return complaint(c.conn.Invoke(ctx, path, nil, &reply, grpc.ForceCodecV2(asTheyAre{c.codec, raw})))
}

// complaint tells what is wrong with a refusal: that it is a mistake of the agent's own, or that it has no reason of the closed list. gRPC itself refuses bytes that are no message, and calls that nobody
// implements, and has no reasons.
func complaint(err error) error {
	refused := status.Convert(err)

	switch refused.Code() {
	case codes.OK:
		return nil
	case codes.Unimplemented:
		return nil
	case codes.Internal:
		if isUnreadable(err) {
			return nil
		}
	default:
	}

	for _, detail := range refused.Details() {
		info, ok := detail.(*errdetails.ErrorInfo)
		if !ok {
			continue
		}

		reason, known := agentv1.ErrorReason_value["ERROR_REASON_"+info.GetReason()]
		if known && info.GetDomain() == agent.ErrorDomain && agentv1.ErrorReason(reason) != agentv1.ErrorReason_ERROR_REASON_AGENT_FAILED {
			return nil
		}
	}

	return fmt.Errorf("a refusal without a reason: %v %q %v", refused.Code(), refused.Message(), refused.Details())
}

// isUnreadable: did gRPC refuse the bytes, as no message of the call's type?
func isUnreadable(err error) bool {
	refused := status.Convert(err)

	return refused.Code() == codes.Internal && strings.HasPrefix(refused.Message(), "grpc: ") && strings.Contains(refused.Message(), "unmarshal")
}

// FuzzRequests sends any bytes to any call of a real agent with a TPM behind it: it answers in time, and never by a mistake of its own; each quote verifies and is what the request asked for; each log
// is the one whose digest was named; each refusal has a reason of the contract.
func FuzzRequests(f *testing.F) {
	calls, c := allCalls(), newCaller(f)

	add := func(path string, message proto.Message) {
		raw, err := proto.Marshal(message)
		if err != nil {
			f.Fatal(err)
		}

		number := slices.IndexFunc(calls, func(call rpc) bool { return call.path == path })
		if number < 0 {
			f.Fatalf("%s is not served", path)
		}

		f.Add(uint8(number), raw)
	}

	request := goodRequest()
	request.Logs = []*agentv1.LogRequest{{Source: "txt", KnownDigest: make([]byte, 32)}}
	request.PcrSelections = []*agentv1.PcrSelection{{HashAlgo: agentv1.HashAlgo_HASH_ALGO_SHA256, PcrIndices: []int32{0, 17, 23}}}
	add(agentv1.QuoteService_Quote_FullMethodName, request)

	first := &agentv1.QuoteResponse{}
	if err := c.conn.Invoke(f.Context(), agentv1.QuoteService_Quote_FullMethodName, request, first); err != nil {
		f.Fatal(err)
	}

	bound := &agentv1.QuoteRequest{Nonce: bytes.Repeat([]byte{7}, 34), BindMode: agentv1.BindMode_BIND_MODE_BOUND, AcceptAggregation: true, AkName: first.GetAkName()}
	add(agentv1.QuoteService_Quote_FullMethodName, bound)
	add(agentv1.QuoteService_GetEventLog_FullMethodName, &agentv1.GetEventLogRequest{Sha256: first.GetLogs()[0].GetSha256(), Offset: 1})
	add(agentv1.EnrollmentService_GetIdentity_FullMethodName, &agentv1.GetIdentityRequest{Nonce: request.GetNonce()})
	add(agentv1.EnrollmentService_CommitAK_FullMethodName, &agentv1.CommitAKRequest{AkName: first.GetAkName()})
	add(apb.TpmAttestzService_Attest_FullMethodName, &apb.AttestRequest{Nonce: request.GetNonce(), HashAlgo: cpb.Tpm20HashAlgo_TPM_2_0_HASH_ALGO_SHA256, PcrIndices: []int32{17}})

	for number := range calls {
		f.Add(uint8(number), []byte{})
		f.Add(uint8(number), []byte{0x0A, 0x02, 'a', 'b', 0x10, 0x01})
	}

	f.Fuzz(func(t *testing.T, number uint8, raw []byte) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()

		c.lies = nil

		var err error

		switch call := calls[int(number)%len(calls)]; {
		case call.path == agentv1.QuoteService_Quote_FullMethodName:
			err = c.quote(ctx, raw)
		case call.stream:
			err = c.stream(ctx, call.path, raw)
		default:
			err = c.call(ctx, call.path, raw)
		}

		if err != nil {
			t.Fatalf("%s: %v", calls[int(number)%len(calls)].path, err)
		}
	})
}
