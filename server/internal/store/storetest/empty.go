package storetest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/pgtest"
)

// Empty names a database as store.Open leaves a new one: all tables are there, and nobody has told it anything. It is a copy of one that this process made, since to make the tables takes longer than most
// tests do. A test that is about how they are made takes Database.
func (on Engine) Empty(t testing.TB) string {
	t.Helper()
	if on == Postgres {
		template, err := postgresTemplate()
		if err != nil {
			t.Fatal(err)
		}
		return pgtest.Copy(t, template)
	}
	raw, err := sqliteTemplate()
	if err != nil {
		t.Fatal(err)
	}
	database := on.Database(t)
	if err := os.WriteFile(database, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return database
}

// postgresTemplate is the URL of a database with all tables. It goes with its cluster.
var postgresTemplate = sync.OnceValues(func() (database string, err error) {
	if database, err = pgtest.New(); err != nil {
		return "", err
	}
	return database, makeTables(database)
})

// sqliteTemplate is the content of a file with all tables.
var sqliteTemplate = sync.OnceValues(func() (raw []byte, err error) {
	dir, err := os.MkdirTemp("", "storetest")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	database := filepath.Join(dir, "template.db")
	if err := makeTables(database); err != nil {
		return nil, err
	}
	return os.ReadFile(database) // #nosec G304 -- made above
})

func makeTables(database string) error {
	s, err := store.Open(context.Background(), database) // for all tests, whichever needs it first
	if err != nil {
		return err
	}
	return s.Close()
}
