package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/trustpool/trustpool/server/internal/trust"
)

// Change is one change of a node's verdict.
type Change struct {
	// Node is the name of the node, Pool the one that it was in when the verdict changed; for a move, that which it leaves. Of changes that an older server wrote it is the pool now.
	Node string
	Pool string
	// Verdict is as it became; its Generation numbers the changes of all nodes, its ChangedAt is when.
	Verdict trust.Verdict
	// Rebooted: the node had booted anew since the quote before.
	Rebooted bool
	// EvidenceID is what it rests on; 0 if there is none.
	EvidenceID int64
}

const changeColumns = "nodes.name, CASE WHEN h.pool = '' THEN nodes.pool ELSE h.pool END, h.generation, h.at, h.level, h.reason, h.detail, h.quoted_at, h.expires_at, h.sets, h.ek_binding, h.booted, h.reset_count, h.restart_count, " +
	"h.rebooted, h.evidence_id"

// Events returns up to limit changes of all nodes after that generation, in their order.
func (s *Store) Events(ctx context.Context, after int64, limit int) ([]Change, error) {
	return s.changes(ctx, "h.generation > $1 ORDER BY h.generation LIMIT $2", after, limit)
}

// History returns up to limit changes of the node that has a name, the newest first; before is the generation of the last one of the page before, 0 for the first page.
func (s *Store) History(ctx context.Context, name string, before int64, limit int) ([]Change, error) {
	return s.changes(ctx, "h.node_id = (SELECT node_id FROM names WHERE names.name = $3) AND (CAST($1 AS BIGINT) = 0 OR h.generation < $1) ORDER BY h.generation DESC LIMIT $2",
		before, limit, trust.FoldName(name))
}

// LastGeneration is that of the last change, 0 if there was none.
func (s *Store) LastGeneration(ctx context.Context) (last int64, err error) {
	err = s.look(ctx, func(t tx) error { return t.row("SELECT coalesce(max(generation), 0) FROM history", nil, &last) })
	if err != nil {
		return 0, fmt.Errorf("reading the last generation: %w", err)
	}
	return last, nil
}

func (s *Store) changes(ctx context.Context, where string, args ...any) ([]Change, error) {
	var changes []Change
	err := s.look(ctx, func(t tx) error {
		return t.rows("SELECT "+changeColumns+" FROM history h JOIN nodes ON nodes.id = h.node_id WHERE "+where, args, func(scan func(...any) error) error {
			c, err := scanChange(scan)
			changes = append(changes, c)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("reading the history: %w", err)
	}
	return changes, nil
}

func scanChange(scan func(...any) error) (Change, error) {
	var (
		c                   Change
		at, quoted, expires int64
		sets                string
		booted              bool
		boot                trust.Boot
	)
	v := &c.Verdict
	err := scan(&c.Node, &c.Pool, &v.Generation, &at, &v.Level, &v.Reason, &v.Detail, &quoted, &expires, &sets, &v.EKBinding, &booted, &boot.ResetCount, &boot.RestartCount,
		&c.Rebooted, &c.EvidenceID)
	if err != nil {
		return Change{}, err
	}
	v.ChangedAt, v.QuotedAt, v.ExpiresAt = moment(at), moment(quoted), moment(expires)
	if booted {
		v.Boot = &boot
	}
	return c, json.Unmarshal([]byte(sets), &v.Sets)
}
