package rest

import (
	"context"
	"encoding/hex"
	"errors"
	"net/http"

	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/internal/access"
	"github.com/trustpool/trustpool/server/internal/store"
)

func adminLogRoutes(r *router) {
	add(r, access.Admin, operation("list-admin-log", http.MethodGet, "/v1/admin-log", "List what administrators did, in order"), r.adminLog)
	add(r, access.Admin, operation("check-admin-log", http.MethodGet, "/v1/admin-log/check", "Follow the chain of the admin log"), r.checkAdminLog)
}

func (r *router) adminLog(ctx context.Context, in *ByNumber) (*Content[api.AdminLog], error) {
	entries, err := r.config.Store.AdminLog(ctx, in.After, in.Limit)
	if err != nil {
		return nil, err
	}
	answer := api.AdminLog{Entries: make([]api.AdminEntry, len(entries))}
	for i, e := range entries {
		answer.Entries[i] = api.AdminEntry{Seq: e.Seq, At: e.At, By: e.By, Action: e.Action, Subject: e.Subject, Detail: e.Detail, Hash: hex.EncodeToString(e.Hash)}
	}
	if len(entries) == in.Limit {
		answer.Next = entries[len(entries)-1].Seq
	}
	return &Content[api.AdminLog]{Body: answer}, nil
}

func (r *router) checkAdminLog(ctx context.Context, _ *struct{}) (*Content[api.AdminLogCheck], error) {
	last, hash, err := r.config.Store.CheckAdminLog(ctx)
	answer := api.AdminLogCheck{Intact: err == nil, Last: last, Hash: hex.EncodeToString(hash)}
	if err != nil {
		if !errors.Is(err, store.ErrAltered) {
			return nil, err
		}
		answer.Problem = sentence(err)
	}
	return &Content[api.AdminLogCheck]{Body: answer}, nil
}
