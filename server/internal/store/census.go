package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/trustpool/trustpool/server/internal/trust"
)

// Census is how all nodes stand at one moment. To take one, each node is looked at.
type Census struct {
	// At is when it was taken. Generation is that of the last change before: what has changed since may be missing.
	At         time.Time
	Generation int64
	// Counts counts the nodes that are not decommissioned.
	Counts []Count
	// Refused and Unknown are the causes for which the most nodes are not trusted, a few nodes of each.
	Refused, Unknown []Trouble
	// Due is how many nodes wait for their turn, and Lag for how long the one has that waits the longest. Asking is how many are being asked.
	Due, Asking int64
	Lag         time.Duration
	// Unreachable is how many nodes did not answer the last time.
	Unreachable int64
	// LastQuote is when the nonce of the newest verdict was made; zero if there is none.
	LastQuote time.Time
	// Alarms counts by kind those that nobody has acknowledged. A kind without any is left out.
	Alarms map[string]int64
	// Bytes is what the database takes on the disk.
	Bytes int64
}

// Bounds of a Census.
const (
	// censusLasts is for how long callers share one: however many ask, the nodes are counted once in that time.
	censusLasts = 10 * time.Second
	// countedAnew is how many nodes are counted for each caller: that takes less than to answer him.
	countedAnew = 1000
	maxCauses   = 8
	maxEach     = 6
)

// census is the last one, and who takes the next.
type census struct {
	turn chan struct{} // who has it may look at last, and change it
	last *Census
}

// Census returns how all nodes stand, which may be as old as censusLasts where there are more than a thousand nodes, and is not to be changed. While the database is away, the last one is returned for as
// long, and then an error.
func (s *Store) Census(ctx context.Context) (*Census, error) {
	select {
	case s.census.turn <- struct{}{}:
		defer func() { <-s.census.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if last := s.census.last; last != nil && time.Since(last.At) < censusLasts && last.nodes() > countedAnew {
		return last, nil
	}
	next, err := s.takeCensus(ctx, time.Now())
	if err != nil {
		return nil, fmt.Errorf("counting nodes: %w", err)
	}
	s.census.last = next
	return next, nil
}

func (c *Census) nodes() (n int) {
	for _, count := range c.Counts {
		n += count.Nodes
	}
	return n
}

func (s *Store) takeCensus(ctx context.Context, now time.Time) (*Census, error) {
	c := &Census{At: now, Alarms: make(map[string]int64)}
	var errs [6]error
	c.Generation, errs[0] = s.LastGeneration(ctx) // first: what changes from now on may be missing
	errs[1] = s.countNodes(ctx, c)
	c.Refused, errs[2] = s.Troubles(ctx, trust.Untrusted, maxCauses, maxEach, now)
	c.Unknown, errs[3] = s.Troubles(ctx, trust.Unknown, maxCauses, maxEach, now)
	errs[4] = s.countAlarms(ctx, c)
	c.Bytes, errs[5] = s.dialect.size(ctx, s)
	return c, errors.Join(errs[:]...)
}

// countNodes looks at all nodes once, and at those that are due.
func (s *Store) countNodes(ctx context.Context, c *Census) error {
	return s.view(ctx, func(t tx) error {
		statement := "SELECT nodes.pool, " + levelNow("$1", "$2") + " AS now_level, count(*), sum(CASE WHEN failures > 0 AND state IN ('pending', 'active') THEN 1 ELSE 0 END), " +
			"sum(CASE WHEN leased_until > $1 THEN 1 ELSE 0 END), coalesce(max(quoted_at), 0) FROM nodes LEFT JOIN verdicts ON verdicts.node_id = nodes.id " +
			"WHERE nodes.state <> 'decommissioned' GROUP BY nodes.pool, now_level ORDER BY nodes.pool, now_level"
		err := t.rows(statement, []any{millis(c.At), millis(c.At.Add(trust.ClockSkew))}, func(scan func(...any) error) error {
			var (
				count                       Count
				unreachable, asking, quoted int64
			)
			err := scan(&count.Pool, &count.Level, &count.Nodes, &unreachable, &asking, &quoted)
			c.Counts = append(c.Counts, count)
			c.Unreachable += unreachable
			c.Asking += asking
			if at := moment(quoted); at.After(c.LastQuote) {
				c.LastQuote = at
			}
			return err
		})
		if err != nil {
			return err
		}
		c.Lag, c.Due, err = t.overdue(c.At)
		return err
	})
}

func (s *Store) countAlarms(ctx context.Context, c *Census) error {
	return s.look(ctx, func(t tx) error {
		return t.rows("SELECT kind, count(*) FROM alarms WHERE acknowledged_by = '' GROUP BY kind", nil, func(scan func(...any) error) error {
			var (
				kind string
				n    int64
			)
			err := scan(&kind, &n)
			c.Alarms[kind] = n
			return err
		})
	})
}

// AlarmKinds returns the closed list.
func AlarmKinds() []string { return []string{AlarmNameTaken, AlarmKeyChanged, AlarmKeyShared} }
