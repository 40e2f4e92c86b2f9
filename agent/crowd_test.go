package agent_test

import (
	"context"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/trustpool/trustpool/agent"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
	"github.com/trustpool/trustpool/tpmsim"
)

// counter finds the counter of denials for that reason.
func counter(t testing.TB, n *node, reason string) prometheus.Counter {
	t.Helper()

	families, err := n.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}

	found := prometheus.NewCounter(prometheus.CounterOpts{Name: "found", Help: "What was found."})

	for _, family := range families {
		for _, metric := range family.GetMetric() {
			if family.GetName() == "trustpool_agent_denials_total" && metric.GetLabel()[0].GetValue() == reason {
				found.Add(metric.GetCounter().GetValue())
			}
		}
	}

	return found
}

// crowdedNode is one that a crowd can come to.
func crowdedNode(t testing.TB) *node {
	t.Helper()

	n := newNodeWith(t, tpmsim.NoLaunch, func(config *agent.Config, _ *agent.Deps) {
		config.Clients = []agent.ClientRule{
			{SAN: []string{"dns:" + rawer}, Roles: []agent.Role{agent.RoleQuote, agent.RoleRaw}, Limits: agent.Limits{Rate: 100_000}},
			{SAN: []string{"dns:" + slow}, Roles: []agent.Role{agent.RoleQuote}, Limits: agent.Limits{Rate: 1000, Concurrent: 200}},
			{SAN: []string{"dns:" + greedy}, Roles: []agent.Role{agent.RoleQuote, agent.RoleRaw}, Limits: agent.Limits{Rate: 5}},
		}
	})
	n.waitUntilServing(t)
	bigLog(t, n.log)

	return n
}

// The names of a crowd's members.
const (
	slow   = "slow.example"
	greedy = "greedy.example"
)

// crowd comes and stays: 250 connections that say nothing, 250 that only keep their place, 100 readers who do not read.
func (n *node) crowd(t testing.TB, digest []byte) {
	t.Helper()

	for i := range 250 {
		n.knock(t, net.IPv4(127, 0, 1, byte(1+i%10)))
	}

	for i := range 250 {
		conn := n.from(t, net.IPv4(127, 0, 2, byte(1+i%10)), slow)
		if _, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{}); err != nil {
			t.Fatal(err)
		}
	}

	for i := range 100 {
		conn := n.from(t, net.IPv4(127, 0, 3, byte(1+i%10)), slow)
		if _, err := agentv1.NewQuoteServiceClient(conn).GetEventLog(t.Context(), &agentv1.GetEventLogRequest{Sha256: digest}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAPoliteCallerIsServedInACrowd has beside the crowd a caller who never stops calling.
func TestAPoliteCallerIsServedInACrowd(t *testing.T) {
	t.Parallel()

	n := crowdedNode(t)
	polite := n.as(t, rawer)
	n.crowd(t, mustQuote(t, polite, goodRequest()).GetLogs()[0].GetSha256())

	ctx, stop := context.WithCancel(t.Context())
	refused := n.pester(ctx, t, greedy)

	for range 200 {
		mustQuote(t, polite, goodRequest())
	}

	mustQuote(t, n.as(t, rawer), goodRequest()) // a new connection gets in as well
	stop()

	if refused() == 0 {
		t.Error("the greedy caller was never refused")
	}
}

// BenchmarkPoliteCaller compares a polite caller's p99 in the crowd, beside a caller at a hundred times its rate of 5 calls a second, with its p99 on the same agent before the
// crowd came.
func BenchmarkPoliteCaller(b *testing.B) {
	n := crowdedNode(b)
	polite := n.as(b, rawer)
	digest := mustQuote(b, polite, goodRequest()).GetLogs()[0].GetSha256()

	p99 := func() time.Duration {
		times := make([]time.Duration, 0, 1000)
		for range cap(times) {
			began := time.Now()
			mustQuote(b, polite, goodRequest())
			times = append(times, time.Since(began))
		}

		slices.Sort(times)

		return times[len(times)*99/100]
	}

	for b.Loop() {
		quiet := p99()

		n.crowd(b, digest)

		ctx, stop := context.WithCancel(b.Context())
		refused := n.pesterAt(ctx, b, greedy, 500)
		crowded := p99()

		stop()

		b.ReportMetric(quiet.Seconds()*1000, "quiet-p99-ms")
		b.ReportMetric(crowded.Seconds()*1000, "crowd-p99-ms")
		b.ReportMetric(crowded.Seconds()/quiet.Seconds(), "ratio")
		b.ReportMetric(float64(refused()), "refused")
	}
}

// knock opens a connection and says nothing.
func (n *node) knock(t testing.TB, ip net.IP) {
	t.Helper()

	conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: ip}}).DialContext(t.Context(), "tcp", n.address)
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = conn.Close() })
}

// pester calls without a pause from four sides until ctx ends. What it returns waits for that, and tells how often it was refused.
func (n *node) pester(ctx context.Context, t testing.TB, name string) (refused func() int64) {
	t.Helper()

	return n.pesterAt(ctx, t, name, 0)
}

// pesterAt is pester at so many calls a second; 0: as many as it can.
func (n *node) pesterAt(ctx context.Context, t testing.TB, name string, rate float64) (refused func() int64) {
	t.Helper()

	const sides = 4

	var (
		count atomic.Int64
		group sync.WaitGroup
	)

	pace := time.NewTicker(time.Duration(float64(time.Second) / max(rate, 1)))

	for range sides {
		client := n.as(t, name)

		group.Go(func() {
			for ctx.Err() == nil {
				if rate > 0 {
					select {
					case <-pace.C:
					case <-ctx.Done():
					}
				}

				_, err := client.Quote(ctx, goodRequest())
				if code := status.Code(err); code == codes.ResourceExhausted {
					count.Add(1)
				} else if err != nil && ctx.Err() == nil {
					t.Errorf("the greedy caller got %v", err)
				}
			}
		})
	}

	return func() int64 {
		group.Wait()
		pace.Stop()

		return count.Load()
	}
}

func TestTooManyConnectionsAreClosedUnheard(t *testing.T) {
	t.Parallel()

	n := newNodeWith(t, tpmsim.NoLaunch, func(config *agent.Config, _ *agent.Deps) {
		config.Listen.MaxConnections, config.Listen.MaxConnectionsPerAddress = 3, 2
	})
	n.waitUntilServing(t)

	enter := func(ip net.IP) {
		if _, err := healthv1.NewHealthClient(n.from(t, ip, rawer)).Check(t.Context(), &healthv1.HealthCheckRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	isClosed := func(ip net.IP, reason string) {
		conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: ip}}).DialContext(t.Context(), "tcp", n.address)
		if err != nil {
			t.Fatal(err)
		}

		_, _ = io.ReadAll(conn) // until it is closed, which is at once
		_ = conn.Close()

		if got := testutil.ToFloat64(counter(t, n, reason)); got != 1 {
			t.Errorf("%v were counted as %s", got, reason)
		}
	}

	first, second, third := net.IPv4(127, 0, 0, 2), net.IPv4(127, 0, 0, 3), net.IPv4(127, 0, 0, 4)

	enter(first)
	enter(first)
	isClosed(first, "connections_per_address")
	enter(second)
	isClosed(third, "connections")
}
