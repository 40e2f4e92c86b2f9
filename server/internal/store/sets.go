package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/verifier"
)

const setColumns = "name, description, part, node, pools, known_good, source, state, valid_from, valid_until, " +
	"author, created_at, approved_by, approved_at, retired_by, retired_at, revision"

// SetFilter selects sets; empty fields select all.
type SetFilter struct {
	State trust.SetState
	Pool  string
	// After is the last name of the page before; Limit is how many are wanted, 0 for all.
	After string
	Limit int
}

// Sets returns sets by name.
func (s *Store) Sets(ctx context.Context, f SetFilter) (sets []trust.Set, err error) {
	err = s.look(ctx, func(t tx) error {
		sets, err = t.sets(f)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the sets: %w", err)
	}
	return sets, nil
}

func (t tx) sets(f SetFilter) ([]trust.Set, error) {
	var sets []trust.Set
	statement := "SELECT " + setColumns + " FROM sets WHERE name > $1 AND ($2 = '' OR state = $2) ORDER BY name"
	err := t.rows(statement, []any{f.After, f.State}, func(scan func(...any) error) error {
		set, err := scanSet(scan)
		if err == nil && (f.Pool == "" || slices.Contains(set.Pools, f.Pool)) && (f.Limit == 0 || len(sets) < f.Limit) {
			sets = append(sets, set)
		}
		return err
	})
	return sets, err
}

// Set returns one set, ErrNotFound if there is none.
func (s *Store) Set(ctx context.Context, name string) (set trust.Set, err error) {
	err = s.look(ctx, func(t tx) error {
		set, err = t.set(name)
		return err
	})
	if err != nil {
		return trust.Set{}, fmt.Errorf("reading the set %s: %w", name, err)
	}
	return set, nil
}

func (t tx) set(name string) (trust.Set, error) {
	return scanSet(func(into ...any) error {
		return t.row("SELECT "+setColumns+" FROM sets WHERE name = $1", []any{name}, into...)
	})
}

// PutSet makes a draft, if revision is 0, or replaces the draft that has this revision. It decides nothing before it is approved; what is approved never changes. State and who did what come
// from the act.
func (s *Store) PutSet(ctx context.Context, a Act, set trust.Set, revision int64) (trust.Set, error) {
	err := s.act(ctx, a, func(t tx) (entry, error) {
		if err := set.Check(); err != nil {
			return entry{}, invalid(err)
		}
		there, err := t.set(set.Name)
		switch {
		case errors.Is(err, ErrNotFound) && revision == 0:
		case err != nil:
			return entry{}, err
		case there.Revision != revision:
			return entry{}, changed("set "+set.Name, there.Revision, revision)
		case there.State != trust.Draft:
			return entry{}, conflictf("the set %s is %s and changes no more: make a new one", set.Name, there.State)
		}

		set.State, set.Revision = trust.Draft, revision+1
		set.Author, set.CreatedAt = a.By, moment(millis(a.At))
		set.ApprovedBy, set.ApprovedAt, set.RetiredBy, set.RetiredAt = "", time.Time{}, "", time.Time{}
		return entry{"set.put", set.Name, setDetail(&set)}, t.writeSet(&set)
	})
	if err != nil {
		return trust.Set{}, fmt.Errorf("writing the set %s: %w", set.Name, err)
	}
	return set, nil
}

// setDetail is what the admin log keeps of a set: with its values, so that the log tells what was approved.
func setDetail(set *trust.Set) map[string]any {
	return map[string]any{
		"part": set.Part, "node": set.Node, "pools": set.Pools, "revision": set.Revision, "known_good": set.KnownGood, "source": set.Source,
		"valid_from": millis(set.ValidFrom), "valid_until": millis(set.ValidUntil),
	}
}

// ApproveSet puts a draft of this revision in force. Nodes of its pools are asked at once.
func (s *Store) ApproveSet(ctx context.Context, a Act, name string, revision int64) (trust.Set, error) {
	return s.moveSet(ctx, a, name, revision, "set.approve", func(t tx, set *trust.Set) error {
		if set.State != trust.Draft {
			return conflictf("the set %s is %s, not a draft", name, set.State)
		}
		set.State, set.ApprovedBy, set.ApprovedAt = trust.InForce, a.By, moment(millis(a.At))
		return nil
	})
}

// RetireSet ends a set for good. Verdicts that rest on it are unknown from this moment on, and the nodes of its pools are asked at once.
func (s *Store) RetireSet(ctx context.Context, a Act, name string, revision int64) (trust.Set, error) {
	return s.moveSet(ctx, a, name, revision, "set.retire", func(t tx, set *trust.Set) error {
		if set.State == trust.Retired {
			return conflictf("the set %s is retired already", name)
		}
		set.State, set.RetiredBy, set.RetiredAt = trust.Retired, a.By, moment(millis(a.At))
		return t.withdraw(a, "node_id IN (SELECT node_id FROM verdict_sets WHERE set_name = $1)", name)
	})
}

// moveSet takes a set to its next state.
func (s *Store) moveSet(ctx context.Context, a Act, name string, revision int64, action string, move func(tx, *trust.Set) error) (set trust.Set, err error) {
	err = s.act(ctx, a, func(t tx) (entry, error) {
		if set, err = t.set(name); err != nil {
			return entry{}, err
		}
		if set.Revision != revision {
			return entry{}, changed("set "+name, set.Revision, revision)
		}
		if err := move(t, &set); err != nil {
			return entry{}, err
		}
		set.Revision++
		errs := []error{t.writeSet(&set), t.bumpPolicy()}
		for _, pool := range set.Pools {
			errs = append(errs, t.hurry(a, "pool = $1", pool))
		}
		return entry{action, name, setDetail(&set)}, errors.Join(errs...)
	})
	if err != nil {
		return trust.Set{}, fmt.Errorf("changing the set %s: %w", name, err)
	}
	return set, nil
}

// writeSet replaces a set, or adds it.
func (t tx) writeSet(set *trust.Set) error {
	known, err := set.KnownGood.Marshal()
	if err != nil {
		return err
	}
	pools, err := json.Marshal(set.Pools)
	if err != nil {
		return err
	}
	columns := strings.Split(setColumns, ", ")
	updates := make([]string, 0, len(columns))
	for _, c := range columns[1:] {
		updates = append(updates, c+" = excluded."+c)
	}
	_, err = t.exec("INSERT INTO sets ("+setColumns+") VALUES ("+places(len(columns))+") ON CONFLICT (name) DO UPDATE SET "+strings.Join(updates, ", "),
		set.Name, set.Description, set.Part, set.Node, string(pools), string(known), set.Source, set.State, millis(set.ValidFrom), millis(set.ValidUntil),
		set.Author, millis(set.CreatedAt), set.ApprovedBy, millis(set.ApprovedAt), set.RetiredBy, millis(set.RetiredAt), set.Revision)
	return err
}

func scanSet(scan func(...any) error) (trust.Set, error) {
	var (
		set          trust.Set
		pools, known string
		times        [5]int64
	)
	err := scan(&set.Name, &set.Description, &set.Part, &set.Node, &pools, &known, &set.Source, &set.State, &times[0], &times[1],
		&set.Author, &times[2], &set.ApprovedBy, &times[3], &set.RetiredBy, &times[4], &set.Revision)
	if err != nil {
		return trust.Set{}, err
	}
	set.ValidFrom, set.ValidUntil, set.CreatedAt, set.ApprovedAt, set.RetiredAt = moment(times[0]), moment(times[1]), moment(times[2]), moment(times[3]), moment(times[4])
	if set.KnownGood, err = verifier.ParseKnownGood([]byte(known)); err != nil {
		return trust.Set{}, fmt.Errorf("the set %s: %w", set.Name, err)
	}
	return set, json.Unmarshal([]byte(pools), &set.Pools)
}

// places gives "$1, $2, $3".
func places(n int) string {
	var list strings.Builder
	for i := range n {
		if i > 0 {
			list.WriteString(", ")
		}
		fmt.Fprintf(&list, "$%d", i+1)
	}
	return list.String()
}
