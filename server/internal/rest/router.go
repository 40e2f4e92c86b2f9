package rest

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/trustpool/trustpool/server/internal/access"
	"github.com/trustpool/trustpool/server/internal/store"
)

// router knows which role each route takes.
type router struct {
	config  Config
	api     huma.API
	mux     *http.ServeMux
	metrics *metrics
	// roles are by pattern, as http.ServeMux has it. A pattern that is not there takes nobody.
	roles    map[string]access.Role
	problems []error
	// slots bound the event streams.
	slots chan struct{}
}

// Sizes of request bodies.
const (
	smallBody  = 1 << 20
	queryBody  = 4 << 20
	importBody = 64 << 20
)

// add makes a route for callers of a role and those above it. Errors of do become problems by one table, so that no detail of the server's inside leaves it.
func add[I, O any](r *router, role access.Role, op huma.Operation, do func(context.Context, *I) (*O, error)) {
	pattern := op.Method + " " + op.Path
	r.roles[pattern] = role
	if op.MaxBodyBytes == 0 {
		op.MaxBodyBytes = smallBody
	}
	op.BodyReadTimeout = 30 * time.Second
	op.Description = "Takes the role " + role.String() + "."
	op.Extensions = map[string]any{"x-trustpool-role": role.String()}
	huma.Register(r.api, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := do(ctx, in)
		if err != nil {
			return nil, r.problem(ctx, pattern, err)
		}
		return out, nil
	})
}

// HandleFunc takes routes, huma's too, and has each look at the caller's role before anything else.
func (r *router) HandleFunc(pattern string, handler func(http.ResponseWriter, *http.Request)) {
	role := r.roles[pattern]
	if role == access.Nobody {
		r.problems = append(r.problems, fmt.Errorf("the route %s says no role: nobody gets through", pattern))
	}
	r.mux.HandleFunc(pattern, func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		caller := access.From(q.Context())
		if role == access.Nobody || caller.Role < role {
			writeProblem(w, http.StatusForbidden, fmt.Sprintf("This takes the role %s; %s has the role %s.", role, caller.Name, caller.Role))
			return
		}
		handler(w, q)
	})
}

// ServeHTTP answers callers.
func (r *router) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	handler, pattern := r.mux.Handler(q)
	if pattern == "" {
		r.metrics.serve("none", w, q, lost(handler))
		return
	}
	r.metrics.serve(pattern, w, q, r.mux)
}

// lost answers for paths and methods that there are not, as the mux would, but by a problem.
func lost(muxAnswer http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		probe := &statusOnly{header: make(http.Header)}
		muxAnswer.ServeHTTP(probe, q)
		if allow := probe.header.Get("Allow"); allow != "" {
			w.Header().Set("Allow", allow)
			writeProblem(w, http.StatusMethodNotAllowed, "This path takes "+allow+".")
			return
		}
		writeProblem(w, http.StatusNotFound, "There is no such path. GET /v1/openapi.json tells which there are.")
	})
}

// statusOnly finds out what a handler would answer.
type statusOnly struct{ header http.Header }

func (s *statusOnly) Header() http.Header         { return s.header }
func (s *statusOnly) Write(b []byte) (int, error) { return len(b), nil }
func (s *statusOnly) WriteHeader(int)             {}

// act is who changes something now.
func act(ctx context.Context) store.Act {
	return store.Act{By: access.From(ctx).Name, At: time.Now()}
}

// operation names a route.
func operation(id, method, path, summary string) huma.Operation {
	return huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary}
}
