package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/store/storetest"
)

// TestASessionCountsAtEachServerUntilItOrItsTokenEnds signs in at one of two servers on a database and asks the other; of a file there is one server alone.
func TestASessionCountsAtEachServerUntilItOrItsTokenEnds(t *testing.T) {
	t.Parallel()

	storetest.OnBoth(t, func(t *testing.T, on storetest.Engine) {
		one, database := newStore(t, on)
		other := one
		if on == storetest.Postgres {
			other = storetest.Open(t, database)
		}
		for _, name := range []string{"alice", "bob"} {
			if err := one.AddToken(t.Context(), act(), store.Token{Name: name, ID: name, Role: "reader", SHA256: []byte(name)}); err != nil {
				t.Fatal(err)
			}
		}
		begin := func(key, token string) {
			t.Helper()
			if err := one.AddSession(t.Context(), store.Session{SHA256: []byte(key), TokenID: token, EndsAt: noon.Add(time.Hour)}, noon); err != nil {
				t.Fatal(err)
			}
		}
		counts := func(key string, at time.Time) bool {
			t.Helper()
			token, err := other.SessionToken(t.Context(), []byte(key), at)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				t.Fatal(err)
			}
			return err == nil && token.Role == "reader"
		}
		for _, key := range []string{"out", "stays", "late"} {
			begin(key, "alice")
		}
		begin("removed", "bob")
		for _, key := range []string{"out", "stays", "late", "removed"} {
			if !counts(key, noon) {
				t.Errorf("%s does not count", key)
			}
		}
		if !counts("late", noon.Add(time.Hour-time.Millisecond)) || counts("late", noon.Add(time.Hour)) {
			t.Error("a session does not end when it is to end")
		}
		if err := other.RemoveSession(t.Context(), []byte("out")); err != nil {
			t.Error(err)
		}
		if err := one.RemoveToken(t.Context(), act(), "bob"); err != nil {
			t.Error(err)
		}
		if counts("out", noon) || counts("removed", noon) || !counts("stays", noon) {
			t.Error("the wrong sessions count")
		}
		if err := one.AddSession(t.Context(), store.Session{SHA256: []byte("new"), TokenID: "bob", EndsAt: noon.Add(time.Hour)}, noon); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a session of a token that is gone: %v", err)
		}
		if err := one.Restored(t.Context(), act(), "backup"); err != nil {
			t.Fatal(err)
		}
		if counts("stays", noon) {
			t.Error("a session outlives a restore, which may have brought it back")
		}
	})
}

func TestSessionsThatHaveEndedDoNotPileUp(t *testing.T) {
	t.Parallel()

	storetest.OnBoth(t, func(t *testing.T, on storetest.Engine) {
		s, database := newStore(t, on)
		if err := s.AddToken(t.Context(), act(), store.Token{Name: "alice", ID: "alice", Role: "reader", SHA256: []byte("alice")}); err != nil {
			t.Fatal(err)
		}
		for i := range 5 {
			at := noon.Add(time.Duration(i) * time.Hour)
			if err := s.AddSession(t.Context(), store.Session{SHA256: []byte{byte(i)}, TokenID: "alice", EndsAt: at.Add(90 * time.Minute)}, at); err != nil {
				t.Fatal(err)
			}
		}
		var left int
		if err := storetest.Raw(t, database).QueryRowContext(t.Context(), "SELECT count(*) FROM sessions").Scan(&left); err != nil || left != 2 {
			t.Errorf("%d sessions are kept, %v", left, err)
		}
	})
}
