package rest_test

import (
	"context"
	"crypto/x509"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/internal/access"
	"github.com/trustpool/trustpool/server/internal/ear"
	"github.com/trustpool/trustpool/server/internal/nodetest"
	"github.com/trustpool/trustpool/server/internal/rest"
	"github.com/trustpool/trustpool/server/internal/store/storetest"
)

const validity = 30 * time.Minute // a busy machine takes minutes for these tests

func TestMain(m *testing.M) { os.Exit(storetest.Main(m)) }

func TestTheSameHoldsOnPostgreSQL(t *testing.T) { storetest.OnPostgres(t, "FuzzREST") }

// site is a server over TLS with a database: good.example (alias good) is trusted, bad.example is not, silent.example was never asked.
type site struct {
	*nodetest.Cloud
	*httptest.Server
	database string
	tokens   map[access.Role]string

	handler http.Handler
	done    chan struct{}
	once    sync.Once
}

func newSite(t testing.TB) *site {
	t.Helper()
	s := emptySite(t)
	if err := s.Populate(t.Context(), validity, "good"); err != nil {
		t.Fatal(err)
	}
	return s
}

// emptySite has a pool and a set, and no nodes.
func emptySite(t testing.TB) *site {
	t.Helper()
	s := unserved(t, storetest.Default())
	s.Server = httptest.NewTLSServer(s.handler)
	t.Cleanup(func() {
		s.stop()
		s.Close()
	})
	return s
}

// unserved is an empty site that nobody can reach yet.
func unserved(t testing.TB, on storetest.Engine) *site {
	t.Helper()
	database := on.Empty(t)
	db := storetest.Open(t, database)
	cloud, err := nodetest.NewCloud(t.Context(), db, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s := &site{Cloud: cloud, database: database, tokens: storetest.Tokens(t, db), done: make(chan struct{})}
	logger := slog.New(slog.DiscardHandler)
	door, err := access.New(access.Config{Store: db, Logger: logger, Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	s.handler, err = rest.New(rest.Config{Store: db, Door: door, Issuer: newIssuer(t, logger), Hurry: s.hurry, Done: s.done, Logger: logger, Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// newIssuer signs by a key of its own.
func newIssuer(t testing.TB, logger *slog.Logger) *ear.Issuer {
	t.Helper()
	ring, err := ear.OpenFolder(ear.Folder{Path: filepath.Join(t.TempDir(), "signing-keys"), Lifetime: time.Hour}, logger, func() {})
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := ear.New(ear.Config{Ring: ring, Name: "trustpool-server", Build: "trustpool-server test", Lifetime: time.Hour, Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	return issuer
}

// stop has the server's streams end.
func (s *site) stop() { s.once.Do(func() { close(s.done) }) }

func (s *site) hurry(ctx context.Context, name string) error {
	return s.Store.Hurry(ctx, name, time.Now())
}

// as returns a client of that role.
func (s *site) as(t testing.TB, role access.Role) *api.Client {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	c, err := api.NewClient(api.Config{URL: s.URL, Token: s.tokens[role], RootCAs: roots})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

// ask sends a request with a token, if it is not empty. header are names and values in turn.
func (s *site) ask(t testing.TB, token, method, path, body string, header ...string) answer {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	response, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{status: response.StatusCode, header: response.Header}
	if !strings.HasPrefix(a.header.Get("Content-Type"), "text/event-stream") { // which has no end
		raw, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		a.body = string(raw)
	}
	cancel()
	_ = response.Body.Close() // it was read, or has no end
	return a
}
