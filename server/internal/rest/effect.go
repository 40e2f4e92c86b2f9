package rest

import (
	"maps"
	"slices"

	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/internal/knowngood"
)

// changeFrom reads a change that is to be judged beforehand.
func changeFrom(body *api.DryRun) (knowngood.Change, error) {
	change := knowngood.Change{Approve: body.Approve, Retire: body.Retire}
	for _, name := range slices.Sorted(maps.Keys(body.Sets)) {
		spec := body.Sets[name]
		set, err := setFrom(name, &spec)
		if err != nil {
			return knowngood.Change{}, err
		}
		change.Sets = append(change.Sets, set)
	}
	for _, name := range slices.Sorted(maps.Keys(body.Pools)) {
		spec := body.Pools[name]
		change.Pools = append(change.Pools, poolFrom(name, &spec))
	}
	return change, nil
}

func effectOf(e *knowngood.Effect) api.Effect {
	answer := api.Effect{
		Pools: e.Pools, Judged: e.Judged, Trusted: e.Trusted, Untrusted: e.Untrusted, Condemned: e.Condemned, Pardoned: e.Pardoned, Undecided: e.Undecided,
		WithoutEvidence: e.WithoutEvidence, Idle: e.Idle, Nodes: []api.Turned{},
	}
	if answer.Pools == nil {
		answer.Pools = []string{}
	}
	for _, list := range []struct {
		effect string
		nodes  []knowngood.Turned
	}{{api.Condemned, e.CondemnedNodes}, {api.Pardoned, e.PardonedNodes}, {api.Undecided, e.UndecidedNodes}} {
		for _, n := range list.nodes {
			answer.Nodes = append(answer.Nodes, api.Turned{
				Node: n.Node, Pool: n.Pool, Effect: list.effect, QuotedAt: n.QuotedAt, ReasonNow: string(n.Before.Reason), Reason: string(n.After.Reason), Detail: n.After.Detail,
			})
		}
	}
	return answer
}
