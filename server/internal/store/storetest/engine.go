package storetest

import (
	"database/sql"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"

	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/pgtest"
)

// Engine is a kind of databases.
type Engine string

// The kinds. A package that tests on PostgreSQL has pgtest.Main in its TestMain.
const (
	SQLite   Engine = "sqlite"
	Postgres Engine = "postgres"
)

// OnBoth runs a test on each kind.
func OnBoth(t *testing.T, do func(*testing.T, Engine)) {
	t.Helper()
	for _, on := range []Engine{SQLite, Postgres} {
		t.Run(string(on), func(t *testing.T) {
			t.Parallel()
			do(t, on)
		})
	}
}

// Database names a database that there is not yet.
func (on Engine) Database(t testing.TB) string {
	t.Helper()
	if on == Postgres {
		return pgtest.Database(t)
	}
	return filepath.Join(t.TempDir(), "trust pool?.db") // a name that a URL would take apart
}

// Raw opens a database behind the store's back.
func Raw(t testing.TB, database string) *sql.DB {
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

// Alter changes a database behind the store's back. A semicolon ends a statement.
func Alter(t testing.TB, database, statements string) {
	t.Helper()
	db := Raw(t, database)
	for statement := range strings.SplitSeq(statements, ";") {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}
