package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/verifier"
)

// Evidence is what a node answered, with the nonce: a third party can judge it again.
type Evidence struct {
	// ID is the store's own; History names it. That of a node's last good or bad evidence may stay while newer evidence takes its place.
	ID       int64
	QuotedAt time.Time
	Nonce    []byte
	// Evidence is whole, its logs included, unless a log had to go for lack of room.
	Evidence verifier.Evidence
}

// EvidenceKind says which of a node's evidence is wanted.
type EvidenceKind string

// Of each node the last good and the last bad evidence are kept, and that of each change of its verdict.
const (
	LastGood EvidenceKind = "good"
	LastBad  EvidenceKind = "bad"
	AtChange EvidenceKind = "change"
)

// LastEvidence returns the last evidence of that kind of the node that has a name; ErrNotFound if there is none. With AtChange, it is that of the last change.
func (s *Store) LastEvidence(ctx context.Context, name string, kind EvidenceKind) (Evidence, error) {
	return s.evidence(ctx, "node_id = (SELECT node_id FROM names WHERE names.name = $1) AND kind = $2 ORDER BY id DESC LIMIT 1", trust.FoldName(name), kind)
}

// EvidenceOf returns the evidence of that number, if it is that of a change of the node that has a name: it will never be another.
func (s *Store) EvidenceOf(ctx context.Context, name string, id int64) (Evidence, error) {
	return s.evidence(ctx, "node_id = (SELECT node_id FROM names WHERE names.name = $1) AND id = $2 AND kind = $3", trust.FoldName(name), id, AtChange)
}

func (s *Store) evidence(ctx context.Context, where string, args ...any) (ev Evidence, err error) {
	err = s.view(ctx, func(t tx) error {
		var (
			quoted int64
			body   string
		)
		if err := t.row("SELECT id, quoted_at, nonce, body FROM evidence WHERE "+where, args, &ev.ID, &quoted, &ev.Nonce, &body); err != nil {
			return err
		}
		ev.QuotedAt = moment(quoted)
		if err := json.Unmarshal([]byte(body), &ev.Evidence); err != nil {
			return err
		}
		statement := "SELECT source, raw FROM evidence_logs JOIN logs ON logs.sha256 = evidence_logs.sha256 WHERE evidence_id = $1 ORDER BY position"
		return t.rows(statement, []any{ev.ID}, func(scan func(...any) error) error {
			var log verifier.Log
			err := scan(&log.Source, &log.Raw)
			ev.Evidence.Logs = append(ev.Evidence.Logs, log)
			return err
		})
	})
	if err != nil {
		return Evidence{}, fmt.Errorf("reading evidence: %w", err)
	}
	return ev, nil
}

// Logs returns the logs of the newest evidence of a node, by source: what need not be sent again.
func (s *Store) Logs(ctx context.Context, node int64) (map[string][]byte, error) {
	logs := make(map[string][]byte)
	err := s.look(ctx, func(t tx) error {
		statement := "SELECT source, raw FROM evidence_logs JOIN logs ON logs.sha256 = evidence_logs.sha256 WHERE evidence_id = (SELECT id FROM evidence WHERE node_id = $1 ORDER BY quoted_at DESC, id DESC LIMIT 1)"
		return t.rows(statement, []any{node}, func(scan func(...any) error) error {
			var (
				source string
				raw    []byte
			)
			err := scan(&source, &raw)
			logs[source] = raw
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("reading the logs of a node: %w", err)
	}
	return logs, nil
}
