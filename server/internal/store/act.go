package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Act says who changes something, and when.
type Act struct {
	// By names the caller: a token, a certificate, or the server itself.
	By string
	At time.Time
}

// AdminEntry is one entry of the admin log.
type AdminEntry struct {
	// Seq counts from 1 without gaps.
	Seq int64
	At  time.Time
	By  string
	// Action is a word such as "node.add", Subject what it was done to, Detail a JSON value.
	Action  string
	Subject string
	Detail  json.RawMessage
	// Hash is SHA-256 over the hash of the entry before and all fields of this one.
	Hash []byte
}

// entry is what an act leaves in the log.
type entry struct {
	action, subject string
	detail          any
}

// act runs a change of an administrator's, and logs it.
func (s *Store) act(ctx context.Context, a Act, do func(tx) (entry, error)) error {
	if a.By == "" || a.At.IsZero() {
		return errors.New("changing something for nobody")
	}
	return s.change(ctx, func(t tx) error {
		e, err := do(t)
		if err != nil {
			return err
		}
		return t.log(a, e)
	})
}

// log appends to the admin log.
func (t tx) log(a Act, entries ...entry) error {
	last := AdminEntry{}
	err := t.row("SELECT seq, hash FROM admin_log ORDER BY seq DESC LIMIT 1", nil, &last.Seq, &last.Hash)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("logging: %w", err)
	}
	rows := many{columns: []string{"seq BIGINT", "at BIGINT", "actor TEXT", "action TEXT", "subject TEXT", "detail TEXT", "hash BYTEA"}}
	for _, e := range entries {
		detail, err := json.Marshal(e.detail)
		if err != nil {
			return fmt.Errorf("logging %s: %w", e.action, err)
		}
		// The hash is that of what is stored.
		next := AdminEntry{Seq: last.Seq + 1, At: moment(millis(a.At)), By: storableText(a.By), Action: e.action, Subject: storableText(e.subject), Detail: detail}
		next.Hash = next.chain(last.Hash)
		rows.add(next.Seq, millis(next.At), next.By, next.Action, next.Subject, string(next.Detail), next.Hash)
		last = next
	}
	if _, err := t.execMany("INSERT INTO admin_log (seq, at, actor, action, subject, detail, hash) SELECT v.seq, v.at, v.actor, v.action, v.subject, v.detail, v.hash FROM ROWS", rows); err != nil {
		return fmt.Errorf("logging: %w", err)
	}
	return nil
}

// chain returns the entry's hash: SHA-256 of "trustpool-admin-log-v1", a zero byte, and the hash before, the number, the time in milliseconds and the texts, each behind its length in 4 bytes.
func (e *AdminEntry) chain(before []byte) []byte {
	h := sha256.New()
	h.Write([]byte("trustpool-admin-log-v1\x00"))
	number := func(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) } //nolint:gosec // the same bits
	for _, part := range [][]byte{before, number(e.Seq), number(millis(e.At)), []byte(e.By), []byte(e.Action), []byte(e.Subject), e.Detail} {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part)))) //nolint:gosec // texts of people, bounded where they come in
		h.Write(part)
	}
	return h.Sum(nil)
}

// AdminLog returns up to limit entries after that number, in their order.
func (s *Store) AdminLog(ctx context.Context, after int64, limit int) ([]AdminEntry, error) {
	var entries []AdminEntry
	err := s.look(ctx, func(t tx) error {
		return t.rows("SELECT seq, at, actor, action, subject, detail, hash FROM admin_log WHERE seq > $1 ORDER BY seq LIMIT $2", []any{after, limit}, func(scan func(...any) error) error {
			var (
				e      AdminEntry
				at     int64
				detail string
			)
			if err := scan(&e.Seq, &at, &e.By, &e.Action, &e.Subject, &detail, &e.Hash); err != nil {
				return err
			}
			e.At, e.Detail = moment(at), json.RawMessage(detail)
			entries = append(entries, e)
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("reading the admin log: %w", err)
	}
	return entries, nil
}

// LastAdminEntry is the number of the last entry, 0 if there is none.
func (s *Store) LastAdminEntry(ctx context.Context) (seq int64, err error) {
	err = s.look(ctx, func(t tx) error { return t.row("SELECT coalesce(max(seq), 0) FROM admin_log", nil, &seq) })
	if err != nil {
		return 0, fmt.Errorf("reading the number of the last entry of the admin log: %w", err)
	}
	return seq, nil
}

// CheckAdminLog follows the chain from the first entry to the last, and returns the number and hash of the last. An ErrAltered says which entry was altered, or that one is missing. An
// end that was cut off shows only to whoever has noted a later number and hash elsewhere.
func (s *Store) CheckAdminLog(ctx context.Context) (last int64, hash []byte, err error) {
	for {
		entries, err := s.AdminLog(ctx, last, 1000)
		if err != nil || len(entries) == 0 {
			return last, hash, err
		}
		for _, e := range entries {
			if e.Seq != last+1 {
				return last, hash, fmt.Errorf("%w: the admin log has no entry %d", ErrAltered, last+1)
			}
			if !bytes.Equal(e.Hash, e.chain(hash)) {
				return last, hash, fmt.Errorf("%w: the admin log's entry %d is not what was written", ErrAltered, e.Seq)
			}
			last, hash = e.Seq, e.Hash
		}
	}
}
