package server_test

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/trustpool/trustpool/server"
	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/internal/nodetest"
	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/server/pgtest"
	"github.com/trustpool/trustpool/verifier"
)

var queryNodes = flag.Int("query-nodes", 100_000, "how many nodes BenchmarkQueries puts into the database")

// BenchmarkQueries asks the whole server over TLS, on connections that are kept, with 100,000 nodes in its database: what schedulers ask, one caller after the other, then eight at a time, and what people
// do. The first overview is that of a server which has just started: it counts all nodes.
func BenchmarkQueries(b *testing.B) { queriesOn(b, filepath.Join(b.TempDir(), "trustpool.db")) }

// BenchmarkQueriesPostgres is the same with the database in PostgreSQL, over a unix socket.
func BenchmarkQueriesPostgres(b *testing.B) {
	database := pgtest.Start(b).Database(b)
	queriesOn(b, database)
}

func queriesOn(b *testing.B, database string) {
	defer server.LeaveRoom()() // as the program does
	begun := time.Now()
	names := fill(b, database, *queryNodes)
	b.ReportMetric(time.Since(begun).Seconds(), "filled-s")
	s := &site{fleet: nodetest.NewFleet()}
	s.challenger = &exchangeable{now: s.fleet}
	s.run(b, database, lasting())

	one := func(ctx context.Context) error {
		host, err := s.admin.Host(ctx, names[rand.IntN(len(names))])
		if err == nil && host.Trust != api.Trusted {
			err = fmt.Errorf("%+v", host)
		}
		return err
	}
	hundred := func(ctx context.Context) error {
		from := rand.IntN(len(names) - 100)
		hosts, err := s.admin.QueryHosts(ctx, names[from:from+100])
		if err == nil && (len(hosts) != 100 || hosts[99].Trust != api.Trusted) {
			err = fmt.Errorf("%d hosts", len(hosts))
		}
		return err
	}
	summary := func(ctx context.Context) error {
		counted, err := s.admin.Summary(ctx)
		if err == nil && counted.Total.Trusted != len(names) {
			err = fmt.Errorf("%+v", counted)
		}
		return err
	}
	for _, q := range []struct {
		name                    string
		rounds, callers, number int
		ask                     func(context.Context) error
	}{
		{"overview-first", 1, 1, 1, s.page("")},
		{"overview", 1, 1, 200, s.page("")},
		{"GET", 5, 1, 5000, one},
		{"GET-8-callers", 5, 8, 2500, one},
		{"query-100-names", 1, 1, 1000, hundred},
		{"summary", 1, 1, 200, summary},
		{"list", 1, 1, 100, func(ctx context.Context) error { return s.page("nodes?after=" + names[rand.IntN(len(names))])(ctx) }},
		{"list-untrusted", 1, 1, 100, s.page("nodes?trust=untrusted")}, // there is none
		{"list-unknown", 1, 1, 100, s.page("nodes?trust=unknown")},     // likewise
		{"list-begins", 1, 1, 100, s.page("nodes?begins=node0")},
		{"node", 1, 1, 200, func(ctx context.Context) error { return s.page("nodes/" + names[rand.IntN(len(names))])(ctx) }},
	} {
		measure(b, q.name, q.rounds, q.callers, q.number, q.ask)
	}
	b.ReportMetric(resident(b), "RSS-MiB")
	b.ReportMetric(0, "ns/op") // means nothing here
}

// page asks for what a browser shows.
func (s *site) page(path string) func(context.Context) error {
	return func(ctx context.Context) error {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/page/"+path, nil)
		if err != nil {
			return err
		}
		r.Header.Set("Authorization", "Bearer "+s.token)
		response, err := s.http.Do(r)
		if err != nil {
			return err
		}
		defer func() { _ = response.Body.Close() }() // it was read
		if _, err := io.Copy(io.Discard, response.Body); err != nil || response.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s, %w", r.URL.Path, response.Status, err)
		}
		return nil
	}
}

