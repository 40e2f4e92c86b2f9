package rest

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/internal/access"
	"github.com/trustpool/trustpool/server/internal/ear"
	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/trust"
)

// signRoutes give verdicts that can be handed on.
func signRoutes(r *router) {
	one := operation("sign-host", http.MethodGet, "/v1/hosts/{name}/verdict.jwt", "Is this host trusted? As a signed EAT Attestation Result")
	schema := r.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[api.EAR](), true, "EAR")
	one.Responses = map[string]*huma.Response{"200": {
		Description: "A JWT (RFC 7515, 7.1) whose claims are an EAR. The status of the answer says nothing of the host: the claim ear_status does.",
		Content: map[string]*huma.MediaType{api.EARMediaType: {
			Schema: &huma.Schema{Type: huma.TypeString, Extensions: map[string]any{"contentMediaType": "application/json", "contentSchema": schema}},
		}},
	}}
	add(r, access.Reader, one, r.signHost)
	add(r, access.Reader, operation("sign-hosts", http.MethodPost, "/v1/hosts:sign", "Which of these hosts are trusted? As signed EAT Attestation Results"), r.signHosts)
}

func (r *router) signHost(ctx context.Context, in *struct {
	Named
	api.SignOptions
},
) (*huma.StreamResponse, error) {
	if err := errors.Join(in.check(), checkOptions("query", in.SignOptions)); err != nil {
		return nil, err
	}
	signed, err := r.sign(ctx, []string{in.Name}, in.SignOptions)
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		hc.SetHeader("Content-Type", api.EARMediaType)
		hc.SetHeader("Content-Length", strconv.Itoa(len(signed[0].JWT)))
		_, _ = hc.BodyWriter().Write([]byte(signed[0].JWT)) // who went away does not get it
	}}, nil
}

func (r *router) signHosts(ctx context.Context, in *Content[api.SignQuery]) (*Content[api.SignedHosts], error) {
	if err := checkOptions("body", in.Body.SignOptions); err != nil {
		return nil, err
	}
	signed, err := r.sign(ctx, in.Body.Hosts, in.Body.SignOptions)
	if err != nil {
		return nil, err
	}
	return &Content[api.SignedHosts]{Body: api.SignedHosts{Hosts: signed}}, nil
}

func checkOptions(location string, o api.SignOptions) error {
	if err := ear.CheckOptions(o); err != nil {
		return wrongAt(location+".nonce", err)
	}
	return nil
}

// sign signs the verdicts of hosts as they stand now.
func (r *router) sign(ctx context.Context, names []string, o api.SignOptions) ([]api.SignedHost, error) {
	now := time.Now()
	found, err := r.config.Store.Lookup(ctx, names, now)
	if err != nil {
		return nil, err
	}
	parts := setParts{store: r.config.Store, known: make(map[string]trust.Part)}
	signed := make([]api.SignedHost, len(found))
	for i := range found {
		judged, err := parts.of(ctx, found[i].Verdict.Sets)
		if err != nil {
			return nil, err
		}
		token, err := r.config.Issuer.Sign(hostOf(&found[i]), judged, o, now)
		if errors.Is(err, ear.ErrNoKeys) {
			return nil, huma.NewError(http.StatusServiceUnavailable, "This server has no key to sign verdicts by: signing.keys of its configuration names none.")
		}
		if err != nil {
			return nil, err
		}
		signed[i] = api.SignedHost{Host: found[i].Asked, JWT: token}
	}
	return signed, nil
}

// setParts tells of which part of a launch sets are.
type setParts struct {
	store *store.Store
	known map[string]trust.Part
}

// of returns the parts that some of the sets speak of.
func (p *setParts) of(ctx context.Context, sets []string) ([]trust.Part, error) {
	for _, name := range sets {
		if _, known := p.known[name]; known {
			continue
		}
		set, err := p.store.Set(ctx, name)
		if err != nil && !errors.Is(err, store.ErrNotFound) { // a part that nobody knows is not claimed
			return nil, err
		}
		p.known[name] = set.Part
	}
	return slices.DeleteFunc(trust.Parts(), func(part trust.Part) bool {
		return !slices.ContainsFunc(sets, func(name string) bool { return p.known[name] == part })
	}), nil
}
