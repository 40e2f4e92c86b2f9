package rest

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/trustpool/trustpool/server/internal/access"
	"github.com/trustpool/trustpool/server/internal/store/storetest"
)

// bare is a router with all routes, and a caller's token of each role.
func bare(t *testing.T) (*router, map[access.Role]string) {
	t.Helper()
	db := storetest.New(t)
	door, err := access.New(access.Config{Store: db, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	r, err := newRouter(Config{Store: db, Door: door, Done: make(chan struct{}), Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(), Hurry: func(context.Context, string) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	return r, storetest.Tokens(t, db)
}

func ask(r *router, token, path string) *httptest.ResponseRecorder {
	q := httptest.NewRequest(http.MethodGet, path, nil)
	q.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	r.config.Door.Protect(r).ServeHTTP(w, q)
	return w
}

func TestARouteWithoutARoleFailsAtTheStartAndTakesNobody(t *testing.T) {
	t.Parallel()
	handler := func(context.Context, *struct{}) (*struct{}, error) { return nil, nil } //nolint:nilnil // an answer without a body
	for name, make := range map[string]func(*router){
		"the zero role":        func(r *router) { add(r, access.Nobody, operation("x", http.MethodGet, "/v1/x", ""), handler) },
		"huma's own way":       func(r *router) { huma.Register(r.api, operation("x", http.MethodGet, "/v1/x", ""), handler) },
		"the mux's own handle": func(r *router) { r.HandleFunc("GET /v1/x", func(http.ResponseWriter, *http.Request) {}) },
	} {
		r, tokens := bare(t)
		if len(r.problems) > 0 {
			t.Fatal(r.problems)
		}
		make(r)
		if len(r.problems) != 1 || !strings.Contains(r.problems[0].Error(), "GET /v1/x") {
			t.Errorf("%s: %v", name, r.problems)
		}
		for role, token := range tokens {
			if w := ask(r, token, "/v1/x"); w.Code != http.StatusForbidden {
				t.Errorf("%s as %s: %d", name, role, w.Code)
			}
		}
	}
}

func TestAnErrorOfTheServersInsideIsForItsLog(t *testing.T) {
	t.Parallel()
	r, tokens := bare(t)
	var log strings.Builder
	r.config.Logger = slog.New(slog.NewTextHandler(&log, nil))
	add(r, access.Reader, operation("x", http.MethodGet, "/v1/x", ""), func(context.Context, *struct{}) (*struct{}, error) {
		return nil, errors.New("SQL logic error: no such table nodes")
	})
	w := ask(r, tokens[access.Reader], "/v1/x")
	if w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "SQL") || !strings.Contains(log.String(), "no such table") {
		t.Errorf("%d %s; log: %s", w.Code, w.Body, log.String())
	}
}

func TestAConfigurationThatIsNotWholeMakesNoAPI(t *testing.T) {
	t.Parallel()
	if _, err := New(Config{}); err == nil {
		t.Error("an API without a door was made")
	}
}

func TestRequestsAreCountedByRouteAndNotByName(t *testing.T) {
	t.Parallel()
	r, tokens := bare(t)
	registry := prometheus.NewRegistry()
	r.metrics = newMetrics(registry)
	for _, path := range []string{"/v1/hosts/a", "/v1/hosts/b", "/v1/nothing", "/v1/tokens"} {
		ask(r, tokens[access.Reader], path)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]float64)
	for _, f := range families {
		if f.GetName() != "trustpool_server_api_requests_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			got[m.GetLabel()[1].GetValue()+" "+m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
		}
	}
	if got["GET /v1/hosts/{name} 200"] != 2 || got["none 404"] != 1 || got["GET /v1/tokens 403"] != 1 || len(got) != 3 {
		t.Error(got)
	}
}
