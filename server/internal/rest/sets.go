package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/internal/access"
	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/verifier"
)

// setRoutes are for known-good sets. An operator writes drafts; only an administrator has them count, or not count any more.
func setRoutes(r *router) {
	add(r, access.Reader, operation("list-sets", http.MethodGet, "/v1/sets", "List known-good sets, without their values"), r.sets)
	add(r, access.Reader, operation("get-set", http.MethodGet, "/v1/sets/{name}", "Show a known-good set"), r.set)
	add(r, access.Operator, operation("put-set", http.MethodPut, "/v1/sets/{name}", "Make or replace the draft of a known-good set"), r.putSet)
	add(r, access.Admin, operation("approve-set", http.MethodPost, "/v1/sets/{name}/approve", "Put a draft in force"), r.approveSet)
	add(r, access.Admin, operation("retire-set", http.MethodPost, "/v1/sets/{name}/retire", "End a set for good"), r.retireSet)
}

func (r *router) sets(ctx context.Context, in *struct {
	ByName
	State string `query:"state" enum:"draft,active,retired" doc:"only those in this state"`
	Pool  string `query:"pool" maxLength:"128" doc:"only those that count in this pool"`
},
) (*Content[api.Sets], error) {
	sets, err := r.config.Store.Sets(ctx, store.SetFilter{State: trust.SetState(in.State), Pool: in.Pool, After: in.After, Limit: in.Limit})
	if err != nil {
		return nil, err
	}
	answer := api.Sets{Sets: make([]api.Set, len(sets))}
	for i := range sets {
		answer.Sets[i] = setOf(&sets[i])
		answer.Next = in.next(len(sets), sets[i].Name)
	}
	return &Content[api.Sets]{Body: answer}, nil
}

func (r *router) set(ctx context.Context, in *struct {
	Word
	Reading
},
) (*Tagged[api.Set], error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	s, err := r.config.Store.Set(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	if err := in.unchanged(etag(s.Revision)); err != nil {
		return nil, err
	}
	return wholeSet(s)
}

func (r *router) putSet(ctx context.Context, in *struct {
	Word
	Creation
	Content[api.SetSpec]
},
) (*Tagged[api.Set], error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	revision, err := in.revision()
	if err != nil {
		return nil, err
	}
	s, err := setFrom(in.Name, &in.Body)
	if err != nil {
		return nil, err
	}
	put, err := r.config.Store.PutSet(ctx, act(ctx), s, revision)
	if err != nil {
		return nil, err
	}
	return wholeSet(put)
}

// SetAct is something that is done with a set of the revision that has to be said: what is approved is what was seen.
type SetAct struct {
	Word
	Change
}

func (r *router) approveSet(ctx context.Context, in *SetAct) (*Tagged[api.Set], error) {
	return in.do(ctx, r.config.Store.ApproveSet)
}

func (r *router) retireSet(ctx context.Context, in *SetAct) (*Tagged[api.Set], error) {
	return in.do(ctx, r.config.Store.RetireSet)
}

func (in *SetAct) do(ctx context.Context, move func(context.Context, store.Act, string, int64) (trust.Set, error)) (*Tagged[api.Set], error) {
	revision, err := in.needed()
	if err := errors.Join(in.check(), err); err != nil {
		return nil, err
	}
	s, err := move(ctx, act(ctx), in.Name, revision)
	if err != nil {
		return nil, err
	}
	return wholeSet(s)
}

// setOf is without the values.
func setOf(s *trust.Set) api.Set {
	pools := s.Pools
	if pools == nil {
		pools = []string{}
	}
	return api.Set{
		Name: s.Name,
		SetSpec: api.SetSpec{
			Description: s.Description, Part: string(s.Part), Pools: pools, Node: s.Node, Source: s.Source, ValidFrom: s.ValidFrom, ValidUntil: s.ValidUntil,
		},
		State: string(s.State), Author: s.Author, CreatedAt: s.CreatedAt, ApprovedBy: s.ApprovedBy, ApprovedAt: s.ApprovedAt, RetiredBy: s.RetiredBy, RetiredAt: s.RetiredAt,
		Revision: s.Revision,
	}
}

func wholeSet(s trust.Set) (*Tagged[api.Set], error) {
	known, err := s.KnownGood.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("the set %s: %w", s.Name, err)
	}
	out := setOf(&s)
	out.KnownGood = known
	return &Tagged[api.Set]{ETag: etag(s.Revision), Body: out}, nil
}

func setFrom(name string, spec *api.SetSpec) (trust.Set, error) {
	if len(spec.KnownGood) == 0 {
		return trust.Set{}, wrong(&huma.ErrorDetail{Location: "body.known_good", Message: "missing, write the values"})
	}
	known, err := verifier.ParseKnownGood(spec.KnownGood)
	if err != nil {
		return trust.Set{}, wrongAt("body.known_good", err)
	}
	s := trust.Set{
		Name: name, Description: spec.Description, Part: trust.Part(spec.Part), Pools: spec.Pools, Node: trust.FoldName(spec.Node), KnownGood: known, Source: spec.Source,
		ValidFrom: spec.ValidFrom.UTC(), ValidUntil: spec.ValidUntil.UTC(),
	}
	if details := fields("body", s.Check()); len(details) > 0 {
		return trust.Set{}, wrong(details...)
	}
	return s, nil
}
