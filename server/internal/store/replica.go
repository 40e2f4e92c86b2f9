package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// peers are the replicas that share the work.
type peers struct{ rank, count int64 }

// livingReplicas selects the numbers of the replicas that live: PostgreSQL takes the lock away from one whose connection is gone.
const livingReplicas = "SELECT objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND classid = " + replicaLockText + " AND objsubid = 2 AND granted " +
	"AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"

// rollCall is how often a replica looks who lives.
const rollCall = time.Second

// claimArgs share the nodes out: each replica asks those whose number falls to it, so that a node has to do with one and not with all. Those that wait for too long, anybody asks.
func claimArgs(s *Store, now int64) []any {
	p := s.peers.Load()
	if p == nil {
		p = &peers{0, 1}
	}
	return []any{p.count, p.rank, now - stealAfter.Milliseconds(), s.number}
}

// Follow takes part in the work of the replicas until ctx ends or the connection to the database breaks, which is an error: it tells the others that this one lives, looks who else does, and has those
// look who wait for Changed. The caller follows again. tookPart tells whether it did so for a time, or could not even begin. On SQLite it only waits for the end.
func (s *Store) Follow(ctx context.Context) (tookPart bool, err error) {
	if !IsURL(s.name) {
		<-ctx.Done()
		return true, nil
	}
	s.follows.Store(true)
	err = s.follow(ctx)
	tookPart = s.peers.Swap(nil) != nil
	if ctx.Err() != nil {
		return tookPart, nil
	}
	return tookPart, fmt.Errorf("following the other replicas: %w", err)
}

func (s *Store) follow(ctx context.Context) error {
	config, err := s.connection()
	if err != nil {
		return err
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer func() { // the lock goes with the connection
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), readyTime)
		defer cancel()
		_ = conn.Close(closing)
	}()
	if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1::int, $2::int)", replicaLock, s.number); err != nil {
		return err
	}
	s.tell() // what happened before is not told again

	for {
		if err := s.callRoll(ctx, conn); err != nil {
			return err
		}
		if err := s.listen(ctx, conn); err != nil {
			return err
		}
	}
}

// callRoll looks who lives.
func (s *Store) callRoll(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	rows, err := conn.Query(ctx, livingReplicas)
	if err != nil {
		return err
	}
	living, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return err
	}
	slices.Sort(living)
	rank, isThere := slices.BinarySearch(living, s.number)
	if !isThere {
		return errors.New("the lock of this replica is gone")
	}
	s.peers.Store(&peers{int64(rank), int64(len(living))})
	return nil
}

// listen hears of changes until it is time to call the roll.
func (s *Store) listen(ctx context.Context, conn *pgx.Conn) error {
	limited, cancel := context.WithTimeout(ctx, rollCall)
	defer cancel()
	for {
		_, err := conn.WaitForNotification(limited)
		if err == nil {
			s.tell()
			continue
		}
		if limited.Err() != nil && ctx.Err() == nil && !conn.IsClosed() {
			return nil // nothing was said
		}
		return err
	}
}
