package page

import (
	"net/http"
	"slices"
	"time"

	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/trust"
)

// setLine is a set in a list.
type setLine struct {
	trust.Set
	// Word says its state, with what its times do to it.
	Word string
}

// wordOf is "draft", "in force", "not yet in force", "ended" or "retired".
func wordOf(s *trust.Set, now time.Time) string {
	switch {
	case s.State == trust.Draft:
		return "draft"
	case s.State == trust.Retired:
		return "retired"
	case !s.ValidUntil.IsZero() && !now.Before(s.ValidUntil):
		return "ended"
	case !s.ValidFrom.IsZero() && now.Before(s.ValidFrom):
		return "not yet in force"
	default:
		return "in force"
	}
}

// stateWord is a state of sets, and how it is called.
type stateWord struct {
	State string
	Word  string
}

func setStates() []stateWord {
	return []stateWord{{string(trust.Draft), "drafts"}, {string(trust.InForce), "in force"}, {string(trust.Retired), "retired"}}
}

// setLines puts drafts first, which wait for somebody, and retired sets last.
func setLines(sets []trust.Set, now time.Time) []setLine {
	lines := make([]setLine, 0, len(sets))
	for _, s := range sets {
		lines = append(lines, setLine{s, wordOf(&s, now)})
	}
	order := []trust.SetState{trust.Draft, trust.InForce, trust.Retired}
	slices.SortStableFunc(lines, func(a, b setLine) int { return slices.Index(order, a.State) - slices.Index(order, b.State) })
	return lines
}

// setsPage is the list of sets.
type setsPage struct {
	current
	State, Next string
	Lines       []setLine
}

func (p *Page) sets(r *http.Request, now time.Time) (view, error) {
	q := r.URL.Query()
	body := setsPage{current: current{at: now}, State: cut(q.Get("state"))}
	filter := store.SetFilter{State: trust.SetState(body.State), After: cut(q.Get("after")), Limit: pageSize + 1}
	sets, err := p.config.Store.Sets(r.Context(), filter)
	if err != nil {
		return view{}, err
	}
	if len(sets) > pageSize {
		sets = sets[:pageSize]
		body.Next = sets[pageSize-1].Name
	}
	body.Lines = setLines(sets, now)
	return view{Template: "sets", Title: "Known good", Section: "sets", Body: body}, nil
}

// setPage is a set with its values.
type setPage struct {
	setLine
	current
}

// Change is what can be done with the set next: "approve", "retire" or nothing.
func (s setPage) Change() string {
	switch s.State {
	case trust.Draft:
		return "approve"
	case trust.InForce:
		return "retire"
	default:
		return ""
	}
}

func (p *Page) set(r *http.Request, now time.Time) (view, error) {
	set, err := p.config.Store.Set(r.Context(), r.PathValue("name"))
	if err != nil {
		return view{}, err
	}
	body := setPage{setLine: setLine{set, wordOf(&set, now)}, current: current{at: now}}
	return view{Template: "set", Title: set.Name, Section: "sets", Body: body}, nil
}
