// Package store keeps what the attestation server knows in a database: nodes and their names, pools and known-good sets, verdicts and their history, evidence, and what administrators did. It is the
// only package with SQL.
//
// Each exported method is one transaction: it happens whole or not at all, and what it returned without an error is on the disk. A change of an administrator's takes an Act, and leaves an
// entry in the admin log in the same transaction.
//
// The store trusts its database. It answers with verdicts as they were written, but for Lookup and Hosts, which know the time.
//
// # Two databases
//
// SQLite in a file is for one server, PostgreSQL for several that share the work: its replicas. The statements are the same, and so are the tests; what differs is the dialect.
//
// There is one writer at a time on both. On PostgreSQL, each transaction that writes begins by taking a lock that all replicas share (pg_advisory_xact_lock), so that what it reads then is what the
// others have committed, and generations and the entries of the admin log are committed in the order in which they were given: who follows them misses none. Claims are the exception: they lock the rows
// that they take, and skip those that others have (FOR UPDATE SKIP LOCKED).
//
// # Upgrades
//
// A migration runs when the first server of the new version starts. SQLite: a server refuses tables that are newer than it is. PostgreSQL: replicas are upgraded one after the other, so that older ones
// work beside newer tables. A migration may therefore only add tables, and columns that have a DEFAULT. One that can't keep to that sets compatibility.oldest to its own number: replicas that do not know
// it refuse to work from then on, and say so.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Store is safe for concurrent use.
type Store struct {
	// On SQLite, write has one connection: the others wait in Go and not in the file's lock. Readers see the last commit and wait for nobody.
	write, read *sql.DB
	name        string // of the file, or the URL
	dialect     *dialect
	target      int64                 // the newest migration that this program knows
	number      int64                 // of this replica, on PostgreSQL
	follows     atomic.Bool           // Follow was called
	peers       atomic.Pointer[peers] // the replicas that share the work; nil: this one is alone
	unfit       atomic.Pointer[error] // why nothing may be read or written now
	census      census

	mu      sync.Mutex
	changed chan struct{} // closed at the next change of a verdict; guarded by mu
}

// Open opens a database, the file of a SQLite database or the URL of a PostgreSQL database, makes its tables if there are none, and brings them up to date. The caller closes it. One process at a time may
// have a file open for writing.
func Open(ctx context.Context, database string) (*Store, error) {
	s := &Store{name: database, changed: make(chan struct{}), census: census{turn: make(chan struct{}, 1)}}
	var err error
	if IsURL(database) {
		err = s.openPostgres(ctx)
	} else {
		err = s.openSQLite(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening the database %s: %w", Redacted(database), err), s.Close())
	}
	return s, nil
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

// IsShared tells whether several servers share the database.
func (s *Store) IsShared() bool { return s.dialect.claimsAlone }

// Ready tells whether the database answers. On PostgreSQL, it also tells whether this program may work on these tables, and whether the clocks agree; while they do not, the store does nothing.
func (s *Store) Ready(ctx context.Context) error {
	ctx, cancel := s.dialect.bound(ctx)
	defer cancel()
	if err := s.dialect.ready(ctx, s); err != nil {
		return fmt.Errorf("asking the database: %w", err)
	}
	return nil
}

// change runs do in a transaction that writes.
func (s *Store) change(ctx context.Context, do func(tx) error) error {
	turned := false
	err := s.run(ctx, func(ctx context.Context) error {
		t, err := s.write.BeginTx(ctx, nil)
		if err != nil {
			return fmt.Errorf("beginning a transaction: %w", err)
		}
		within := tx{ctx: ctx, dialect: s.dialect, q: t, turned: &turned}
		if err = s.dialect.begin(within, s); err == nil {
			err = do(within)
		}
		if err == nil && turned {
			err = s.dialect.announce(within)
		}
		if err != nil {
			return errors.Join(err, ignoreDone(t.Rollback()))
		}
		if err := t.Commit(); err != nil {
			return fmt.Errorf("committing: %w", err)
		}
		return nil
	})
	if err == nil && turned {
		s.tell()
	}
	return err
}

// run runs do, unless nothing may be done now. What fails because the database is away is an ErrUnavailable.
func (s *Store) run(ctx context.Context, do func(context.Context) error) error {
	if why := s.unfit.Load(); why != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, *why)
	}
	bound, cancel := s.dialect.bound(ctx)
	defer cancel()
	err := do(bound)
	if err != nil && ctx.Err() == nil && s.dialect.isAway(err) {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}

// tell has those look who wait for changes of verdicts.
func (s *Store) tell() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
}

// Changed returns a channel that is closed at the next change of a verdict, by this process or, as long as Follow runs, by another replica: when there is more for Events. Verdicts that were renewed are
// no change. Take it before looking, or a change in between is missed.
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
	return s.run(ctx, func(ctx context.Context) error {
		t, err := s.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true, Isolation: s.dialect.viewing})
		if err != nil {
			return fmt.Errorf("beginning to read: %w", err)
		}
		return errors.Join(do(tx{ctx: ctx, dialect: s.dialect, q: t}), ignoreDone(t.Rollback()))
	})
}

// look is a view for do that runs one statement, which sees one state by itself.
func (s *Store) look(ctx context.Context, do func(tx) error) error {
	return s.run(ctx, func(ctx context.Context) error { return do(tx{ctx: ctx, dialect: s.dialect, q: s.read}) })
}

// alone runs do for one statement that writes and takes its own locks.
func (s *Store) alone(ctx context.Context, do func(tx) error) error {
	return s.run(ctx, func(ctx context.Context) error { return do(tx{ctx: ctx, dialect: s.dialect, q: s.write}) })
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
