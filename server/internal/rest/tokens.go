package rest

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/internal/access"
)

func tokenRoutes(r *router) {
	add(r, access.Admin, operation("list-tokens", http.MethodGet, "/v1/tokens", "List all bearer tokens"), r.tokens)
	made := operation("add-token", http.MethodPost, "/v1/tokens", "Make a bearer token")
	made.DefaultStatus = http.StatusCreated
	add(r, access.Admin, made, r.addToken)
	gone := operation("remove-token", http.MethodDelete, "/v1/tokens/{name}", "End a bearer token")
	gone.DefaultStatus = http.StatusNoContent
	add(r, access.Admin, gone, r.removeToken)
}

func (r *router) tokens(ctx context.Context, _ *struct{}) (*Content[api.Tokens], error) {
	tokens, err := r.config.Store.Tokens(ctx)
	if err != nil {
		return nil, err
	}
	answer := api.Tokens{Tokens: make([]api.Token, len(tokens))}
	for i, t := range tokens {
		answer.Tokens[i] = api.Token{
			TokenSpec: api.TokenSpec{Name: t.Name, Role: t.Role, ExpiresAt: t.ExpiresAt}, ID: t.ID, CreatedBy: t.CreatedBy, CreatedAt: t.CreatedAt,
		}
	}
	return &Content[api.Tokens]{Body: answer}, nil
}

func (r *router) addToken(ctx context.Context, in *Content[api.TokenSpec]) (*Content[api.NewToken], error) {
	role, err := access.ParseRole(in.Body.Role)
	if err != nil {
		return nil, wrongAt("body.role", err)
	}
	if !in.Body.ExpiresAt.IsZero() && !in.Body.ExpiresAt.After(time.Now()) {
		return nil, wrongAt("body.expires_at", errors.New("is over: the token would count for nothing"))
	}
	text, kept, err := access.NewToken(in.Body.Name, role, in.Body.ExpiresAt)
	if err != nil {
		return nil, wrongAt("body.name", err)
	}
	if err := r.config.Store.AddToken(ctx, act(ctx), kept); err != nil {
		return nil, err
	}
	return &Content[api.NewToken]{Body: api.NewToken{Token: text, TokenSpec: in.Body}}, nil
}

func (r *router) removeToken(ctx context.Context, in *Word) (*struct{}, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	return nil, r.config.Store.RemoveToken(ctx, act(ctx), in.Name)
}
