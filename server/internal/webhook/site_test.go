package webhook_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trustpool/trustpool/internal/transcript"
	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/internal/nodetest"
	"github.com/trustpool/trustpool/server/internal/rest"
	"github.com/trustpool/trustpool/server/internal/store/storetest"
	"github.com/trustpool/trustpool/server/internal/webhook"
)

const (
	secret    = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
	newSecret = "whsec_QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo0NTY3ODk="
)

// received is one request that the receiver got.
type received struct {
	path, id, timestamp, signature string
	body                           []byte
}

func (r *received) generation(t *testing.T) int64 {
	t.Helper()
	var d api.Delivery
	if err := json.Unmarshal(r.body, &d); err != nil {
		t.Fatal(err)
	}
	return d.Data.Generation
}

// receiver is who is told: a real server over TLS, which answers as it is told to.
type receiver struct {
	*httptest.Server
	dir string

	mu     sync.Mutex
	answer func(n int, w http.ResponseWriter) // n is how many came before; guarded by mu
	got    []received
	news   chan struct{}
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{dir: t.TempDir(), news: make(chan struct{}, 1000), answer: func(int, http.ResponseWriter) {}}
	r.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			return // the sender went away
		}
		r.mu.Lock()
		n, answer := len(r.got), r.answer
		r.got = append(r.got, received{q.URL.Path, q.Header.Get("webhook-id"), q.Header.Get("webhook-timestamp"), q.Header.Get("webhook-signature"), body})
		r.mu.Unlock()
		answer(n, w)
		r.news <- struct{}{}
	}))
	t.Cleanup(r.Close)
	r.write(t, "secret", secret+"\n")
	r.write(t, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate().Raw})))
	return r
}

func (r *receiver) write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (r *receiver) answers(answer func(n int, w http.ResponseWriter)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

// wait waits until that many requests have come in all, and returns them.
func (r *receiver) wait(t *testing.T, n int) []received {
	t.Helper()
	late := time.After(2 * time.Minute)
	for {
		r.mu.Lock()
		got := slices.Clone(r.got)
		r.mu.Unlock()
		if len(got) >= n {
			return got
		}
		select {
		case <-r.news:
		case <-late:
			t.Fatalf("%d requests came, not %d", len(got), n)
		}
	}
}

// target is the receiver's.
func (r *receiver) target(name string) webhook.Target {
	return webhook.Target{Name: name, URL: r.URL + "/hook", SecretFile: filepath.Join(r.dir, "secret"), CA: filepath.Join(r.dir, "ca.pem"), MaxAge: time.Hour}
}

// cloud is a database whose nodes change.
type cloud struct {
	*nodetest.Cloud
	t  *testing.T
	at time.Time
}

func newCloud(t *testing.T) *cloud {
	t.Helper()
	s := storetest.New(t)
	at := time.Now()
	c, err := nodetest.NewCloud(t.Context(), s, at)
	if err != nil {
		t.Fatal(err)
	}
	return &cloud{c, t, at}
}

// change adds nodes, and has them attested: each is a change.
func (c *cloud) change(names ...string) {
	c.t.Helper()
	for _, name := range names {
		if _, err := c.Add(c.t.Context(), "xen", name); err != nil {
			c.t.Fatal(err)
		}
		if err := c.Attest(c.t.Context(), time.Now(), time.Hour); err != nil {
			c.t.Fatal(err)
		}
	}
}

// running are hooks at work.
type running struct {
	registry *prometheus.Registry
	log      *transcript.Text
	stop     func()
}

func (c *cloud) run(holder string, targets ...webhook.Target) *running {
	c.t.Helper()
	r := &running{registry: prometheus.NewRegistry(), log: &transcript.Text{}}
	hooks := webhook.New(webhook.Config{
		Store: c.Store, Holder: holder, ReadFile: os.ReadFile, ChangeOf: rest.ChangeOf, Pause: 5 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(r.log, nil)),
	}, targets, r.registry)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		hooks.Run(ctx)
	}()
	r.stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	c.t.Cleanup(r.stop)
	return r
}

// count is how many attempts ended so.
func (r *running) count(t *testing.T, outcome string) (n float64) {
	t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if len(m.GetLabel()) == 2 && m.GetLabel()[0].GetValue() == outcome {
				n += m.GetCounter().GetValue()
			}
		}
	}
	return n
}

// until waits for what comes by itself.
func until(t *testing.T, what string, so func() bool) {
	t.Helper()
	late, ticker := time.After(2*time.Minute), time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for !so() {
		select {
		case <-late:
			t.Fatalf("it never came about that %s", what)
		case <-ticker.C:
		}
	}
}

// known has hooks begin at the changes that there are.
func (c *cloud) known(targets ...webhook.Target) {
	c.t.Helper()
	for _, target := range targets {
		if _, err := c.Store.ClaimWebhook(c.t.Context(), target.Name, "setup", time.Now(), time.UnixMilli(1)); err != nil {
			c.t.Fatal(err)
		}
	}
}
