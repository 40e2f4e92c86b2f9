package server

import (
	"bytes"
	"context"
	"database/sql"
	"log/slog"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"

	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/pgtest"
)

// TestEachTimeThatTheDatabaseIsAwayIsLoggedOnce: the second outage is as much news as the first one.
func TestEachTimeThatTheDatabaseIsAwayIsLoggedOnce(t *testing.T) {
	t.Parallel()

	database := pgtest.Database(t)
	kept, err := store.Open(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = kept.Close() })
	behind, err := sql.Open("pgx", database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = behind.Close() })

	var log bytes.Buffer // of one goroutine, until that has ended
	s := &Server{store: kept, deps: Deps{Logger: slog.New(slog.NewTextHandler(&log, nil))}}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.follow(ctx)
	}()
	for range 2 {
		breakFollower(t, behind)
	}
	cancel()
	<-ended
	if n := strings.Count(log.String(), "the connection to the database broke"); n != 2 {
		t.Errorf("%d complaints, want one for each of 2 outages:\n%s", n, log.String())
	}
}

// breakFollower waits for the connection over which a replica calls the roll, ends it, and waits until it is there again.
func breakFollower(t *testing.T, behind *sql.DB) {
	t.Helper()
	// Idle for a while: it has the answer, and is not between preparing the question and asking it.
	const followers = " FROM pg_stat_activity WHERE query LIKE '%pg_locks%' AND state = 'idle' AND state_change < clock_timestamp() - interval '200 milliseconds' AND pid <> pg_backend_pid() AND datname = current_database()"
	late := time.After(time.Minute)
	for ended := false; ; {
		var pid int
		err := behind.QueryRowContext(t.Context(), "SELECT coalesce(max(pid), 0)"+followers).Scan(&pid)
		if err == nil && pid != 0 && ended {
			return
		}
		if err == nil && pid != 0 {
			_, err = behind.ExecContext(t.Context(), "SELECT pg_terminate_backend($1, 10000)", pid) // it returns once the process is gone
			ended = true
		}
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-late:
			t.Fatal("no replica follows")
		case <-time.After(20 * time.Millisecond):
		}
	}
}
