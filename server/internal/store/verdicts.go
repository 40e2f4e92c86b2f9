package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/trustpool/trustpool/server/internal/trust"
)

const verdictColumns = "level, reason, detail, quoted_at, expires_at, generation, changed_at, sets, ek_binding, booted, reset_count, restart_count"

// forever is when a verdict ends that holds until somebody changes it: a hold.
func forever() time.Time { return time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC) }

// storedVerdict is a verdict as its columns are read.
type storedVerdict struct {
	v                        trust.Verdict
	quoted, expires, changed int64
	sets                     string
	booted                   bool
	resetCount, restartCount uint32
}

func (s *storedVerdict) columns() []any {
	return []any{
		&s.v.Level, &s.v.Reason, &s.v.Detail, &s.quoted, &s.expires, &s.v.Generation, &s.changed, &s.sets, &s.v.EKBinding,
		&s.booted, &s.resetCount, &s.restartCount,
	}
}

func (s *storedVerdict) verdict() (trust.Verdict, error) {
	v := s.v
	v.QuotedAt, v.ExpiresAt, v.ChangedAt = moment(s.quoted), moment(s.expires), moment(s.changed)
	if s.booted {
		v.Boot = &trust.Boot{ResetCount: s.resetCount, RestartCount: s.restartCount}
	}
	return v, json.Unmarshal([]byte(s.sets), &v.Sets)
}

// verdict returns a node's verdict as it was written; the zero Verdict if there is none.
func (t tx) verdict(node int64) (trust.Verdict, error) {
	var s storedVerdict
	err := t.row("SELECT "+verdictColumns+" FROM verdicts WHERE node_id = $1", []any{node}, s.columns()...)
	if errors.Is(err, ErrNotFound) {
		return trust.Verdict{}, nil
	}
	if err != nil {
		return trust.Verdict{}, err
	}
	return s.verdict()
}

// setVerdict writes a verdict. If more changed than its times, that gets a generation and a place in the history, which names the evidence.
func (t tx) setVerdict(node int64, v trust.Verdict, at time.Time, evidence int64) error {
	old, err := t.verdict(node)
	if err != nil {
		return err
	}
	sets, err := json.Marshal(v.Sets)
	if err != nil {
		return err
	}
	rebooted := v.RebootedSince(&old)
	if v.Boot == nil {
		v.Boot = old.Boot // what is known of the last boot stays, or a reboot would not be seen
	}
	booted, boot := v.Boot != nil, trust.Boot{}
	if booted {
		boot = *v.Boot
	}

	v.Generation, v.ChangedAt = old.Generation, old.ChangedAt
	if old.Generation == 0 || !v.SameAs(&old) {
		v.ChangedAt = at
		err := t.row("INSERT INTO history (node_id, at, level, reason, detail, quoted_at, expires_at, sets, ek_binding, booted, reset_count, restart_count, rebooted, evidence_id, pool) "+
			"VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, (SELECT nodes.pool FROM nodes WHERE nodes.id = $1)) RETURNING generation",
			[]any{
				node, millis(at), v.Level, v.Reason, v.Detail, millis(v.QuotedAt), millis(v.ExpiresAt), string(sets), v.EKBinding,
				booted, boot.ResetCount, boot.RestartCount, rebooted, evidence,
			}, &v.Generation)
		if err != nil {
			return err
		}
		if err := t.setVerdictSets(node, v.Sets); err != nil {
			return err
		}
	}
	_, err = t.exec("INSERT INTO verdicts (node_id, "+verdictColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) "+
		"ON CONFLICT (node_id) DO UPDATE SET level = excluded.level, reason = excluded.reason, detail = excluded.detail, quoted_at = excluded.quoted_at, "+
		"expires_at = excluded.expires_at, generation = excluded.generation, changed_at = excluded.changed_at, sets = excluded.sets, ek_binding = excluded.ek_binding, "+
		"booted = excluded.booted, reset_count = excluded.reset_count, restart_count = excluded.restart_count",
		node, v.Level, v.Reason, v.Detail, millis(v.QuotedAt), millis(v.ExpiresAt), v.Generation, millis(v.ChangedAt), string(sets), v.EKBinding,
		booted, boot.ResetCount, boot.RestartCount)
	return err
}

