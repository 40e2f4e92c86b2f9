package rest_test

import (
	"context"
	"crypto/x509"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
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
	"github.com/trustpool/trustpool/server/internal/store"
)

const validity = 5 * time.Minute

// site is a server over TLS with a database in a file: good.example (alias good) is trusted, bad.example is not, silent.example was never asked.
type site struct {
	*nodetest.Cloud
	*httptest.Server
	dir    string // of the database
	tokens map[access.Role]string

	handler http.Handler
	done    chan struct{}
	once    sync.Once
}

func newSite(t testing.TB) *site {
	t.Helper()
	s := emptySite(t)
	for _, node := range [][]string{{"xen", "good.example", "good"}, {"other", "bad.example"}} {
		if _, err := s.Add(t.Context(), node[0], node[1], node[2:]...); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Attest(t.Context(), time.Now(), validity); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Add(t.Context(), "xen", "silent.example"); err != nil {
		t.Fatal(err)
	}
	return s
}

// emptySite has a pool and a set, and no nodes.
func emptySite(t testing.TB) *site {
	t.Helper()
	s := unserved(t)
	s.Server = httptest.NewTLSServer(s.handler)
	t.Cleanup(func() {
		s.stop()
		s.Close()
	})
	return s
}

// unserved is an empty site that nobody can reach yet.
func unserved(t testing.TB) *site {
	t.Helper()
	dir := t.TempDir()
	db, err := store.Open(t.Context(), filepath.Join(dir, "trustpool.db"))
	if err != nil {
		t.Fatal(err)
	}
	s := &site{dir: dir, tokens: make(map[access.Role]string), done: make(chan struct{})}
	if s.Cloud, err = nodetest.NewCloud(t.Context(), db, time.Now()); err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.DiscardHandler)
	door, err := access.New(access.Config{Store: db, Logger: logger, Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	handler, err := rest.New(rest.Config{Store: db, Door: door, Issuer: newIssuer(t, dir, logger), Hurry: s.hurry, Done: s.done, Logger: logger, Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	for _, role := range access.Roles() {
		text, kept, err := access.NewToken("the-"+role.String(), role, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.AddToken(t.Context(), store.Act{By: "test", At: time.Now()}, kept); err != nil {
			t.Fatal(err)
		}
		s.tokens[role] = text
	}

	s.handler = handler
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// newIssuer signs by a key that is in a folder of dir.
func newIssuer(t testing.TB, dir string, logger *slog.Logger) *ear.Issuer {
	t.Helper()
	ring, err := ear.OpenFolder(ear.Folder{Path: filepath.Join(dir, "signing-keys"), Lifetime: time.Hour}, logger, func() {})
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
