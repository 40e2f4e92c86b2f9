package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"runtime"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// The locks that replicas take in the database (PostgreSQL, 13.3.5). A number or a pair of numbers tells them from those of others.
const (
	// writerLock has whoever writes.
	writerLock = 0x7472757374706f6f
	// migrationLock has whoever brings the tables up to date.
	migrationLock = 0x7472757374706f70
	// replicaLock, with its number, has each replica as long as it lives.
	replicaLock = 0x74727573
	// replicaLockText is the same for statements.
	replicaLockText = "1953658227"
)

// channel is where replicas hear of changes.
const channel = "trustpool"

const (
	// operationTime is how long one method may take; PostgreSQL may be gone without a word. The longest adds thousands of nodes.
	operationTime = 30 * time.Second
	// readyTime is how long a sign of life may take.
	readyTime = 5 * time.Second
	// maxClockSkew is by how much this machine's clock may differ from PostgreSQL's: twice that between two replicas is less than what a lease lasts beyond a challenge.
	maxClockSkew = 5 * time.Second
	// stealAfter is how long a node that another replica should ask waits for it until anybody asks it.
	stealAfter = 2 * time.Second
)

// postgresDialect is for several servers.
func postgresDialect() *dialect {
	return &dialect{
		viewing: sql.LevelRepeatableRead,
		bound: func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, operationTime)
		},
		isAway: isAway,
		ready:  func(ctx context.Context, s *Store) error { return s.checkFit(ctx) },
		begin:  beginPostgres,
		announce: func(t tx) error {
			_, err := t.exec("SELECT pg_notify($1, '')", channel)
			return err
		},
		claimsAlone: true,
		// The rows are locked in a part of its own, which is run once: within IN it could be run anew for each node.
		claim: "WITH due AS MATERIALIZED (SELECT id FROM nodes WHERE " + claimDue + " AND (id % $4 = $5 OR due_at <= $6) ORDER BY due_at LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED) " +
			"UPDATE nodes SET leased_until = $2, due_at = $2, leased_by = $7 FROM due WHERE nodes.id = due.id RETURNING " + nodeColumns,
		claimArgs: claimArgs,
		mine:      "leased_by IN (0, $2)",
		abandoned: "leased_by <> $1 AND leased_by NOT IN (" + livingReplicas + ")",
		skipGenerations: func(t tx, gap int64) error {
			var next int64
			return t.row("SELECT setval(pg_get_serial_sequence('history', 'generation'), nextval(pg_get_serial_sequence('history', 'generation')) + $1)", []any{gap}, &next)
		},
		size: func(ctx context.Context, s *Store) (size int64, err error) {
			return size, s.look(ctx, func(t tx) error { return t.row("SELECT pg_database_size(current_database())", nil, &size) })
		},
		among:  func(column, place string) string { return column + " = ANY(" + place + ")" },
		list:   func(values any) any { return values },
		rowsOf: unnested, argsOf: unnestedArgs, atOnce: manyAtOnce,
	}
}

func (s *Store) openPostgres(ctx context.Context) error {
	files, err := fs.Sub(migrations, "postgres")
	if err != nil {
		return err
	}
	return s.openPostgresWith(ctx, files)
}

// openPostgresWith opens a database with the migrations of a program that knows those in files.
func (s *Store) openPostgresWith(ctx context.Context, files fs.FS) error {
	s.dialect = postgresDialect()
	config, err := s.connection()
	if err != nil {
		return err
	}
	s.write, s.read = openPool(s, config, 4), openPool(s, config, max(4, 2*runtime.NumCPU()))
	if err := s.migratePostgres(ctx, s.write, files); err != nil {
		return err
	}
	if err := s.write.QueryRowContext(ctx, "SELECT nextval('replicas')").Scan(&s.number); err != nil {
		return fmt.Errorf("taking a number among the replicas: %w", err)
	}
	return s.Ready(ctx)
}

