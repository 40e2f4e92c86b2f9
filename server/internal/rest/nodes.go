package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/internal/access"
	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/trust"
)

// nodeRoutes are for what an administrator says of nodes.
func nodeRoutes(r *router) {
	add(r, access.Reader, operation("get-node", http.MethodGet, "/v1/nodes/{name}", "Show a node"), r.node)
	add(r, access.Reader, operation("list-nodes", http.MethodGet, "/v1/nodes", "List nodes"), r.nodes)
	add(r, access.Reader, operation("list-history", http.MethodGet, "/v1/nodes/{name}/history", "List the changes of a node's verdict, the newest first"), r.history)
	one := operation("add-node", http.MethodPost, "/v1/nodes", "Add a node")
	one.DefaultStatus = http.StatusCreated
	add(r, access.Admin, one, r.addNode)
	many := operation("import-nodes", http.MethodPost, "/v1/nodes:import", "Add many nodes, all or none")
	many.DefaultStatus, many.MaxBodyBytes = http.StatusCreated, importBody
	add(r, access.Admin, many, r.importNodes)
	list := operation("import-nodes-csv", http.MethodPost, "/v1/nodes:import-csv", "Add the nodes of a CSV file, all or none")
	list.DefaultStatus, list.MaxBodyBytes = http.StatusCreated, importBody
	add(r, access.Admin, list, r.importCSV)
	add(r, access.Admin, operation("update-node", http.MethodPut, "/v1/nodes/{name}", "Replace what an administrator says of a node"), r.updateNode)
	gone := operation("remove-node", http.MethodDelete, "/v1/nodes/{name}", "Decommission a node")
	gone.DefaultStatus = http.StatusNoContent
	add(r, access.Admin, gone, r.removeNode)
}

