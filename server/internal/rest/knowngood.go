package rest

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/internal/access"
	"github.com/trustpool/trustpool/server/internal/knowngood"
	"github.com/trustpool/trustpool/server/internal/trust"
	formats "github.com/trustpool/trustpool/verifier/knowngood"
)

// toolRoutes are for what can be done with known-good sets beside keeping them. An operator may do all of it: it makes drafts, or nothing.
func toolRoutes(r *router) {
	t := &tools{router: r, known: cmp.Or(r.config.Tools, knowngood.New(r.config.Store))}
	learn := operation("capture-node", http.MethodPost, "/v1/nodes/{name}/capture", "Learn drafts of known-good sets from a node's last evidence")
	learn.DefaultStatus = http.StatusCreated
	add(r, access.Operator, learn, t.capture)
	foreign := operation("import-set", http.MethodPost, "/v1/sets:import", "Make a draft of a set from elsewhere")
	foreign.DefaultStatus, foreign.MaxBodyBytes = http.StatusCreated, importBody
	add(r, access.Operator, foreign, t.importSet)
	out := operation("export-set", http.MethodGet, "/v1/sets/{name}/export", "Write a set in a format of ours or of others")
	out.Responses = map[string]*huma.Response{"200": {
		Description: "A JSON file of that format.",
		Content:     map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{Type: huma.TypeObject}}},
	}}
	add(r, access.Reader, out, t.export)
	add(r, access.Reader, operation("compare-sets", http.MethodPost, "/v1/sets:compare", "Say how two sets differ"), t.compare)
	add(r, access.Operator, operation("dry-run", http.MethodPost, "/v1/sets:dry-run", "Tell whom a change of sets or pools would condemn or pardon, without making it"), t.dryRun)
}

// tools answer these routes.
type tools struct {
	*router
	known *knowngood.Tools
}

func (t *tools) capture(ctx context.Context, in *struct {
	Named
	Content[api.Capture]
},
) (*Content[api.Captured], error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	parts := make(map[int]trust.Part, len(in.Body.Parts))
	for text, part := range in.Body.Parts {
		pcr, err := strconv.Atoi(text)
		if err != nil || !slices.Contains(trust.Parts(), trust.Part(part)) {
			return nil, wrong(&huma.ErrorDetail{Location: "body.parts", Message: `is not a PCR's number and a part, write "18": "platform", "hypervisor" or "host_specific"`})
		}
		parts[pcr] = trust.Part(part)
	}
	done, err := t.known.Capture(ctx, act(ctx), knowngood.Request{Node: in.Name, Prefix: in.Body.Prefix, Pools: in.Body.Pools, Parts: parts})
	if err != nil {
		return nil, err
	}
	answer := api.Captured{Sets: []api.Set{}, QuotedAt: done.QuotedAt, EvidenceID: done.EvidenceID, Notes: done.Notes}
	for i := range done.Sets {
		answer.Sets = append(answer.Sets, setOf(&done.Sets[i]))
	}
	return &Content[api.Captured]{Body: answer}, nil
}

// maxUntrusted bounds what an answer lists of values that were left out.
const maxUntrusted = 100

func (t *tools) importSet(ctx context.Context, in *Content[api.SetImport]) (*Content[api.ImportedSet], error) {
	done, err := t.known.Import(ctx, act(ctx), knowngood.Import{
		Format: formats.Format(in.Body.Format), Raw: in.Body.Document, Name: in.Body.Name, Part: trust.Part(in.Body.Part), Node: trust.FoldName(in.Body.Node), Pools: in.Body.Pools,
	})
	if err != nil {
		return nil, err
	}
	answer := api.ImportedSet{Set: setOf(&done.Set), Notes: done.Notes}
	for _, v := range done.Untrusted[:min(len(done.Untrusted), maxUntrusted)] {
		answer.Untrusted = append(answer.Untrusted, api.UntrustedValue{Bank: v.Bank, PCR: v.PCR, Value: v.Value.String()})
	}
	return &Content[api.ImportedSet]{Body: answer}, nil
}

func (t *tools) export(ctx context.Context, in *struct {
	Word
	Format string `query:"format" default:"trustpool" enum:"trustpool,keylime-tpm-policy,openattestation-mle" doc:"how it is written"`
},
) (*huma.StreamResponse, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	raw, err := t.known.Export(ctx, in.Name, formats.Format(in.Format))
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		hc.SetHeader("Content-Type", "application/json")
		_, _ = hc.BodyWriter().Write(raw) // who has gone needs no answer
	}}, nil
}

func (t *tools) compare(ctx context.Context, in *Content[api.Comparison]) (*Content[api.SetDifferences], error) {
	found, err := t.known.Compare(ctx, in.Body.A, in.Body.B)
	if err != nil {
		return nil, err
	}
	answer := api.SetDifferences{Differences: make([]api.SetDifference, 0, len(found))}
	for _, d := range found {
		answer.Differences = append(answer.Differences, api.SetDifference{
			Kind: string(d.Kind), Bank: d.Bank, PCR: d.PCR, SlotA: d.SlotA, SlotB: d.SlotB, OnlyA: hexTexts(d.OnlyA), OnlyB: hexTexts(d.OnlyB), Text: d.Text,
		})
	}
	return &Content[api.SetDifferences]{Body: answer}, nil
}

func hexTexts[T interface{ String() string }](digests []T) []string {
	var texts []string
	for _, d := range digests {
		texts = append(texts, d.String())
	}
	return texts
}

func (t *tools) dryRun(ctx context.Context, in *Content[api.DryRun]) (*Content[api.Effect], error) {
	change, err := changeFrom(&in.Body)
	if err != nil {
		return nil, err
	}
	e, err := t.known.DryRun(ctx, change, time.Now())
	if err != nil {
		return nil, err
	}
	return &Content[api.Effect]{Body: effectOf(&e)}, nil
}
