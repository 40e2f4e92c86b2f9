package rest

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/trustpool/trustpool/server/internal/access"
)

// healthRoutes are for load balancers that have a token. Those without one ask the admin listener.
func healthRoutes(r *router) {
	for path, do := range map[string]func(context.Context) error{
		"/healthz": func(context.Context) error { return nil },
		"/readyz":  r.config.Store.Ready,
	} {
		op := operation(strings.TrimPrefix(path, "/"), http.MethodGet, path, "Does the server answer from its database? healthz: does it answer at all?")
		op.DefaultStatus = http.StatusNoContent
		add(r, access.Reader, op, func(ctx context.Context, _ *struct{}) (*struct{}, error) {
			if err := do(ctx); err != nil {
				r.config.Logger.Error("the database does not answer", "error", err)
				return nil, huma.NewError(http.StatusServiceUnavailable, "The database does not answer now; the server's log says why.")
			}
			return nil, nil //nolint:nilnil // an answer without a body
		})
	}
}

// serveDocument serves the OpenAPI document, which is whole by now.
func (r *router) serveDocument() error {
	const pattern = "GET /v1/openapi.json"
	document, err := r.document()
	if err != nil {
		return err
	}
	r.roles[pattern] = access.Reader
	r.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/openapi+json")
		w.Header().Set("Content-Length", strconv.Itoa(len(document)))
		_, _ = w.Write(document)
	})
	return nil
}
