package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
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

// becoming is a verdict that a node gets.
type becoming struct {
	node   int64
	old, v trust.Verdict
	at     time.Time
	// evidence is that of the change; 0 if there is none, or no change.
	evidence int64
}

// isChange tells whether more changes than the times.
func (b *becoming) isChange() bool { return b.old.Generation == 0 || !b.v.SameAs(&b.old) }

// boot is the last that is known of the node, or a reboot would not be seen.
func (b *becoming) boot() (is bool, boot trust.Boot) {
	last := cmp.Or(b.v.Boot, b.old.Boot)
	if last == nil {
		return false, trust.Boot{}
	}
	return true, *last
}

// setVerdict writes a verdict, as setVerdicts does.
func (t tx) setVerdict(node int64, v trust.Verdict, at time.Time, evidence int64) error {
	old, err := t.verdict(node)
	if err != nil {
		return err
	}
	return t.setVerdicts([]becoming{{node, old, v, at, evidence}})
}

// setVerdicts writes verdicts, of each node one. If more changes than its times, it gets a generation and a place in the history, which names the evidence.
func (t tx) setVerdicts(all []becoming) error {
	renewed := many{columns: []string{"node BIGINT", "detail TEXT", "quoted BIGINT", "expires BIGINT", "booted BOOLEAN", "resets BIGINT", "restarts BIGINT"}}
	var changed []becoming
	for i := range all {
		b := &all[i]
		if b.isChange() {
			changed = append(changed, *b)
			continue
		}
		booted, boot := b.boot()
		renewed.add(b.node, b.v.Detail, millis(b.v.QuotedAt), millis(b.v.ExpiresAt), booted, int64(boot.ResetCount), int64(boot.RestartCount))
	}
	_, err := t.execMany("UPDATE verdicts SET detail = v.detail, quoted_at = v.quoted, expires_at = v.expires, booted = v.booted, reset_count = v.resets, restart_count = v.restarts "+
		"FROM ROWS WHERE verdicts.node_id = v.node", renewed)
	if err != nil || len(changed) == 0 {
		return err
	}
	return t.changeVerdicts(changed)
}

func (t tx) changeVerdicts(all []becoming) error {
	*t.turned = true
	var (
		nodes   []int64
		rows    = many{columns: verdictFields("booted BOOLEAN", "resets BIGINT", "restarts BIGINT", "rebooted BOOLEAN", "evidence BIGINT")}
		perSet  = many{columns: []string{"name TEXT", "node BIGINT"}}
		changed = make(map[int64]int64, len(all)) // generations
	)
	for i := range all {
		b := &all[i]
		sets, err := json.Marshal(b.v.Sets)
		if err != nil {
			return err
		}
		booted, boot := b.boot()
		nodes = append(nodes, b.node)
		rows.add(b.node, millis(b.at), int64(b.v.Level), string(b.v.Reason), b.v.Detail, millis(b.v.QuotedAt), millis(b.v.ExpiresAt), string(sets), string(b.v.EKBinding),
			booted, int64(boot.ResetCount), int64(boot.RestartCount), b.v.RebootedSince(&b.old), b.evidence)
		for _, set := range b.v.Sets {
			perSet.add(set, b.node)
		}
	}
	err := t.queryMany("INSERT INTO history (node_id, at, level, reason, detail, quoted_at, expires_at, sets, ek_binding, booted, reset_count, restart_count, rebooted, evidence_id, pool) "+
		"SELECT v.node, v.at, v.level, v.reason, v.detail, v.quoted, v.expires, v.sets, v.binding, v.booted, v.resets, v.restarts, v.rebooted, v.evidence, "+
		"(SELECT nodes.pool FROM nodes WHERE nodes.id = v.node) FROM ROWS RETURNING node_id, generation", rows, func(scan func(...any) error) error {
		var node, generation int64
		err := scan(&node, &generation)
		changed[node] = generation
		return err
	})
	if err != nil {
		return err
	}
	if _, err := t.exec("DELETE FROM verdict_sets WHERE "+t.among("node_id", "$1"), t.list(nodes)); err != nil {
		return err
	}
	if _, err := t.execMany("INSERT INTO verdict_sets (set_name, node_id) SELECT v.name, v.node FROM ROWS", perSet); err != nil {
		return err
	}

	current := many{columns: verdictFields("booted BOOLEAN", "resets BIGINT", "restarts BIGINT", "generation BIGINT")}
	for _, row := range rows.rows {
		current.add(append(slices.Clone(row[:12]), changed[row[0].(int64)])...)
	}
	_, err = t.execMany("INSERT INTO verdicts (node_id, "+verdictColumns+") SELECT v.node, v.level, v.reason, v.detail, v.quoted, v.expires, v.generation, v.at, v.sets, v.binding, v.booted, v.resets, "+
		"v.restarts FROM ROWS WHERE TRUE ON CONFLICT (node_id) DO UPDATE SET level = excluded.level, reason = excluded.reason, detail = excluded.detail, quoted_at = excluded.quoted_at, "+
		"expires_at = excluded.expires_at, generation = excluded.generation, changed_at = excluded.changed_at, sets = excluded.sets, ek_binding = excluded.ek_binding, "+
		"booted = excluded.booted, reset_count = excluded.reset_count, restart_count = excluded.restart_count", current)
	return err
}

// verdictFields are columns of many verdicts, and more behind them.
func verdictFields(more ...string) []string {
	return append([]string{
		"node BIGINT", "at BIGINT", "level BIGINT", "reason TEXT", "detail TEXT", "quoted BIGINT", "expires BIGINT", "sets TEXT", "binding TEXT",
	}, more...)
}

// endTrust turns the verdicts that where selects to unknown. Their times stay, to tell what they were. It takes as many statements for all nodes as for one: others wait for it.
func (t tx) endTrust(at time.Time, detail string, reason trust.Reason, where string, args ...any) error {
	var last int64 // what has a higher generation afterwards was changed here
	if err := t.row("SELECT coalesce(max(generation), 0) FROM history", nil, &last); err != nil {
		return err
	}
	n := len(args)
	ended, err := t.exec(fmt.Sprintf("INSERT INTO history (node_id, at, level, reason, detail, quoted_at, expires_at, sets, ek_binding, booted, reset_count, restart_count, rebooted, evidence_id, pool) "+
		"SELECT node_id, CAST($%d AS BIGINT), 0, CAST($%d AS TEXT), CAST($%d AS TEXT), quoted_at, expires_at, 'null', ek_binding, booted, reset_count, restart_count, FALSE, 0, "+
		"(SELECT nodes.pool FROM nodes WHERE nodes.id = verdicts.node_id) FROM verdicts WHERE %s",
		n+1, n+2, n+3, where), append(args, millis(at), string(reason), detail)...)
	if err != nil || ended == 0 {
		return err
	}
	*t.turned = true
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
		var expired []becoming
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
			old, err := s.verdict()
			v := old.At(now)
			if failures > 0 {
				v.Reason, v.Detail = trust.Unreachable, v.Detail+"; the node can't be reached: "+problem
			}
			expired = append(expired, becoming{node: node, old: old, v: v, at: now})
			return err
		})
		if err != nil {
			return err
		}
		n = len(expired)
		return t.setVerdicts(expired)
	})
	if err != nil {
		return 0, fmt.Errorf("ending verdicts that have expired: %w", err)
	}
	return n, nil
}
