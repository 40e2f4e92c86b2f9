package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"runtime"

	"modernc.org/sqlite" // in Go: no libraries to install
)

// claimDue selects the nodes that are due at $1. Both databases claim by it.
const claimDue = "due_at <= $1 AND leased_until <= $1 AND state IN ('pending', 'active')"

// sqliteDialect is for one server.
func sqliteDialect() *dialect {
	return &dialect{
		bound:    unbound,
		isAway:   func(error) bool { return false },
		begin:    func(tx, *Store) error { return nil },
		announce: func(tx) error { return nil }, // there is no other server
		ready: func(ctx context.Context, s *Store) error {
			var one int
			return s.read.QueryRowContext(ctx, "SELECT one FROM policy_revision").Scan(&one)
		},
		claim:     "UPDATE nodes SET leased_until = $2, due_at = $2 WHERE id IN (SELECT id FROM nodes WHERE " + claimDue + " ORDER BY due_at LIMIT $3) RETURNING " + nodeColumns,
		claimArgs: func(*Store, int64) []any { return nil },
		mine:      "$2 = 0",
		abandoned: "$1 = 0", // a server that starts has the file for itself
		skipGenerations: func(t tx, gap int64) error {
			n, err := t.exec("UPDATE sqlite_sequence SET seq = seq + $1 WHERE name = 'history'", gap)
			if err == nil && n == 0 { // nothing has happened yet
				_, err = t.exec("INSERT INTO sqlite_sequence (name, seq) VALUES ('history', $1)", gap)
			}
			return err
		},
		size:  sqliteSize,
		among: func(column, place string) string { return column + " IN (SELECT value FROM json_each(" + place + "))" },
		list: func(values any) any {
			raw, err := json.Marshal(values)
			if err != nil {
				panic(err) // numbers and texts can be written
			}
			return string(raw)
		},
		rowsOf: oneRow, argsOf: oneRowArgs, atOnce: 1,
	}
}

func (s *Store) openSQLite(ctx context.Context) (err error) {
	s.dialect = sqliteDialect()
	// SQLite would make a file that others may read.
	file, err := os.OpenFile(s.name, os.O_CREATE|os.O_RDWR, 0o600) // #nosec G304 -- the operator names it
	if err == nil {
		err = file.Close()
	}
	if err != nil {
		return err
	}
	if s.write, err = openFile(dsn(s.name, "immediate")); err != nil {
		return err
	}
	s.write.SetMaxOpenConns(1)
	if err := s.migrateSQLite(ctx); err != nil {
		return err
	}
	if s.read, err = openFile(dsn(s.name, "deferred") + "&_pragma=query_only(1)"); err != nil {
		return err
	}
	s.read.SetMaxOpenConns(2 * runtime.NumCPU())
	s.read.SetMaxIdleConns(2 * runtime.NumCPU())
	return s.read.PingContext(ctx)
}

// openFile opens a file with prepared statements.
func openFile(name string) (*sql.DB, error) {
	connector, err := sqlite.NewConnector(name)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(preparing{connector}), nil
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

// sqliteSize is the size of the file, and of what SQLite keeps beside it.
func sqliteSize(_ context.Context, s *Store) (total int64, err error) {
	for _, suffix := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(s.name + suffix)
		if errors.Is(err, fs.ErrNotExist) && suffix != "" {
			continue // only while it is open
		}
		if err != nil {
			return 0, fmt.Errorf("measuring the database: %w", err)
		}
		total += info.Size()
	}
	return total, nil
}
