// Package storetest opens databases for tests. No product binary imports it.
package storetest

import (
	"testing"
	"time"

	"github.com/trustpool/trustpool/server/internal/access"
	"github.com/trustpool/trustpool/server/internal/store"
)

// New opens an empty database of the kind Default, until the test ends.
func New(t testing.TB) *store.Store {
	t.Helper()
	return Open(t, Default().Empty(t))
}

// Open opens a database, as store.Open names it, until the test ends.
func Open(t testing.TB, database string) *store.Store {
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

// Tokens has a database know a caller of each role, and returns what they show. The reader's token is called "the-reader", and so on.
func Tokens(t testing.TB, s *store.Store) map[access.Role]string {
	t.Helper()
	tokens := make(map[access.Role]string)
	for _, role := range access.Roles() {
		text, kept, err := access.NewToken("the-"+role.String(), role, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.AddToken(t.Context(), store.Act{By: "setup", At: time.Now()}, kept); err != nil {
			t.Fatal(err)
		}
		tokens[role] = text
	}
	return tokens
}
