package page

import (
	"net/http"
	"time"

	"github.com/trustpool/trustpool/server/internal/store"
)

// overview is what is seen first.
type overview struct {
	*glance
	Open []store.Alarm
}

func (o overview) shownAt() (int64, time.Time) { return o.Generation, o.At }

// shownAlarms is how many alarms the overview names.
const shownAlarms = 5

func (p *Page) overview(r *http.Request, now time.Time) (view, error) {
	g, err := p.glance(r.Context(), now)
	if err != nil {
		return view{}, err
	}
	open, err := p.config.Store.Alarms(r.Context(), true, 0, shownAlarms)
	if err != nil {
		return view{}, err
	}
	return view{Template: "overview", Title: "Overview", Section: "overview", Live: "*", Body: overview{glance: g, Open: open}}, nil
}

// poolPage is one pool: what it demands, and by what.
type poolPage struct {
	poolCount
	current
	Sets []setLine
}

func (p *Page) pool(r *http.Request, now time.Time) (view, error) {
	pool, err := p.config.Store.Pool(r.Context(), r.PathValue("name"))
	if err != nil {
		return view{}, err
	}
	g, err := p.glance(r.Context(), now)
	if err != nil {
		return view{}, err
	}
	sets, err := p.config.Store.Sets(r.Context(), store.SetFilter{Pool: pool.Name})
	if err != nil {
		return view{}, err
	}
	body := poolPage{current: current{g.Generation, g.At}, Sets: setLines(sets, now)}
	body.poolCount, _ = g.pool(pool.Name)
	body.Pool = pool
	return view{Template: "pool", Title: "Pool " + pool.Name, Section: "nodes", Live: "*", Body: body}, nil
}

// current is when something was as it is shown.
type current struct {
	generation int64
	at         time.Time
}

func (c current) shownAt() (int64, time.Time) { return c.generation, c.at }

// current is for what is read now. It goes before the reading.
func (p *Page) current(r *http.Request, now time.Time) (current, error) {
	generation, err := p.config.Store.LastGeneration(r.Context())
	return current{generation, now}, err
}
