package page

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/trustpool/trustpool/server/internal/knowngood"
	"github.com/trustpool/trustpool/server/internal/store"
)

// dryRunTime bounds a dry run for a page: somebody is waiting in front of it.
const dryRunTime = 20 * time.Second

// effectPage tells whom a change would condemn.
type effectPage struct {
	setPage
	knowngood.Effect
	Took time.Duration
	// TooLong: it did not end in time, and nothing is known.
	TooLong bool
}

// Limit is how long it may take.
func (effectPage) Limit() time.Duration { return dryRunTime }

// Most is how many nodes of a kind are listed.
func (effectPage) Most() int { return knowngood.MaxListed }

// effect makes a dry run of approving a draft, or of retiring what is in force. It changes nothing; it is a POST since it is work.
func (p *Page) effect(r *http.Request, now time.Time) (view, error) {
	set, err := p.config.Store.Set(r.Context(), r.PathValue("name"))
	if err != nil {
		return view{}, err
	}
	body := effectPage{setPage: setPage{setLine: setLine{set, wordOf(&set, now)}, current: current{at: now}}}
	var change knowngood.Change
	switch body.Change() {
	case "approve":
		change.Approve = []string{set.Name}
	case "retire":
		change.Retire = []string{set.Name}
	default:
		return view{}, store.ErrConflict
	}

	ctx, cancel := context.WithTimeout(r.Context(), dryRunTime)
	defer cancel()
	body.Effect, err = p.config.Tools.DryRun(ctx, change, now)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) && r.Context().Err() == nil {
		body.TooLong, err = true, nil
	}
	body.Took = time.Since(now).Round(time.Millisecond)
	return view{Template: "effect", Title: "What a change of " + set.Name + " would do", Section: "sets", Body: body}, err
}
