package store

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Stats are counts of what an operator watches, beside Counts and Overdue.
type Stats struct {
	// Asking is how many nodes are being asked.
	Asking int64
	// Unreachable is how many nodes did not answer the last time.
	Unreachable int64
	// LastQuote is when the nonce of the newest verdict was made; zero if there is none.
	LastQuote time.Time
	// Alarms counts by kind those that nobody has acknowledged. A kind without any is left out.
	Alarms map[string]int64
	// Bytes is what the database takes on the disk.
	Bytes int64
}

// Stats counts at that time.
func (s *Store) Stats(ctx context.Context, now time.Time) (Stats, error) {
	stats := Stats{Alarms: make(map[string]int64)}
	err := s.view(ctx, func(t tx) error {
		var quoted int64
		err := errors.Join(
			t.row("SELECT count(*) FROM nodes WHERE leased_until > $1", []any{millis(now)}, &stats.Asking),
			t.row("SELECT count(*) FROM nodes WHERE failures > 0 AND state IN ('pending', 'active')", nil, &stats.Unreachable),
			t.row("SELECT coalesce(max(quoted_at), 0) FROM verdicts", nil, &quoted),
		)
		stats.LastQuote = moment(quoted)
		return errors.Join(err, t.rows("SELECT kind, count(*) FROM alarms WHERE acknowledged_by = '' GROUP BY kind", nil, func(scan func(...any) error) error {
			var (
				kind string
				n    int64
			)
			err := scan(&kind, &n)
			stats.Alarms[kind] = n
			return err
		}))
	})
	if err != nil {
		return Stats{}, fmt.Errorf("counting: %w", err)
	}
	stats.Bytes, err = s.dialect.size(ctx, s)
	return stats, err
}

// AlarmKinds returns the closed list.
func AlarmKinds() []string { return []string{AlarmNameTaken, AlarmKeyChanged, AlarmKeyShared} }
