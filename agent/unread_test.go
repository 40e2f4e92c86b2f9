package agent_test

import (
	"encoding/binary"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/trustpool/trustpool/agent"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
	"github.com/trustpool/trustpool/tpmsim"
)

// unreadQuote has a quote made with a log in its reply, and lets none of it come.
func (n *node) unreadQuote(t *testing.T) *frames {
	t.Helper()
	must(t, os.WriteFile(n.log, []byte(strings.Repeat("no log", 10_000)), 0o600))

	request := goodRequest()
	request.Logs = []*agentv1.LogRequest{{Source: "txt"}}

	message, err := proto.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}

	// A length-prefixed message, of gRPC over HTTP/2: not compressed, its size.
	message = append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...) // #nosec G115 -- a few

	f := n.frames(t, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	headers := http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.call(agentv1.QuoteService_Quote_FullMethodName, ""), EndHeaders: true}

	must(t, f.WriteHeaders(headers))
	must(t, f.WriteData(1, true, message))
	must(t, f.conn.SetReadDeadline(time.Now().Add(time.Minute)))

	for { // until the reply is on its way
		frame, err := f.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}

		if _, ok := frame.(*http2.HeadersFrame); ok {
			return f
		}
	}
}

func TestAReplyThatIsNotReadEndsItsConnection(t *testing.T) {
	t.Parallel()

	n := newNodeWith(t, tpmsim.NoLaunch, func(config *agent.Config, _ *agent.Deps) { config.Listen.SendTimeout = 5 * time.Second })
	n.waitUntilServing(t)

	n.unreadQuote(t).ended(t)
}

func TestAReplyThatIsNotReadKeepsItsCallersPlace(t *testing.T) {
	t.Parallel()

	n := newNodeWith(t, tpmsim.NoLaunch, func(config *agent.Config, _ *agent.Deps) { config.Clients[0].Concurrent = 1 })
	n.waitUntilServing(t)

	f, other := n.unreadQuote(t), n.as(t, rawer)

	wantRefusal(t, ask(t, other), codes.ResourceExhausted, agentv1.ErrorReason_ERROR_REASON_TOO_MANY_CALLS)
	must(t, f.WriteWindowUpdate(0, 1<<20))
	must(t, f.WriteWindowUpdate(1, 1<<20))

	for {
		frame, err := f.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}

		if headers, ok := frame.(*http2.HeadersFrame); ok && headers.StreamEnded() {
			break
		}
	}

	if err := ask(t, other); err != nil {
		t.Errorf("after the reply was read: %v", err)
	}
}
