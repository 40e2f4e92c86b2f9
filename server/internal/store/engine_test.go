package store_test

import (
	"database/sql"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"

	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// engine is one of the two kinds of databases.
type engine struct{ isPostgres bool }

// onBoth runs a test on SQLite and on PostgreSQL.
func onBoth(t *testing.T, do func(*testing.T, engine)) {
	t.Helper()
	for name, on := range map[string]engine{"sqlite": {}, "postgres": {true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			do(t, on)
		})
	}
}

// new names a database that there is not yet.
func (on engine) new(t *testing.T) string {
	t.Helper()
	if on.isPostgres {
		return pgtest.Database(t)
	}
	return filepath.Join(t.TempDir(), "trust pool?.db") // a name that a URL would take apart
}

func (on engine) newStore(t *testing.T) (*store.Store, string) {
	t.Helper()
	database := on.new(t)
	return on.open(t, database), database
}

// open opens a database again, or for the first time.
func (on engine) open(t *testing.T, database string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// raw opens a database behind the store's back.
func raw(t *testing.T, database string) *sql.DB {
	t.Helper()
	driver, name := "pgx", database
	if !store.IsURL(database) {
		driver, name = "sqlite", (&url.URL{Scheme: "file", OmitHost: true, Path: database}).String()
	}
	db, err := sql.Open(driver, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// alter changes a database behind the store's back.
func alter(t *testing.T, database, statements string) {
	t.Helper()
	db := raw(t, database)
	for statement := range strings.SplitSeq(statements, ";") {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}