func (r *router) node(ctx context.Context, in *Named) (*Tagged[api.Node], error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	n, err := r.config.Store.Node(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	answer, err := r.shown(ctx, &n)
	if err != nil {
		return nil, err
	}
	contact, err := r.config.Store.Contact(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	answer.Body.Contact = &api.Contact{
		DueAt: contact.DueAt, ReachedAt: contact.ReachedAt, Failures: contact.Failures, LastError: contact.LastError,
		GoodQuotes: contact.GoodQuotes, BadQuotes: contact.BadQuotes, Unanswered: contact.Unanswered,
	}
	return answer, nil
}

// shown is a node with its verdict.
func (r *router) shown(ctx context.Context, n *trust.Node) (*Tagged[api.Node], error) {
	hosts, err := r.config.Store.Lookup(ctx, []string{n.Name}, time.Now())
	if err != nil {
		return nil, err
	}
	out, err := nodeOf(n)
	out.Verdict = verdictOf(&hosts[0].Verdict, hosts[0].EvidenceID)
	return &Tagged[api.Node]{ETag: etag(n.Revision), Body: out}, err
}

func (r *router) nodes(ctx context.Context, in *struct {
	ByName
	Pool  string `query:"pool" maxLength:"128" doc:"only those of this pool"`
	State string `query:"state" enum:"pending,active,held,decommissioned" doc:"only those in this state; without, all but decommissioned ones"`
},
) (*Content[api.Nodes], error) {
	nodes, err := r.config.Store.Nodes(ctx, store.HostFilter{Pool: in.Pool, State: trust.State(in.State), After: in.After, Limit: in.Limit})
	if err != nil {
		return nil, err
	}
	names := make([]string, len(nodes))
	for i := range nodes {
		names[i] = nodes[i].Name
	}
	hosts, err := r.config.Store.Lookup(ctx, names, time.Now())
	if err != nil {
		return nil, err
	}
	answer := api.Nodes{Nodes: make([]api.Node, len(nodes))}
	for i := range nodes {
		if answer.Nodes[i], err = nodeOf(&nodes[i]); err != nil {
			return nil, err
		}
		if nodes[i].State != trust.Decommissioned { // whose names may be another node's now
			answer.Nodes[i].Verdict = verdictOf(&hosts[i].Verdict, hosts[i].EvidenceID)
		} else {
			answer.Nodes[i].Verdict = verdictOf(&trust.Verdict{Reason: trust.UnknownHost, Detail: nodes[i].StateReason}, 0)
		}
		answer.Next = in.next(len(nodes), nodes[i].Name)
	}
	return &Content[api.Nodes]{Body: answer}, nil
}

func (r *router) history(ctx context.Context, in *struct {
	Named
	Page
	Before int64 `query:"before" minimum:"0" doc:"next of the page before"`
},
) (*Content[api.Changes], error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	if _, err := r.config.Store.Node(ctx, in.Name); err != nil {
		return nil, err
	}
	changes, err := r.config.Store.History(ctx, in.Name, in.Before, in.Limit)
	if err != nil {
		return nil, err
	}
	answer := api.Changes{Changes: make([]api.Change, len(changes))}
	for i := range changes {
		answer.Changes[i] = ChangeOf(&changes[i])
	}
	if len(changes) == in.Limit {
		answer.Next = changes[len(changes)-1].Verdict.Generation
	}
	return &Content[api.Changes]{Body: answer}, nil
}

// ChangeOf gives a change as events and histories do.
func ChangeOf(c *store.Change) api.Change {
	return api.Change{Node: c.Node, Pool: c.Pool, Verdict: verdictOf(&c.Verdict, c.EvidenceID), Rebooted: c.Rebooted}
}

// Made is a Tagged that says where the thing is.
type Made[T any] struct {
	Location string `header:"Location"`
	ETag     string `header:"ETag" doc:"the revision, for If-Match"`
	Body     T
}

func (r *router) addNode(ctx context.Context, in *Content[api.NodeSpec]) (*Made[api.Node], error) {
	n, errs := newNode(&in.Body, "body")
	if len(errs) > 0 {
		return nil, wrong(errs...)
	}
	added, err := r.config.Store.AddNodes(ctx, act(ctx), []trust.Node{n})
	if err != nil {
		return nil, noPool(err)
	}
	answer, err := r.shown(ctx, &added[0])
	if err != nil {
		return nil, err
	}
	return &Made[api.Node]{Location: "/v1/nodes/" + added[0].Name, ETag: answer.ETag, Body: answer.Body}, nil
}

// noPool: what is not found when nodes are written is their pool.
func noPool(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return wrongAt("body.pool", err)
	}
	return err
}

// maxWrongNodes bounds how many problems an import tells.
const maxWrongNodes = 50

func (r *router) importNodes(ctx context.Context, in *Content[api.NodeImport]) (*Content[api.Imported], error) {
	nodes := make([]trust.Node, len(in.Body.Nodes))
	var problems []error
	for i := range in.Body.Nodes {
		n, errs := newNode(&in.Body.Nodes[i], fmt.Sprintf("body.nodes[%d]", i))
		nodes[i] = n
		if len(problems) < maxWrongNodes {
			problems = append(problems, errs...)
		}
	}
	if len(problems) > 0 {
		return nil, wrong(problems...)
	}
	return r.addMany(ctx, nodes)
}

func (r *router) addMany(ctx context.Context, nodes []trust.Node) (*Content[api.Imported], error) {
	added, err := r.config.Store.AddNodes(ctx, act(ctx), nodes)
	if errors.Is(err, store.ErrNotFound) {
		return nil, wrongAt("body", err)
	}
	if err != nil {
		return nil, err
	}
	return &Content[api.Imported]{Body: api.Imported{Added: len(added)}}, nil
}

func (r *router) importCSV(ctx context.Context, in *struct {
	ContentType string `header:"Content-Type" maxLength:"128"`
	RawBody     []byte `contentType:"text/csv"`
},
) (*Content[api.Imported], error) {
	if !strings.HasPrefix(in.ContentType, "text/csv") {
		return nil, huma.NewError(http.StatusUnsupportedMediaType, "Send the list as text/csv; POST /v1/nodes:import takes JSON.")
	}
	nodes, err := trust.ParseNodesCSV(in.RawBody)
	if err != nil {
		return nil, wrongAt("body", err)
	}
	return r.addMany(ctx, nodes)
}
