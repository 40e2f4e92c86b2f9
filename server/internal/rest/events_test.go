package rest_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/internal/access"
	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/store/storetest"
)

// next is the next event, or error, of a stream.
func next(t *testing.T, stream func() (api.Event, error, bool)) api.Event {
	t.Helper()
	e, err, ok := stream()
	if err != nil || !ok {
		t.Fatal(e, err)
	}
	return e
}

// pull reads a stream event by event.
func pull(t *testing.T, c *api.Client, after int64) func() (api.Event, error, bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	type item struct {
		e   api.Event
		err error
	}
	items := make(chan item)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(items)
		for e, err := range c.Events(ctx, after) {
			select {
			case items <- item{e, err}:
			case <-ctx.Done():
				return
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return func() (api.Event, error, bool) {
		i, ok := <-items
		return i.e, i.err, ok
	}
}

func TestAChangeOfAVerdictIsTold(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := s.as(t, access.Operator)
	stream := pull(t, c, api.FromNow)
	ready := next(t, stream)
	if ready.Kind != api.EventReady || ready.Generation == 0 {
		t.Fatal(ready)
	}
	if _, err := c.HoldNode(t.Context(), "good", "a test", 0); err != nil {
		t.Fatal(err)
	}
	held := next(t, stream)
	if held.Kind != api.EventVerdict || held.Generation <= ready.Generation || held.Change.Node != "good.example" || held.Change.Pool != "pool" || held.Change.Trust != api.Untrusted || held.Change.Reason != "held" ||
		held.Change.Generation != held.Generation {
		t.Errorf("%+v", held)
	}
	if err := s.Attest(t.Context(), time.Now(), validity); err != nil { // silent.example speaks
		t.Fatal(err)
	}
	if e := next(t, stream); e.Change.Node != "silent.example" || e.Change.Trust != api.Trusted || e.Generation <= held.Generation || e.Change.EvidenceID == 0 {
		t.Errorf("%+v", e)
	}
}

func TestAStreamGoesOnWhereTheOneBeforeBroke(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := s.as(t, access.Operator)
	stream := pull(t, c, 0)
	var told []string
	first := next(t, stream)
	for range 2 {
		e := next(t, stream)
		told = append(told, e.Change.Node+" "+string(e.Change.Trust))
	}
	if diff := cmp.Diff([]string{"good.example trusted", "bad.example untrusted"}, told); diff != "" || first.Generation != 0 {
		t.Error(first, diff)
	}

	h, err := c.Host(t.Context(), "good")
	if err != nil {
		t.Fatal(err)
	}
	again := pull(t, c, h.Generation)
	if e := next(t, again); e.Kind != api.EventReady || e.Generation != h.Generation {
		t.Error(e)
	}
	if e := next(t, again); e.Change.Node != "bad.example" {
		t.Errorf("%+v", e)
	}
	a := s.ask(t, s.tokens[access.Reader], http.MethodGet, fmt.Sprintf("/v1/events?since=%d", h.Generation), "")
	if a.status != http.StatusOK || a.header.Get("Content-Type") != "text/event-stream" {
		t.Error(a)
	}
	for _, query := range []string{"?since=x", "?since=-1", "?since=12345678901234567890"} {
		if a := s.ask(t, s.tokens[access.Reader], http.MethodGet, "/v1/events"+query, ""); a.status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d", query, a.status)
		}
	}
}

func TestManyChangesAreAllTold(t *testing.T) {
	t.Parallel()
	s := emptySite(t)
	c := s.as(t, access.Admin)
	const nodes = 300 // more than are read at a time
	specs := make([]api.NodeSpec, nodes)
	for i := range specs {
		specs[i] = spec(fmt.Sprintf("node%d.example", i))
		specs[i].Binding, specs[i].EK = "chain", nil
	}
	if _, err := c.ImportNodes(t.Context(), specs); err != nil {
		t.Fatal(err)
	}
	for i := range specs {
		if _, err := s.Store.HoldNode(t.Context(), store.Act{By: "test", At: time.Now()}, specs[i].Name, 0, "a test"); err != nil {
			t.Fatal(err)
		}
	}
	stream := pull(t, c, 0)
	next(t, stream)
	for i := range specs {
		if e := next(t, stream); e.Change.Node != specs[i].Name {
			t.Fatal(i, e)
		}
	}
}

func TestAStreamEndsWhenTheServerDoes(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	stream := pull(t, s.as(t, access.Reader), api.FromNow)
	next(t, stream)
	s.stop()
	if e, err, ok := stream(); err == nil || !ok || strings.Contains(err.Error(), "silen") {
		t.Error(e, err)
	}
}

// pipeListener accepts the ends of pipes, whose time is that of a bubble, and which hold nothing back for a reader.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { close(l.done); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// listen opens a stream over a pipe, and reads as far as the event ready.
func (l *pipeListener) listen(t *testing.T, s *site) *bufio.Reader {
	t.Helper()
	near, far := net.Pipe()
	t.Cleanup(func() { _ = near.Close() })
	l.conns <- far
	if _, err := fmt.Fprintf(near, "GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", s.tokens[access.Reader]); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReaderSize(near, 16)
	until(t, lines, "event: ready")
	until(t, lines, "data: ")
	return lines
}

// until reads as far as a line that begins so.
func until(t *testing.T, lines *bufio.Reader, begin string) {
	t.Helper()
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("waiting for %s: %v", begin, err)
		}
		if strings.HasPrefix(line, begin) {
			return
		}
	}
}

// inBubble serves a site over pipes, in a time of its own.
func inBubble(t *testing.T, do func(*testing.T, *site, *pipeListener)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := unserved(t, storetest.SQLite) // PostgreSQL has another time
		l := &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
		server := &http.Server{Handler: s.handler, ReadHeaderTimeout: time.Minute}
		served := make(chan error)
		go func() { served <- server.Serve(l) }()
		do(t, s, l)
		s.stop()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}

func TestAReaderWhoDoesNotReadIsDroppedAndTheOthersAreTold(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *site, l *pipeListener) {
		if _, err := s.Add(t.Context(), "xen", "node1.example"); err != nil {
			t.Fatal(err)
		}
		slow, quick := l.listen(t, s), l.listen(t, s)
		if _, err := s.Store.HoldNode(t.Context(), store.Act{By: "test", At: time.Now()}, "node1.example", 0, "a test"); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		until(t, quick, "event: verdict")
		if took := time.Since(began); took > time.Second {
			t.Errorf("told after %s", took)
		}
		time.Sleep(11 * time.Second)                       //nolint:forbidigo // the bubble's time
		rest, err := io.ReadAll(io.LimitReader(slow, 512)) // a stream that goes on has no end
		if strings.Contains(string(rest), "a test") {
			t.Errorf("a reader who did not read for 11 s was waited for: %q %v", rest, err)
		}
	})
}

func TestAStreamShowsThatItIsAlive(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *site, l *pipeListener) {
		lines := l.listen(t, s)
		for range 4 {
			began := time.Now()
			until(t, lines, ":")
			if took := time.Since(began); took > 15*time.Second {
				t.Errorf("silent for %s", took)
			}
		}
	})
}

func TestStreamsAreBounded(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *site, l *pipeListener) {
		for range 256 {
			l.listen(t, s)
		}
		near, far := net.Pipe()
		l.conns <- far
		if _, err := fmt.Fprintf(near, "GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nConnection: close\r\n\r\n", s.tokens[access.Reader]); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(near)
		if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 503 ") || !strings.Contains(string(answer), "Retry-After: 10") {
			t.Errorf("%s %v", answer, err)
		}
	})
}
