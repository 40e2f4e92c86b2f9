package store

import (
	"context"
	"fmt"
	"time"

	"github.com/trustpool/trustpool/server/internal/trust"
)

// Claim takes up to limit nodes that are due for the caller alone until the lease ends, those that wait the longest first. The caller gives each back by Record, or the lease ends.
// A node that somebody hurries in the meantime is due again as soon as it was given back.
func (s *Store) Claim(ctx context.Context, now time.Time, limit int, lease time.Duration) (nodes []trust.Node, err error) {
	if s.follows.Load() && s.peers.Load() == nil {
		return nil, nil // the others take this replica for dead, and end its leases
	}
	// Mostly none is, and looking costs less than a transaction that writes.
	if due, err := s.exists(ctx, "nodes WHERE "+claimDue, millis(now)); err != nil || !due {
		return nil, err
	}
	claiming := s.change
	if s.dialect.claimsAlone {
		claiming = s.alone
	}
	err = claiming(ctx, func(t tx) error {
		args := append([]any{millis(now), millis(now.Add(lease)), limit}, t.claimArgs(s, millis(now))...)
		return t.rows(t.claim, args, func(scan func(...any) error) error {
			n, err := scanNode(scan)
			nodes = append(nodes, n)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("claiming nodes: %w", err)
	}
	return nodes, nil
}

// Overdue tells how long the node that waits the longest for its turn has been due, and how many are: a server that keeps up has none that waits for long.
func (s *Store) Overdue(ctx context.Context, now time.Time) (longest time.Duration, nodes int64, err error) {
	err = s.look(ctx, func(t tx) error {
		longest, nodes, err = t.overdue(now)
		return err
	})
	if err != nil {
		return 0, 0, fmt.Errorf("looking which nodes are due: %w", err)
	}
	return longest, nodes, nil
}

func (t tx) overdue(now time.Time) (longest time.Duration, nodes int64, err error) {
	var first int64
	err = t.row("SELECT coalesce(min(due_at), 0), count(*) FROM nodes WHERE "+claimDue, []any{millis(now)}, &first, &nodes)
	if err != nil || nodes == 0 {
		return 0, 0, err
	}
	return now.Sub(moment(first)), nodes, nil
}

// EndLeases makes the nodes due that a server had claimed which is gone, and returns how many there were. On SQLite, that is whoever had the file before: only a server that starts may do it.
func (s *Store) EndLeases(ctx context.Context, now time.Time) (nodes int64, err error) {
	if s.follows.Load() && s.peers.Load() == nil {
		return 0, nil // who lives is not known yet
	}
	where := "leased_until > 0 AND state IN ('pending', 'active') AND " + s.dialect.abandoned
	if left, err := s.exists(ctx, "nodes WHERE "+where, s.number); err != nil || !left {
		return 0, err
	}
	err = s.change(ctx, func(t tx) error {
		nodes, err = t.exec("UPDATE nodes SET leased_until = 0, due_at = $2 WHERE "+where, s.number, millis(now))
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("ending the leases of servers that are gone: %w", err)
	}
	return nodes, nil
}

// exists tells whether there is such a row.
func (s *Store) exists(ctx context.Context, rows string, args ...any) (is bool, err error) {
	err = s.look(ctx, func(t tx) error { return t.row("SELECT EXISTS (SELECT 1 FROM "+rows+")", args, &is) })
	if err != nil {
		return false, fmt.Errorf("asking the database: %w", err)
	}
	return is, nil
}

// Recall makes the nodes due that are due, or claimed until, later than latest, beyond which no schedule goes: the clock was set back since. It returns how many there were.
func (s *Store) Recall(ctx context.Context, now, latest time.Time) (nodes int64, err error) {
	late := []any{millis(latest), int64(never)}
	if isAny, err := s.exists(ctx, "nodes WHERE due_at > $1 AND due_at < $2", late...); err != nil || !isAny {
		return 0, err
	}
	err = s.change(ctx, func(t tx) error {
		nodes, err = t.exec("UPDATE nodes SET due_at = $3, leased_until = 0 WHERE due_at > $1 AND due_at < $2", append(late, millis(now))...)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("asking nodes anew after the clock was set back: %w", err)
	}
	return nodes, nil
}

// Hurry makes a node due at once. That is no act of an administrator: it changes nothing that decides.
func (s *Store) Hurry(ctx context.Context, name string, now time.Time) error {
	err := s.change(ctx, func(t tx) error {
		n, err := t.node("nodes.id = (SELECT node_id FROM names WHERE names.name = $1)", trust.FoldName(name))
		if err != nil {
			return err
		}
		if n.State != trust.Active && n.State != trust.Pending {
			return conflictf("the node is %s and is not asked", n.State)
		}
		return t.hurry(Act{At: now}, "id = $1", n.ID)
	})
	if err != nil {
		return fmt.Errorf("hurrying the node %.64s: %w", name, err)
	}
	return nil
}

// Contact is what the server knows of its dealings with a node.
type Contact struct {
	// DueAt is when it is asked next; zero if it is not to be asked. ReachedAt is when it last answered.
	DueAt, ReachedAt time.Time
	// Failures counts in a row how often it could not be asked, LastError says why.
	Failures  int
	LastError string
	// GoodQuotes, BadQuotes and Unanswered count all challenges by what became of them.
	GoodQuotes, BadQuotes, Unanswered int64
}

// Contact returns it for the node that has a name.
func (s *Store) Contact(ctx context.Context, name string) (c Contact, err error) {
	var due, reached int64
	err = s.look(ctx, func(t tx) error {
		return t.row("SELECT due_at, reached_at, failures, last_error, good_quotes, bad_quotes, unanswered FROM nodes WHERE id = (SELECT node_id FROM names WHERE names.name = $1)",
			[]any{trust.FoldName(name)}, &due, &reached, &c.Failures, &c.LastError, &c.GoodQuotes, &c.BadQuotes, &c.Unanswered)
	})
	if err != nil {
		return Contact{}, fmt.Errorf("reading about the node %.64s: %w", name, err)
	}
	c.ReachedAt = moment(reached)
	if due != never {
		c.DueAt = moment(due)
	}
	return c, nil
}
