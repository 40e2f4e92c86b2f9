package server_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/trustpool/trustpool/server/internal/nodetest"
)

// BenchmarkPages asks for pages with 100,000 nodes in the database. The first overview counts them all; others are answered from that for a while.
func BenchmarkPages(b *testing.B) {
	database := filepath.Join(b.TempDir(), "trustpool.db")
	names := fill(b, database, *queryNodes)
	s := &site{fleet: nodetest.NewFleet()}
	s.challenger = &exchangeable{now: s.fleet}
	s.run(b, database, lasting())

	get := func(path func() string) func(context.Context) error {
		return func(ctx context.Context) error {
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+path(), nil)
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
	always := func(path string) func() string { return func() string { return path } }
	for _, q := range []struct {
		name   string
		number int
		path   func() string
	}{
		{"overview-first", 1, always("/page/")},
		{"overview", 500, always("/page/")},
		{"list", 200, func() string { return "/page/nodes?after=" + names[rand.IntN(len(names))] }},
		{"list-untrusted", 50, always("/page/nodes?trust=untrusted")}, // there is none: all are looked at
		{"list-begins", 200, always("/page/nodes?begins=node0")},
		{"node", 500, func() string { return "/page/nodes/" + names[rand.IntN(len(names))] }},
	} {
		measure(b, q.name, 1, q.number, get(q.path))
	}
	b.ReportMetric(0, "ns/op") // means nothing here
}
