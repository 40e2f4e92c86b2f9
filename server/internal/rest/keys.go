package rest

import (
	"context"
	"net/http"

	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/internal/access"
	"github.com/trustpool/trustpool/verifier"
)

// keyRoutes are for attestation keys that are trusted no more. To refuse one can make no host trusted; to allow it again can.
func keyRoutes(r *router) {
	add(r, access.Reader, operation("list-refused-aks", http.MethodGet, "/v1/refused-aks", "List the attestation keys that are refused"), r.refusedAKs)
	refuse := operation("refuse-ak", http.MethodPut, "/v1/refused-aks/{ak}", "Refuse an attestation key")
	refuse.DefaultStatus = http.StatusNoContent
	add(r, access.Operator, refuse, r.refuseAK)
	allow := operation("allow-ak", http.MethodDelete, "/v1/refused-aks/{ak}", "Take an attestation key off the list")
	allow.DefaultStatus = http.StatusNoContent
	add(r, access.Admin, allow, r.allowAK)
}

// NamedAK is an AK by its Name.
type NamedAK struct {
	AK string `path:"ak" maxLength:"132" doc:"the key's TPM Name, hexadecimal"`
}

func (in *NamedAK) name() (verifier.Hex, error) {
	names, err := verifier.ParseRefuseList([]byte(in.AK))
	if err != nil || len(names) != 1 {
		return nil, wrongAt("path.ak", errNoKeyName{})
	}
	return names[0], nil
}

type errNoKeyName struct{}

func (errNoKeyName) Error() string {
	return "is no Name of a key, write its hexadecimal digits as trustpoolctl shows them"
}

func (r *router) refusedAKs(ctx context.Context, _ *struct{}) (*Content[api.RefusedAKs], error) {
	refused, err := r.config.Store.RefusedAKs(ctx)
	if err != nil {
		return nil, err
	}
	answer := api.RefusedAKs{RefusedAKs: make([]api.RefusedAK, len(refused))}
	for i, k := range refused {
		answer.RefusedAKs[i] = api.RefusedAK{Name: k.Name.String(), Note: k.Note, By: k.By, At: k.At}
	}
	return &Content[api.RefusedAKs]{Body: answer}, nil
}

func (r *router) refuseAK(ctx context.Context, in *struct {
	NamedAK
	Content[api.Refusal]
},
) (*struct{}, error) {
	name, err := in.name()
	if err != nil {
		return nil, err
	}
	return nil, r.config.Store.RefuseAK(ctx, act(ctx), name, in.Body.Note)
}

func (r *router) allowAK(ctx context.Context, in *NamedAK) (*struct{}, error) {
	name, err := in.name()
	if err != nil {
		return nil, err
	}
	return nil, r.config.Store.AllowAK(ctx, act(ctx), name)
}
