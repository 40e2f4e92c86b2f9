package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/trustpool/trustpool/server/internal/access"
	"github.com/trustpool/trustpool/server/internal/ear"
	"github.com/trustpool/trustpool/server/internal/knowngood"
	"github.com/trustpool/trustpool/server/internal/store"
)

// Config is what the API works with.
type Config struct {
	Store *store.Store
	Door  *access.Door
	// Issuer signs verdicts.
	Issuer *ear.Issuer
	// Hurry has the node that has a name asked at once, as challenge.Schedule.Hurry does.
	Hurry func(ctx context.Context, name string) error
	// Tools work on known-good sets; nil: some of the API's own. Of those that share them, one makes a dry run at a time.
	Tools *knowngood.Tools
	// Done is closed when the server stops: event streams, which never end by themselves, end then.
	Done       <-chan struct{}
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// New returns the API, behind the Door but for the set of public keys. It answers every path, those that there are not with a 404 that strangers do not see.
func New(config Config) (http.Handler, error) {
	if config.Store == nil || config.Door == nil || config.Issuer == nil || config.Hurry == nil || config.Done == nil || config.Logger == nil || config.Registerer == nil {
		return nil, errors.New("making the API: its configuration is not whole")
	}
	r, err := newRouter(config)
	if err != nil {
		return nil, fmt.Errorf("making the API: %w", err)
	}
	return r.withKeySet(config.Door.Protect(r)), nil
}

// newRouter has all routes.
func newRouter(config Config) (*router, error) {
	r := &router{config: config, mux: http.NewServeMux(), roles: make(map[string]access.Role), metrics: newMetrics(config.Registerer)}
	r.api = humago.New(r, apiConfig())
	for _, routes := range []func(*router){hostRoutes, signRoutes, nodeRoutes, nodeActRoutes, evidenceRoutes, poolRoutes, setRoutes, toolRoutes, keyRoutes, alarmRoutes, adminLogRoutes, tokenRoutes, eventRoutes, healthRoutes} {
		routes(r)
	}
	r.describeKeySet()
	if err := r.serveDocument(); err != nil {
		return nil, err
	}
	return r, errors.Join(r.problems...)
}

// apiConfig leaves out what huma offers to everybody: its own paths for documents, schemas and a page that loads scripts from elsewhere.
func apiConfig() huma.Config {
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title:       "trustpool-server",
				Version:     "1",
				Description: "Is this host trusted? docs/api.md says what the answers mean.",
			},
			Components: &huma.Components{
				Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"bearer": {Type: "http", Scheme: "bearer", Description: "A token of trustpoolctl token add."},
					"mtls":   {Type: "mutualTLS", Description: "A client certificate with a name that a rule of the server's configuration has."},
				},
			},
			Security: []map[string][]string{{"bearer": {}}, {"mtls": {}}},
		},
		Formats:                      map[string]huma.Format{"application/json": strictJSON(), "json": strictJSON()},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
		Transformers:                 []huma.Transformer{withoutLongValues},
	}
}

// Document returns the OpenAPI document.
func (r *router) document() ([]byte, error) {
	raw, err := json.MarshalIndent(r.api.OpenAPI(), "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing the OpenAPI document: %w", err)
	}
	return append(raw, '\n'), nil
}
