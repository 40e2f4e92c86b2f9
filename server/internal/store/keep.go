package store

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/trustpool/trustpool/server/internal/trust"
)

// storedEvidence is evidence as it is stored: its body without the logs, and their digests.
type storedEvidence struct {
	*Evidence
	body    string
	digests [][sha256.Size]byte
}

func (ev *Evidence) stored() (storedEvidence, error) {
	bare := ev.Evidence
	bare.Logs = nil
	body, err := json.Marshal(bare)
	s := storedEvidence{Evidence: ev, body: string(body)}
	for _, log := range ev.Evidence.Logs {
		s.digests = append(s.digests, sha256.Sum256(log.Raw))
	}
	return s, err
}

// logs tells which logs it has, for comparison.
func (s *storedEvidence) logs() string {
	text := ""
	for i, digest := range s.digests {
		text += logOf(s.Evidence.Evidence.Logs[i].Source, digest[:])
	}
	return text
}

func logOf(source string, digest []byte) string {
	return fmt.Sprintf("%q %x\n", storableText(source), digest)
}

// keepEvidence keeps the evidence of each answer as the last of its kind and, if the verdict changes, for good; then the verdict names it.
func (t tx) keepEvidence(all []*answer, verdicts []becoming) error {
	there, err := t.lastEvidence(all)
	if err != nil {
		return err
	}
	var (
		renewed = many{columns: []string{"id BIGINT", "quoted BIGINT", "nonce BYTEA", "body TEXT"}}
		fresh   []keeping
		gone    []int64
	)
	for i, a := range all {
		if a.Evidence == nil {
			continue
		}
		if verdicts[i].isChange() {
			fresh = append(fresh, keeping{a, AtChange, &verdicts[i].evidence})
		}
		kind := a.kind()
		last := there[lastOf{a.Node.ID, kind}]
		if len(last.ids) == 1 && last.isWhole && last.logs == a.evidence.logs() { // mostly: the node has not booted since
			renewed.add(last.ids[0], millis(a.Evidence.QuotedAt), a.Evidence.Nonce, a.evidence.body)
			continue
		}
		gone = append(gone, last.ids...)
		fresh = append(fresh, keeping{a, kind, new(int64)})
	}
	if _, err := t.execMany("UPDATE evidence SET quoted_at = v.quoted, nonce = v.nonce, body = v.body FROM ROWS WHERE evidence.id = v.id", renewed); err != nil {
		return err
	}
	if len(gone) > 0 {
		if _, err := t.exec("DELETE FROM evidence WHERE "+t.among("id", "$1"), t.list(gone)); err != nil {
			return err
		}
	}
	return t.addEvidence(fresh)
}

// kind is that of which the evidence is the last.
func (a *answer) kind() EvidenceKind {
	if a.Verdict.Level == trust.Trusted {
		return LastGood
	}
	return LastBad
}

// lastOf names a node's last evidence of a kind.
type lastOf struct {
	node int64
	kind EvidenceKind
}

// lastThere is what there is of it: which logs, and whether all of them are there.
type lastThere struct {
	ids     []int64
	logs    string
	isWhole bool
}

// lastEvidence reads what there is of the evidence that answers take the place of.
func (t tx) lastEvidence(all []*answer) (map[lastOf]lastThere, error) {
	var nodes []int64
	for _, a := range all {
		if a.Evidence != nil {
			nodes = append(nodes, a.Node.ID)
		}
	}
	there := make(map[lastOf]lastThere)
	if len(nodes) == 0 {
		return there, nil
	}
	statement := "SELECT id, node_id, kind, coalesce(evidence_logs.source, ''), evidence_logs.sha256, evidence_logs.sha256 IS NULL, logs.sha256 IS NOT NULL FROM evidence " +
		"LEFT JOIN evidence_logs ON evidence_logs.evidence_id = evidence.id LEFT JOIN logs ON logs.sha256 = evidence_logs.sha256 " +
		"WHERE kind IN ('good', 'bad') AND " + t.among("node_id", "$1") + " ORDER BY id, evidence_logs.position"
	err := t.rows(statement, []any{t.list(nodes)}, func(scan func(...any) error) error {
		var (
			id              int64
			of              lastOf
			source          string
			digest          []byte
			hasNone, isRead bool
		)
		if err := scan(&id, &of.node, &of.kind, &source, &digest, &hasNone, &isRead); err != nil {
			return err
		}
		last, have := there[of]
		if !have {
			last.isWhole = true
		}
		if !slices.Contains(last.ids, id) {
			last.ids = append(last.ids, id)
		}
		if !hasNone {
			last.logs += logOf(source, digest)
			last.isWhole = last.isWhole && isRead
		}
		there[of] = last
		return nil
	})
	return there, err
}

