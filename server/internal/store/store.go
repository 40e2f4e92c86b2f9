// Package store keeps what the attestation server knows in one SQLite database: nodes and their names, pools and known-good sets, verdicts and their history, evidence, and what
// administrators did. It is the only package with SQL.
//
// Each exported method is one transaction: it happens whole or not at all, and what it returned without an error is on the disk. A change of an administrator's takes an Act, and leaves an
// entry in the admin log in the same transaction. The statements are written so that PostgreSQL takes them too: what differs is the dialect.
//
// The store trusts its file. It answers with verdicts as they were written, but for Lookup and Hosts, which know the time.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"runtime"
	"sync"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite", in Go: no libraries to install
)

// Store is safe for concurrent use.
type Store struct {
	// SQLite has one writer at a time: with one connection the others wait in Go and not in the file's lock. Readers see the last commit and wait for nobody.
	write, read *sql.DB
	path        string

	mu      sync.Mutex
	changed chan struct{} // closed at the next change; guarded by mu
}

// Open opens the database in a file, makes it if there is none, and brings its tables up to date. The caller closes it. One process at a time may have it open for writing.
func Open(ctx context.Context, path string) (*Store, error) {
	s := &Store{path: path, changed: make(chan struct{})}
	err := s.open(ctx, path)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening the database %s: %w", path, err), s.Close())
	}
	return s, nil
}

func (s *Store) open(ctx context.Context, path string) (err error) {
	// SQLite would make a file that others may read.
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) // #nosec G304 -- the operator names it
	if err == nil {
		err = file.Close()
	}
	if err != nil {
		return err
	}
	if s.write, err = sql.Open("sqlite", dsn(path, "immediate")); err != nil {
		return err
	}
	s.write.SetMaxOpenConns(1)
	if err := migrate(ctx, s.write); err != nil {
		return err
	}
	if s.read, err = sql.Open("sqlite", dsn(path, "deferred")+"&_pragma=query_only(1)"); err != nil {
		return err
	}
	s.read.SetMaxOpenConns(2 * runtime.NumCPU())
	s.read.SetMaxIdleConns(2 * runtime.NumCPU())
	return s.read.PingContext(ctx)
}

// dsn says how a file is opened. synchronous=FULL: what was committed outlives a power cut, too.
func dsn(path, lock string) string {
	return fileURL(path) + "?_txlock=" + lock +
		"&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&_pragma=cache_size(-16384)"
}

// fileURL names a file to SQLite, whatever characters are in its path.
func fileURL(path string) string {
	file := url.URL{Scheme: "file", OmitHost: true, Path: path}
	if path == "" || path[0] != '/' {
		file = url.URL{Scheme: "file", Opaque: url.PathEscape(path)}
	}
	return file.String()
}

// Close ends all work on the database.
func (s *Store) Close() error {
	var errs []error
	for _, db := range []*sql.DB{s.read, s.write} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

// Ready tells whether the database answers.
func (s *Store) Ready(ctx context.Context) error {
	var one int
	if err := s.read.QueryRowContext(ctx, "SELECT one FROM policy_revision").Scan(&one); err != nil {
		return fmt.Errorf("asking the database: %w", err)
	}
	return nil
}

// tx is one transaction, or one read, with its context.
type tx struct {
	ctx context.Context
	q   interface {
		ExecContext(context.Context, string, ...any) (sql.Result, error)
		QueryContext(context.Context, string, ...any) (*sql.Rows, error)
		QueryRowContext(context.Context, string, ...any) *sql.Row
	}
}

// change runs do in a transaction that writes.
func (s *Store) change(ctx context.Context, do func(tx) error) error {
	t, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("beginning a transaction: %w", err)
	}
	if err := do(tx{ctx, t}); err != nil {
		return errors.Join(err, ignoreDone(t.Rollback()))
	}
	if err := t.Commit(); err != nil {
		return fmt.Errorf("committing: %w", err)
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
	return nil
}

// Changed returns a channel that is closed at the next change of anything by this process. Take it before looking, or a change in between is missed.
func (s *Store) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// ignoreDone: a transaction whose context ended is rolled back already.
func ignoreDone(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}

// view runs do on one state of the database.
func (s *Store) view(ctx context.Context, do func(tx) error) error {
	t, err := s.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return fmt.Errorf("beginning to read: %w", err)
	}
	return errors.Join(do(tx{ctx, t}), ignoreDone(t.Rollback()))
}

// exec runs a statement and returns how many rows it touched.
func (t tx) exec(statement string, args ...any) (int64, error) {
	result, err := t.q.ExecContext(t.ctx, statement, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// row reads one row; ErrNotFound if there is none.
func (t tx) row(statement string, args []any, into ...any) error {
	err := t.q.QueryRowContext(t.ctx, statement, args...).Scan(into...)
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	return err
}

// rows calls each for every row.
func (t tx) rows(statement string, args []any, each func(scan func(...any) error) error) (err error) {
	rows, err := t.q.QueryContext(t.ctx, statement, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()

	for rows.Next() {
		if err := each(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// millis is a time as it is stored.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// moment is a stored time.
func moment(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