// connection says how to connect. Files that the URL names are read anew each time.
func (s *Store) connection() (*pgx.ConnConfig, error) {
	config, err := parseURL(s.name)
	if err != nil {
		return nil, err
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = readyTime
	}
	// Of several machines, a standby may be behind by any time: it would answer with verdicts that have been withdrawn (PostgreSQL, 34.1.2).
	if config.ValidateConnect == nil && !saysSession(s.name) {
		config.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	config.DialFunc = (&net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: readyTime, Interval: readyTime, Count: 3}}).DialContext
	for name, value := range map[string]string{
		"application_name": "trustpool-server",
		// A replica that is gone without a word while it writes, or with it its whole machine, keeps the others from writing until PostgreSQL notices.
		"idle_in_transaction_session_timeout": "10s", "tcp_keepalives_idle": "5", "tcp_keepalives_interval": "2", "tcp_keepalives_count": "3", "tcp_user_timeout": "10s",
	} {
		if _, told := config.RuntimeParams[name]; !told {
			config.RuntimeParams[name] = value
		}
	}
	return config, nil
}

// openPool returns connections, at most so many. Each statement is prepared once on each.
func openPool(s *Store, config *pgx.ConnConfig, most int) *sql.DB {
	db := stdlib.OpenDB(*config, stdlib.OptionBeforeConnect(s.renew))
	db.SetMaxOpenConns(most)
	db.SetMaxIdleConns(most)
	db.SetConnMaxLifetime(time.Hour)
	return db
}

// renew puts into a configuration what may have been changed since in the files that the URL names: the password, the client's certificate, and the authorities.
func (s *Store) renew(_ context.Context, now *pgx.ConnConfig) error {
	fresh, err := s.connection()
	if err != nil {
		return err
	}
	now.Password, now.TLSConfig, now.Fallbacks = fresh.Password, fresh.TLSConfig, fresh.Fallbacks
	return nil
}

// beginPostgres waits until nobody else writes, and looks whether this program may work on the tables.
func beginPostgres(t tx, s *Store) error {
	if _, err := t.q.ExecContext(t.ctx, "SELECT pg_advisory_xact_lock($1)", int64(writerLock)); err != nil {
		return fmt.Errorf("waiting for whoever else writes: %w", err)
	}
	var oldest int64
	if err := t.row("SELECT oldest FROM compatibility", nil, &oldest); err != nil {
		return fmt.Errorf("looking whether the tables are known: %w", err)
	}
	return s.mayWorkOn(oldest)
}

// isAway tells whether an error is one of the connection, or of a PostgreSQL that stops, starts, or has too little of something (PostgreSQL, appendix A).
func isAway(err error) bool {
	if said, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch said.Code[:min(2, len(said.Code))] {
		case "08", "53", "57", "58": // connection, resources, operator, system
			return true
		}
		return said.Code == "25P03" || said.Code == "25006" // silent for too long in a transaction; read only, as a standby is
	}
	_, isNet := errors.AsType[net.Error](err)
	_, isConnect := errors.AsType[*pgconn.ConnectError](err)
	return isNet || isConnect || pgconn.SafeToRetry(err) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.EOF) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}

// mayWorkOn says why this program can't work on tables for which programs have to know the migration oldest.
func (s *Store) mayWorkOn(oldest int64) error {
	if oldest <= s.target {
		return nil
	}
	return fmt.Errorf("its tables are for programs that know their version %d, and this one knows %d: install the newer version", oldest, s.target)
}

// checkFit asks for a sign of life, whether this program may work on the tables, and what time it is.
func (s *Store) checkFit(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	var (
		oldest int64
		theirs time.Time
	)
	asked := time.Now()
	if err := s.read.QueryRowContext(ctx, "SELECT oldest, clock_timestamp() FROM compatibility").Scan(&oldest, &theirs); err != nil {
		return err
	}
	why := s.mayWorkOn(oldest)
	if why == nil {
		why = checkClock(asked, theirs, time.Now())
	}
	if why != nil {
		s.unfit.Store(&why)
	} else {
		s.unfit.Store(nil)
	}
	return why
}

// checkClock says by how much the clocks differ, if that is too much. The answer was made at some time between asking and having it.
func checkClock(asked, theirs, answered time.Time) error {
	ahead, behind := asked.Sub(theirs), theirs.Sub(answered)
	if ahead <= maxClockSkew && behind <= maxClockSkew {
		return nil
	}
	return fmt.Errorf("this machine's clock and that of the database differ by %s, and by %s at most they may: have both follow NTP", max(ahead, behind).Round(time.Second), maxClockSkew)
}
