package rest

import (
	"context"
	"fmt"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/internal/access"
	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/verifier/saved"
)

// evidenceRoutes give what a verdict rests on, so that others can judge it again.
func evidenceRoutes(r *router) {
	op := operation("get-evidence", http.MethodGet, "/v1/nodes/{name}/evidence/{which}", "Download evidence as a tar of the folder that trustpoolctl verify reads")
	op.Responses = map[string]*huma.Response{"200": {
		Description: "A tar (POSIX.1-2001) of one folder.",
		Content:     map[string]*huma.MediaType{"application/x-tar": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}},
	}}
	add(r, access.Operator, op, r.evidence)
}

func (r *router) evidence(ctx context.Context, in *struct {
	Named
	Which string `path:"which" pattern:"^(good|bad|[1-9][0-9]{0,18})$" doc:"good or bad for the last one of a node that was trusted or was not, or the evidence_id of a verdict"`
},
) (*huma.StreamResponse, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	ev, err := r.findEvidence(ctx, in.Name, in.Which)
	if err != nil {
		return nil, err
	}
	ev.Evidence.Nonce = ev.Nonce
	name := fmt.Sprintf("evidence-%d", ev.ID)
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		hc.SetHeader("Content-Type", "application/x-tar")
		hc.SetHeader("Content-Disposition", `attachment; filename="`+name+`.tar"`)
		// The status is sent: what breaks now ends the connection in the middle, and the tar has no end.
		if err := saved.WriteTar(hc.BodyWriter(), name, ev.Evidence, ev.QuotedAt); err != nil && ctx.Err() == nil {
			r.config.Logger.Error("evidence can't be sent", "node", in.Name, "evidence", ev.ID, "error", err)
			panic(http.ErrAbortHandler)
		}
	}}, nil
}

func (r *router) findEvidence(ctx context.Context, name, which string) (store.Evidence, error) {
	switch which {
	case api.EvidenceLastGood:
		return r.config.Store.LastEvidence(ctx, name, store.LastGood)
	case api.EvidenceLastBad:
		return r.config.Store.LastEvidence(ctx, name, store.LastBad)
	default:
		id, err := strconv.ParseInt(which, 10, 64)
		if err != nil {
			return store.Evidence{}, fmt.Errorf("reading evidence: %w", store.ErrNotFound)
		}
		return r.config.Store.EvidenceOf(ctx, name, id)
	}
}
