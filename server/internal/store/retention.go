package store

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Retention bounds what is kept. Verdicts, the last evidence of each node and the admin log are always kept.
type Retention struct {
	// History is how long changes are kept, with their evidence; the last one of each node stays. 0: for ever.
	History time.Duration
	// LogBytes bounds the event logs together. Where it is exceeded, those go that were stored first, even if evidence names them: that evidence can't be judged again by others then.
	// But those that the last good evidence of a node names go after all others: a node that lies does not push out what others need. 0: no bound.
	LogBytes int64
}

// Pruned tells what went.
type Pruned struct {
	Changes, Logs int64
	// LogsOfEvidence are those of Logs that evidence still names: the quota was exceeded.
	LogsOfEvidence int64
}

// Prune removes what is past its time.
func (s *Store) Prune(ctx context.Context, r Retention, now time.Time) (p Pruned, err error) {
	err = s.change(ctx, func(t tx) error {
		if r.History > 0 {
			old := "at < $1 AND generation NOT IN (SELECT generation FROM verdicts)"
			_, err1 := t.exec("DELETE FROM evidence WHERE kind = 'change' AND id IN (SELECT evidence_id FROM history WHERE "+old+")", millis(now.Add(-r.History)))
			n, err2 := t.exec("DELETE FROM history WHERE "+old, millis(now.Add(-r.History)))
			if err := errors.Join(err1, err2); err != nil {
				return err
			}
			p.Changes = n
		}
		if p.Logs, err = t.exec("DELETE FROM logs WHERE sha256 NOT IN (SELECT sha256 FROM evidence_logs)"); err != nil {
			return err
		}
		return t.pruneLogs(r, &p)
	})
	if err != nil {
		return Pruned{}, fmt.Errorf("removing what is past its time: %w", err)
	}
	return p, nil
}

// pruneLogs keeps the quota.
func (t tx) pruneLogs(r Retention, p *Pruned) error {
	if r.LogBytes <= 0 {
		return nil
	}
	isGood := "EXISTS (SELECT 1 FROM evidence_logs JOIN evidence ON evidence.id = evidence_logs.evidence_id WHERE evidence_logs.sha256 = logs.sha256 AND kind = 'good')"
	ranked := "SELECT sha256, size, used_at, " + isGood + " AS is_good FROM logs"
	sums := "SELECT sha256, sum(size) OVER (ORDER BY is_good DESC, used_at DESC, sha256) AS total FROM (" + ranked + ") AS ranked"
	n, err := t.exec("DELETE FROM logs WHERE sha256 IN (SELECT sha256 FROM ("+sums+") AS sums WHERE total > $1)", r.LogBytes)
	p.Logs += n
	p.LogsOfEvidence = n
	return err
}
