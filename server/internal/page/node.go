package page

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/trustpool/trustpool/server/internal/access"
	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/trust"
)

// changesShown is how many changes of a node's verdict are on a page.
const changesShown = 20

// nodePage is one node.
type nodePage struct {
	current
	trust.Node
	Host    store.Host
	Contact store.Contact
	Labels  []label
	// Why is nil for whoever may not see evidence, or if there is none.
	Why *why
	// Changes are the newest first; Older is where the next ones are, 0 if there are none. Before is where these begin, 0 for the newest.
	Changes       []store.Change
	Older, Before int64
}

type label struct{ Key, Value string }

func (p *Page) node(r *http.Request, now time.Time) (view, error) {
	ctx, s := r.Context(), p.config.Store
	n, err := s.Node(ctx, r.PathValue("name"))
	if err != nil {
		return view{}, err
	}
	if n.Name != r.PathValue("name") { // an alias, or capital letters
		return view{}, &redirect{nodePath(n.Name)}
	}
	body := nodePage{Node: n}
	body.Before, _ = strconv.ParseInt(cmp.Or(r.URL.Query().Get("before"), "0"), 10, 64)
	if body.current, err = p.current(r, now); err != nil {
		return view{}, err
	}
	hosts, err := s.Lookup(ctx, []string{n.Name}, now)
	if err != nil {
		return view{}, err
	}
	body.Host = hosts[0]
	if body.Contact, err = s.Contact(ctx, n.Name); err != nil {
		return view{}, err
	}
	if body.Changes, err = s.History(ctx, n.Name, body.Before, changesShown+1); err != nil {
		return view{}, err
	}
	if len(body.Changes) > changesShown {
		body.Changes = body.Changes[:changesShown]
		body.Older = body.Changes[changesShown-1].Verdict.Generation
	}
	for _, key := range slices.Sorted(maps.Keys(n.Labels)) {
		body.Labels = append(body.Labels, label{key, n.Labels[key]})
	}
	if access.From(ctx).Role >= access.Operator {
		if body.Why, err = p.why(ctx, &body.Node, &body.Host.Verdict, now); err != nil {
			return view{}, err
		}
	}
	return view{Template: "node", Title: n.Name, Section: "nodes", Live: n.Name, Body: body}, nil
}

// Advice is what can be done.
func (n nodePage) Advice() []step { return advice(n.Host.Verdict.Reason, n.Name, n.Pool) }
