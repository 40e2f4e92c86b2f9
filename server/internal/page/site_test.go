package page_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trustpool/trustpool/server/internal/access"
	"github.com/trustpool/trustpool/server/internal/knowngood"
	"github.com/trustpool/trustpool/server/internal/nodetest"
	"github.com/trustpool/trustpool/server/internal/page"
	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/store/storetest"
	"github.com/trustpool/trustpool/server/internal/trust"
)

const validity = 30 * time.Minute // a busy machine takes minutes for these tests

// site is a page over TLS: good.example (alias good) is trusted, bad.example is not, silent.example was never asked, draft waits for approval.
type site struct {
	*nodetest.Cloud
	*httptest.Server
	tokens map[access.Role]string
}

func newSite(t testing.TB) *site {
	t.Helper()
	s := emptySite(t)
	if err := s.Populate(t.Context(), validity, "good"); err != nil {
		t.Fatal(err)
	}
	soft, err := nodetest.NewSoft("other.example", "other")
	if err != nil {
		t.Fatal(err)
	}
	known, err := soft.KnownGood()
	if err != nil {
		t.Fatal(err)
	}
	draft := trust.Set{Name: "draft", Part: trust.Hypervisor, Pools: []string{"pool"}, KnownGood: known, Source: "learned from other.example"}
	if _, err := s.Store.PutSet(t.Context(), act(), draft, 0); err != nil {
		t.Fatal(err)
	}
	return s
}

func act() store.Act { return store.Act{By: "token:alice", At: time.Now()} }

// emptySite has a pool and a set, and no nodes.
func emptySite(t testing.TB) *site {
	t.Helper()
	db := storetest.New(t)
	return siteOf(t, db, db)
}

// siteOf has callers known by one database, and shows another one.
func siteOf(t testing.TB, callers, db *store.Store) *site {
	t.Helper()
	cloud, err := nodetest.NewCloud(t.Context(), db, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	form, err := page.SignIn()
	if err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.DiscardHandler)
	door, err := access.New(access.Config{Store: callers, SignIn: form, Logger: logger, Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	handler, err := page.New(page.Config{Store: db, Door: door, Tools: knowngood.New(db), Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	s := &site{Cloud: cloud, Server: httptest.NewTLSServer(handler), tokens: storetest.Tokens(t, callers)}
	s.Client().CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	t.Cleanup(s.Close)
	return s
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

// text is the body without tags, on one line, as a person reads it.
func (a answer) text() string {
	var out strings.Builder
	inTag := false
	for _, r := range a.body {
		switch {
		case r == '<':
			inTag = true
		case r == '>':
			inTag = false
		case !inTag:
			out.WriteRune(r)
		}
	}
	return strings.Join(strings.Fields(out.String()), " ")
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
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	response, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{status: response.StatusCode, header: response.Header, body: string(raw)}
}

// see asks for a page that is there.
func (s *site) see(t testing.TB, role access.Role, path string) answer {
	t.Helper()
	a := s.ask(t, s.tokens[role], http.MethodGet, path, "")
	if a.status != http.StatusOK {
		t.Fatalf("%s as %s: %d %s", path, role, a.status, a.text())
	}
	return a
}
