package rest

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/trustpool/trustpool/server/internal/access"
	"github.com/trustpool/trustpool/server/internal/ear"
)

// keySetPath is where verifiers of JWTs look for keys by custom (RFC 8615; OpenID Connect Discovery names it in its examples).
const keySetPath = "/.well-known/jwks.json"

// withKeySet answers everybody who asks for the public keys, and has next answer all else. It is the one path in front of the Door: who was handed a signed verdict may be nobody's caller, what is
// told is made to be known, and it is the same for all: it is answered from memory, and depends on nothing that was asked.
func (r *router) withKeySet(next http.Handler) http.Handler {
	keys := http.HandlerFunc(r.keySet)
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		isRead := q.Method == http.MethodGet || q.Method == http.MethodHead
		if !isRead || q.URL.Path != keySetPath {
			next.ServeHTTP(w, q)
			return
		}
		r.metrics.serve("GET "+keySetPath, w, q, keys)
	})
}

func (r *router) keySet(w http.ResponseWriter, _ *http.Request) {
	keys, err := r.config.Issuer.JWKS(time.Now())
	if err != nil {
		r.config.Logger.Error("the key set can't be written", "error", err)
		writeProblem(w, http.StatusInternalServerError, "Something failed in the server; its log says what.")
		return
	}
	w.Header().Set("Content-Type", "application/jwk-set+json") // RFC 7517, 8.5.2
	w.Header().Set("Content-Length", strconv.Itoa(len(keys)))
	w.Header().Set("Cache-Control", fmt.Sprintf("public, max-age=%d", int(ear.CacheFor.Seconds())))
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(keys)
}

// describeKeySet has the OpenAPI document tell of it: add makes only routes that take a role.
func (r *router) describeKeySet() {
	op := operation("get-key-set", http.MethodGet, keySetPath, "The public keys by which signed verdicts are verified")
	op.Description = "Takes no role: everybody may ask."
	op.Security = []map[string][]string{{}}
	op.Extensions = map[string]any{"x-trustpool-role": access.Nobody.String()}
	op.Responses = map[string]*huma.Response{"200": {
		Description: "A JWK Set (RFC 7517, 5). Cache-Control says how long it may be kept; a key that is to sign later is in it before.",
		Content:     map[string]*huma.MediaType{"application/jwk-set+json": {Schema: &huma.Schema{Type: huma.TypeObject}}},
	}}
	r.api.OpenAPI().AddOperation(&op)
}
