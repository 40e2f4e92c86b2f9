package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

// pruneStep is how many changes or logs are removed in one transaction: others wait for it.
const pruneStep = 500

// Prune removes what is past its time, in small steps; to look for it keeps nobody waiting. What has gone by then stays gone if it fails.
func (s *Store) Prune(ctx context.Context, r Retention, now time.Time) (p Pruned, err error) {
	if r.History > 0 {
		p.Changes, err = s.pruneHistory(ctx, now.Add(-r.History))
	}
	if err == nil {
		p.Logs, err = s.pruneLogs(ctx, "SELECT sha256, FALSE FROM logs WHERE "+isOrphan, nil, isOrphan)
	}
	if err == nil && r.LogBytes > 0 {
		p.LogsOfEvidence, err = s.pruneLogs(ctx, "SELECT sha256, is_good FROM ("+logsInTheirOrder+") AS sums WHERE total > $1", []any{r.LogBytes}, isGood+" = v.good")
		p.Logs += p.LogsOfEvidence
	}
	if err != nil {
		return p, fmt.Errorf("removing what is past its time: %w", err)
	}
	return p, nil
}

// pruneHistory removes the changes from before a time, with their evidence, but for the last one of each node.
func (s *Store) pruneHistory(ctx context.Context, before time.Time) (changes int64, err error) {
	for last := int64(0); ; {
		var generations, evidence []int64
		statement := "SELECT generation, evidence_id FROM history WHERE generation > $1 AND at < $2 " +
			"AND NOT EXISTS (SELECT 1 FROM verdicts WHERE verdicts.node_id = history.node_id AND verdicts.generation = history.generation) ORDER BY generation LIMIT $3"
		err := s.look(ctx, func(t tx) error {
			return t.rows(statement, []any{last, millis(before), pruneStep}, func(scan func(...any) error) error {
				var id int64
				err := scan(&last, &id)
				generations, evidence = append(generations, last), append(evidence, id)
				return err
			})
		})
		if err != nil || len(generations) == 0 {
			return changes, err
		}
		err = s.change(ctx, func(t tx) error { // what is no node's last change will not be it again
			_, err := t.exec("DELETE FROM evidence WHERE kind = 'change' AND "+t.among("id", "$1"), t.list(evidence))
			n, changesErr := t.exec("DELETE FROM history WHERE "+t.among("generation", "$1"), t.list(generations))
			changes += n
			return errors.Join(err, changesErr)
		})
		if err != nil {
			return changes, err
		}
	}
}

const (
	// isOrphan: no evidence names the log any more.
	isOrphan = "NOT EXISTS (SELECT 1 FROM evidence_logs WHERE evidence_logs.sha256 = logs.sha256)"
	// isGood: the last good evidence of a node names the log.
	isGood = "EXISTS (SELECT 1 FROM evidence_logs JOIN evidence ON evidence.id = evidence_logs.evidence_id WHERE evidence_logs.sha256 = logs.sha256 AND kind = 'good')"
	// logsInTheirOrder has each log with the bytes of all that stay before it goes, its own among them.
	logsInTheirOrder = "SELECT sha256, is_good, sum(size) OVER (ORDER BY is_good DESC, used_at DESC, sha256) AS total FROM (SELECT sha256, size, used_at, " + isGood + " AS is_good FROM logs) AS ranked"
)

// pruneLogs removes the logs that found selects, each with whether it is that of good evidence, as far as still holds once it is their turn.
func (s *Store) pruneLogs(ctx context.Context, found string, args []any, still string) (gone int64, err error) {
	all := many{columns: []string{"sha256 BYTEA", "good BOOLEAN"}}
	err = s.look(ctx, func(t tx) error {
		return t.rows(found, args, func(scan func(...any) error) error {
			var (
				digest []byte
				good   bool
			)
			err := scan(&digest, &good)
			all.add(digest, good)
			return err
		})
	})
	for part := range slices.Chunk(all.rows, pruneStep) {
		if err != nil {
			return gone, err
		}
		err = s.change(ctx, func(t tx) error {
			n, err := t.execMany("DELETE FROM logs WHERE sha256 IN (SELECT v.sha256 FROM ROWS WHERE "+still+")", many{all.columns, part})
			gone += n
			return err
		})
	}
	return gone, err
}
