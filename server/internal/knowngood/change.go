package knowngood

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/trust"
)

// resolve finds the sets that a change would add, the names of those that it would retire, and the pools that it touches, by name.
func (t *Tools) resolve(ctx context.Context, c Change) (added []trust.Set, retired, pools []string, err error) {
	var errs []error
	for _, name := range c.Approve {
		set, err := t.named(ctx, name)
		if err == nil && set.State != trust.Draft {
			err = fmt.Errorf("%w: the set %s is %s, not a draft", store.ErrConflict, name, set.State)
		}
		added, errs = append(added, set), append(errs, err)
	}
	for _, set := range c.Sets {
		if err := set.Check(); err != nil {
			errs = append(errs, invalidf("the set %.64s: %v", set.Name, err))
		}
		added = append(added, set)
	}
	for i := range added {
		added[i].State = trust.InForce
		pools = append(pools, added[i].Pools...)
	}
	for _, name := range c.Retire {
		set, err := t.named(ctx, name)
		if err == nil && set.State != trust.InForce {
			err = fmt.Errorf("%w: the set %s is %s, so that to retire it changes no verdict", store.ErrConflict, name, set.State)
		}
		errs = append(errs, err)
		retired, pools = append(retired, name), append(pools, set.Pools...)
	}
	for _, pool := range c.Pools {
		if err := pool.Check(); err != nil {
			errs = append(errs, invalidf("the pool %.64s: %v", pool.Name, err))
		}
		pools = append(pools, pool.Name)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, nil, nil, err
	}
	if len(pools) == 0 {
		return nil, nil, nil, invalidf("the change touches no pool: name sets to approve or retire, or pools; a set that is in no pool decides on nobody")
	}

	pools, err = t.existing(ctx, pools)
	return added, retired, pools, err
}

func (t *Tools) named(ctx context.Context, name string) (trust.Set, error) {
	set, err := t.store.Set(ctx, name)
	if err != nil {
		return trust.Set{}, fmt.Errorf("the set %.64s: %w", name, err)
	}
	return set, nil
}

// existing lists the pools that there are, each once. A set may name one that is yet to be made: it has no nodes.
func (t *Tools) existing(ctx context.Context, names []string) ([]string, error) {
	all, err := t.store.Pools(ctx)
	if err != nil {
		return nil, err
	}
	var pools []string
	for _, p := range all {
		if slices.Contains(names, p.Name) {
			pools = append(pools, p.Name)
		}
	}
	return pools, nil
}
