package rest

import (
	"context"
	"net/http"

	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/internal/access"
	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/verifier"
)

func poolRoutes(r *router) {
	add(r, access.Reader, operation("list-pools", http.MethodGet, "/v1/pools", "List all pools"), r.pools)
	add(r, access.Reader, operation("get-pool", http.MethodGet, "/v1/pools/{name}", "Show a pool"), r.pool)
	add(r, access.Admin, operation("put-pool", http.MethodPut, "/v1/pools/{name}", "Make or replace a pool"), r.putPool)
	gone := operation("remove-pool", http.MethodDelete, "/v1/pools/{name}", "Remove a pool without nodes")
	gone.DefaultStatus = http.StatusNoContent
	add(r, access.Admin, gone, r.removePool)
}

// Word is the name of a thing that an administrator makes.
type Word struct {
	Name string `path:"name" maxLength:"128" doc:"its name"`
}

func (w *Word) check() error {
	if _, err := trust.ParseWord(w.Name); err != nil {
		return wrongAt("path.name", err)
	}
	return nil
}

func (r *router) pools(ctx context.Context, _ *struct{}) (*Content[api.Pools], error) {
	pools, err := r.config.Store.Pools(ctx)
	if err != nil {
		return nil, err
	}
	answer := api.Pools{Pools: make([]api.Pool, len(pools))}
	for i := range pools {
		answer.Pools[i] = poolOf(&pools[i])
	}
	return &Content[api.Pools]{Body: answer}, nil
}

func (r *router) pool(ctx context.Context, in *struct {
	Word
	Reading
},
) (*Tagged[api.Pool], error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	p, err := r.config.Store.Pool(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	if err := in.unchanged(etag(p.Revision)); err != nil {
		return nil, err
	}
	return &Tagged[api.Pool]{ETag: etag(p.Revision), Body: poolOf(&p)}, nil
}

func (r *router) putPool(ctx context.Context, in *struct {
	Word
	Creation
	Content[api.PoolSpec]
},
) (*Tagged[api.Pool], error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	revision, err := in.revision()
	if err != nil {
		return nil, err
	}
	p := poolFrom(in.Name, &in.Body)
	if details := fields("body", p.Check()); len(details) > 0 {
		return nil, wrong(details...)
	}
	put, err := r.config.Store.PutPool(ctx, act(ctx), p, revision)
	if err != nil {
		return nil, err
	}
	return &Tagged[api.Pool]{ETag: etag(put.Revision), Body: poolOf(&put)}, nil
}

func (r *router) removePool(ctx context.Context, in *Word) (*struct{}, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	return nil, r.config.Store.DeletePool(ctx, act(ctx), in.Name)
}

func poolOf(p *trust.Pool) api.Pool {
	out := api.Pool{Name: p.Name, PoolSpec: api.PoolSpec{
		Description: p.Description, Requires: []api.Requirement{}, AllowSimulatedNodes: p.AllowSimulatedNodes,
	}, Revision: p.Revision}
	for _, q := range p.Requires {
		out.Requires = append(out.Requires, api.Requirement{Part: string(q.Part), Match: string(q.Match)})
	}
	for _, b := range p.Bindings {
		out.Bindings = append(out.Bindings, string(b))
	}
	return out
}

func poolFrom(name string, spec *api.PoolSpec) trust.Pool {
	p := trust.Pool{Name: name, Description: spec.Description, AllowSimulatedNodes: spec.AllowSimulatedNodes}
	for _, q := range spec.Requires {
		p.Requires = append(p.Requires, trust.Requirement{Part: trust.Part(q.Part), Match: trust.Match(q.Match)})
	}
	for _, b := range spec.Bindings {
		p.Bindings = append(p.Bindings, verifier.EKBinding(b))
	}
	return p
}
