package store

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/verifier"
)

// Evidence is what a node answered, with the nonce: a third party can judge it again.
type Evidence struct {
	// ID is the store's own; History names it.
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

// keepEvidence keeps the evidence of an outcome as the last of its kind and, if the verdict changes, for good. It returns the number of the latter, or 0.
func (t tx) keepEvidence(o *Outcome) (int64, error) {
	if o.Evidence == nil {
		return 0, nil
	}
	old, err := t.verdict(o.Node.ID)
	if err != nil {
		return 0, err
	}
	kind := LastBad
	if o.Verdict.Level == trust.Trusted {
		kind = LastGood
	}
	if _, err := t.exec("DELETE FROM evidence WHERE node_id = $1 AND kind = $2", o.Node.ID, kind); err != nil {
		return 0, err
	}
	if _, err := t.addEvidence(o.Node.ID, kind, o.Evidence, o.At); err != nil {
		return 0, err
	}
	if old.Generation != 0 && o.Verdict.SameAs(&old) {
		return 0, nil
	}
	return t.addEvidence(o.Node.ID, AtChange, o.Evidence, o.At)
}

func (t tx) addEvidence(node int64, kind EvidenceKind, ev *Evidence, at time.Time) (id int64, err error) {
	bare := ev.Evidence
	bare.Logs = nil
	body, err := json.Marshal(bare)
	if err != nil {
		return 0, err
	}
	err = t.row("INSERT INTO evidence (node_id, kind, quoted_at, nonce, body) VALUES ($1, $2, $3, $4, $5) RETURNING id",
		[]any{node, kind, millis(ev.QuotedAt), ev.Nonce, string(body)}, &id)
	if err != nil {
		return 0, err
	}
	for i, log := range ev.Evidence.Logs {
		digest := sha256.Sum256(log.Raw)
		_, logErr := t.exec("INSERT INTO logs (sha256, size, used_at, raw) VALUES ($1, $2, $3, $4) ON CONFLICT (sha256) DO NOTHING", digest[:], len(log.Raw), millis(at), log.Raw)
		_, linkErr := t.exec("INSERT INTO evidence_logs (evidence_id, position, source, sha256) VALUES ($1, $2, $3, $4)", id, i, log.Source, digest[:])
		err = errors.Join(err, logErr, linkErr)
	}
	return id, err
}

// LastEvidence returns the last evidence of that kind of the node that has a name; ErrNotFound if there is none. With AtChange, it is that of the last change.
func (s *Store) LastEvidence(ctx context.Context, name string, kind EvidenceKind) (Evidence, error) {
	return s.evidence(ctx, "node_id = (SELECT node_id FROM names WHERE names.name = $1) AND kind = $2 ORDER BY id DESC LIMIT 1", trust.FoldName(name), kind)
}

// EvidenceOf returns the evidence of that number, if it is of the node that has a name.
func (s *Store) EvidenceOf(ctx context.Context, name string, id int64) (Evidence, error) {
	return s.evidence(ctx, "node_id = (SELECT node_id FROM names WHERE names.name = $1) AND id = $2", trust.FoldName(name), id)
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
		statement := "SELECT source, raw FROM evidence_logs JOIN logs ON logs.sha256 = evidence_logs.sha256 WHERE evidence_id = (SELECT max(id) FROM evidence WHERE node_id = $1)"
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
