package nodetest_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/trustpool/trustpool/server/internal/challenge"
	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/store/storetest"
	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/verifier"
)

// centre is a store, and the schedules that run on it.
type centre struct {
	store    *store.Store
	database string
}

func act() store.Act { return store.Act{By: "bench", At: time.Now()} }

// newCentre makes an empty one with a pool.
func newCentre(b *testing.B, pool trust.Pool, database string) *centre {
	b.Helper()
	s := storetest.Open(b, database)
	pool.Requires = []trust.Requirement{{Part: trust.Hypervisor, Match: trust.AnyOf}}
	if _, err := s.PutPool(b.Context(), act(), pool, 0); err != nil {
		b.Fatal(err)
	}
	return &centre{s, database}
}

// approve puts a set in force.
func (c *centre) approve(b *testing.B, pool string, known verifier.KnownGood) {
	b.Helper()
	set, err := c.store.PutSet(b.Context(), act(), trust.Set{Name: "xen", Part: trust.Hypervisor, Pools: []string{pool}, KnownGood: known}, 0)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := c.store.ApproveSet(b.Context(), act(), set.Name, set.Revision); err != nil {
		b.Fatal(err)
	}
}

// run sets so many schedules going, each of which has a store of its own as a replica has. They end with the benchmark.
func (c *centre) run(b *testing.B, replicas int, config challenge.Config, challenger challenge.Challenger, enroll challenge.Enroller) {
	b.Helper()
	for i := range replicas {
		s := c.store
		if i > 0 {
			s = storetest.Open(b, c.database)
		}
		schedule := challenge.New(config, challenge.Deps{
			Store: s, Challenger: challenger, Enroll: enroll, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
		})
		ctx, cancel := context.WithCancel(b.Context())
		var running errgroup.Group
		running.Go(func() error {
			_, err := s.Follow(ctx)
			return err
		})
		running.Go(func() error { return schedule.Run(ctx) })
		b.Cleanup(func() {
			cancel()
			if err := running.Wait(); err != nil {
				b.Error(err)
			}
		})
	}
}

// trusted counts the nodes that are trusted now.
func (c *centre) trusted(b *testing.B) int {
	b.Helper()
	counts, err := c.store.Counts(b.Context(), time.Now())
	if err != nil {
		b.Fatal(err)
	}
	n := 0
	for _, count := range counts {
		if count.Level == trust.Trusted {
			n += count.Nodes
		}
	}
	return n
}

// until waits until so many nodes are trusted, and returns how long that took.
func (c *centre) until(b *testing.B, nodes int, patience time.Duration) time.Duration {
	b.Helper()
	begun := time.Now()
	for {
		<-time.After(50 * time.Millisecond)
		verdicts, err := c.store.LastGeneration(b.Context()) // counting who is trusted would be work for the server
		if err != nil {
			b.Fatal(err)
		}
		if verdicts >= int64(nodes) && c.trusted(b) == nodes {
			return time.Since(begun)
		}
		if time.Since(begun) > patience {
			b.Fatalf("after %s, %d of %d nodes are trusted", patience, c.trusted(b), nodes)
		}
	}
}

// seen is what was seen of a schedule for some time.
type seen struct {
	lags, queries []time.Duration
	fresh         float64 // the least part of the nodes that was trusted at any time, in percent
}

// watch looks for some time whether all nodes stay trusted, how far the schedule is behind, and how long a query takes meanwhile.
func (c *centre) watch(b *testing.B, names []string, period time.Duration) seen {
	b.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	w := seen{fresh: 100}
	end := time.Now().Add(period)
	for i := 0; time.Now().Before(end); i++ {
		<-ticker.C
		asked := time.Now()
		if _, err := c.store.Lookup(b.Context(), []string{names[i%len(names)]}, asked); err != nil {
			b.Fatal(err)
		}
		w.queries = append(w.queries, time.Since(asked))
		if i%10 > 0 {
			continue
		}
		lag, _, err := c.store.Overdue(b.Context(), time.Now())
		if err != nil {
			b.Fatal(err)
		}
		w.lags = append(w.lags, lag)
		if i%100 == 0 {
			w.fresh = min(w.fresh, 100*float64(c.trusted(b))/float64(len(names)))
		}
	}
	return w
}

// report adds the figures.
func (w *seen) report(b *testing.B) {
	b.Helper()
	b.ReportMetric(w.fresh, "fresh-min-%")
	b.ReportMetric(percentile(w.lags, 0.5), "lag-p50-ms")
	b.ReportMetric(percentile(w.lags, 1), "lag-max-ms")
	b.ReportMetric(percentile(w.queries, 0.99), "query-p99-ms")
}

// percentile of durations, in milliseconds.
func percentile(all []time.Duration, p float64) float64 {
	slices.Sort(all)
	return float64(all[int(float64(len(all)-1)*p)]) / float64(time.Millisecond)
}

// cpu is what this process has used of its processors.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// resident is the memory of this process in MiB, after what is garbage has gone.
func resident(b *testing.B) float64 {
	b.Helper()
	runtime.GC()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "VmRSS:" {
			kib, err := strconv.Atoi(fields[1])
			if err != nil {
				b.Fatal(err)
			}
			return float64(kib) / 1024
		}
	}
	b.Fatal(fmt.Errorf("no VmRSS in %s", status))
	return 0
}