func (t tx) setVerdictSets(node int64, sets []string) error {
	_, err := t.exec("DELETE FROM verdict_sets WHERE node_id = $1", node)
	for _, set := range sets {
		_, addErr := t.exec("INSERT INTO verdict_sets (set_name, node_id) VALUES ($1, $2)", set, node)
		err = errors.Join(err, addErr)
	}
	return err
}

// endTrust turns the verdicts that where selects to unknown. Their times stay, to tell what they were. It takes as many statements for all nodes as for one: others wait for it.
func (t tx) endTrust(at time.Time, detail string, reason trust.Reason, where string, args ...any) error {
	var last int64 // what has a higher generation afterwards was changed here
	if err := t.row("SELECT coalesce(max(generation), 0) FROM history", nil, &last); err != nil {
		return err
	}
	n := len(args)
	_, err := t.exec(fmt.Sprintf("INSERT INTO history (node_id, at, level, reason, detail, quoted_at, expires_at, sets, ek_binding, booted, reset_count, restart_count, rebooted, evidence_id, pool) "+
		"SELECT node_id, CAST($%d AS BIGINT), 0, CAST($%d AS TEXT), CAST($%d AS TEXT), quoted_at, expires_at, 'null', ek_binding, booted, reset_count, restart_count, FALSE, 0, "+
		"(SELECT nodes.pool FROM nodes WHERE nodes.id = verdicts.node_id) FROM verdicts WHERE %s",
		n+1, n+2, n+3, where), append(args, millis(at), string(reason), detail)...)
	if err != nil {
		return err
	}
	changed := "node_id IN (SELECT history.node_id FROM history WHERE history.generation > $1)"
	_, err = t.exec("UPDATE verdicts SET level = 0, reason = $2, detail = $3, sets = 'null', changed_at = $4, "+
		"generation = (SELECT max(history.generation) FROM history WHERE history.node_id = verdicts.node_id) WHERE "+changed, last, string(reason), detail, millis(at))
	if err != nil {
		return err
	}
	_, err = t.exec("DELETE FROM verdict_sets WHERE "+changed, last)
	return err
}

// ExpireVerdicts turns verdicts that have expired to unknown, at most limit, so that the change is in the history and in the events. It returns how many there were. Lookup does not wait for it.
func (s *Store) ExpireVerdicts(ctx context.Context, now time.Time, limit int) (n int, err error) {
	if isAny, err := s.exists(ctx, "verdicts WHERE level IN (1, 2) AND expires_at <= $1", millis(now)); err != nil || !isAny {
		return 0, err
	}
	err = s.change(ctx, func(t tx) error {
		expired := make(map[int64]trust.Verdict)
		statement := "SELECT nodes.failures, nodes.last_error, node_id, " + verdictColumns +
			" FROM verdicts JOIN nodes ON nodes.id = node_id WHERE level IN (1, 2) AND expires_at <= $1 LIMIT $2"
		err := t.rows(statement, []any{millis(now), limit}, func(scan func(...any) error) error {
			var (
				s              storedVerdict
				node, failures int64
				problem        string
			)
			if err := scan(append([]any{&failures, &problem, &node}, s.columns()...)...); err != nil {
				return err
			}
			v, err := s.verdict()
			v = v.At(now)
			if failures > 0 {
				v.Reason, v.Detail = trust.Unreachable, v.Detail+"; the node can't be reached: "+problem
			}
			expired[node] = v
			return err
		})
		n = len(expired)
		for node, v := range expired {
			err = errors.Join(err, t.setVerdict(node, v, now, 0))
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("ending verdicts that have expired: %w", err)
	}
	return n, nil
}
