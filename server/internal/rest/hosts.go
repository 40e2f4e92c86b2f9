package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/internal/access"
	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/trust"
)

// hostRoutes answer the question that the server is there for.
func hostRoutes(r *router) {
	add(r, access.Reader, operation("get-host", http.MethodGet, "/v1/hosts/{name}", "Is this host trusted?"), r.host)
	query := operation("query-hosts", http.MethodPost, "/v1/hosts:query", "Which of these hosts are trusted?")
	query.MaxBodyBytes = queryBody
	add(r, access.Reader, query, r.queryHosts)
	add(r, access.Reader, operation("list-hosts", http.MethodGet, "/v1/hosts", "List hosts with their verdicts"), r.hosts)
	add(r, access.Reader, operation("get-summary", http.MethodGet, "/v1/summary", "How many hosts are trusted?"), r.summary)
	add(r, access.Reader, operation("get-caller", http.MethodGet, "/v1/caller", "Who am I?"), r.caller)
}

// Named is a node by its name or an alias.
type Named struct {
	Name string `path:"name" maxLength:"253" doc:"a name of the node, its own or an alias"`
}

// check wants a name that a node can have.
func (n *Named) check() error {
	if _, err := trust.ParseName(n.Name); err != nil {
		return wrongAt("path.name", err)
	}
	return nil
}

// Content is a body. It is exported, as all types that are embedded in inputs: huma passes over those that are not.
type Content[T any] struct{ Body T }

// Tagged is an answer with a revision.
type Tagged[T any] struct {
	ETag string `header:"ETag" doc:"the revision, for If-Match"`
	Body T
}

func (r *router) host(ctx context.Context, in *struct {
	Named
	Reading
},
) (*Tagged[api.Host], error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	hosts, err := r.config.Store.Lookup(ctx, []string{in.Name}, time.Now())
	if err != nil {
		return nil, err
	}
	answer := hostOf(&hosts[0])
	tag := fmt.Sprintf(`"%d-%s-%d"`, answer.Generation, answer.Trust, answer.ExpiresAt.UnixMilli())
	if err := in.unchanged(tag); err != nil {
		return nil, err
	}
	return &Tagged[api.Host]{ETag: tag, Body: answer}, nil
}

func (r *router) queryHosts(ctx context.Context, in *Content[api.HostQuery]) (*Content[api.Hosts], error) {
	now := time.Now()
	found, err := r.config.Store.Lookup(ctx, in.Body.Hosts, now)
	if err != nil {
		return nil, err
	}
	return &Content[api.Hosts]{Body: hostsOf(found, now)}, nil
}

func hostsOf(found []store.Host, now time.Time) api.Hosts {
	answer := api.Hosts{EvaluatedAt: now.UTC(), Hosts: make([]api.Host, len(found))}
	for i := range found {
		answer.Hosts[i] = hostOf(&found[i])
	}
	return answer
}

// Page is which part of a list is wanted.
type Page struct {
	Limit int `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"how many are wanted"`
}

// ByName is a page of a list by name.
type ByName struct {
	Page
	After string `query:"after" maxLength:"253" doc:"next of the page before"`
}

// next is what the next page begins after: the last name, if the page is full.
func (p *Page) next(n int, last string) string {
	if n < p.Limit {
		return ""
	}
	return last
}

func (r *router) hosts(ctx context.Context, in *struct {
	ByName
	Pool  string `query:"pool" maxLength:"128" doc:"only those of this pool"`
	Trust string `query:"trust" enum:"trusted,untrusted,unknown" doc:"only those with this verdict"`
},
) (*Content[api.Hosts], error) {
	now := time.Now()
	filter := store.HostFilter{Pool: in.Pool, After: in.After, Limit: in.Limit}
	if level, known := trust.ParseLevel(in.Trust); known {
		filter.Level = &level
	}
	found, err := r.config.Store.Hosts(ctx, filter, now)
	if err != nil {
		return nil, err
	}
	answer := hostsOf(found, now)
	if len(found) > 0 {
		answer.Next = in.next(len(found), found[len(found)-1].Node)
	}
	return &Content[api.Hosts]{Body: answer}, nil
}

// countedAlarms bounds how many alarms a summary counts.
const countedAlarms = 1000

func (r *router) summary(ctx context.Context, _ *struct{}) (*Content[api.Summary], error) {
	census, err := r.config.Store.Census(ctx)
	alarms, alarmsErr := r.config.Store.Alarms(ctx, true, 0, countedAlarms)
	pools, poolsErr := r.config.Store.Pools(ctx)
	if err := errors.Join(err, alarmsErr, poolsErr); err != nil {
		return nil, err
	}

	answer := api.Summary{EvaluatedAt: census.At.UTC(), Generation: census.Generation, Pools: make(map[string]api.Count), OpenAlarms: len(alarms)}
	for _, p := range pools {
		answer.Pools[p.Name] = api.Count{}
	}
	for _, c := range census.Counts {
		pool := answer.Pools[c.Pool]
		for _, count := range []*api.Count{&pool, &answer.Total} {
			switch c.Level {
			case trust.Trusted:
				count.Trusted += c.Nodes
			case trust.Untrusted:
				count.Untrusted += c.Nodes
			case trust.Unknown:
				count.Unknown += c.Nodes
			}
		}
		answer.Pools[c.Pool] = pool
	}
	return &Content[api.Summary]{Body: answer}, nil
}

func (r *router) caller(ctx context.Context, _ *struct{}) (*Content[api.Caller], error) {
	who := access.From(ctx)
	return &Content[api.Caller]{Body: api.Caller{Name: who.Name, Role: who.Role.String()}}, nil
}