// fill makes a database in which all nodes are trusted, and returns their names.
func fill(b *testing.B, database string, count int) []string {
	b.Helper()
	s, err := store.Open(b.Context(), database)
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now()
	if _, err := nodetest.NewCloud(b.Context(), s, now); err != nil {
		b.Fatal(err)
	}
	names := make([]string, count)
	for i := range names {
		names[i] = fmt.Sprintf("node%06d.example", i)
	}
	for chunk := range slices.Chunk(names, 2000) {
		var nodes []trust.Node
		for _, name := range chunk {
			soft, err := nodetest.NewSoft(name, "xen") // a TPM is in one machine
			if err != nil {
				b.Fatal(err)
			}
			nodes = append(nodes, trust.Node{Name: name, Address: name + ":9443", Pool: "pool", Binding: verifier.BindingInventory, Record: soft.Record()})
		}
		added, err := s.AddNodes(b.Context(), store.Act{By: "bench", At: now}, nodes)
		if err != nil {
			b.Fatal(err)
		}
		record(b, s, added, now)
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	if store.IsURL(database) { // or it does so itself within minutes, while it is measured
		db, err := sql.Open("pgx", database)
		if err != nil {
			b.Fatal(err)
		}
		for _, statement := range []string{"VACUUM ANALYZE", "CHECKPOINT"} {
			if _, err := db.ExecContext(b.Context(), statement); err != nil {
				b.Fatal(err)
			}
		}
		if err := db.Close(); err != nil {
			b.Fatal(err)
		}
	}
	return names
}

// record has nodes trusted for a day.
func record(b *testing.B, s *store.Store, nodes []trust.Node, now time.Time) {
	b.Helper()
	revision, err := s.PolicyRevision(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	var outcomes []store.Outcome
	for _, n := range nodes {
		outcomes = append(outcomes, store.Outcome{Node: n, PolicyRevision: revision, At: now, Due: now.Add(time.Hour), Verdict: &trust.Verdict{
			Level: trust.Trusted, Reason: trust.OK, Detail: "all demands of the pool are met", QuotedAt: now, ExpiresAt: now.Add(24 * time.Hour),
			Sets: []string{"xen"}, EKBinding: verifier.BindingInventory, Boot: &trust.Boot{ResetCount: 1},
		}})
	}
	if err := s.Record(b.Context(), outcomes); err != nil {
		b.Fatal(err)
	}
}

// measure has callers ask, each so many times, and reports how long that took: of several rounds the median, and the worst p99, since one round may fall into a moment in which the machine has something else
// to do.
func measure(b *testing.B, name string, rounds, callers, number int, ask func(context.Context) error) {
	b.Helper()
	var rates, p50, p99 []float64
	for range rounds {
		took, rate := round(b, callers, number, ask)
		at := func(p float64) float64 { return float64(took[int(float64(len(took)-1)*p)].Microseconds()) / 1000 }
		rates, p50, p99 = append(rates, rate), append(p50, at(0.5)), append(p99, at(0.99))
	}
	b.ReportMetric(median(rates), name+"/s")
	b.ReportMetric(median(p50), name+"-p50-ms")
	b.ReportMetric(median(p99), name+"-p99-ms")
	if rounds > 1 {
		b.ReportMetric(slices.Max(p99), name+"-p99-worst-ms")
	}
}

// round has callers ask once. It returns how long each answer took, the shortest first, and how many came in a second.
func round(b *testing.B, callers, number int, ask func(context.Context) error) (all []time.Duration, rate float64) {
	b.Helper()
	took := make([][]time.Duration, callers)
	group, ctx := errgroup.WithContext(b.Context())
	begun := time.Now()
	for i := range callers {
		group.Go(func() error {
			for range number {
				asked := time.Now()
				if err := ask(ctx); err != nil {
					return err
				}
				took[i] = append(took[i], time.Since(asked))
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		b.Fatal(err)
	}
	all = slices.Concat(took...)
	rate = float64(len(all)) / time.Since(begun).Seconds()
	slices.Sort(all)
	return all, rate
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// resident is the memory of this process in MiB: server and callers, after what is garbage has gone.
func resident(b *testing.B) float64 {
	b.Helper()
	runtime.GC()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	_, after, _ := strings.Cut(string(status), "VmRSS:")
	fields := strings.Fields(after)
	if len(fields) == 0 {
		b.Fatal("no VmRSS in /proc/self/status")
	}
	kib, err := strconv.Atoi(fields[0])
	if err != nil {
		b.Fatal(err)
	}
	return float64(kib) / 1024
}
