package store

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"

	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/verifier"
)

// NodeEvidence is a node and its newest evidence; nil if there is none.
type NodeEvidence struct {
	Node     trust.Node
	Evidence *Evidence
	// Good: the node was trusted by it when it came.
	Good bool
}

// Logs are event logs by their SHA-256.
type Logs map[[sha256.Size]byte][]byte

// newestChunk bounds how many nodes' evidence is in memory at once.
const newestChunk = 1000

// Newest lists nodes by name, as Nodes does, with the newest evidence of each. At most newestChunk come at once. Logs that are in logs are not read again, and those that are read are put there: nodes that
// booted alike share theirs. A log that had to go is left out of its evidence.
func (s *Store) Newest(ctx context.Context, f HostFilter, logs Logs) (all []NodeEvidence, err error) {
	f.Limit = min(f.Limit, newestChunk)
	nodes, err := s.Nodes(ctx, f)
	if err != nil || len(nodes) == 0 {
		return nil, err
	}
	ids := make([]int64, 0, len(nodes))
	for i := range nodes {
		ids = append(ids, nodes[i].ID)
	}
	newest := make(map[int64]NodeEvidence, len(nodes))
	err = s.view(ctx, func(t tx) error {
		if err := t.newestOf(ids, newest); err != nil {
			return err
		}
		return t.logsOf(newest, logs)
	})
	if err != nil {
		return nil, fmt.Errorf("reading the newest evidence of nodes: %w", err)
	}
	for i := range nodes {
		one := newest[nodes[i].ID]
		one.Node = nodes[i]
		all = append(all, one)
	}
	return all, nil
}

// newestOf reads the newest evidence of each node, without logs.
func (t tx) newestOf(nodes []int64, newest map[int64]NodeEvidence) error {
	statement := "SELECT node_id, kind, id, quoted_at, nonce, body FROM evidence WHERE kind IN ('good', 'bad') AND " + t.among("node_id", "$1") + " ORDER BY quoted_at, id"
	return t.rows(statement, []any{t.list(nodes)}, func(scan func(...any) error) error {
		var (
			ev           Evidence
			node, quoted int64
			kind         EvidenceKind
			body         string
		)
		if err := scan(&node, &kind, &ev.ID, &quoted, &ev.Nonce, &body); err != nil {
			return err
		}
		ev.QuotedAt = moment(quoted)
		newest[node] = NodeEvidence{Evidence: &ev, Good: kind == LastGood}
		return json.Unmarshal([]byte(body), &ev.Evidence)
	})
}

// logsOf gives each evidence its logs.
func (t tx) logsOf(newest map[int64]NodeEvidence, logs Logs) error {
	byID := make(map[int64]*Evidence, len(newest))
	ids := make([]int64, 0, len(newest))
	for _, n := range newest {
		byID[n.Evidence.ID] = n.Evidence
		ids = append(ids, n.Evidence.ID)
	}
	if len(ids) == 0 {
		return nil
	}

	type link struct {
		id     int64
		source string
		digest [sha256.Size]byte
	}
	var links []link
	statement := "SELECT evidence_id, source, sha256 FROM evidence_logs WHERE " + t.among("evidence_id", "$1") + " ORDER BY evidence_id, position"
	err := t.rows(statement, []any{t.list(ids)}, func(scan func(...any) error) error {
		var (
			l   link
			raw []byte
		)
		err := scan(&l.id, &l.source, &raw)
		copy(l.digest[:], raw)
		links = append(links, l)
		return err
	})
	if err != nil {
		return err
	}
	for _, l := range links {
		raw, err := t.rawLog(l.digest, logs)
		if err != nil {
			return err
		}
		if raw != nil {
			byID[l.id].Evidence.Logs = append(byID[l.id].Evidence.Logs, verifier.Log{Source: l.source, Raw: raw})
		}
	}
	return nil
}

// rawLog returns a log; nil if it had to go.
func (t tx) rawLog(digest [sha256.Size]byte, logs Logs) (raw []byte, err error) {
	if raw, have := logs[digest]; have {
		return raw, nil
	}
	err = t.rows("SELECT raw FROM logs WHERE sha256 = $1", []any{digest[:]}, func(scan func(...any) error) error { return scan(&raw) })
	logs[digest] = raw
	return raw, err
}
