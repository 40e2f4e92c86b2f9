package storetest

import (
	"os"
	"testing"

	"github.com/trustpool/trustpool/server/pgtest"
)

// variable tells the process that OnPostgres starts what it is for.
const variable = "TRUSTPOOL_TEST_ENGINE"

// Default is the kind of databases that New makes: SQLite, but in the process that OnPostgres starts.
func Default() Engine {
	if os.Getenv(variable) == string(Postgres) {
		return Postgres
	}
	return SQLite
}

// Main is for TestMain of packages that use OnPostgres.
func Main(m *testing.M) int {
	if Default() == Postgres {
		return pgtest.Main(m)
	}
	return m.Run()
}

// OnPostgres is a test that runs all others of its package once more, in a process of its own in which Default is PostgreSQL. That does not follow the clock of a synctest bubble: what tests in one
// stays on SQLite. Besides names tests that never ask for Default: they would do the same again.
func OnPostgres(t *testing.T, besides ...string) {
	t.Parallel()
	pgtest.Again(t, variable+"="+string(Postgres), besides...)
}
