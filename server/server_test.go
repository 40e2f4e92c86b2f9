package server_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/trustpool/trustpool/server"
	"github.com/trustpool/trustpool/server/internal/access"
	"github.com/trustpool/trustpool/server/internal/nodetest"
	"github.com/trustpool/trustpool/server/internal/store"
)

// running is a server that answers on a unix socket.
type running struct {
	*server.Server
	database string
	token    string
	socket   string
	registry *prometheus.Registry
	stop     func() error
}

// run starts a server with that config over nodes in software.
func run(t *testing.T, change func(*server.Config)) *running {
	t.Helper()

	dir := t.TempDir()
	r := &running{database: filepath.Join(dir, "trustpool.db"), socket: filepath.Join(dir, "api.sock"), registry: prometheus.NewRegistry()}
	config := validConfig()
	config.Database, config.Listen.Address, config.Listen.Unix = r.database, "", r.socket
	change(&config)

	var err error
	if r.token, err = server.AddToken(t.Context(), r.database, "test", "alice", access.Admin, time.Time{}); err != nil {
		t.Fatal(err)
	}
	r.Server, err = server.New(t.Context(), config, server.Deps{Logger: slog.New(slog.DiscardHandler), Registerer: r.registry, Challenger: nodetest.NewFleet()})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", r.socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx, server.Listeners{Unix: listener}) }()
	ended := false
	r.stop = func() error {
		cancel()
		ended = true
		return <-done
	}
	t.Cleanup(func() {
		if ended {
			return
		}
		if err := r.stop(); err != nil {
			t.Error(err)
		}
	})
	<-r.Running()
	return r
}

// get asks over a connection of its own, which lasts until the test ends.
func (r *running) get(t *testing.T, path string) (*http.Response, error) {
	t.Helper()

	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://server"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+r.token)
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, "unix", r.socket)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return transport.RoundTrip(request)
}

func TestAStrangerIsAnsweredTheSameWhateverIsAsked(t *testing.T) {
	t.Parallel()

	r := run(t, func(*server.Config) {})
	want := ""
	for _, asked := range []string{
		"GET /v1/hosts/node1", "GET /", "GET //v1/hosts", "GET /v1/../v1/hosts", "GET /v1/nodes/", "POST /AttestationService/resources/PollHosts",
		"GET /AttestationService/resources/PollHosts", "POST //AttestationService/resources/PollHosts", "OPTIONS *", "OPTIONS /v1/hosts", "CONNECT server:443",
	} {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "unix", r.socket)
		if err != nil {
			t.Fatal(err)
		}
		err = conn.SetDeadline(time.Now().Add(2 * time.Minute))
		_, writeErr := fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: server\r\n\r\n", asked)
		raw, readErr := io.ReadAll(conn)
		if err := errors.Join(err, writeErr, readErr, conn.Close()); err != nil {
			t.Fatalf("%s: %v", asked, err)
		}
		got := regexp.MustCompile(`(?m)^Date: .*\r\n`).ReplaceAllString(string(raw), "")
		if want == "" {
			want = got
		}
		if got != want || !strings.HasPrefix(got, "HTTP/1.1 401 ") {
			t.Errorf("%s: %s", asked, got)
		}
	}
}

func TestTwoServersDoNotShareADatabase(t *testing.T) {
	t.Parallel()

	r := run(t, func(*server.Config) {})
	config := validConfig()
	config.Database = r.database
	deps := server.Deps{Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(), Challenger: nodetest.NewFleet()}
	if _, err := server.New(t.Context(), config, deps); err == nil || !strings.Contains(err.Error(), "stop that one first") {
		t.Errorf("got %v", err)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	again, err := server.New(t.Context(), config, deps)
	if err != nil {
		t.Fatalf("after the first one: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

// TestAStreamOfEventsOutlivesTheRequestTimeout reads from a stream after the time in which other requests have to be done, and sees it end when the server does.
func TestAStreamOfEventsOutlivesTheRequestTimeout(t *testing.T) {
	t.Parallel()

	r := run(t, func(c *server.Config) { c.Listen.RequestTimeout = 4 * time.Second })
	response, err := r.get(t, "/v1/events")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }() // read to its end
	lines := bufio.NewReader(response.Body)
	if line, err := lines.ReadString('\n'); err != nil || line != "event: ready\n" {
		t.Fatalf("%d: %q, %v", response.StatusCode, line, err)
	}
	<-time.After(9 * time.Second) // past reading and writing of other requests

	s, err := store.Open(t.Context(), r.database)
	if err != nil {
		t.Fatal(err)
	}
	cloud, err := nodetest.NewCloud(t.Context(), s, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cloud.Add(t.Context(), "xen", "node1.example"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(cloud.Store.Hurry(t.Context(), "node1.example", time.Now()), s.Close()); err != nil {
		t.Fatal(err)
	}
	if hold, err := r.get(t, "/v1/summary"); err != nil || hold.StatusCode != http.StatusOK {
		t.Errorf("another caller: %v", err)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- r.stop() }()
	rest, err := io.ReadAll(lines)
	if err != nil || !strings.HasPrefix(string(rest), "id: ") {
		t.Errorf("the stream was cut: %q, %v", rest, err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestConnectionsAboveTheBoundAreClosedUnheard(t *testing.T) {
	t.Parallel()

	r := run(t, func(c *server.Config) { c.Listen.MaxConnections = 2 })
	var kept []net.Conn
	for range 2 {
		conn, err := net.Dial("unix", r.socket)
		if err != nil {
			t.Fatal(err)
		}
		kept = append(kept, conn)
		defer func() { _ = conn.Close() }() // nothing was said on it
	}
	if _, err := r.get(t, "/v1/summary"); err == nil {
		t.Error("a third connection was served")
	}
	refused := `
# HELP trustpool_server_connections_refused_total Connections that were closed before a word was said, by the bound that they exceeded.
# TYPE trustpool_server_connections_refused_total counter
trustpool_server_connections_refused_total{reason="connections"} 1
trustpool_server_connections_refused_total{reason="connections_per_address"} 0
`
	if err := testutil.GatherAndCompare(r.registry, strings.NewReader(refused), "trustpool_server_connections_refused_total"); err != nil {
		t.Error(err)
	}
	if err := kept[0].Close(); err != nil {
		t.Fatal(err)
	}
	for { // the place is free as soon as the server has seen the end
		response, err := r.get(t, "/v1/summary")
		if err == nil && response.StatusCode == http.StatusOK {
			return
		}
		if t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
}

func TestTheMetricsPassTheLinter(t *testing.T) {
	t.Parallel()

	r := run(t, func(*server.Config) {})
	problems, err := testutil.GatherAndLint(r.registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
	if err := r.Ready(); err != nil && !strings.Contains(err.Error(), "not answered yet") {
		t.Error(err)
	}
	if err := r.Hung(); err != nil {
		t.Error(err)
	}
}
