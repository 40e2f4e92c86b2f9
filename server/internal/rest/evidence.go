package rest

import (
	"context"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/internal/access"
	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/verifier/cmw"
	"github.com/trustpool/trustpool/verifier/eventlog/cel"
	"github.com/trustpool/trustpool/verifier/saved"
)

// typeTar is what evidence is sent as to who does not ask for anything else.
const typeTar = "application/x-tar"

// evidenceRoutes give what a verdict rests on, so that others can judge it again.
func evidenceRoutes(r *router) {
	op := operation("get-evidence", http.MethodGet, "/v1/nodes/{name}/evidence/{which}", "Download evidence as a tar of the folder that trustpoolctl verify reads")
	binary := &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}
	op.Responses = map[string]*huma.Response{"200": {
		Description: "A tar (POSIX.1-2001) of one folder; to who accepts it a Conceptual Message Wrapper (RFC 9999) of its files.",
		Content: map[string]*huma.MediaType{
			typeTar: binary, cmw.FormatJSON.MediaType(): {Schema: &huma.Schema{Type: huma.TypeObject}}, cmw.FormatCBOR.MediaType(): binary,
		},
	}}
	add(r, access.Operator, op, r.evidence)
}

func (r *router) evidence(ctx context.Context, in *struct {
	Named
	Which string `path:"which" pattern:"^(good|bad|[1-9][0-9]{0,18})$" doc:"good or bad for the last one of a node that was trusted or was not, or the evidence_id of a verdict"`
	// OpenAPI tells of Accept by the types of the answer.
	Accept string `header:"Accept" hidden:"true"`
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
	if format := accepted(in.Accept); format != cmw.FormatUnknown {
		return message(&ev, format)
	}
	name := fmt.Sprintf("evidence-%d", ev.ID)
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		hc.SetHeader("Content-Type", typeTar)
		hc.SetHeader("Vary", "Accept")
		hc.SetHeader("Content-Disposition", `attachment; filename="`+name+`.tar"`)
		// The status is sent: what breaks now ends the connection in the middle, and the tar has no end.
		if err := saved.WriteTar(hc.BodyWriter(), name, ev.Evidence, ev.QuotedAt); err != nil && ctx.Err() == nil {
			r.config.Logger.Error("evidence can't be sent", "node", in.Name, "evidence", ev.ID, "error", err)
			panic(http.ErrAbortHandler)
		}
	}}, nil
}

// accepted gives the first form of a message that an Accept header (RFC 9110, 12.5.1) names; FormatUnknown for a tar, which is sent to everybody else.
func accepted(header string) cmw.Format {
	for one := range strings.SplitSeq(header, ",") {
		name, parameters, err := mime.ParseMediaType(one)
		if weight, err := strconv.ParseFloat(parameters["q"], 64); err == nil && weight == 0 {
			continue // not this one, at any price
		}
		switch {
		case err != nil:
			continue
		case name == typeTar:
			return cmw.FormatUnknown
		case name == cmw.FormatJSON.MediaType():
			return cmw.FormatJSON
		case name == cmw.FormatCBOR.MediaType():
			return cmw.FormatCBOR
		}
	}
	return cmw.FormatUnknown
}

// message sends evidence as one message, with its logs as they are.
func message(ev *store.Evidence, format cmw.Format) (*huma.StreamResponse, error) {
	data, err := cmw.Encode(ev.Evidence, format, cel.FormatUnknown)
	if err != nil {
		return nil, huma.NewError(http.StatusNotAcceptable, "This evidence has no such form, since a part of it is missing or it is too large; ask for "+typeTar+".")
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		hc.SetHeader("Content-Type", format.MediaType())
		hc.SetHeader("Vary", "Accept")
		_, _ = hc.BodyWriter().Write(data) // who asked has gone
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
