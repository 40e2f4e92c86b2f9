package store_test

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/store/storetest"
	"github.com/trustpool/trustpool/server/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

func newStore(t *testing.T, on storetest.Engine) (*store.Store, string) {
	t.Helper()
	database := on.Empty(t)
	return storetest.Open(t, database), database
}

// TestADatabaseOfTheTestsIsAsANewOneIs: nearly all tests stand on copies.
func TestADatabaseOfTheTestsIsAsANewOneIs(t *testing.T) {
	t.Parallel()

	shape := map[storetest.Engine]string{
		storetest.SQLite: "SELECT type || ' ' || name || ' ' || coalesce(sql, '') FROM sqlite_schema",
		storetest.Postgres: "SELECT concat_ws(' ', table_name, column_name, data_type, collation_name, column_default, is_nullable, identity_generation) FROM information_schema.columns WHERE table_schema = 'public' " +
			"UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' UNION ALL SELECT concat_ws(' ', conname, pg_get_constraintdef(oid)) FROM pg_constraint WHERE connamespace = 'public'::regnamespace " +
			"UNION ALL SELECT concat_ws(' ', sequencename, data_type, start_value, increment_by, cycle, last_value) FROM pg_sequences",
	}
	storetest.OnBoth(t, func(t *testing.T, on storetest.Engine) {
		made := on.Database(t)
		storetest.Open(t, made)
		asked := shape[on] + " UNION ALL SELECT 'migrated to ' || max(version_id) FROM goose_db_version ORDER BY 1"

		want, got := texts(t, made, asked), texts(t, on.Empty(t), asked) // no store has opened the copy
		if diff := cmp.Diff(want, got); diff != "" || len(got) < 20 {
			t.Errorf("%d lines, (-new +copy):\n%s", len(got), diff)
		}
	})
}

// texts asks a database, behind the store's back, for texts.
func texts(t *testing.T, database, query string) (found []string) {
	t.Helper()
	rows, err := storetest.Raw(t, database).QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			t.Fatal(err)
		}
		found = append(found, text)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return found
}
