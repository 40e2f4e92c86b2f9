package agent_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
	"github.com/trustpool/trustpool/tpmsim"
)

// frames speaks HTTP/2 to an agent, as one who is let in but keeps to no manners.
type frames struct {
	*http2.Framer

	conn    *tls.Conn
	headers bytes.Buffer
	encoder *hpack.Encoder
}

func (n *node) frames(t *testing.T, settings ...http2.Setting) *frames {
	t.Helper()

	conn, err := tls.Dial("tcp", n.address, n.clientTLS(t))
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = conn.Close() })

	f := &frames{Framer: http2.NewFramer(conn, conn), conn: conn}
	f.encoder = hpack.NewEncoder(&f.headers)

	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}

	if err := f.WriteSettings(settings...); err != nil {
		t.Fatal(err)
	}

	return f
}

// call returns the headers of a call, with one more of this value.
func (f *frames) call(method, value string) []byte {
	f.headers.Reset()

	for _, field := range [][2]string{
		{":method", "POST"},
		{":scheme", "https"},
		{":path", method},
		{":authority", "node"},
		{"content-type", "application/grpc"},
		{"te", "trailers"},
		{"filler", value},
	} {
		_ = f.encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1], Sensitive: true}) // to a buffer
	}

	return f.headers.Bytes()
}

func TestHeadersAreBounded(t *testing.T) {
	t.Parallel()

	n := startNode(t, tpmsim.NoLaunch)
	f := n.frames(t)

	block := f.call(agentv1.QuoteService_GetCapabilities_FullMethodName, strings.Repeat("x", 64<<10))
	must(t, f.conn.SetReadDeadline(time.Now().Add(30*time.Second))) // by pings, the agent notices only later

	if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:16<<10], EndStream: true}); err != nil {
		t.Fatal(err)
	}

	for rest := block[16<<10:]; len(rest) > 0; {
		size := min(len(rest), 16<<10)
		if err := f.WriteContinuation(1, size == len(rest), rest[:size]); err != nil {
			break // the agent has hung up
		}

		rest = rest[size:]
	}

	for {
		frame, err := f.ReadFrame()
		if os.IsTimeout(err) {
			t.Fatal("the call is heard")
		}

		if err != nil {
			break // it has hung up
		}

		if reset, ok := frame.(*http2.RSTStreamFrame); ok && reset.ErrCode != http2.ErrCodeNo {
			break
		}

		if _, ok := frame.(*http2.HeadersFrame); ok {
			t.Fatal("the call was answered")
		}
	}

	mustQuote(t, n.as(t, rawer), goodRequest())
}

// TestCallsThatAreTakenBackAtOnceHurtNobody begins calls and resets them (CVE-2023-44487).
func TestCallsThatAreTakenBackAtOnceHurtNobody(t *testing.T) {
	t.Parallel()

	n := startNode(t, tpmsim.NoLaunch)
	f, polite := n.frames(t), n.as(t, quoter)

	if err := ask(t, polite); err != nil {
		t.Fatal(err)
	}

	heard := make(chan struct{})

	go func() {
		defer close(heard)

		_, _ = io.Copy(io.Discard, f.conn) // until it is closed
	}()

	for stream := uint32(1); stream < 20_000; stream += 2 {
		if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: f.call(agentv1.QuoteService_GetCapabilities_FullMethodName, ""), EndHeaders: true}); err != nil {
			break // the agent has hung up
		}

		if err := f.WriteRSTStream(stream, http2.ErrCodeCancel); err != nil {
			break
		}

		if stream%1000 == 1 {
			if err := ask(t, polite); err != nil {
				t.Errorf("a polite caller got %v", err)
			}
		}
	}

	if err := f.conn.Close(); err != nil {
		t.Log(err)
	}

	<-heard

	if err := ask(t, polite); err != nil {
		t.Errorf("a polite caller got %v", err)
	}
}