// keeping is evidence that is being added, as what, and where its number belongs.
type keeping struct {
	*answer
	kind EvidenceKind
	id   *int64
}

// addEvidence adds evidence and its logs, of each node and kind one.
func (t tx) addEvidence(all []keeping) error {
	if len(all) == 0 {
		return nil
	}
	rows := many{columns: []string{"node BIGINT", "kind TEXT", "quoted BIGINT", "nonce BYTEA", "body TEXT"}}
	byKind := make(map[lastOf]*int64, len(all))
	for _, k := range all {
		byKind[lastOf{k.Node.ID, k.kind}] = k.id
		rows.add(k.Node.ID, string(k.kind), millis(k.Evidence.QuotedAt), k.Evidence.Nonce, k.evidence.body)
	}
	statement := "INSERT INTO evidence (node_id, kind, quoted_at, nonce, body) SELECT v.node, v.kind, v.quoted, v.nonce, v.body FROM ROWS RETURNING id, node_id, kind"
	err := t.queryMany(statement, rows, func(scan func(...any) error) error {
		var (
			id int64
			of lastOf
		)
		err := scan(&id, &of.node, &of.kind)
		if err == nil {
			*byKind[of] = id
		}
		return err
	})
	if err != nil {
		return err
	}
	return errors.Join(t.addLogs(all), t.linkLogs(all))
}

// addLogs adds the logs that are not there yet: they are long, and nodes that booted alike have the same.
func (t tx) addLogs(all []keeping) error {
	type log struct {
		raw []byte
		at  time.Time
	}
	missing := make(map[[sha256.Size]byte]log)
	digests := many{columns: []string{"sha256 BYTEA"}}
	for _, k := range all {
		for i, digest := range k.evidence.digests {
			if _, have := missing[digest]; !have {
				missing[digest] = log{k.Evidence.Evidence.Logs[i].Raw, k.At}
				digests.add(digest[:])
			}
		}
	}
	err := t.queryMany("SELECT logs.sha256 FROM ROWS JOIN logs ON logs.sha256 = v.sha256", digests, func(scan func(...any) error) error {
		var (
			raw    []byte
			digest [sha256.Size]byte
		)
		err := scan(&raw)
		copy(digest[:], raw)
		delete(missing, digest)
		return err
	})
	for digest, log := range missing {
		_, addErr := t.exec("INSERT INTO logs (sha256, size, used_at, raw) VALUES ($1, $2, $3, $4)", digest[:], len(log.raw), millis(log.at), log.raw)
		err = errors.Join(err, addErr)
	}
	return err
}

func (t tx) linkLogs(all []keeping) error {
	links := many{columns: []string{"evidence BIGINT", "position BIGINT", "source TEXT", "sha256 BYTEA"}}
	for _, k := range all {
		for i, digest := range k.evidence.digests {
			links.add(*k.id, int64(i), k.Evidence.Evidence.Logs[i].Source, digest[:])
		}
	}
	_, err := t.execMany("INSERT INTO evidence_logs (evidence_id, position, source, sha256) SELECT v.evidence, v.position, v.source, v.sha256 FROM ROWS", links)
	return err
}
