package rest_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trustpool/trustpool/server/internal/access"
	"github.com/trustpool/trustpool/server/internal/nodetest"
	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/verifier"
)

// benchNodes is the cloud that the figures are for.
const benchNodes = 100_000

// BenchmarkQuery asks about hosts of a cloud of 100,000 nodes, each with a verdict, and reports the median and the 99th percentile of the time that an answer takes: of the handler alone with everything that it
// does for a caller, and of a kept connection over TLS with four callers at a time.
func BenchmarkQuery(b *testing.B) {
	s := emptySite(b)
	s.crowd(b)
	one := func() (string, string, string) {
		return http.MethodGet, fmt.Sprintf("/v1/hosts/node%d.example", rand.IntN(benchNodes)), ""
	}
	hundred := func() (string, string, string) {
		names := make([]string, 100)
		for i := range names {
			names[i] = fmt.Sprintf(`"node%d.example"`, rand.IntN(benchNodes))
		}
		return http.MethodPost, "/v1/hosts:query", `{"hosts":[` + strings.Join(names, ",") + `]}`
	}

	b.Run("handler/one", func(b *testing.B) { measure(b, 1, func() { s.direct(b, one) }) })
	b.Run("handler/hundred", func(b *testing.B) { measure(b, 1, func() { s.direct(b, hundred) }) })
	b.Run("tls/one", func(b *testing.B) { measure(b, 4, func() { s.call(b, one) }) })
	b.Run("tls/hundred", func(b *testing.B) { measure(b, 4, func() { s.call(b, hundred) }) })
	b.Run("tls/list", func(b *testing.B) {
		measure(b, 4, func() {
			s.call(b, func() (string, string, string) {
				return http.MethodGet, fmt.Sprintf("/v1/hosts?pool=pool&after=node%d", rand.IntN(benchNodes)), ""
			})
		})
	})
}

// crowd adds the nodes, enrolled and with verdicts, a thousand in one transaction.
func (s *site) crowd(b *testing.B) {
	b.Helper()
	now := time.Now()
	for from := 0; from < benchNodes; from += 1000 {
		nodes := make([]trust.Node, 1000)
		for i := range nodes {
			name := fmt.Sprintf("node%d.example", from+i)
			soft, err := nodetest.NewSoft(name, "xen") // a TPM is in one machine
			if err != nil {
				b.Fatal(err)
			}
			nodes[i] = trust.Node{Name: name, Aliases: []string{fmt.Sprintf("n%d", from+i)}, Address: name + ":9443", Pool: "pool", Binding: verifier.BindingInventory, Record: soft.Record()}
		}
		added, err := s.Store.AddNodes(b.Context(), store.Act{By: "bench", At: now}, nodes)
		if err != nil {
			b.Fatal(err)
		}
		policy, err := s.Store.PolicyRevision(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		outcomes := make([]store.Outcome, len(added))
		for i, n := range added {
			outcomes[i] = store.Outcome{Node: n, PolicyRevision: policy, At: now, Due: now.Add(time.Hour), Verdict: &trust.Verdict{
				Level: trust.Trusted, Reason: trust.OK, Detail: "all demands of the pool pool are met", QuotedAt: now, ExpiresAt: now.Add(time.Hour), Sets: []string{"xen"},
				EKBinding: verifier.BindingInventory, Boot: &trust.Boot{ResetCount: 1},
			}}
		}
		if err := s.Store.Record(b.Context(), outcomes); err != nil {
			b.Fatal(err)
		}
	}
}

// measure runs do from callers at a time, and reports percentiles.
func measure(b *testing.B, callers int, do func()) {
	b.Helper()
	took := make([]time.Duration, b.N)
	next := make(chan int)
	var asking sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for range callers {
		asking.Go(func() {
			for i := range next {
				began := time.Now()
				do()
				took[i] = time.Since(began)
			}
		})
	}
	for i := range b.N {
		next <- i
	}
	close(next)
	asking.Wait()
	b.StopTimer()
	slices.Sort(took)
	for percent, unit := range map[int]string{50: "p50-ms", 99: "p99-ms"} {
		b.ReportMetric(float64(took[len(took)*percent/100].Microseconds())/1000, unit)
	}
}

// direct asks the handler.
func (s *site) direct(b *testing.B, what func() (string, string, string)) {
	method, path, body := what()
	q := httptest.NewRequest(method, path, strings.NewReader(body))
	q.Header.Set("Authorization", "Bearer "+s.tokens[access.Reader])
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, q)
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"trusted"`) {
		b.Errorf("%d %s", w.Code, w.Body)
	}
}

// call asks over TLS.
func (s *site) call(b *testing.B, what func() (string, string, string)) {
	method, path, body := what()
	if a := s.ask(b, s.tokens[access.Reader], method, path, body); a.status != http.StatusOK || !strings.Contains(a.body, `"trusted"`) {
		b.Errorf("%d %s", a.status, a.body)
	}
}
