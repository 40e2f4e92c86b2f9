package store_test

import (
	"os"
	"testing"

	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/store/storetest"
	"github.com/trustpool/trustpool/server/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

func newStore(t *testing.T, on storetest.Engine) (*store.Store, string) {
	t.Helper()
	database := on.Database(t)
	return storetest.Open(t, database), database
}
