package page

import (
	"net/http"
	"net/url"
	"time"

	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/trust"
)

// pageSize is how many lines a list has.
const pageSize = 100

// nodesPage is a page of the list of nodes.
type nodesPage struct {
	current
	// What was asked for.
	Begins, Pool, Trust, State, After string
	Pools                             []trust.Pool
	Hosts                             []store.Host
	// First is where the list begins, Next the next page; empty if there is none.
	First, Next string
}

func (p *Page) nodes(r *http.Request, now time.Time) (view, error) {
	q := r.URL.Query()
	body := nodesPage{Begins: trust.FoldName(cut(q.Get("begins"))), Pool: cut(q.Get("pool")), Trust: cut(q.Get("trust")), State: cut(q.Get("state")), After: cut(q.Get("after"))}
	var err error
	if body.current, err = p.current(r, now); err != nil {
		return view{}, err
	}
	if body.Pools, err = p.config.Store.Pools(r.Context()); err != nil {
		return view{}, err
	}
	filter := store.HostFilter{Begins: body.Begins, Pool: body.Pool, State: trust.State(body.State), After: body.After, Limit: pageSize + 1}
	if level, known := trust.ParseLevel(body.Trust); known {
		filter.Level = &level
	}
	if body.Hosts, err = p.config.Store.Hosts(r.Context(), filter, now); err != nil {
		return view{}, err
	}
	if len(body.Hosts) > pageSize {
		body.Hosts = body.Hosts[:pageSize]
		body.Next = body.link(body.Hosts[pageSize-1].Node)
	}
	if body.After != "" {
		body.First = body.link("")
	}
	// Somebody who typed a whole name, or an alias, wants that node.
	if len(body.Hosts) == 0 && body.Begins != "" && body.After == "" {
		if n, err := p.config.Store.Node(r.Context(), body.Begins); err == nil {
			return view{}, &redirect{nodePath(n.Name)}
		}
	}
	return view{Template: "nodes", Title: "Nodes", Section: "nodes", Live: "*", Body: body}, nil
}

// link is that list after a node.
func (n *nodesPage) link(after string) string {
	q := make(url.Values)
	for key, value := range map[string]string{"begins": n.Begins, "pool": n.Pool, "trust": n.Trust, "state": n.State, "after": after} {
		if value != "" {
			q.Set(key, value)
		}
	}
	return Root + "nodes?" + q.Encode()
}

// nodePath is where a node is shown.
func nodePath(name string) string { return Root + "nodes/" + url.PathEscape(name) }

// cut bounds what is taken from an address.
func cut(text string) string { return text[:min(len(text), 253)] }
